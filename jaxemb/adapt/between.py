"""Maps from one model's vectors to another's, learnt from what both make of the same texts.

They let a new model's queries search the index of an old one, or bring an old index to a new model.  From the fewest
numbers to the most: `identity`, `shift`, `procrustes`, `ridge`, `perceptron`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.types import Params

HELD_OUT = 0.1  # of the pairs, by which the perceptron's best step is chosen


class Between(NamedTuple):
    """A map between two models' spaces; what is learnt is a small pytree that saves and jits like params.

    name: what tables and files call it.
    fit: (source `[n, d]`, target `[n, e]`) -> state; row `i` of both is one text.
    apply: (state, source `[b, d]`) -> `[b, e]`.
    """

    name: str
    fit: Callable[[Float[Array, "n d"], Float[Array, "n e"]], Params]
    apply: Callable[[Params, Float[Array, "b d"]], Float[Array, "b e"]]


def identity() -> Between:
    """Nothing at all: a new model's vectors in the old one's space as they are.  Raises: from `fit`, as `shift`."""

    def fit(source: Float[Array, "n d"], target: Float[Array, "n e"]) -> Params:
        _check("identity", source, target, fewest=1)
        _same_size("identity", source, target)
        return {}

    return Between("identity", fit, lambda state, source: source)


def shift() -> Between:
    """One vector that is added: the mean of `target - source`, as query drift compensation has it.

    >>> one = shift()
    >>> print(one.apply(one.fit(jnp.zeros((2, 2)), jnp.array([[1.0, 0.0], [3.0, 2.0]])), jnp.ones((1, 2))))
    [[3. 2.]]

    The state is `{"shift": [d]}`.  Raises: from `fit`, ValueError as `ridge`, and for two sizes.
    """

    def fit(source: Float[Array, "n d"], target: Float[Array, "n e"]) -> Params:
        _check("shift", source, target, fewest=1)
        _same_size("shift", source, target)
        return {"shift": (target - source).mean(axis=0)}

    return Between("shift", fit, lambda state, source: source + state["shift"][None, :])


def procrustes() -> Between:
    """The rotation, with or without a mirror, that brings source vectors nearest to the target's.

        W = U V^T,  where U S V^T are the singular vectors and values of source^T target

    The state is `{"matrix": [d, e]}`, whose rows are orthonormal (its columns, where the target has fewer dimensions):
    lengths and angles stay, so that the neighbours within the source do.

    Raises: from `fit`, ValueError as `ridge`.
    Source: Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem".
    """

    def fit(source: Float[Array, "n d"], target: Float[Array, "n e"]) -> Params:
        _check("procrustes", source, target, fewest=1)
        left, _, right = np.linalg.svd(np.asarray(source, np.float64).T @ np.asarray(target, np.float64), False)
        return {"matrix": jnp.asarray(left @ right, jnp.float32)}

    return Between("procrustes", fit, lambda state, source: source @ state["matrix"])


def ridge(strength: float = 1e-3) -> Between:
    """The linear map with an offset that is nearest to the target in the mean square, its size held back.

        W = (X^T X + a I)^-1 X^T Y,  where X and Y have no mean and a is `strength` times the mean of X^T X's diagonal

    The state is `{"matrix": [d, e], "offset": [e]}`.

    Args:
      strength: no unit; > 0.  Large, and all goes to the mean of the target.
    Raises: ValueError for a strength that is not above 0; from `fit`, for sides that are not float vectors of the same
      texts, two or more, or hold NaN or infinity.
    Source: Hoerl & Kennard 1970, "Ridge regression".
    """
    if not strength > 0:
        raise ValueError(f"ridge: wanted a strength above 0, got {strength}")

    def fit(source: Float[Array, "n d"], target: Float[Array, "n e"]) -> Params:
        _check("ridge", source, target, fewest=2)
        rows, wanted = np.asarray(source, np.float64), np.asarray(target, np.float64)
        apart = rows - rows.mean(axis=0)[None, :]
        gram = apart.T @ apart
        mean = float(np.trace(gram)) / len(gram)
        held = gram + strength * max(mean, float(np.finfo(np.float32).tiny)) * np.eye(len(gram))
        matrix = np.linalg.solve(held, apart.T @ (wanted - wanted.mean(axis=0)[None, :]))
        offset = wanted.mean(axis=0) - rows.mean(axis=0) @ matrix
        return {"matrix": jnp.asarray(matrix, jnp.float32), "offset": jnp.asarray(offset, jnp.float32)}

    return Between("ridge", fit, _affine)


def perceptron(
    hidden: int = 256, *, steps: int = 500, batch_size: int = 256, learning_rate: float = 1e-3, seed: int = 0
) -> Between:
    """`ridge`, and a layer of hidden units for what is not linear.

        y = x W + b + gelu(x A + c) B,  with B = 0 at first, so that it begins as `ridge`

    Only A, B and c move, by Adam on the mean squared difference; of the steps, the one is kept that does best on a
    tenth of the pairs, which are held out, and that may be the first.

    The state is `{"matrix", "offset", "down": [d, h], "bias": [h], "up": [h, e]}`.

    Args:
      hidden: units.
      steps, batch_size, learning_rate: of the training.
      seed: of A, of the pairs that are held out, and of batches.
    Raises: as `ridge`, and from `fit` for fewer than 20 pairs; ValueError for numbers that are not above 0.
    Source: Vejendla 2025, "Drift-Adapter", arXiv:2509.23471, whose residual perceptron adds to the vector itself.
    """
    if min(hidden, steps, batch_size) < 1 or not learning_rate > 0:
        raise ValueError(
            f"perceptron: wanted hidden, steps and batch_size of 1 or more and a learning rate above 0, got {hidden}, "
            f"{steps}, {batch_size} and {learning_rate}"
        )

    def fit(source: Float[Array, "n d"], target: Float[Array, "n e"]) -> Params:
        _check("perceptron", source, target, fewest=20)
        order = np.random.default_rng(seed).permutation(len(source))
        held, used = np.split(order, [max(1, round(HELD_OUT * len(order)))])
        source, target = jnp.asarray(source, jnp.float32), jnp.asarray(target, jnp.float32)
        linear = ridge().fit(source[used], target[used])
        key = jax.random.key(seed)
        scale = np.sqrt(source.shape[1] ** -1)
        moving = {
            "down": scale * jax.random.normal(key, (source.shape[1], hidden)),
            "bias": jnp.zeros(hidden),
            "up": jnp.zeros((hidden, target.shape[1])),
        }
        rows = jax.random.randint(jax.random.fold_in(key, 1), (steps, min(batch_size, len(used))), 0, len(used))
        left = target - _affine(linear, source)
        best = _trained(moving, (source[used], left[used]), (source[held], left[held]), rows, optax.adam(learning_rate))
        return {**linear, **best}

    return Between(f"perceptron-{hidden}", fit, lambda state, source: _affine(state, source) + _hidden(state, source))


def _affine(state: Params, source: Float[Array, "b d"]) -> Float[Array, "b e"]:
    return source @ state["matrix"] + state["offset"][None, :]


def _hidden(state: Params, source: Float[Array, "b d"]) -> Float[Array, "b e"]:
    return jax.nn.gelu(source @ state["down"] + state["bias"][None, :]) @ state["up"]


Pairs = tuple[Array, Array]


def _trained(
    params: Params, used: Pairs, held: Pairs, rows: Int[Array, "s b"], optimizer: optax.GradientTransformation
) -> Params:
    """The params of the step that does best on the pairs held out."""

    def off(params: Params, pairs: Pairs) -> Float[Array, ""]:
        return jnp.square(_hidden(params, pairs[0]) - pairs[1]).sum(axis=1).mean()

    def step(carry, chosen):  # type: ignore[no-untyped-def]
        params, state, best, lowest = carry
        grads = jax.grad(off)(params, (used[0][chosen], used[1][chosen]))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        now = off(params, held)
        best = jax.tree.map(lambda new, kept: jnp.where(now < lowest, new, kept), params, best)
        return (params, state, best, jnp.minimum(now, lowest)), None

    begin = (params, optimizer.init(params), params, off(params, held))
    (_, _, best, _), _ = jax.jit(lambda begin, rows: lax.scan(step, begin, rows))(begin, rows)
    return best


def _same_size(name: str, source: Float[Array, "n d"], target: Float[Array, "n e"]) -> None:
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"{name}: wanted two models of one size, got {source.shape[1]} and {target.shape[1]}")


def _check(name: str, source: Float[Array, "n d"], target: Float[Array, "n e"], *, fewest: int) -> None:
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target):
        raise ValueError(
            f"{name}: wanted vectors of the same texts by two models, got {list(source.shape)} and {list(target.shape)}"
        )
    if len(source) < fewest:
        raise ValueError(f"{name}: wanted {fewest} texts or more, got {len(source)}")
    for side, rows in (("source", source), ("target", target)):
        if not jnp.issubdtype(rows.dtype, jnp.floating):
            raise ValueError(f"{name}: {side}: wanted float vectors, got {rows.dtype}; decode codes first")
        if not np.isfinite(np.asarray(rows, np.float32)).all():
            raise ValueError(f"{name}: {side}: NaN or infinity")
