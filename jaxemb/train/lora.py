"""Low-rank adapters: small trees that change chosen matrices of params, trained instead of them, and merged out."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.checkpoint import leaves, nest
from jaxemb.train.leaves import is_matrix, matching
from jaxemb.types import Encoder, Params

BASE = ("base.*",)
"""The `frozen` of `fit` that leaves only the adapters of an adapted encoder to move."""


class Adapter(NamedTuple):
    """A way to change params by few numbers.

    init: (key, base) -> adapters, a small tree with the paths of the leaves they change; the start changes nothing.
    merged: (base, adapters) -> params like `base`, with the adapters in them.
    """

    init: Callable[[Array, Params], Params]
    merged: Callable[[Params, Params], Params]


def by_rank(rank: int) -> float:
    """`1 / rank`, what `alpha` is multiplied by.  Source: Hu et al. 2021, arXiv:2106.09685, sec. 4.1."""
    return 1.0 / rank


def by_root_of_rank(rank: int) -> float:
    """`1 / sqrt(rank)`: larger ranks keep learning.  Source: Kalajdzievski 2023, arXiv:2312.03732 (rsLoRA), eq. 6."""
    return rank**-0.5


def lora(
    patterns: Sequence[str], *, rank: int, alpha: float | None = None, scaling: Callable[[int], float] = by_rank
) -> Adapter:
    """Chosen matrices `W` (in, out) become `W + s a b`, where `a` is (in, rank), `b` (rank, out).

    `s = alpha * scaling(rank)`, with `scaling` either `by_rank` or `by_root_of_rank`.
    `a` starts random with variance `1 / in` and `b` at zero, so that training starts from the base.  Layers that are
    stacked have an adapter each.  The sum is taken once a call, in float32, and rounded to the dtype of the base.

    Args:
      patterns: of dotted paths, as `blocks.*.kernel`; of what they fit, matrices are taken, stacked or not, and biases
        and norms are left.
      alpha: how strongly the product counts; by default `rank`, so that by `by_rank` the scale is 1.
    Raises: ValueError for a rank or alpha that is not positive; by `init` for a pattern that fits no matrix, a leaf
      with more axes, as of convolutions, or a matrix that is smaller than the rank; by `merged` for adapters of
      another base or rank.
    Source: Hu et al. 2021, arXiv:2106.09685, eq. 3.
    """
    scale = _scale(rank, alpha, scaling)

    def init(key: Array, base: Params) -> Params:
        return _each(_factors(rank), key, base, patterns)

    def change(matrix: Float[Array, "*l i o"], own: Params) -> Float[Array, "*l i o"]:
        return matrix + _product(own, scale)

    return Adapter(init, lambda base, adapters: _changed(base, adapters, change, rank))


def dora(
    patterns: Sequence[str], *, rank: int, alpha: float | None = None, scaling: Callable[[int], float] = by_rank
) -> Adapter:
    """As `lora`, with length and direction learnt apart: `W' = m * V / |V|`, where `V = W + s a b`.

    Lengths are those of the weights into one output, `|V|_o = sqrt(sum_i V_io^2)`, as in the authors' code; `m` starts
    as those of `W`.  An output without weights has `m = 0`, and gets some when `m` moves.

    The gradient is that of the formula.  The paper's section 4.3 holds `|V|` constant in it to save memory, of which
    here, where the matrix is made anyway, none would be saved.

    Args, Raises: those of `lora`.
    Source: Liu et al. 2024, arXiv:2402.09353, eq. 5.
    """
    scale = _scale(rank, alpha, scaling)
    factors = _factors(rank)

    def start(key: Array, matrix: Array) -> Params:
        return {**factors(key, matrix), "magnitude": _lengths(matrix.astype(jnp.float32))}

    def change(matrix: Float[Array, "*l i o"], own: Params) -> Float[Array, "*l i o"]:
        moved = matrix + _product(own, scale)
        lengths = _lengths(moved)
        share = own["magnitude"].astype(jnp.float32) / jnp.where(lengths > 0, lengths, jnp.ones_like(lengths))
        return moved * share[..., None, :]

    return Adapter(
        lambda key, base: _each(start, key, base, patterns),
        lambda base, adapters: _changed(base, adapters, change, rank),
    )


def adapted(encoder: Encoder, adapter: Adapter) -> Encoder:
    """The encoder with adapters; its params are `{"base": <the encoder's>, "adapters": <the small tree>}`.

    `fit(..., frozen=BASE)` trains the adapters alone: only they have gradients, optimizer state and a place in
    checkpoints.  The base is part of the params, and not of the function, because what a function holds would be
    compiled into its program.  `adapter.merged(params["base"], params["adapters"])` are params of the plain encoder
    that give the same vectors.
    """

    def init(key: Array) -> Params:
        own, small = jax.random.split(key)
        base = encoder.init(own)
        return {"base": base, "adapters": adapter.init(small, base)}

    def apply(params: Params, inputs: Any) -> Float[Array, "b d"]:
        return encoder.apply(adapter.merged(params["base"], params["adapters"]), inputs)

    return Encoder(init, apply)


def started(adapter: Adapter, base: Params, key: Array) -> Params:
    """Params of an adapted encoder that give the vectors of `base`."""
    return {"base": base, "adapters": adapter.init(key, base)}


def _scale(rank: int, alpha: float | None, scaling: Callable[[int], float]) -> float:
    alpha = rank if alpha is None else alpha
    if rank < 1 or not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"lora: rank and alpha must be above 0, got rank={rank} and alpha={alpha}")
    return alpha * scaling(rank)


def _factors(rank: int) -> Callable[[Array, Array], Params]:
    def start(key: Array, matrix: Array) -> Params:
        *layers, inputs, outputs = matrix.shape
        a = inputs**-0.5 * jax.random.normal(key, (*layers, inputs, rank))
        return {"a": a, "b": jnp.zeros((*layers, rank, outputs))}

    def checked(key: Array, matrix: Array) -> Params:
        if matrix.ndim > 3:
            raise ValueError(f"wanted a matrix (in, out), or stacked ones (layers, in, out), got {matrix.shape}")
        if rank > min(matrix.shape[-2:]):
            raise ValueError(f"rank {rank} is larger than the matrix, {matrix.shape[-2:]}")
        return start(key, matrix)

    return checked


def _each(start: Callable[[Array, Array], Params], key: Array, base: Params, patterns: Sequence[str]) -> Params:
    """A start of every chosen matrix, each from a key of its own."""
    paths = matching(base, patterns, among=is_matrix)
    if not paths:
        raise ValueError("lora: wanted one pattern or more, got none")
    flat, made = leaves(base), {}
    for path, own in zip(paths, jax.random.split(key, len(paths)), strict=True):
        try:
            made.update({f"{path}.{name}": leaf for name, leaf in start(own, jnp.asarray(flat[path])).items()})
        except ValueError as error:
            raise ValueError(f"lora: {path}: {error}") from error
    return nest(made)


def _changed(base: Params, adapters: Params, change: Callable[[Array, Params], Array], rank: int) -> Params:
    """`base` with `change(matrix, its adapter)` in place of every matrix that has one."""
    flat, small = leaves(base), leaves(adapters)
    owners = dict.fromkeys(path.rpartition(".")[0] for path in small)
    for path in owners:
        _check(path, flat.get(path), small.get(f"{path}.a"), small.get(f"{path}.b"), rank)
        own = {name.rpartition(".")[2]: leaf for name, leaf in small.items() if name.rpartition(".")[0] == path}
        matrix = jnp.asarray(flat[path])
        flat[path] = change(matrix.astype(jnp.float32), own).astype(matrix.dtype)
    return _filled(base, flat)


def _filled(tree: Params, flat: dict[str, Any], above: str = "") -> Params:
    """The same tree with these leaves; branches without any stay."""
    return {
        name: _filled(inner, flat, f"{above}{name}.") if isinstance(inner, dict) else flat[f"{above}{name}"]
        for name, inner in tree.items()
    }


def _check(path: str, matrix: Any, a: Any, b: Any, rank: int) -> None:
    if matrix is None:
        raise ValueError(f"lora: adapters have {path}, the base has no such leaf")
    *layers, inputs, outputs = matrix.shape
    wanted = ((*layers, inputs, rank), (*layers, rank, outputs))
    got = tuple(None if factor is None else tuple(factor.shape) for factor in (a, b))
    if got != wanted:
        raise ValueError(
            f"lora: {path}: wanted a and b of shapes {wanted[0]} and {wanted[1]}, got {got[0]} and {got[1]}"
        )


def _product(own: Params, scale: float) -> Float[Array, "*l i o"]:
    a, b = own["a"].astype(jnp.float32), own["b"].astype(jnp.float32)
    return scale * jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _lengths(matrix: Float[Array, "*l i o"]) -> Float[Array, "*l o"]:
    """Of the weights into every output; the root has no slope at zero."""
    squares = jnp.sum(matrix * matrix, axis=-2)
    some = squares > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, squares, jnp.ones_like(squares))), jnp.zeros_like(squares))
