"""What `tune` saw, for people and for tools: Markdown, JSON lines and a plot."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jaxemb import atomic
from jaxemb.harness import machine, plot, record
from jaxemb.harness.panels import Drawn, Panel, panel
from jaxemb.harness.record import Record
from jaxemb.harness.summary import Cell, Column
from jaxemb.harness.tables import significant
from jaxemb.harness.tune import Seen, Tuned
from jaxemb.harness.vectors import Vectors

BYTES = Column("bytes_per_vector", "bytes per vector", "", "bytes_per_vector", "only", "bytes", "low")
MS = Column("search_ms_p50", "median ms of one search", "", "search_ms", "p50", "ms", "low")


def explain(tuned: Tuned, given: Vectors, folder: Path | str) -> None:
    """Write `tune.md`, `tune.jsonl` and `tune.svg`, each whole or not at all.

    Args:
      given: what was tuned on.
    Raises: ImportError that names the extra, without matplotlib.
    """
    folder = Path(folder)
    record.write(folder / "tune.jsonl", records(tuned, given))
    if tuned.seen:
        drawn = fronts(tuned)
        plot.draw(drawn, _groups(tuned), f"{given.name}/{given.split}, {given.encoder}", folder / "tune.svg")
    with atomic.file(folder / "tune.md") as partial:
        partial.write_text(markdown(tuned, given), encoding="utf-8")


def records(tuned: Tuned, given: Vectors) -> list[Record]:
    """Every pipeline in every round: values a query, the share that is kept, bytes and milliseconds."""
    where, versions = machine.device(), machine.versions()
    made = []
    for one in [*tuned.seen, *([tuned.tested] if tuned.tested is not None else [])]:
        config = {
            "encoder": given.encoder,
            "pipeline": one.pipeline.plain,
            "wanted": asdict(tuned.wanted),
            "round": one.round,
            "queries": one.queries,
            "documents": one.documents,
            "chosen": one.round == 0 or one.pipeline == tuned.chosen,
        }
        for metric, values in (
            (tuned.metric, one.values),
            (f"share of {tuned.wanted.of}'s {tuned.metric}", (one.share.estimate,)),
            ("bytes_per_vector", (float(one.bytes_per_vector),)),
            ("search_ms_p50", (one.ms,)),
        ):
            made.append(
                Record(
                    recipe=one.pipeline.label,
                    config=config,
                    task=one.task,
                    metric=metric,
                    values=values,
                    each="query" if metric == tuned.metric else "once",
                    device=where,
                    versions=versions,
                )
            )
    return made


def _groups(tuned: Tuned) -> list[str]:
    return list(dict.fromkeys(one.pipeline.group for one in tuned.last))


def fronts(tuned: Tuned) -> list[Panel]:
    """The share that is kept against bytes and against time, of every pipeline as it was seen last."""
    title = f"share of {tuned.wanted.of}'s {tuned.metric} that is kept"
    quality, names = Column("share", title, "", tuned.metric, "mean", "share", "high"), _groups(tuned)
    places = list(enumerate(tuned.last))

    def drawn(of: str) -> list[Drawn]:
        return [
            Drawn(
                one.pipeline.label,
                place,
                names.index(one.pipeline.group),
                float(getattr(one, of)),
                Cell(one.share.low, one.share.estimate, one.share.high),
            )
            for place, one in places
        ]

    return [panel(BYTES, quality, drawn("bytes_per_vector")), panel(MS, quality, drawn("ms"))]


def markdown(tuned: Tuned, given: Vectors) -> str:
    """What was wanted, what was chosen and why, the front, and all that was seen."""
    wanted = tuned.wanted
    limit = "" if wanted.max_bytes is None else f", in at most {wanted.max_bytes} bytes a vector"
    least = "fewest bytes" if wanted.least == "bytes" else "least time"
    lines = [
        f"# tune: {given.name}, {given.encoder}",
        "",
        f"Wanted: at least {wanted.quality:g} of {wanted.of}'s {tuned.metric}{limit}, for the {least}. A pipeline "
        f"meets the floor when the lower end of its share does, by a paired bootstrap over the queries of "
        f"{given.split}, with {wanted.level:.0%} for all of the last round together.",
        "",
        *_outcome(tuned),
        "",
        "## The front",
        "",
        *_table([one for one in tuned.last if one.pipeline.label in _on_front(tuned)]),
        "",
        "## All that was seen, as it was seen last",
        "",
        *_table(tuned.last),
    ]
    if tuned.refused:
        lines += ["", "## Not tried", "", *(f"- {one.label}: {why}" for one, why in tuned.refused)]
    return "\n".join(lines) + "\n"


def _on_front(tuned: Tuned) -> set[str]:
    return {point.label for one in (fronts(tuned) if tuned.seen else []) for point in one.points if point.front}


def _share(one: Seen) -> str:
    return f"{one.share.estimate:.4f} [{one.share.low:.4f}, {one.share.high:.4f}]"


def _outcome(tuned: Tuned) -> list[str]:
    if tuned.chosen is None:
        best = max(tuned.last, key=lambda one: one.share.estimate, default=None)
        told = "" if best is None else f" The best seen is **{best.pipeline.label}**: {_share(best)}."
        return [f"**None meets the floor.**{told}"]
    one = next(each for each in tuned.last if each.pipeline == tuned.chosen)
    cheaper = [
        other
        for other in tuned.last
        if other is not one
        and (other.bytes_per_vector < one.bytes_per_vector if tuned.wanted.least == "bytes" else other.ms < one.ms)
    ]
    lines = [
        f"**Chosen: {one.pipeline.label}**, {one.bytes_per_vector} bytes a vector, {significant(one.ms)} ms a search, "
        f"which keeps {_share(one)}.",
    ]
    if cheaper:
        near = max(cheaper, key=lambda other: other.share.estimate)
        lines += [
            f"Of {len(cheaper)} that cost less the best is {near.pipeline.label}: {_share(near)}, {near.verdict}."
        ]
    if tuned.tested is not None:
        tested = tuned.tested
        lines += [
            f"On the test split, which had no part in this: {_share(tested)} of {tested.queries} queries and "
            f"{tested.documents} documents."
        ]
    return lines


def _table(rows: Sequence[Seen]) -> list[str]:
    lines = [
        "| pipeline | share kept | bytes a vector | ms a search | queries | verdict |",
        "|:---|---:|---:|---:|---:|:---|",
    ]
    for one in sorted(rows, key=lambda one: (one.bytes_per_vector, one.ms)):
        lines.append(
            f"| {one.pipeline.label} | {_share(one)} | {one.bytes_per_vector:,} | {significant(one.ms)} | "
            f"{one.queries:,} | {one.verdict} |"
        )
    return lines
