"""Recurrent binarization: each further bit of a dimension tells the sign of what the bits before it left."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from jaxemb import similarity
from jaxemb.compress import check
from jaxemb.compress.linear import rotation
from jaxemb.losses import straight_through_sign
from jaxemb.packed import pack, packed_bytes, unpack
from jaxemb.types import Compressor, Encoder, Params

RIDGE = 1e-2  # of the mean variance
_dot = jax.jit(similarity.dot)


def multilevel(params: Params, vectors: Float[Array, "b n"]) -> Float[Array, "b m"]:
    """Codes of odd multiples of `2^-u` between -2 and 2, with a gradient that goes straight through every sign.

        a_0 = sgn(W_0 f),   a_t = a_(t-1) + 2^-t sgn(W_t (f - R_t a_(t-1) / |R_t a_(t-1)|))

    `f` is the vector scaled to length one, and `W_t` and `R_t` are linear maps with a bias of their own each.

    Args:
      params: `write` `[u + 1, n, m]`, `write_bias`, `read` `[u, m, n]`, `read_bias`, as `recurrent_start` makes them.
    Source: Gan et al. 2023, arXiv:2302.08714 (BEBR), sec. 3.2.
    """
    whole = similarity.unit(vectors)

    def bit(kept: Float[Array, "b n"], write: Array, bias: Array) -> Float[Array, "b m"]:
        return straight_through_sign(kept @ write + bias[None, :])

    def more(
        code: Float[Array, "b m"], turn: tuple[Array, Array, Array, Array, Array]
    ) -> tuple[Float[Array, "b m"], None]:
        write, write_bias, read, read_bias, weight = turn
        near = similarity.unit(code @ read + read_bias[None, :])
        return code + weight * bit(whole - near, write, write_bias), None

    steps = params["read"].shape[0]
    weights = 0.5 ** jnp.arange(1, steps + 1, dtype=whole.dtype)
    turns = (params["write"][1:], params["write_bias"][1:], params["read"], params["read_bias"], weights)
    return lax.scan(more, bit(whole, params["write"][0], params["write_bias"][0]), turns)[0]


def recurrent_start(sample: Float[Array, "n d"], size: int, bits: int, seed: int = 0) -> Params:
    """Params from which codes are those of a scalar quantizer of so many bits in a random rotation.

        W_0 = (f - mean) Q / s,   R_t = a s Q^T + mean,   W_t = r Q / s

    where `s` is the root mean square of each rotated dimension.  Training goes on from here; from random weights it
    needs far more data.

    Returns: `write` `[bits, d, size]`, `write_bias` `[bits, size]`, `read` `[bits - 1, size, d]`, `read_bias`.
    """
    whole = similarity.unit(sample)
    d = whole.shape[1]
    turn = rotation(seed, max(d, size))[:d, :size]  # its rows, or its columns, are at right angles
    mean = jnp.mean(whole, axis=0)
    spread = jnp.sqrt(jnp.mean(jnp.square((whole - mean[None, :]) @ turn), axis=0))
    spread = jnp.where(spread > 0, spread, 1)
    write, read = turn / spread[None, :], spread[:, None] * turn.T
    biases = jnp.zeros((bits, size)).at[0].set(-(mean @ write))
    return {
        "write": jnp.repeat(write[None], bits, axis=0),
        "write_bias": biases,
        "read": jnp.repeat(read[None], bits - 1, axis=0),
        "read_bias": jnp.repeat(mean[None], bits - 1, axis=0),
    }


def compatible_start(
    sample: Float[Array, "n d"], old: Float[Array, "n m"], size: int, bits: int, seed: int = 0
) -> Params:
    """Params whose codes begin where an older model's codes of the same texts are, as far as linear maps can tell.

    The first dimensions are fitted to the old codes by ridge regression, the rest begins as `recurrent_start`; each
    further bit is fitted to what the bits before it left.  Training with `losses.backward_compatible` goes on from
    here; from a random rotation it finds the old space only with far more data.

    Args:
      sample: vectors of the new model.
      old: the older model's codes of the same texts, decoded; no longer than the new ones.
    Raises: ValueError for another number of rows, or old codes that are longer than the new ones.
    Source: Gan et al. 2023, arXiv:2302.08714, sec. 3.3, for the task; this start is our own.
    """
    n, known = old.shape
    if known > size or len(sample) != n:
        raise ValueError(
            f"compatible_start: wanted an old code of each of {len(sample)} vectors, of {size} dimensions or fewer, "
            f"got {list(old.shape)}"
        )
    return _compatible(check.sample("compatible_start", sample), old, size, bits, seed)


@partial(jax.jit, static_argnames=("size", "bits", "seed"))
def _compatible(sample: Float[Array, "n d"], old: Float[Array, "n m"], size: int, bits: int, seed: int) -> Params:
    whole = similarity.unit(sample)
    plain = recurrent_start(sample, size, bits, seed)
    turned = whole @ plain["write"][0] + plain["write_bias"][0][None, :]
    wanted = jnp.concatenate([old / jnp.sqrt(jnp.mean(jnp.square(old))), turned[:, old.shape[1] :]], axis=1)
    write, bias = _ridge(whole, wanted)
    code = jnp.where(whole @ write + bias[None, :] < 0, -1.0, 1.0)
    writes, write_biases = [write], [bias]
    reads: list[Array] = []
    read_biases: list[Array] = []
    for turn in range(1, bits):
        read, bias = _ridge(code, whole)
        reads, read_biases = [*reads, read], [*read_biases, bias]
        left = whole - similarity.unit(code @ read + bias[None, :])
        write, bias = _ridge(left, (wanted - code) * 2.0**turn)
        writes, write_biases = [*writes, write], [*write_biases, bias]
        code = code + 0.5**turn * jnp.where(left @ write + bias[None, :] < 0, -1.0, 1.0)
    if bits == 1:
        return {"write": jnp.stack(writes), "write_bias": jnp.stack(write_biases)} | {
            name: plain[name] for name in ("read", "read_bias")
        }
    return {
        "write": jnp.stack(writes),
        "write_bias": jnp.stack(write_biases),
        "read": jnp.stack(reads),
        "read_bias": jnp.stack(read_biases),
    }


def _ridge(given: Float[Array, "n d"], wanted: Float[Array, "n m"]) -> tuple[Float[Array, "d m"], Float[Array, " m"]]:
    """The linear map, with a bias, that gives what is wanted most nearly; directions that hardly vary count little."""
    middle, target = jnp.mean(given, axis=0), jnp.mean(wanted, axis=0)
    centred = given - middle[None, :]
    gram = jnp.einsum("nd,ne->de", centred, centred)
    steady = RIDGE * jnp.trace(gram) / gram.shape[0]
    matrix = jnp.linalg.solve(
        gram + steady * jnp.eye(len(gram)), jnp.einsum("nd,nm->dm", centred, wanted - target[None, :])
    )
    return matrix, target - middle @ matrix


def recurrent_encoder(sample: Float[Array, "n d"], size: int, bits: int) -> Encoder:
    """Vectors to multi-level codes, as training reads an encoder; it begins as `recurrent_start` says.

    Raises: as `recurrent`, and for a sample that is empty, not finite or has a vector of zeros.
    """
    made = recurrent(size, bits)
    del made  # which checks the two
    sample = _lengths("recurrent_encoder", check.sample("recurrent_encoder", sample))

    def init(key: Array) -> Params:
        return recurrent_start(sample, size, bits, int(jax.random.randint(key, (), 0, 2**31 - 1)))

    return Encoder(init, multilevel)


def recurrent(size: int, bits: int) -> Compressor:
    """Some bits for each of `size` dimensions by recurrent binarization, and the code's length where it varies.

    Fitting gives the untrained start (`recurrent_start`); params that were trained upon it (`recurrent_encoder`,
    `recipes.bebr`) are a state as well.  Decoding gives the code scaled to length one, in the code's own space.

    symmetric: the cosine of two codes.
    asymmetric: the cosine of a code and of the query before it is cut to signs, `W_0 f`.

    Its name is `bebr-<size>x<bits>`.  A code takes `size * bits / 8` bytes, and 2 for the length's inverse as a
    half-precision number where there is more than one bit.

    >>> recurrent(384, 2).bytes_per_vector(384)
    98

    Raises: ValueError for bits other than 1, 2, 3 or 4, or a code that does not fill bytes.  In use: for vectors of
      zeros, which have no direction.
    Source: Gan et al. 2023, arXiv:2302.08714 (BEBR), sec. 3.2 and 3.5.
    """
    if not 1 <= bits <= 4:
        raise ValueError(f"bebr: wanted 1 to 4 bits a dimension, got {bits}")
    if size < 1 or size * bits % 8:
        raise ValueError(f"bebr: wanted a code that fills bytes, got {size} dimensions of {bits} bits")
    name = f"bebr-{size}x{bits}"

    def fit(sample: Float[Array, "n d"]) -> Params:
        return _start(_lengths(name, check.sample(name, sample)), size, bits)

    def apply(state: Params, vectors: Float[Array, "n d"]) -> UInt8[Array, "n c"]:
        rows = _lengths(name, check.vectors(name, vectors, state["write"].shape[1]))
        return _encoded(state, rows, bits)

    def decode(state: Params, codes: UInt8[Array, "n c"]) -> Float[Array, "n m"]:
        return _decoded(check.codes(name, codes, jnp.uint8, bytes_per_vector(0)), size, bits)

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        rows = _lengths(name, check.vectors(name, query, state["write"].shape[1]))
        return _dot(before_signs(state, rows), decode(state, codes))

    def symmetric(state: Params, query: UInt8[Array, "b c"], codes: UInt8[Array, "n c"]) -> Float[Array, "b n"]:
        return _dot(decode(state, query), decode(state, codes))

    def bytes_per_vector(dim: int) -> int:
        return packed_bytes(size, bits) + (2 if bits > 1 else 0)

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, bytes_per_vector)


@jax.jit
def before_signs(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n m"]:
    """`W_0 f` scaled to length one: a query that keeps all it knows."""
    return similarity.unit(similarity.unit(vectors) @ state["write"][0] + state["write_bias"][0][None, :])


_start = partial(jax.jit, static_argnames=("size", "bits"))(recurrent_start)


def _lengths(name: str, rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The rows, once none is known to be zero."""
    if check.concrete(rows):
        with jax.ensure_compile_time_eval():
            zeros = int(jnp.sum(jnp.all(rows == 0, axis=1)))
        if zeros:
            raise ValueError(f"{name}: wanted vectors with a direction, got {zeros} of zeros")
    return rows


@partial(jax.jit, static_argnames="bits")
def _encoded(state: Params, vectors: Float[Array, "n d"], bits: int) -> UInt8[Array, "n c"]:
    code = multilevel(state, vectors)
    top = (1 << bits) - 1
    levels = pack(jnp.round((code * (1 << bits - 1) + top) / 2).astype(jnp.int32), bits)
    if bits == 1:
        return levels
    inverse = lax.rsqrt(jnp.sum(jnp.square(code), axis=1)).astype(jnp.float16)
    return jnp.concatenate([levels, lax.bitcast_convert_type(inverse, jnp.uint8)], axis=1)


@partial(jax.jit, static_argnames=("size", "bits"))
def _decoded(codes: UInt8[Array, "n c"], size: int, bits: int) -> Float[Array, "n m"]:
    top = (1 << bits) - 1
    if bits == 1:
        return (2 * unpack(codes, size, 1).astype(jnp.float32) - 1) / jnp.sqrt(jnp.float32(size))
    inverse = lax.bitcast_convert_type(codes[:, -2:], jnp.float16).astype(jnp.float32)
    levels = (2 * unpack(codes[:, :-2], size, bits).astype(jnp.float32) - top) / (1 << bits - 1)
    return levels * inverse[:, None]
