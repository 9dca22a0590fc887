"""A new model and an old index: adapt, or re-index?  Every option measured on the same held-out queries.

The new model reads the queries and a sample of the documents, never the whole corpus: what making the index again would
take is told from the sample.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxemb import adapt, evaluate
from jaxemb.adapt import Adapter, Between, Told
from jaxemb.evaluate import Interval
from jaxemb.index import bundle
from jaxemb.index.bundle import Bundle

OLD, AGAIN = "old model", "index made again"
MAPS: Mapping[str, Callable[[], Between]] = {
    "identity": adapt.identity,
    "shift": adapt.shift,
    "procrustes": adapt.procrustes,
    "ridge": adapt.ridge,
    "perceptron": adapt.perceptron,
}
"""What an old index is searched through, the cheapest first."""
ONE_SIZE = ("identity", "shift")
"""Those that two models of different sizes have not."""
K = 10


if TYPE_CHECKING:
    from jaxemb.model import Model


class Sides(NamedTuple):
    """The same texts as the old model and the new one see them, row by row; vectors of length one."""

    old: Float[np.ndarray, "n d"]
    new: Float[np.ndarray, "n e"]


class Option(NamedTuple):
    """One way to go on.

    values: nDCG@10 of each held-out query.
    quality: their mean and its interval.
    seconds: to make it, for the whole index.
    nbytes: that are written.
    adapter: what queries go through; None where nothing is between.
    """

    name: str
    values: Float[np.ndarray, " q"]
    quality: Interval
    seconds: float
    nbytes: int
    adapter: Adapter | None


class Advice(NamedTuple):
    """What was measured, and what follows.

    options: the cheapest first.
    recommended: the name of one; of those that the queries cannot tell from the best, the cheapest.
    told: how far queries moved, and whether one vector tells how.
    why: the recommendation in a sentence.
    """

    options: tuple[Option, ...]
    recommended: str
    told: Told | None
    why: str

    @property
    def chosen(self) -> Option:
        """The recommended one."""
        return next(one for one in self.options if one.name == self.recommended)


def upgrade(
    documents: Sides,
    training: Sides,
    queries: Sides,
    relevant: Int[np.ndarray, "q r"] | None = None,
    *,
    versions: tuple[str, str] = ("old", "new"),
    size: int | None = None,
    seconds: float = 0.0,
    seed: int = 0,
) -> Advice:
    """Measure every option, and recommend one.

    - `old model`: nothing changes; it is no choice where the new model is wanted, but what the others are beside.
    - the `MAPS`: new queries brought to the old space; `identity` is as they are.  The shift is learnt from training
      queries alone, as query drift compensation has it; the others from these and the sample's documents.
    - `index made again`: new queries, new documents.

    Args:
      documents: a sample of the index, by both models; what answers the queries has to be among it.
      training: queries that maps are learnt from.  Texts of the index's kind do where there are no queries.
      queries: others, that options are measured on.
      relevant: rows of the sample that answer each of them, filled up with -1; by default the ten that the new model
        finds in the sample as it sees it, so that what is measured is fidelity to a new index.
      versions: fingerprints of both models.
      size: documents of the whole index; the sample's by default.
      seconds: that the new model took to read the sample.
      seed: of the bootstrap.
    Raises: ValueError for sides of different lengths, or no queries.
    """
    _check(documents, training, queries)
    if relevant is None:
        relevant = adapt.nearest(queries.new, documents.new, K)
    whole = len(documents.old) if size is None else size
    same_size = documents.old.shape[1] == documents.new.shape[1]
    told = None
    if same_size:
        seen = adapt.seen(adapt.unseen(training.old.shape[1]), jnp.asarray(training.old), jnp.asarray(training.new))
        moved = adapt.seen(adapt.unseen(queries.old.shape[1]), jnp.asarray(queries.old), jnp.asarray(queries.new))
        told = adapt.told(seen, moved)

    def option(
        name: str,
        query: Float[np.ndarray, "q d"],
        document: Float[np.ndarray, "n d"],
        taken: float,
        nbytes: int,
        adapter: Adapter | None = None,
    ) -> Option:
        values = evaluate.row_ndcg(adapt.nearest(query, document, K), relevant)
        return Option(name, values, evaluate.interval(values, seed=seed), taken, nbytes, adapter)

    options = [option(OLD, queries.old, documents.old, 0.0, 0)]
    for name, make in MAPS.items():
        if name in ONE_SIZE and not same_size:
            continue
        given = (
            training
            if name == "shift"
            else Sides(*(np.concatenate(pair) for pair in zip(training, documents, strict=True)))
        )
        begun, between = time.perf_counter(), make()
        state = between.fit(jnp.asarray(given.new), jnp.asarray(given.old))
        adapter = Adapter(between, state, source=versions[1], target=versions[0])
        query = np.asarray(adapt.brought(adapter, jnp.asarray(queries.new), of=versions[1]))
        options.append(option(name, query, documents.old, time.perf_counter() - begun, adapter.nbytes, adapter))
    again = seconds * whole / len(documents.new)
    options.append(option(AGAIN, queries.new, documents.new, again, 4 * whole * documents.new.shape[1]))
    return _advised(options, told, seed)


def measured(
    old: Bundle,
    new: "Model",
    queries: Sequence[str],
    answers: Sequence[Sequence[str]] | None = None,
    *,
    sample: int = 2000,
    seed: int = 0,
) -> Advice:
    """`upgrade` for a bundle and a new model: half of the queries teach the maps, on the other half all is measured.

    Vectors are compared as both models make them, without what a compressor or an approximate index loses.

    Args:
      queries: four or more texts; more of them tell options better apart.
      answers: ids of the documents that answer each query; as `upgrade` has it without.
      sample: documents that the new model reads; more, where more answer.
    Raises: ValueError for less than four queries, another number of answers, a query without one, and an id that the
      bundle has not.
    """
    from jaxemb.model import encode, fingerprint

    if len(queries) < 4:
        raise ValueError(f"upgrade: wanted four queries or more, half of them to learn from, got {len(queries)}")
    documents = [old.documents[row] for row in range(len(old.documents))]
    wanted = _rows([name for name, _ in documents], answers, len(queries))
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(queries))
    learnt, held = order[: len(order) // 2], order[len(order) // 2 :]
    needed = np.unique([row for query in held for row in wanted[query]]).astype(int) if wanted else np.zeros(0, int)
    rest = np.setdiff1d(draw.permutation(len(documents))[: sample + len(needed)], needed, assume_unique=True)
    chosen = np.concatenate([needed, rest[: max(0, sample - len(needed))]])
    texts = [documents[row][1] for row in chosen]
    place = {int(row): number for number, row in enumerate(chosen)}

    def read(model: "Model", some: Sequence[str], prompt: str) -> Float[np.ndarray, "n d"]:
        rows = np.asarray(encode(model, list(some), prompt=prompt, what=f"{prompt}s"), np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    begun = time.perf_counter()
    fresh = read(new, texts, "document")
    seconds = time.perf_counter() - begun
    asked = Sides(*(read(model, queries, "query") for model in (old.model, new)))
    lines = [[place[row] for row in wanted[query]] for query in held] if wanted else []
    width = max(map(len, lines), default=0)
    relevant = np.array([line + [-1] * (width - len(line)) for line in lines], np.int64) if lines else None
    return upgrade(
        Sides(read(old.model, texts, "document"), fresh),
        Sides(asked.old[learnt], asked.new[learnt]),
        Sides(asked.old[held], asked.new[held]),
        relevant,
        versions=(fingerprint(old.model), fingerprint(new)),
        size=len(documents),
        seconds=seconds,
        seed=seed,
    )


def _rows(names: Sequence[str], answers: Sequence[Sequence[str]] | None, count: int) -> list[list[int]]:
    """Rows of each query's answers; none at all without answers."""
    if answers is None:
        return []
    if len(answers) != count or not all(answers):
        raise ValueError(f"upgrade: wanted one answer or more for each of {count} queries, got {len(answers)} lists")
    place = {name: row for row, name in enumerate(names)}
    if unknown := sorted({name for line in answers for name in line} - place.keys()):
        raise ValueError(f"upgrade: answers that the bundle has not: {unknown[:3]}")
    return [[place[name] for name in line] for line in answers]


