"""Query drift: how far queries move when a model is trained on, and how to take it back for an older index.

`seen` gathers differences batch by batch, `mean_drift` makes their mean; `chained` adds those of several updates, and
`compensate` takes them from a query.  `told` says how much of the movement one vector explains, which is what a user
should know before trusting it.

Source: Goswami et al. 2025, arXiv:2506.00037 (QDC), sec. 4.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxemb import progress
from jaxemb.similarity import unit
from jaxemb.types import Params

Version = TypeVar("Version", bound=Hashable)

DOUBTFUL = 0.5
"""Of the cosine between two tasks' drifts: below it, the one was seen to lower the other's recall (card's pilot)."""
OFF_UNIT = 1e-2  # of a squared length: what rounding to bfloat16 leaves, and no vector that was not scaled


class Seen(NamedTuple):
    """Sums over the queries so far, in float32; those of two devices or two halves of the queries add up leaf by leaf.

    total: of `new - old`.
    squares: of its squared length.
    cosine: between old and new.
    queries: how many.
    """

    total: Float[Array, " d"]
    squares: Float[Array, ""]
    cosine: Float[Array, ""]
    queries: Float[Array, ""]


class Told(NamedTuple):
    """What is known of a drift.

    length: of the mean drift; vectors have length one.
    cosine: the mean between what the two models make of a query; 1 is no movement at all.
    explained: the share of all movement that its mean is, in [0, 1]; what is left moves each query its own way.
    transfer: the cosine with the drift of the queries that are to be compensated; None where there were none at hand.
    """

    length: float
    cosine: float
    explained: float
    transfer: float | None

    @property
    def doubtful(self) -> bool:
        """Whether the drift of the task does not seem to be that of the queries to be compensated."""
        return self.transfer is not None and self.transfer < DOUBTFUL


def unseen(dim: int) -> Seen:
    """No query yet."""
    nothing = jnp.zeros((), jnp.float32)
    return Seen(jnp.zeros(dim, jnp.float32), nothing, nothing, nothing)


def seen(
    state: Seen,
    old: Float[Array, "b d"],
    new: Float[Array, "b d"],
    mask: Bool[Array, " b"] | None = None,
    *,
    normalised: bool = False,
) -> Seen:
    """With one more batch of queries, as the old model and the new one see them.

    >>> state = seen(unseen(2), jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]]))
    >>> print(mean_drift(state))
    [-1.  1.]

    Args:
      old, new: row `i` of both is one query; scaled to length one here, in float32 whatever they are, for the
        difference of near-equal bfloat16 numbers has few digits left.
      mask: False on rows of padding.
      normalised: says that they have length one already: what has not is an error then, not scaled.
    Raises: ValueError for shapes that differ, or from the state's; outside `jax.jit`, for numbers that are not finite,
      and for other lengths than one with `normalised`.
    """
    if old.shape != new.shape or old.ndim != 2 or old.shape[1] != state.total.shape[0]:
        raise ValueError(
            f"seen: wanted old and new queries [b, {state.total.shape[0]}], got {list(old.shape)} and {list(new.shape)}"
        )
    if not all(jnp.issubdtype(rows.dtype, jnp.floating) for rows in (old, new)):
        raise ValueError(f"seen: wanted float vectors, got {old.dtype} and {new.dtype}; decode codes first")
    for name, rows in (("old", old), ("new", new)):
        _check(f"seen: {name} queries", rows, normalised=normalised)
    before, after = unit(old.astype(jnp.float32)), unit(new.astype(jnp.float32))
    counted = jnp.ones(len(old), jnp.float32) if mask is None else mask.astype(jnp.float32)
    moved = (after - before) * counted[:, None]
    return Seen(
        state.total + moved.sum(axis=0),
        state.squares + (moved * moved).sum(),
        state.cosine + ((before * after).sum(axis=1) * counted).sum(),
        state.queries + counted.sum(),
    )


def mean_drift(state: Seen) -> Float[Array, " d"]:
    """The mean of `new - old` over the queries.  Raises: ValueError where there was none."""
    if not isinstance(state.queries, jax.core.Tracer) and not float(state.queries):
        raise ValueError("mean_drift: wanted one query or more, got none")
    return state.total / state.queries


def told(state: Seen, transfer: Seen | None = None) -> Told:
    """What the queries say of their drift; a drift that will hardly do for the other queries is said aloud.

    Args:
      transfer: of a few queries like those that are to be compensated, where there are some.
    Raises: ValueError where there was no query.
    """
    mean = np.asarray(mean_drift(state), np.float64)
    count, squares = float(state.queries), float(state.squares)
    other = None if transfer is None else np.asarray(mean_drift(transfer), np.float64)
    known = Told(
        length=float(np.linalg.norm(mean)),
        cosine=float(state.cosine) / count,
        explained=float(mean @ mean) / (squares / count) if squares else 0.0,
        transfer=None if other is None else _cosine(mean, other),
    )
    if known.doubtful:
        progress.say(
            f"query drift: cosine {known.transfer:.2f} with the drift of the queries to be compensated, below "
            f"{DOUBTFUL}: compensation may lower their recall"
        )
    return known


def chained(
    drifts: Mapping[tuple[Version, Version], Float[Array, " d"]], older: Version, newer: Version
) -> Float[Array, " d"]:
    """The drift from one version to a later one: the sum over the updates between.

    >>> drifts = {(1, 2): jnp.array([1.0, 0.0]), (2, 3): jnp.array([0.0, 3.0])}
    >>> print(chained(drifts, 1, 3))
    [1. 3.]

    Args:
      drifts: (version before, version after) -> drift of that update.
      older: that the index was made with; the same as `newer` gives zeros.
    Raises: ValueError where no chain of updates leads there, or more than one; or vectors differ in size.
    """
    if len(sizes := {np.shape(one) for one in drifts.values()}) > 1:
        raise ValueError(f"chained: drifts differ in size: {sorted(sizes)}")
    if older == newer:
        if not any(older in link for link in drifts):
            raise ValueError(f"chained: version {older!r} is unknown; there are {_known(drifts)}")
        return jnp.zeros_like(next(iter(drifts.values())))
    paths = list(_paths(drifts, older, newer))
    if len(paths) != 1:
        which = "no chain of updates leads" if not paths else f"{len(paths)} chains of updates lead"
        raise ValueError(f"chained: {which} from version {older!r} to {newer!r}; there are {_known(drifts)}")
    return jnp.stack([drifts[link] for link in paths[0]]).sum(axis=0)


def compensate(
    query: Float[Array, "b d"], drift: Float[Array, " d"], *, renormalise: bool = False
) -> Float[Array, "b d"]:
    """The new model's queries as the old model would have seen them, as far as one vector tells.

    >>> print(compensate(jnp.array([[0.0, 1.0]]), jnp.array([-1.0, 1.0])))
    [[1. 0.]]

    Args:
      query: of length one, by the new model.
      drift: from the index's version to the query's.
      renormalise: scale to length one.  It changes no query's order in one index; do it where scores of several
        indexes are compared, or have a threshold.
    Raises: ValueError for another size.
    """
    if query.shape[1] != drift.shape[0]:
        raise ValueError(f"compensate: wanted queries [b, {drift.shape[0]}], as the drift is, got {list(query.shape)}")
    back = query - drift.astype(query.dtype)[None, :]
    return unit(back) if renormalise else back


def by_cluster(old: Float[Array, "n d"], new: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Params:
    """A drift for each cluster of the old model's queries; one without a query has the mean of all.

    Args:
      old, new: of length one; row `i` of both is one query.
      centres: of the clusters, as `compress.kmeans` finds them among `old`.
    Returns: `{"centres": [k, d], "drifts": [k, d]}`, where `centres` are of the new model's queries, which are all
      that there is when a query comes.
    Raises: ValueError for shapes that differ.
    Source: arXiv:2506.00037, the ablation with several drift vectors.
    """
    if old.shape != new.shape or old.shape[1:] != centres.shape[1:]:
        raise ValueError(
            f"by_cluster: wanted old, new and centres of one size, got {list(old.shape)}, {list(new.shape)} and "
            f"{list(centres.shape)}"
        )
    own, moved = _nearest(old, centres), new - old
    count = jax.ops.segment_sum(jnp.ones(len(old), old.dtype), own, len(centres))
    mean = jax.ops.segment_sum(moved, own, len(centres)) / jnp.maximum(count, 1)[:, None]
    drifts = jnp.where(count[:, None] > 0, mean, moved.mean(axis=0)[None, :])
    return {"centres": centres + drifts, "drifts": drifts}


def compensate_by_cluster(state: Params, query: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """As `compensate`, by the drift of the cluster that is nearest to the query."""
    return query - state["drifts"][_nearest(query, state["centres"])]


def _nearest(rows: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Int[Array, " n"]:
    return (rows @ centres.T - 0.5 * (centres * centres).sum(axis=1)[None, :]).argmax(axis=1)


def _check(what: str, rows: Float[Array, "b d"], *, normalised: bool) -> None:
    if isinstance(rows, jax.core.Tracer):
        return
    values = np.asarray(rows, np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{what}: {int((~np.isfinite(values)).any(axis=1).sum())} rows hold NaN or infinity")
    off = np.abs((values * values).sum(axis=1) - 1)
    if normalised and (off > OFF_UNIT).any():
        raise ValueError(f"{what}: {int((off > OFF_UNIT).sum())} of {len(rows)} have not length one, as was said")


def _cosine(first: Float[np.ndarray, " d"], second: Float[np.ndarray, " d"]) -> float:
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0


def _known(drifts: Mapping[tuple[Version, Version], object]) -> str:
    return ", ".join(f"{before!r} to {after!r}" for before, after in drifts) or "none"


def _paths(
    links: Mapping[tuple[Version, Version], object], older: Version, newer: Version
) -> Iterator[list[tuple[Version, Version]]]:
    """Every way from one version to the other that comes to none twice."""
    ways: list[list[tuple[Version, Version]]] = [[(before, after)] for before, after in links if before == older]
    while ways:
        way: list[tuple[Version, Version]] = ways.pop()
        if way[-1][1] == newer:
            yield way
        else:
            been = {version for link in way for version in link}
            further = [link for link in links if link[0] == way[-1][1] and link[1] not in been]
            ways += [[*way, link] for link in further]
