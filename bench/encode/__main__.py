"""Measure all systems on real texts; records go to `bench/results/encode.jsonl`, tables to the terminal."""

import dataclasses
import sys
from pathlib import Path

import tyro

from bench.encode.export import prepare
from bench.encode.measure import Settings, measure
from bench.encode.systems import MAX_LENGTH, STATIC, SYSTEMS
from bench.encode.table import table
from bench.encode.texts import Workload, workload
from jaxemb import model, progress
from jaxemb.harness import record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How fast texts become vectors.

    out: where `encode.jsonl` goes; that of an earlier run is replaced.
    work: where models and data are kept between runs.
    threads: as many rounds of all systems, each on that many cores.
    texts: of the corpus.
    static_texts: of the corpus that static models read, which are a hundred times as fast.
    queries: encoded one by one.
    repeats: of the corpus.
    lists: where apt keeps its lists.
    quick: a few texts once, to see that it works, into the work folder.
    """

    out: Path = Path("bench/results")
    work: Path = Path("build/bench-encode")
    threads: tuple[int, ...] = (2, 1)
    texts: int = 400
    static_texts: int = 2000
    queries: int = 100
    repeats: int = 5
    lists: str = "/var/lib/apt/lists"
    quick: bool = False


def _tokens(folder: Path, load: Workload, longest: int | None) -> int:
    tokenizer = model.load(folder).tokenizer
    return sum(len(row) for row in tokenizer.limited(longest, add_special=longest is not None).ids(load.corpus).rows)


def main() -> None:
    """Run from the repository's root."""
    run = tyro.cli(Run, description=__doc__)
    if run.quick:
        run = dataclasses.replace(run, threads=(2,), texts=24, static_texts=200, queries=5, repeats=2, out=run.work)
    run = dataclasses.replace(run, work=run.work.resolve())
    run.work.mkdir(parents=True, exist_ok=True)
    folders = prepare(run.work)
    loads = [
        workload(run.work / "data", texts=texts, queries=run.queries, lists=run.lists)
        for texts in (run.texts, run.static_texts)
    ]
    records: list[record.Record] = []
    for threads in run.threads:
        for systems, load, folder, longest in (
            (SYSTEMS, loads[0], folders.model, MAX_LENGTH),
            (STATIC, loads[1], folders.table, None),
        ):
            if run.quick:
                systems = {name: one._replace(batches=one.batches[:1]) for name, one in systems.items()}
            tokens = _tokens(folder, load, longest)
            settings = Settings(threads=threads, repeats=run.repeats, tokens=tokens)
            records += measure(systems, folders, load, settings, run.work)
    record.write(run.out / "encode.jsonl", records)
    sys.stdout.write(table(records))
    progress.say(f"records in {run.out / 'encode.jsonl'}")


if __name__ == "__main__":
    main()