def _advised(options: Sequence[Option], told: Told | None, seed: int) -> Advice:
    offered = [one for one in options if one.name != OLD]
    best = max(offered, key=lambda one: one.quality.estimate)
    for one in offered:  # the cheapest first
        behind = evaluate.paired_difference(best.values, one.values, seed=seed)
        if one is best or behind.low <= 0:
            break
    why = f"{one.name} has nDCG@10 {one.quality.estimate:.4f}"
    if one is best:
        why += ", the best, and all that is cheaper is clearly behind it"
    else:
        why += (
            f", which {len(one.values)} queries cannot tell from the {best.quality.estimate:.4f} of {best.name} "
            f"(difference {behind.estimate:.4f}, from {behind.low:.4f} to {behind.high:.4f}), and is cheaper"
        )
    return Advice(tuple(options), one.name, told, why)


def _joined(first: Sides, second: Sides) -> Sides:
    return Sides(np.concatenate([first.old, second.old]), np.concatenate([first.new, second.new]))


def _check(documents: Sides, training: Sides, queries: Sides) -> None:
    for name, sides in (("documents", documents), ("training queries", training), ("queries", queries)):
        if len(sides.old) != len(sides.new) or not len(sides.old):
            raise ValueError(
                f"upgrade: {name}: wanted the same texts by both models, one or more, got {len(sides.old)} and "
                f"{len(sides.new)}"
            )
    for side in ("old", "new"):
        sizes = {getattr(sides, side).shape[1] for sides in (documents, training, queries)}
        if len(sizes) > 1:
            raise ValueError(f"upgrade: vectors of the {side} model have several sizes: {sorted(sizes)}")


