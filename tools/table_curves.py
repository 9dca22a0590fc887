"""Draw quality against bytes of every table method at every budget it can take, from records or after measuring them.

    python tools/table_curves.py records.jsonl curves.svg [--measure [SEEDS]]

With `--measure` all cells are trained first, as `jaxemb claim table_compression` trains some of them, and written to
the records; most of the time goes to DHE and TT-Rec at large budgets.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxemb import harness
from jaxemb.claims import over_seeds
from jaxemb.claims import table_compression as claim
from jaxemb.encode.tables import BelowFloor
from jaxemb.harness.panels import Drawn, panel
from jaxemb.harness.plot import draw
from jaxemb.harness.record import Record
from jaxemb.harness.summary import Cell, Column

SHARE = Column(claim.SHARE, "share of the full table's bytes", "", claim.SHARE, "mean", "share", "low")
AUC = Column(claim.AUC, "AUC", "", claim.AUC, "mean", "share", "high")


def cells() -> Iterator[claim.Cell]:
    """Every method at every budget that gives a table of its own."""
    made = claim.given(0)
    for method, make in claim.METHODS.items():
        sizes: set[int | None] = set()
        for ratio in (1.0, *claim.BUDGETS) if method in ("full", "alpt16") else claim.BUDGETS:
            cell = claim.Cell(method, ratio)
            try:
                size = make()(claim.recipe.fields(claim.config(cell), made.log), ratio).bytes
            except BelowFloor:
                continue
            if size is None or size not in sizes:
                yield cell
            sizes.add(size)


def measured(seeds: int) -> Iterator[Record]:
    """Records of all cells."""
    made = claim.given(0)
    for record, _ in claim.trained(cells(), made, seeds, f"drawn-clicks@{claim.ROWS}x{len(claim.SIZES)}/test"):
        yield record


def drawn(records: Iterable[Record]) -> tuple[list[Drawn], list[str]]:
    """A point for each row that has both numbers, and the methods, which are the groups."""
    by_metric: dict[str, dict[str, Record]] = {claim.AUC: {}, claim.SHARE: {}}
    for record in records:
        by_metric.get(record.metric, {})[record.recipe] = record
    points, methods = [], []
    for at, (name, shares) in enumerate(by_metric[claim.SHARE].items()):
        method = str(shares.config.get("method", name))
        if method not in methods:
            methods.append(method)
        if method == claim.NEAREST or name not in by_metric[claim.AUC] or "ratio" not in shares.config:
            continue
        values = by_metric[claim.AUC][name].values
        quality = Cell(*over_seeds(values)) if len(values) > 1 else Cell(None, values[0], None)
        points.append(Drawn(method, at, methods.index(method), sum(shares.values) / len(shares.values), quality))
    return points, methods


def main() -> None:
    """As the module says."""
    path, plot = sys.argv[1:3]
    if "--measure" in sys.argv:
        after = sys.argv[sys.argv.index("--measure") + 1 :]
        harness.record.write(path, measured(int(after[0]) if after else 1))
    points, methods = drawn(harness.record.read(Path(path)))
    draw([panel(SHARE, AUC, points)], methods, "Tables inside a small DLRM, a drawn log of clicks", plot)


if __name__ == "__main__":
    main()
