"""Recurrent layers, forward or both ways, as one scan over time.

A masked step keeps the state it found, and its output is zero.  The backward direction meets the padding first, with a
state of zeros, and so starts at the last token of the text.  Gates stand in torch's order and have torch's two biases,
so that weights can be taken over and compared.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from jaxemb.encode.layers import matmul
from jaxemb.encode.pool import cls, last
from jaxemb.encode.small.extended import Layer
from jaxemb.types import Entry, Params

State = tuple[Float[Array, "s b h"], ...]


class Cell(NamedTuple):
    """One step of a recurrent network, for `s` directions at once.

    gates: how many blocks of `h` columns the products have.
    carried: how many arrays the state is made of; the first of them is the output.
    step: (product of the input `[s, b, gates * h]`, product of the state, state) -> state.
    bias: what the input's bias starts from, a number a gate.
    """

    gates: int
    carried: int
    step: Callable[[Float[Array, "s b g"], Float[Array, "s b g"], State], State]
    bias: tuple[float, ...]


def _gru_step(x: Float[Array, "s b g"], h: Float[Array, "s b g"], state: State) -> State:
    reset, update, new = zip(jnp.split(x, 3, axis=-1), jnp.split(h, 3, axis=-1), strict=True)
    z = jax.nn.sigmoid(update[0] + update[1])
    n = jnp.tanh(new[0] + jax.nn.sigmoid(reset[0] + reset[1]) * new[1])
    return (n + z * (state[0] - n),)


def _lstm_step(x: Float[Array, "s b g"], h: Float[Array, "s b g"], state: State) -> State:
    i, f, g, o = jnp.split(x + h, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


GRU = Cell(3, 1, _gru_step, (0.0, 0.0, 0.0))
LSTM = Cell(4, 2, _lstm_step, (0.0, 1.0, 0.0, 0.0))  # forget little at first: Jozefowicz et al. 2015


def gru(inputs: int, size: int, *, bidirectional: bool = True, dtype: DTypeLike = jnp.float32) -> Layer:
    """A GRU layer; states of `2 * size`, forward then backward, or of `size` where it reads forward only.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    Params: for `forward` and `backward` `{"input": {"kernel": [inputs, 3 h], "bias": [3 h]}, "state": {"kernel":
    [h, 3 h], "bias": [3 h]}}`, gates in the order r, z, n; weights start even between `-h ** -0.5` and
    `h ** -0.5`.  Products run in `dtype`, states are float32.

    Source: Cho et al. 2014, arXiv:1406.1078, eq. 5 to 8, with the reset gate after the product as in cuDNN.
    """
    return _recurrent(GRU, inputs, size, bidirectional, jnp.dtype(dtype))


def lstm(inputs: int, size: int, *, bidirectional: bool = True, dtype: DTypeLike = jnp.float32) -> Layer:
    """An LSTM layer; states of `2 * size`, forward then backward, or of `size` where it reads forward only.

        i, f, o = sigmoid(W_i. x + b_i. + W_h. h + b_h.)      g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c' = f * c + i * g      h' = o * tanh(c')

    Params as those of `gru`, with four gates in the order i, f, g, o; the forget gate's bias starts at one.

    Source: Hochreiter & Schmidhuber 1997, Long Short-Term Memory; forget gate of Gers et al. 2000.
    """
    return _recurrent(LSTM, inputs, size, bidirectional, jnp.dtype(dtype))


def _recurrent(cell: Cell, inputs: int, size: int, bidirectional: bool, dtype: jnp.dtype) -> Layer:
    directions = ("forward", "backward") if bidirectional else ("forward",)

    def init(key: Array) -> Params:
        bound, columns = size**-0.5, cell.gates * size
        drawn = jax.random.uniform(key, (len(directions), inputs + size, columns), minval=-bound, maxval=bound)
        return {
            way: {
                "input": {"kernel": drawn[i, :inputs], "bias": jnp.repeat(jnp.array(cell.bias), size)},
                "state": {"kernel": drawn[i, inputs:], "bias": jnp.zeros(columns)},
            }
            for i, way in enumerate(directions)
        }

    def apply(params: Params, states: Float[Array, "b t i"], mask: Int[Array, "b t"]) -> Float[Array, "b t o"]:
        ways = [params[way] for way in directions]
        kept = mask.T[:, :, None] > 0
        entering = _entering(ways, states, dtype)
        steps = [(x[::-1], kept[::-1]) if i else (x, kept) for i, x in enumerate(entering)]
        kernel = jnp.stack([way["state"]["kernel"] for way in ways]).astype(dtype)
        bias = jnp.stack([way["state"]["bias"] for way in ways])[:, None, :]
        x, kept = (jnp.stack(parts, axis=1) for parts in zip(*steps, strict=True))
        out = _scanned(cell, x, kept, kernel, bias)
        merged = [out[::-1, i] if i else out[:, i] for i in range(len(ways))]
        return jnp.concatenate(merged, axis=-1).transpose(1, 0, 2)

    return Layer(init, apply)


def _entering(ways: list[Params], states: Float[Array, "b t i"], dtype: jnp.dtype) -> list[Float[Array, "t b g"]]:
    """What the input adds to the gates, of all steps and directions in one product; time first."""
    b, t, inputs = states.shape
    kernel = jnp.concatenate([way["input"]["kernel"] for way in ways], axis=1).astype(dtype)
    bias = jnp.concatenate([way["input"]["bias"] for way in ways])
    rows = states.transpose(1, 0, 2).reshape(t * b, inputs).astype(dtype)
    return jnp.split((matmul(rows, kernel) + bias[None, :]).reshape(t, b, -1), len(ways), axis=-1)


def _scanned(
    cell: Cell,
    x: Float[Array, "t s b g"],
    kept: Bool[Array, "t s b 1"],
    kernel: Float[Array, "s h g"],
    bias: Float[Array, "s 1 g"],
) -> Float[Array, "t s b h"]:
    def step(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
        entering, kept = now
        back = jnp.einsum("sbh,shg->sbg", state[0].astype(kernel.dtype), kernel, preferred_element_type=x.dtype)
        new = cell.step(entering, back + bias, state)
        state = tuple(jnp.where(kept, after, before) for after, before in zip(new, state, strict=True))
        return state, jnp.where(kept, state[0], jnp.zeros_like(state[0]))

    start = jnp.zeros_like(x[0, :, :, : kernel.shape[1]])
    return lax.scan(step, (start,) * cell.carried, (x, kept))[1]


def ends(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """Where both directions end: the first half of the last token's state, the second half of the first token's.

    A text without tokens is the zero vector.

    >>> print(ends(jnp.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]]), jnp.array([[1, 1, 0]])))
    [[3. 2.]]

    Raises: ValueError for states that cannot be halved.  A layer that reads forward only ends in `last`.
    """
    if states.shape[-1] % 2:
        raise ValueError(f"ends: states of two directions have an even width, got {states.shape[-1]}")
    half = states.shape[-1] // 2
    return jnp.concatenate([last(states[..., :half], mask), cls(states[..., half:], mask)], axis=-1)


def keys(ours: str, theirs: str, *, layer: int = 0, bidirectional: bool = True) -> list[Entry]:
    """Where torch's `nn.GRU` and `nn.LSTM` keep the weights of a layer.

    >>> keys("layers.0", "rnn", layer=1, bidirectional=False)[0]
    Entry(ours='layers.0.forward.input.kernel', theirs=('rnn.weight_ih_l1',), transpose=True, sizes=None, first=0)

    Args:
      ours: the path of the layer's params.
      theirs: the foreign module's name; empty where the module is the whole checkpoint.
    """
    inside = f"{theirs}." if theirs else ""
    ways = {"forward": "", "backward": "_reverse"} if bidirectional else {"forward": ""}
    return [
        Entry(f"{ours}.{way}.{part}.{leaf}", (f"{inside}{foreign}_{short}_l{layer}{suffix}",), transpose=is_matrix)
        for way, suffix in ways.items()
        for part, short in (("input", "ih"), ("state", "hh"))
        for leaf, foreign, is_matrix in (("kernel", "weight", True), ("bias", "bias", False))
    ]
