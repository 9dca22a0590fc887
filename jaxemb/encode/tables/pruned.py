"""Tables most of whose numbers become zero: DeepLight by magnitude, PEP by learnt thresholds, AutoSrh by learnt scales.

All of them save the numbers that are left, as `sparse` stores them: as many as the budget holds with their columns and
rows, no fewer.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables import sparse
from jaxemb.encode.tables.table import (
    BatchLoss,
    BelowFloor,
    Fields,
    Looked,
    Lookup,
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
    needs_counts,
    uniform,
)
from jaxemb.types import Params

EVERY = 10  # steps from one pruning to the next
DECAY = 0.99
UNITS = 700  # of a schedule; after so many, 0.99^700 < 1e-3 of the way is left


class Planned(NamedTuple):
    """How many numbers stay, the bytes they take, those of one more where that is far from the budget, and names."""

    kept: int
    bytes: int
    larger: float | None
    entries: tuple[str, ...]


def deep_light(warm: float = 0.2, full: float = 0.7) -> Method:
    """Prune what is smallest, ever more of it while training: every 10 steps all but the largest become zero.

    Of all numbers the share that is zero grows as

        sparsity(t) = S (1 - 0.99^t),   t from 0 to 700 between `warm` and `full` of the run, and S after it

    and what was pruned may grow again in between.  `S` is what the budget leaves no room for.

    Args:
      warm: share of the run's steps before any pruning.
      full: share of the run after which the sparsity is reached.
    Raises: ValueError unless 0 <= warm < full <= 1.
    Source: Deng et al. 2021, arXiv:2002.06987, sec. 4.3; there `t` is a hundredth of the steps, which only long runs
      can wait for.
    """
    if not 0 <= warm < full <= 1:
        raise ValueError(f"deep-light: wanted 0 <= warm < full <= 1, got {warm} and {full}")

    def plan(fields: Fields, ratio: float) -> Table:
        sized = _planned("deep-light", fields, ratio)

        def init(key: Array) -> Params:
            return {"weight": uniform(key, (fields.ids, fields.dim), fields)}

        def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            return Looked(params["weight"][global_ids(fields, ids)])

        def settle(before: Params, moved: Params, now: Now, loss: BatchLoss) -> Params:
            left = _left(fields, sized.kept, now, warm, full)
            due = (now.step % EVERY == 0) | (now.step + 1 == now.steps)
            return {"weight": lax.cond(due, partial(largest, count=left), lambda weight: weight, moved["weight"])}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return largest(params["weight"], sized.kept)[global_ids(fields, ids)]

        return _sparse("deep-light", fields, sized, init, lookup, lambda params: params["weight"],
                       Training(look=look, settle=settle))  # fmt: skip

    return plan


def pep(start: float = -15.0, search: float = 0.5) -> Method:
    """Learnt thresholds: `e = sign(w) max(|w| - sigmoid(s), 0)`, a threshold for every number; then anew with the mask.

    While searching, every 10 steps all `s` are raised together until as many numbers are zero as a schedule asks for,
    that of `deep_light` over this stage; how they differ is learnt.  What is above zero at its end stays; the numbers
    start anew and train with the others held at zero.

    Args:
      start: every `s` to begin with.
      search: share of the run for the search.
    Source: Liu et al. 2021, arXiv:2101.07577, eq. 5 and sec. 3.3.  There weight decay raises the thresholds, for
      as long as it takes.
    """
    if not 0 < search < 1:
        raise ValueError(f"pep: wanted a share of the run in (0, 1), got {search}")

    def plan(fields: Fields, ratio: float) -> Table:
        sized = _planned("pep", fields, ratio)

        def init(key: Array) -> Params:
            weight = uniform(key, (fields.ids, fields.dim), fields)
            return {"weight": weight, "threshold": jnp.full_like(weight, start)}

        def value(params: Params) -> Float[Array, "n d"]:
            return _shrunk(params["weight"], params["threshold"])

        def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            at = global_ids(fields, ids)
            return Looked(_shrunk(params["weight"][at], params["threshold"][at]))

        def settle(before: Params, moved: Params, now: Now, loss: BatchLoss) -> Params:
            left = _left(fields, sized.kept, now, 0.0, 0.9)
            due = (now.step % EVERY == 0) | (now.step + 1 == now.steps)
            raised = lax.cond(due, partial(_raised, count=left), lambda _, threshold: threshold, *_both(moved))
            return {**moved, "threshold": raised}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return largest(value(params), sized.kept)[global_ids(fields, ids)]

        def then(params: Params, key: Array, score: Score) -> Next:
            table = kept_entries()(fields, ratio)
            where = sparse.largest(np.asarray(value(params)), sized.kept)
            return Next(table, {**table.init(key), "kept": jnp.asarray(where)}, restart=True)

        return _sparse("pep", fields, sized, init, lookup, value,
                       Training(look=look, settle=settle, share=search, then=then))  # fmt: skip

    return plan


def kept_entries() -> Method:
    """A table of which only some numbers are not zero, which ones being given: PEP's second stage.

    Its own start keeps the first ones; `kept`, a mask of as many, is put in their place.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        sized = _planned("kept-entries", fields, ratio)
        shape = (fields.ids, fields.dim)

        def init(key: Array) -> Params:
            first = np.arange(fields.ids * fields.dim).reshape(shape) < sized.kept
            return {"weight": uniform(key, shape, fields), "kept": jnp.asarray(first)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            at = global_ids(fields, ids)
            return jnp.where(params["kept"][at], params["weight"][at], 0.0)

        table = _sparse("kept-entries", fields, sized, init, lookup, lambda params: params["weight"],
                        Training())  # fmt: skip

        def finalize(params: Params) -> Params:
            return sparse.stored(np.asarray(params["weight"]), np.asarray(params["kept"]))

        return table._replace(finalize=finalize)

    return plan


def auto_srh(
    groups: int = 6, penalty: float = 1e-5, rate: float = 1e-3, warm: float = 0.2, search: float = 0.4
) -> Method:
    """Learnt scales: `e = w * alpha[group]`, ids in groups by how frequent they are, an alpha for each dimension.

    Three stages: rows alone; then rows on training batches and alphas on validation batches, in turns, with a loss of
    `penalty * sum |alpha|`, where a group's gradient is divided by its mean magnitude and alphas stay in [0, 1]; then
    rows alone again.  Of what rows times alphas come to, the largest numbers stay.

    Args:
      groups: of about as many ids each.
      penalty: of the alphas' sum.
      rate: how far an alpha moves in one step whose gradient is the mean of its group.
      warm, search: shares of the run that the first two stages take.
    Raises: ValueError without counts, for fewer than one group, or shares of the whole run.
    Source: Kong et al. 2023, "AutoSrh: an embedding dimensionality search framework", sec. 3.
    """
    if groups < 1 or penalty < 0 or rate <= 0:
        raise ValueError(f"auto-srh: wanted 1 group or more and a rate above 0, got {groups}, {penalty}, {rate}")
    if not (warm > 0 and search > 0 and warm + search < 1):
        raise ValueError(f"auto-srh: wanted shares of the run above 0 that leave some, got {warm} and {search}")

    def plan(fields: Fields, ratio: float) -> Table:
        sized = _planned("auto-srh", fields, ratio)
        group = _groups(fields, groups)

        def init(key: Array) -> Params:
            weight = uniform(key, (fields.ids, fields.dim), fields)
            return {"weight": weight, "scale": jnp.ones((groups, fields.dim)), "group": jnp.asarray(group)}

        def value(params: Params) -> Float[Array, "n d"]:
            return params["weight"] * params["scale"][params["group"]]

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return largest(value(params), sized.kept)[global_ids(fields, ids)]

        def looking(cost: float) -> Callable[[Params, Array, Now], Looked]:
            def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
                at = global_ids(fields, ids)
                vectors = params["weight"][at] * params["scale"][params["group"][at]]
                return Looked(vectors, cost * jnp.abs(params["scale"]).sum())

            return look

        held = Training(look=looking(0.0), held=("scale",))
        made = partial(_sparse, "auto-srh", fields, sized, init, lookup, value)
        last = made(held)
        middle = made(
            Training(look=looking(penalty), validated={"scale": _by_group(rate)}, share=search,
                     then=lambda params, key, score: Next(last, params))
        )  # fmt: skip
        return made(held._replace(share=warm, then=lambda params, key, score: Next(middle, params)))

    return plan


def largest(weight: Float[Array, "n d"], count: Int[Array, ""] | int) -> Float[Array, "n d"]:
    """The `count` numbers of largest magnitude, zeros in place of the others; of those that are equal none or all.

    >>> print(largest(jnp.array([[1.0, -3.0], [2.0, 0.5]]), 2))
    [[ 0. -3.]
     [ 2.  0.]]
    """
    return jnp.where(jnp.abs(weight) > _border(jnp.abs(weight), count), weight, 0.0)


def _border(size: Float[Array, "n d"], count: Int[Array, ""] | int) -> Float[Array, ""]:
    """The least number that at most `count` are larger than: 31 halvings of the bits, in whose order floats stand.

    One pass over the table each, where sorting it would take far more.
    """

    def halve(_: Int[Array, ""], between: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = between  # too many are larger than `low`; not too many than `high`
        middle = jnp.maximum(low + (high - low) // 2, 0)
        many = jnp.sum(size > lax.bitcast_convert_type(middle, jnp.float32), dtype=jnp.int32) > count
        return jnp.where(many, middle, low), jnp.where(many, high, middle)

    ends = (jnp.int32(-1), lax.bitcast_convert_type(jnp.float32(jnp.inf), jnp.int32))
    return lax.bitcast_convert_type(lax.fori_loop(0, 32, halve, ends)[1], jnp.float32)


def _shrunk(weight: Float[Array, "..."], threshold: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.sign(weight) * jax.nn.relu(jnp.abs(weight) - jax.nn.sigmoid(threshold))


def _both(params: Params) -> tuple[Array, Array]:
    return params["weight"], params["threshold"]


def _raised(weight: Float[Array, "n d"], threshold: Float[Array, "n d"], count: Int[Array, ""]) -> Float[Array, "n d"]:
    """Thresholds raised alike, no further than that `count` numbers or fewer are above them."""
    # |w| > sigmoid(s + c) just where logit |w| - s > c.
    size = jnp.clip(jnp.abs(weight), 1e-30, 1 - 1e-6)
    above = jnp.log(size) - jnp.log1p(-size) - threshold
    return threshold + _border(jnp.maximum(above, 0.0), count)


def _left(fields: Fields, kept: int, now: Now, warm: float, full: float) -> Int[Array, ""]:
    """How many numbers the schedule leaves."""
    numbers = fields.ids * fields.dim
    begin, end = warm * now.steps, full * now.steps
    t = UNITS * jnp.clip((now.step.astype(jnp.float32) + 1 - begin) / jnp.maximum(end - begin, 1), 0.0, 1.0)
    zero = (numbers - kept) * (1 - DECAY**t)
    return jnp.where(t >= UNITS, kept, numbers - jnp.floor(zero).astype(jnp.int32))


def _planned(name: str, fields: Fields, ratio: float) -> Planned:
    budget = checked_budget(name, fields, ratio)
    kept = sparse.kept(fields.ids, fields.dim, budget)
    if kept < 1:
        floor = sparse.bytes_of(fields.ids, fields.dim, 1) / fields.bytes
        raise BelowFloor(name, ratio, floor, "one number, with its column and row,")
    taken, numbers = sparse.bytes_of(fields.ids, fields.dim, kept), fields.ids * fields.dim
    larger: float | None = None
    if not near(fields, ratio, taken):
        larger = sparse.bytes_of(fields.ids, fields.dim, kept + 1) if kept < numbers else math.inf
    return Planned(kept, taken, larger, sparse.entries(fields.ids, fields.dim, kept))


def _groups(fields: Fields, groups: int) -> Int[np.ndarray, " n"]:
    """The group of every id: those seen most in the first, each of about as many ids."""
    counts = np.concatenate(needs_counts("auto-srh", fields))
    found = np.empty(fields.ids, np.int32)
    found[np.argsort(-counts, kind="stable")] = np.arange(fields.ids) * groups // fields.ids
    return found


def _by_group(rate: float) -> optax.GradientTransformation:
    """A step of `rate` against each group's gradient as divided by its mean magnitude, that stays in [0, 1]."""

    def update(slope: Array, scale: Array | None) -> Array:
        def leaf(slope: Array, scale: Array) -> Array:
            size = jnp.abs(slope).mean(axis=-1, keepdims=True)
            moved = scale - rate * slope / jnp.where(size > 0, size, 1.0)
            return jnp.clip(moved, 0.0, 1.0) - scale

        return jax.tree.map(leaf, slope, scale)

    return optax.stateless(update)


def _sparse(
    name: str,
    fields: Fields,
    sized: Planned,
    init: Callable[[Array], Params],
    lookup: Lookup,
    value: Callable[[Params], Float[Array, "n d"]],
    training: Training,
) -> Table:
    """A table whose finished form are the `kept` largest numbers of what `value` computes."""

    def finalize(params: Params) -> Params:
        whole = np.asarray(value(params))
        # Of equals at the border `lookup` takes none: those that fill up the planned size are stored as zeros.
        return sparse.stored(np.asarray(largest(jnp.asarray(whole), sized.kept)), sparse.largest(whole, sized.kept))

    def compact(form: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
        at = global_ids(fields, ids)
        return sparse.rows_of(form, at.reshape(-1), fields.dim).reshape(*at.shape, fields.dim)

    return checked(
        Table(name, fields, {"kept": sized.kept}, sized.bytes, sized.larger, init, lookup, finalize, compact,
              sized.entries, training=training)
    )  # fmt: skip
