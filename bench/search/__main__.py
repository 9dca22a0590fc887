"""Measure all rows on real vectors; records go to `bench/results/search.jsonl`, a table to the terminal."""

import dataclasses
import fnmatch
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

from bench.search import data
from bench.search.rows import EQUAL_BITS, ROWS
from bench.search.table import table
from jaxemb import compress, progress
from jaxemb.harness import Encoded, Pipeline, Record, Settings, Swept, Vectors, machine, measure, peers, record, sweep

FILE = "search.jsonl"
PEERS = [(precision, rescore) for precision in ("int8", "ubinary") for rescore in (False, True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How fast one query finds its neighbours.

    out: where `search.jsonl` goes; rows that another run measured are kept there.
    work: where finished rows are kept between runs; those of the same code and versions are not measured again.
    rows: names of rows, with * and ?; `rows.py` has them all.
    vectors: an array of GloVe's vectors, where its package is not installed.
    first: so many vectors alone, to see that it works.
    threads: of the processes that are timed.
    here: in this process, unpinned, to see that it works.
    """

    out: Path = Path("bench/results")
    work: Path = Path("build/bench-search")
    rows: tuple[str, ...] = ("*",)
    vectors: Path | None = None
    first: int | None = None
    threads: tuple[int, ...] = (1,)
    here: bool = False


def chosen(rows: Mapping[str, Pipeline], patterns: Sequence[str]) -> dict[str, Pipeline]:
    """The rows whose names match."""
    return {name: one for name, one in rows.items() if any(fnmatch.fnmatchcase(name, some) for some in patterns)}


def smaller(pipeline: Pipeline, n: int) -> Pipeline:
    """For fewer vectors: as many parts as the root of their number, and the same share of them."""
    text = str(pipeline.plain)
    if "632" not in text:
        return pipeline
    parts = round(n**0.5)

    def fewer(value: object, name: str) -> object:
        if isinstance(value, dict):
            return {key: fewer(inside, key) for key, inside in value.items()}
        if isinstance(value, str):
            return value.replace("IVF632", f"IVF{parts}").replace("nprobe=40", f"nprobe={max(1, parts * 40 // 632)}")
        if name in ("leaves", "lists", "probes", "leaves_to_search") and isinstance(value, int):
            return max(1, value * parts // 632)
        return value

    return Pipeline(**{key: fewer(value, key) for key, value in pipeline.plain.items()})


def measured(given: Vectors, rows: Mapping[str, Pipeline], run: Run) -> list[Record]:
    """All rows of one set of vectors, by their names here."""
    n = len(given.document)
    fitted = {name: one if run.first is None else smaller(one, n) for name, one in rows.items()}
    depth = min(10, n)
    settings = Swept(depth=depth, fidelity_at=(depth,), threads=run.threads, calls=len(given.query), metrics=())
    records = sweep([given], list(fitted.values()), run.work, settings=settings, processes=not run.here)
    names = {one.label: name for name, one in fitted.items()}
    return [dataclasses.replace(one, recipe=names[one.recipe]) for one in records]


def of_peers(given: Vectors, patterns: Sequence[str]) -> list[Record]:
    """Codes as sentence-transformers makes and scores them."""
    truth = given.truth(10)
    records: list[Record] = []
    for precision, rescore in PEERS:
        made = peers.sentence_transformers(np.asarray(given.document), precision, rescore=rescore)
        if not any(fnmatch.fnmatchcase(made.name, some) for some in patterns):
            continue
        settings = Settings(depth=10, batch=256, calls=200, cores=1, metrics={})
        for one in measure(made, given.task, Encoded(given.query), truth, settings):
            records.append(dataclasses.replace(one, metric={"search_ms": "search_ms_1t"}.get(one.metric, one.metric)))
    return records


def of_decoded(given: Vectors, rows: Mapping[str, Pipeline], queries: int = 100) -> list[Record]:
    """Share of the ten best of a float scan over decoded codes that the scan in registers finds."""
    records = []
    document, query = np.asarray(given.document), np.asarray(given.query[:queries])
    floats = jnp.asarray(query)
    for name, pipeline in rows.items():
        if pipeline.kind != "fast_scan":
            continue
        built = pipeline.built(document)
        code = compress.by_name(pipeline.compressor)
        asked = code.apply(built.state, floats) if pipeline.settings.get("symmetric") else floats
        score = code.symmetric if pipeline.settings.get("symmetric") else code.asymmetric
        whole = np.asarray(score(built.state, asked, jnp.asarray(built.codes)))  # type: ignore[attr-defined]
        found = built.search(query, 10).rows
        tenth = np.sort(whole, axis=1)[:, -10][:, None]
        shares = (np.take_along_axis(whole, found, 1) >= tenth - 1e-6 * np.abs(tenth)).mean(axis=1)
        records.append(
            Record(
                recipe=name,
                config={"pipeline": pipeline.plain, "queries": queries},
                task=f"{given.name}/{given.split}",
                metric="decoded@10",
                values=tuple(shares),
                each="query",
                device=machine.device(),
                versions=machine.versions(),
            )
        )
        progress.say(f"{name}: {shares.mean():.3f} of a float scan over decoded codes")
    return records


def main() -> None:
    """Run from the repository's root."""
    run = tyro.cli(Run, description=__doc__)
    run.work.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    glove = data.glove(run.first, run.vectors)
    if some := chosen(ROWS, run.rows):
        records += measured(glove, some, run)
    records += of_peers(glove, run.rows)
    if some := chosen(EQUAL_BITS, run.rows):
        normal = data.normal(run.first)
        records += measured(normal, some, run)
        records += of_decoded(normal, some)
    file = (run.out if run.first is None else run.work) / FILE
    again = {(one.recipe, one.task) for one in records}
    others = [one for one in record.read(file) if (one.recipe, one.task) not in again] if file.is_file() else []
    record.write(file, others + records)
    sys.stdout.write(table(record.read(file)))
    progress.say(f"records in {file}")


if __name__ == "__main__":
    main()
