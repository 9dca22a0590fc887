"""Write the tables of docs/pages from the records in bench/results; run from the repository's root.

    python tools/speed_table.py [--check]

`speed.md` is made from `encode.jsonl`, `training_speed.md` from `train.jsonl`.  With `--check` nothing is written, and
the exit code is 1 when the tables are not what the records say.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # bench is no part of the package

from bench.encode.table import table as encoding  # noqa: E402
from bench.train.table import table as training  # noqa: E402
from jaxemb import atomic, harness  # noqa: E402

TABLES = {"speed.md": ("encode.jsonl", encoding), "training_speed.md": ("train.jsonl", training)}
BEGIN, END = "<!-- table: python tools/speed_table.py -->\n", "<!-- /table -->"


def main() -> int:
    """Write or check; returns the exit code."""
    for name, (records, table) in TABLES.items():
        page = ROOT / "docs" / "pages" / name
        made = table(harness.record.read(ROOT / "bench" / "results" / records))
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        old, after = rest.split(END)
        if "--check" in sys.argv[1:]:
            if old != made:
                return 1
            continue
        with atomic.file(page) as partial:
            partial.write_text(before + BEGIN + made + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
