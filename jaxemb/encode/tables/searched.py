"""AutoDim and OptEmbed: how many dimensions a field has is searched on validation data, then trained anew."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxemb.encode.tables.codes import running
from jaxemb.encode.tables.dimensions import given_dimensions
from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BelowFloor,
    Fields,
    Looked,
    Method,
    Next,
    Now,
    Score,
    Table,
    Training,
    checked,
    checked_budget,
    global_ids,
    near,
    same,
    starts,
    uniform,
)
from jaxemb.types import Params

EPSILON = 1e-5
COOLING = 0.00005 / 2000  # of the temperature, an example
COLDEST = 0.01
HALVINGS = 60


def auto_dim(rate: float = 1e-3, search: float = 0.5) -> Method:
    """Search a width for every field among 2, 4, 8, ... `d`; then train anew with those.

    While searching there is a table for each width `c`, and

        z_c = norm(E_c[x] W_fc + b_fc),   p_f = softmax((log softmax(alpha_f) + Gumbel) / tau),   e = sum_c p_fc z_c
        tau = max(0.01, 1 - 0.00005 / 2000 * examples seen)

    Tables move on training batches, `alpha` on validation batches.  Of all widths that the budget holds, those are
    taken whose `sum_f log p_f` is largest, with a price on bytes such that the budget is used up; the final table is
    `given_dimensions` of them.  The search takes nearly twice the memory of a full table.

    Args:
      rate: of plain gradient steps on `alpha`.
      search: share of the run for the search.
    Raises: ValueError for a share outside (0, 1), fewer than 2 dimensions, or a batch of one, which has no variance.
    Source: Zhao et al. 2021, arXiv:2006.14827, sec. 3 (first-order approximation); the price is ours: there the size
      comes out as it may.
    """
    if not (0 < search < 1 and rate > 0):
        raise ValueError(f"auto-dim: wanted a share of the run in (0, 1) and a rate above 0, got {search} and {rate}")

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget("auto-dim", fields, ratio)
        if fields.dim < 2:
            raise ValueError(f"auto-dim: wanted vectors of 2 dimensions or more, got {fields.dim}")
        widths = [1 << power for power in range(1, fields.dim.bit_length()) if 1 << power < fields.dim] + [fields.dim]
        floor = FLOAT_BYTES * int(_costs(fields, widths).min(axis=1).sum())
        if floor > budget:
            raise BelowFloor("auto-dim", ratio, floor / fields.bytes, f"{widths[0]} dimensions a field")
        each, shape = len(fields.sizes), (len(widths), len(fields.sizes), fields.dim)

        def init(key: Array) -> Params:
            params: Params = {"alpha": jnp.zeros((each, len(widths)))}
            for width, draw in zip(widths, jax.random.split(key, len(widths)), strict=True):
                one, other = jax.random.split(draw)
                params[f"rows_{width}"] = uniform(one, (fields.ids, width), fields)
                params[f"project_{width}"] = jax.random.normal(other, (each, width, fields.dim)) / math.sqrt(width)
                params[f"bias_{width}"] = jnp.zeros((each, fields.dim))
            return params | {"mean": jnp.zeros(shape), "variance": jnp.ones(shape)}

        def projected(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "c b f d"]:
            at = global_ids(fields, ids)
            return jnp.stack(
                [
                    jnp.einsum("bfc,fcd->bfd", params[f"rows_{width}"][at], params[f"project_{width}"])
                    + params[f"bias_{width}"][None]
                    for width in widths
                ]
            )

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            found = _normal(projected(params, ids), params["mean"], params["variance"])
            return jnp.einsum("cbfd,fc->bfd", found, jax.nn.softmax(params["alpha"], axis=1))

        def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            if len(ids) < 2:
                raise ValueError(f"auto-dim: wanted a batch of 2 or more, which has a variance, got {len(ids)}")
            whole = projected(params, ids)
            mean, variance = whole.mean(axis=1), whole.var(axis=1)
            drawn = jax.random.gumbel(now.key, (each, len(widths)))
            warmth = jnp.maximum(COLDEST, 1 - COOLING * len(ids) * now.step.astype(jnp.float32))
            share = jax.nn.softmax((jax.nn.log_softmax(params["alpha"], axis=1) + drawn) / warmth, axis=1)
            state = {"mean": running(now, params["mean"], mean), "variance": running(now, params["variance"], variance)}
            return Looked(jnp.einsum("cbfd,fc->bfd", _normal(whole, mean, variance), share), 0.0, state)

        def then(params: Params, key: Array, score: Score) -> Next:
            likely = np.asarray(jax.nn.log_softmax(params["alpha"], axis=1), np.float64)
            dims = chosen_widths(fields, budget, widths, likely)
            return Next(given_dimensions(dims)(fields, ratio), restart=True)

        names = [f"{part}_{width}" for width in widths for part in ("rows", "project", "bias")]
        training = Training(
            look=look,
            held=("mean", "variance"),
            validated={"alpha": optax.sgd(rate)},
            share=search,
            then=then,
        )
        return checked(
            Table("auto-dim", fields, {"widths": tuple(widths)}, None, None, init, lookup, same, lookup,
                  ("alpha", "mean", "variance", *names), training=training)
        )  # fmt: skip

    return plan


def chosen_widths(
    fields: Fields, budget: int, widths: Sequence[int], likely: Float[np.ndarray, "f c"]
) -> tuple[int, ...]:
    """Of each field the width that maximizes `likely - price * bytes`, at the least price that the budget can pay.

    A price below zero is one, too: it fills a budget beyond what is likeliest.  What is left over then goes to single
    fields, the gain in `likely` for a byte deciding.

    >>> chosen_widths(Fields((100, 10), 4), 1200, [2, 4], np.log([[0.4, 0.6], [0.7, 0.3]]))
    (2, 4)
    """
    costs = _costs(fields, widths) * FLOAT_BYTES
    field = np.arange(len(costs))

    def at(price: float) -> Int[np.ndarray, " f"]:
        return np.argmax(likely - price * costs / costs.max(), axis=1)

    low, high = -1e6, 1e6
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if costs[field, at(middle)].sum() <= budget else (middle, high)
    taken = at(high)
    while True:
        left = budget - costs[field, taken].sum()
        more = costs - costs[field, taken][:, None]
        gain = (likely - likely[field, taken][:, None]) / np.maximum(more, 1)
        worth = np.where((more > 0) & (more <= left), gain, -np.inf)
        if not np.isfinite(worth.max()):
            return tuple(int(widths[one]) for one in taken)
        best, width = np.unravel_index(worth.argmax(), worth.shape)
        taken[best] = width


def _costs(fields: Fields, widths: Sequence[int]) -> Int[np.ndarray, "f c"]:
    """Numbers that each field takes at each width, its matrix to the full one included."""
    width = np.array(widths)[None, :]
    return np.array(fields.sizes)[:, None] * width + np.where(width < fields.dim, width * fields.dim, 0)


def _normal(
    whole: Float[Array, "c b f d"], mean: Float[Array, "c f d"], variance: Float[Array, "c f d"]
) -> Float[Array, "c b f d"]:
    return (whole - mean[:, None]) * lax.rsqrt(variance + EPSILON)[:, None]


PARENTS, MUTANTS, CROSSED = 10, 10, 10
CHANGED = 0.1
"""How likely a mutation changes each field."""
QUARTER = 4
"""Rows beyond what the budget holds at a quarter of the dimensions are dropped."""


def opt_embed(penalty: float = 1e-5, rate: float = 1e-4, generations: int = 30, search: float = 0.5) -> Method:
    """Learn which rows are needed, search how many dimensions each field needs, and train anew with those.

    (a) With a threshold `t_f` a field, and for every example and field the first `k` dimensions, `k` even in 1 to `d`:

        e = E[x] * step(|E[x]|_1 - t_f) * first k,   and a loss of penalty * sum_f exp(-t_f)

    where the step has a slope near its edge, by which thresholds learn.  (b) Rows below are dropped.  `k_f` are found
    by evolution: 10 mutants and 10 crossings of the 10 best so far, for some generations, judged on validation data
    with the weights of (a).  (c) Rows and dimensions that are left train anew.

    The budget is met by what the search may choose: of every candidate dimensions are taken away or added until it is
    used up, and rows that it has no room for, even at a quarter of the dimensions, are dropped, those closest to their
    threshold first.

    Args:
      rate: of plain gradient steps on the thresholds.
      generations: of the evolution, each of 20 candidates.
      search: share of the run for (a).
    Raises: ValueError for a share outside (0, 1).
    Source: Lyu et al. 2022, arXiv:2208.04482, sec. 3 and alg. 1; there the size comes out as it may.
    """
    if not (0 < search < 1 and rate > 0 and generations >= 1):
        raise ValueError(
            f"opt-embed: wanted a share of the run in (0, 1), a rate above 0 and 1 generation or more, "
            f"got {search}, {rate} and {generations}"
        )

    def plan(fields: Fields, ratio: float) -> Table:
        numbers = _numbers("opt-embed", fields, ratio)

        def init(key: Array) -> Params:
            return {
                "rows": uniform(key, (fields.ids, fields.dim), fields),
                "threshold": jnp.zeros(len(fields.sizes)),
            }

        def needed(params: Params, rows: Float[Array, "b f d"]) -> Float[Array, "b f"]:
            return step(jnp.abs(rows).sum(axis=2) - params["threshold"][None, :])

        def masked(params: Params, ids: Int[Array, "b f"], dims: Int[Array, "*b f"]) -> Float[Array, "b f d"]:
            rows = params["rows"][global_ids(fields, ids)]
            first = jnp.arange(fields.dim)[None, None, :] < jnp.broadcast_to(dims, ids.shape)[:, :, None]
            return jnp.where(first, rows * needed(params, rows)[:, :, None], 0.0)

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return masked(params, ids, jnp.full((1, len(fields.sizes)), fields.dim))

        def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            dims = jax.random.randint(now.key, ids.shape, 1, fields.dim + 1)
            return Looked(masked(params, ids, dims), penalty * jnp.exp(-params["threshold"]).sum())

        def then(params: Params, key: Array, score: Score) -> Next:
            alive = _alive(fields, numbers, params)
            rows = tuple(int(one.sum()) for one in np.split(alive, fields.starts[1:]))
            kept = {**params, "rows": jnp.where(jnp.asarray(alive)[:, None], params["rows"], 0.0)}
            looked = jax.jit(masked)

            def fitness(dims: tuple[int, ...]) -> float:
                return score(lambda ids: looked(kept, ids, jnp.asarray(dims)[None, :]))

            draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
            dims = evolved(rows, fields.dim, numbers, fitness, generations, draw)
            table = shortened_rows(dims, rows)(fields, ratio)
            return Next(table, {**table.init(key), "place": _places(fields, alive)}, restart=True)

        training = Training(look=look, apart={"threshold": optax.sgd(rate)}, share=search, then=then)
        return checked(
            Table("opt-embed", fields, {}, None, None, init, lookup, same, lookup, ("rows", "threshold"),
                  training=training)
        )  # fmt: skip

    return plan


def shortened_rows(dims: Sequence[int], rows: Sequence[int]) -> Method:
    """Some rows of each field, cut after its first dimensions: what `opt_embed` trains in the end.

    A dropped row and a dimension that is cut are zero.  Its own start keeps the first rows; `place`, where each id's
    row stands in its field, the number of rows for none, is put in its place.

    Raises: ValueError for rows or dimensions that a field does not have; BelowFloor where they take more than the
      budget.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget("shortened-rows", fields, ratio)
        if not (
            len(dims) == len(rows) == len(fields.sizes)
            and all(1 <= dim <= fields.dim for dim in dims)
            and all(0 <= count <= size for count, size in zip(rows, fields.sizes, strict=True))
        ):
            raise ValueError(
                f"shortened-rows: wanted dimensions in [1, {fields.dim}] and rows up to {fields.sizes}, "
                f"got {tuple(dims)} and {tuple(rows)}"
            )
        total = max(1, sum(count * dim for count, dim in zip(rows, dims, strict=True)))
        kind = _kind(fields)
        spent = total * FLOAT_BYTES + fields.ids * kind.itemsize
        if spent > budget:
            raise BelowFloor("shortened-rows", ratio, spent / fields.bytes, f"rows {tuple(rows)} of {tuple(dims)}")
        begin = starts([count * dim for count, dim in zip(rows, dims, strict=True)]).astype(np.int32)
        width, held = np.array(dims, np.int32), np.array(rows, np.int32)

        def init(key: Array) -> Params:
            first = [np.minimum(np.arange(size), count) for size, count in zip(fields.sizes, rows, strict=True)]
            return {
                "numbers": uniform(key, (total,), fields),
                "place": jnp.asarray(np.concatenate(first).astype(kind)),
            }

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            row = params["place"][global_ids(fields, ids)].astype(jnp.int32)
            column = jnp.arange(fields.dim, dtype=jnp.int32)[None, None, :]
            at = (begin[None, :] + row * width[None, :])[:, :, None] + column
            there = (row < held[None, :])[:, :, None] & (column < width[None, :, None])
            return jnp.where(there, params["numbers"][jnp.where(there, at, 0)], 0.0)

        larger = None if near(fields, ratio, spent) else math.inf
        decided = {"dims": tuple(dims), "rows": tuple(rows)}
        return checked(
            Table("shortened-rows", fields, decided, spent, larger, init, lookup, same, lookup, ("numbers", "place"))
        )

    return plan