def write(folder: Path | str, old: Bundle, new: "Model", option: Option) -> Bundle:
    """The bundle of an option: the old index with what lies between, or the index made again in the same kind.

    Raises: as `bundle.upgrade` and `bundle.write`; ValueError for the old model, which is a bundle already.
    """
    if option.name == OLD:
        raise ValueError(f"upgrade: {OLD!r} is what there is already; wanted {', '.join(MAPS)} or {AGAIN!r}")
    if option.adapter is not None:
        return bundle.upgrade(folder, old, new, option.adapter)
    ids, texts = zip(*(old.documents[row] for row in range(len(old.documents))), strict=True)
    made = {**old.manifest["made"], "before": old.manifest["model"]}
    return bundle.write(folder, new, ids, texts, compressor=old.index.compressor, index=old.index.kind, made=made)


def table(advice: Advice) -> str:
    """Options line by line, the recommended one marked, and why."""
    lines = [f"{'':2}{'':18}{'nDCG@10':>24}{'seconds':>10}{'bytes':>14}"]
    for one in advice.options:
        mark = "*" if one.name == advice.recommended else ""
        low, mean, high = one.quality
        quality = f"{mean:.4f} [{low:.4f}, {high:.4f}]"
        lines.append(f"{mark:2}{one.name:18}{quality:>24}{one.seconds:>10.1f}{one.nbytes:>14,}")
    if advice.told is not None:
        told = advice.told
        lines.append(
            f"queries moved: mean cosine {told.cosine:.3f}, {told.explained:.0%} of it in one direction, whose cosine "
            f"with the held-out queries' is {told.transfer or 0:.2f}" + (" (doubtful)" if told.doubtful else "")
        )
    return "\n".join([*lines, advice.why])
