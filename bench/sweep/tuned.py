"""`tune` on a set of real vectors: chosen on one half of its queries, reported on the other."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from bench.sweep.sets import Given, made
from jaxemb import progress
from jaxemb.harness import Unmet, Vectors, Wanted, explain, tune


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What to tune for."""

    set: tyro.conf.Positional[Literal["glove", "debian", "python-code", "images"]]
    quality: float = 0.95
    max_bytes: int | None = 100
    least: Literal["bytes", "ms"] = "ms"
    metric: str = "fidelity@10"
    first: int | None = None
    work: Path = Path("build/bench-sweep")
    images: Path | None = None
    image_model: Path | None = None
    rounds: int = 4


def halves(given: Vectors, seed: int = 0) -> tuple[Vectors, Vectors]:
    """Every query in one of two, drawn by chance; both ask for the same documents."""
    order = np.random.default_rng(seed).permutation(len(given.query))
    ids = list(given.query_ids or ())

    def half(rows: np.ndarray, split: str) -> Vectors:
        names = [ids[row] for row in rows]
        judgements = {name: given.judgements[name] for name in names if name in given.judgements}
        return dataclasses.replace(
            given, split=split, query=np.asarray(given.query[rows]), query_ids=names, judgements=judgements
        )

    middle = len(order) // 2
    return half(np.sort(order[:middle]), "validation"), half(np.sort(order[middle:]), "test")


def main() -> None:
    """Run from the repository's root."""
    run = tyro.cli(Run, description=__doc__)
    given = made(run.set, Given(work=run.work, first=run.first, images=run.images, image_model=run.image_model))
    choose, report = halves(given)
    out = run.work / f"tuned-{run.set}"
    wanted = Wanted(quality=run.quality, max_bytes=run.max_bytes, least=run.least, metric=run.metric)
    try:
        tuned = tune(choose, wanted, test=report, rounds=run.rounds)
    except Unmet as none:
        tuned = none.tuned
    explain(tuned, choose, out)
    progress.say((out / "tune.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
