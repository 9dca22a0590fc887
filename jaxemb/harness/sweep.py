"""Encoder x size x bits x index x rescoring: every pipeline measured alike; goes on where it was cut off."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from jaxemb import atomic, progress
from jaxemb.harness import leaderboard, machine, record, tables
from jaxemb.harness.job import Found, Swept, apart, here
from jaxemb.harness.panels import SWEEP, panels
from jaxemb.harness.pipeline import Pipeline
from jaxemb.harness.record import Record
from jaxemb.harness.summary import Board
from jaxemb.harness.vectors import Vectors, save_vectors

Do = Callable[..., Found]
"""A job, done here or in a process of its own."""


def sweep(
    given: Sequence[Vectors],
    pipelines: Sequence[Pipeline],
    out: Path | str,
    *,
    settings: Swept | None = None,
    processes: bool = True,
) -> list[Record]:
    """Measure every pipeline on the vectors of every encoder.

    Each index is built once, by a process on all cores, and saved; then, for each number of threads, a process on as
    many cores opens it and searches.  Pipelines that differ in settings of the search alone share an index.  What is
    finished lies in `out/rows` and is used again by the next call with the same vectors, settings and versions.

    Args:
      given: of one task, one for each encoder.
      pipelines: no two alike.
      out: where rows are kept between calls.
      processes: False measures in this process, unpinned: for tests and for a first look.
    Returns: the records, in the order of encoders and pipelines.
    Raises: ValueError for vectors of several tasks, or an encoder or a pipeline given twice; RuntimeError that names
      the rows which failed, after all others were measured.
    """
    settings = settings or Swept()
    _check(given, pipelines)

    def file(one: Vectors, pipeline: Pipeline) -> Path:
        key = pipeline.key(one.fingerprint, asdict(settings), processes, machine.versions())
        return Path(out) / "rows" / f"{key}.jsonl"

    failed: list[str] = []
    with progress.bar(f"sweep {len(given) * len(pipelines)} rows", len(given) * len(pipelines)) as advance:
        for one in given:
            left = [pipeline for pipeline in pipelines if not file(one, pipeline).is_file()]
            advance(len(pipelines) - len(left))
            prefix = f"{one.encoder} / " if len(given) > 1 else ""
            for pipeline, found in _measured(one, left, settings, apart if processes else here):
                if isinstance(found, str):
                    failed.append(f"{prefix}{pipeline.label}: {found}")
                else:
                    record.write(file(one, pipeline), _records(one, pipeline, settings, found, prefix))
                advance(1, pipeline.label)
    if failed:
        raise RuntimeError(f"sweep: {len(failed)} rows failed, all others are kept in {out}:\n" + "\n".join(failed))
    return [line for one in given for pipeline in pipelines for line in record.read(file(one, pipeline))]


def _check(given: Sequence[Vectors], pipelines: Sequence[Pipeline]) -> None:
    tasks = sorted({f"{one.name}/{one.split}" for one in given})
    if len(tasks) != 1:
        raise ValueError(f"sweep: wanted vectors of one task, got {tasks}")
    for what, names in (("encoders", [one.encoder for one in given]), ("pipelines", [one.label for one in pipelines])):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sweep: wanted different {what}, got twice {twice}")


def _measured(
    given: Vectors, pipelines: Sequence[Pipeline], settings: Swept, do: Do
) -> Iterator[tuple[Pipeline, Found | str]]:
    """Rows as they are finished, and what went wrong where one was not; those of one index together."""
    if not pipelines:
        return
    by_index: dict[str, list[Pipeline]] = {}
    for pipeline in pipelines:
        by_index.setdefault(pipeline.untuned.key(), []).append(pipeline)
    with tempfile.TemporaryDirectory() as scratch:
        save_vectors(Path(scratch) / "vectors", given)
        known = given.truth(max(settings.fidelity_at))
        np.savez(Path(scratch) / "truth.npz", rows=known.rows, scores=known.scores)
        for some in by_index.values():
            yield from _of_one_index(Path(scratch), some, settings, do)


def _of_one_index(
    scratch: Path, some: Sequence[Pipeline], settings: Swept, do: Do
) -> Iterator[tuple[Pipeline, Found | str]]:
    with tempfile.TemporaryDirectory(dir=scratch) as kept:
        job = {"scratch": str(scratch), "kept": kept, "settings": asdict(settings)}
        try:
            built = do({**job, "do": "build", "pipeline": some[0].untuned.plain}, None)
        except (RuntimeError, ValueError, ImportError) as error:
            yield from ((pipeline, str(error)) for pipeline in some)
            return
        for pipeline in some:
            try:
                yield pipeline, _row(partial(do, {**job, "do": "search", "pipeline": pipeline.plain}), built, settings)
            except (RuntimeError, ValueError) as error:
                yield pipeline, str(error)


def _row(search: Do, built: Found, settings: Swept) -> Found:
    told = [search(threads, judged=turn == 0) for turn, threads in enumerate(settings.threads)]
    return {
        "numbers": [*built["numbers"], *(one for some in told for one in some["numbers"])],
        "settings": told[0]["settings"],
    }


def _records(given: Vectors, pipeline: Pipeline, settings: Swept, found: Found, prefix: str) -> list[Record]:
    config = {
        "encoder": given.encoder,
        "group": prefix + pipeline.group,
        "pipeline": pipeline.plain,
        "settings": found["settings"],
        "swept": asdict(settings),
    }
    where, versions = machine.device(), machine.versions()
    return [
        Record(
            recipe=prefix + pipeline.label,
            config=config,
            task=f"{given.name}/{given.split}",
            metric=metric,
            values=tuple(values),
            each=each,
            device=where,
            versions=versions,
        )
        for metric, each, values in found["numbers"]
    ]


def write_fronts(records: Sequence[Record], folder: Path | str, *, ranked_by: str | None = None) -> Board:
    """A sweep's leaderboard with the three fronts on its page; and `fronts.svg` and `fronts.md`, the same alone.

    Args:
      ranked_by: nDCG@10 where there is one, else the recall of the ten exact neighbours.
    Raises: what `leaderboard.write` raises.
    """
    if ranked_by is None:
        ranked_by = "ndcg@10" if any(one.metric == "ndcg@10" for one in records) else "fidelity@10"
    board = leaderboard.write(records, folder, ranked_by=ranked_by, axes=SWEEP, picture="fronts.svg")
    with atomic.file(Path(folder) / "fronts.md") as partial_file:
        partial_file.write_text(fronts(board), encoding="utf-8")
    return board


def fronts(board: Board) -> str:
    """Each front of a sweep's board as a Markdown table, best in cost first."""
    columns = {column.key: column for column in board.columns}
    shown = [
        columns[key] for key in ("ndcg@10", "fidelity@10", "bytes_per_vector", "search_one_per_s_1t") if key in columns
    ]
    parts = []
    for panel in panels(board, SWEEP):
        points = sorted((one for one in panel.points if one.front), key=lambda one: one.cost)
        points = points[::-1] if panel.column.better == "high" else points
        lines = [f"## {panel.quality_column.title} against {panel.axis}", ""]
        lines += ["| pipeline | " + " | ".join(one.title for one in shown) + " |", "|:---|" + "---:|" * len(shown)]
        for point in points:
            cells = [
                tables.text(one, board.rows[point.row].cells[one.key], interval=one.kind == "share") for one in shown
            ]
            lines.append(f"| {point.label} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
