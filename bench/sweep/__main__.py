"""Sweep pipelines over real vectors; records go to `bench/results/sweep/`, pages and fronts into the work folder."""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import tyro

from bench.sweep import raw_int8
from bench.sweep.sets import Given, made
from jaxemb import progress
from jaxemb.harness import Pipeline, Swept, codes, machine, record, space, sweep, terminal, write_fronts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What to sweep."""

    set: tyro.conf.Positional[Literal["glove", "debian", "python-code", "images"]]
    rows: Literal["int8", "codes", "all"] = "all"
    """float32 and int8 alone; every compressor, searched exactly; or all that `tune` tries."""
    first: int | None = None
    """Documents at most."""
    out: Path = Path("bench/results/sweep")
    """Where the records of whole sets go; those of a part of one go into the work folder."""
    work: Path = Path("build/bench-sweep")
    """Where vectors and finished rows are kept: a run that was cut off goes on."""
    threads: tuple[int, ...] = (1, 2)
    calls: int = 400
    images: Path | None = None
    """A folder of PNGs."""
    image_model: Path | None = None
    """What `tools/efficientnet_weights.py` wrote."""


def main() -> None:
    """Run from the repository's root."""
    run = tyro.cli(Run, description=__doc__)
    given = made(run.set, Given(work=run.work, first=run.first, images=run.images, image_model=run.image_model))
    progress.say(f"{given.encoder}, {given.name}: {list(given.document.shape)}, {len(given.query)} queries")
    some = {
        "int8": lambda: [Pipeline(), Pipeline(compressor="int8")],
        "codes": lambda: codes(given.dim),
        "all": lambda: space(len(given.document), given.dim),
    }[run.rows]()
    threads = tuple(one for one in run.threads if one <= machine.usable())
    name = run.set if run.first is None else f"{run.set}-{run.first}"
    records = sweep([given], some, run.work / name, settings=Swept(threads=threads, calls=run.calls))
    records = [*records, *raw_int8.records(given)]
    board = write_fronts(records, run.work / name)
    file = (run.out if run.first is None else run.work) / f"{name}.jsonl"
    record.write(file, records)
    progress.console.print(terminal(board))
    progress.say(f"records in {file}; page and fronts in {run.work / name}")


if __name__ == "__main__":
    sys.exit(main())