def evolved(
    rows: Sequence[int],
    dim: int,
    numbers: int,
    fitness: Callable[[tuple[int, ...]], float],
    generations: int,
    draw: np.random.Generator,
) -> tuple[int, ...]:
    """The fittest dimensions of fields with so many rows that evolution finds among those that fill the budget.

    Args:
      numbers: the budget.
    Source: Guo et al. 2020, arXiv:1904.00420, alg. 1.
    """

    def grown(dims: Int[np.ndarray, " f"]) -> tuple[int, ...]:
        return _filled(dims, np.array(rows), dim, numbers, draw)

    def mutant(parent: tuple[int, ...]) -> tuple[int, ...]:
        other = np.where(draw.random(len(rows)) < CHANGED, draw.integers(1, dim + 1, len(rows)), parent)
        return grown(other)

    def crossing(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
        return grown(np.where(draw.random(len(rows)) < 0.5, one, other))

    def added(seen: dict[tuple[int, ...], float], some: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
        return seen | {dims: fitness(dims) for dims in dict.fromkeys(some) if dims not in seen}

    seen = added({}, [grown(draw.integers(1, dim + 1, len(rows))) for _ in range(MUTANTS + CROSSED)])
    for _ in range(generations):
        best = sorted(seen, key=lambda dims: -seen[dims])[:PARENTS]

        def parent(best: Sequence[tuple[int, ...]] = best) -> tuple[int, ...]:
            return best[int(draw.integers(len(best)))]

        children = [mutant(parent()) for _ in range(MUTANTS)]
        seen = added(seen, children + [crossing(parent(), parent()) for _ in range(CROSSED)])
    return max(seen, key=lambda dims: seen[dims])


def _filled(
    dims: Int[np.ndarray, " f"], rows: Int[np.ndarray, " f"], dim: int, numbers: int, draw: np.random.Generator
) -> tuple[int, ...]:
    """Dimensions taken away from fields at random until they fit, then added where one more fits, until none does."""
    dims = dims.copy()
    while (dims * rows).sum() > numbers:
        dims[draw.choice(np.flatnonzero(dims > 1))] -= 1
    while len(can := np.flatnonzero((dims < dim) & (rows <= numbers - (dims * rows).sum()))):
        dims[draw.choice(can)] += 1
    return tuple(int(one) for one in dims)


def _alive(fields: Fields, numbers: int, params: Params) -> Bool[np.ndarray, " n"]:
    """Which rows stay: those above their threshold, as far as the budget holds a quarter of their dimensions."""
    length = np.abs(np.asarray(params["rows"])).sum(axis=1)
    above = length - np.repeat(np.asarray(params["threshold"]), fields.sizes)
    alive = above > 0
    most = numbers // max(1, fields.dim // QUARTER)
    if alive.sum() > most:
        order = np.argsort(-above, kind="stable")
        alive[order[most:]] = False
    return alive


def _places(fields: Fields, alive: Bool[np.ndarray, " n"]) -> UInt[Array, " n"]:
    """Where each id's row stands among those of its field that stay; their number for one that does not."""
    parts = np.split(alive, fields.starts[1:])
    found = [np.where(part, np.cumsum(part) - 1, part.sum()) for part in parts]
    return jnp.asarray(np.concatenate(found).astype(_kind(fields)))


def _kind(fields: Fields) -> np.dtype:
    """The narrowest unsigned integer that holds a row of a field, and one more."""
    return np.min_scalar_type(max(fields.sizes))


def _numbers(name: str, fields: Fields, ratio: float) -> int:
    """Numbers that the budget holds beside the place of each id's row."""
    budget, places = checked_budget(name, fields, ratio), fields.ids * _kind(fields).itemsize
    if (floor := places + len(fields.sizes) * FLOAT_BYTES) > budget:
        raise BelowFloor(name, ratio, floor / fields.bytes, "one number a field, and the place of each id's row,")
    return (budget - places) // FLOAT_BYTES


@jax.custom_jvp
def step(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 above zero, else 0, with the slope `2 - 4 |u|` up to 0.4 from it, 0.4 up to 1, and none beyond.

    >>> print(step(jnp.array([-0.1, 0.2])), jax.vmap(jax.grad(step))(jnp.array([0.1, -0.5, 2.0])))
    [0. 1.] [1.6 0.4 0. ]

    Source: Xu & Cheung 2019, as Lyu et al. 2022, eq. 8, has it.
    """
    return (value > 0).astype(value.dtype)


@step.defjvp
def _slope(at: tuple[Array], along: tuple[Array]) -> tuple[Array, Array]:
    far = jnp.abs(at[0])
    slope = jnp.where(far <= 0.4, 2 - 4 * far, jnp.where(far <= 1, 0.4, 0.0))
    return step(at[0]), slope * along[0]
