"""Tables of sweeps, from their records alone: `python -m bench.sweep.table FILES...`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.sweep.raw_int8 import NAME
from jaxemb.evaluate import Interval, interval
from jaxemb.harness import Record, record

FLOOR = 0.985


def int8(sets: Sequence[Sequence[Record]]) -> str:
    """Fidelity of int8 without rescoring on every set, beside the raw codes' own."""
    lines = [
        "| vectors | documents | dimensions | int8, recall@10 of float32 | raw codes, as sentence-transformers | "
        f"at least {FLOOR} |",
        "|:---|---:|---:|---:|---:|:---|",
    ]
    for records in sets:
        ours, raw = (_of(records, name, "fidelity@10") for name in ("int8", NAME))
        size, width = (_of(records, "int8", metric).estimate for metric in ("documents", "bytes_per_vector"))
        one = records[0]
        lines.append(
            f"| {one.config['encoder']}, {one.task} | {size:,.0f} | {width:.0f} | {_told(ours)} | {_told(raw)} | "
            f"{'yes' if ours.low >= FLOOR else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _of(records: Sequence[Record], name: str, metric: str) -> Interval:
    found = [one for one in records if one.recipe == name and one.metric == metric]
    if len(found) != 1:
        raise ValueError(f"{records[0].task}: wanted one record of {metric} of {name}, got {len(found)}")
    return interval(np.array(found[0].values))


def _told(found: Interval) -> str:
    return f"{found.estimate:.4f} [{found.low:.4f}, {found.high:.4f}]"


def main() -> None:
    """Print the table of the files that are named, a set each."""
    sys.stdout.write(int8([record.read(Path(name)) for name in sys.argv[1:]]))


if __name__ == "__main__":
    main()
