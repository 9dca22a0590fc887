"""Write docs/pages/speed.md's tables from the records in bench/results/encode.jsonl; run from the repository's root.

    python tools/speed_table.py [--check]

With `--check` nothing is written, and the exit code is 1 when the tables are not what the records say.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # bench is no part of the package

from bench.encode.table import table  # noqa: E402
from jaxemb import atomic, harness  # noqa: E402

RECORDS = ROOT / "bench" / "results" / "encode.jsonl"
PAGE = ROOT / "docs" / "pages" / "speed.md"
BEGIN, END = "<!-- table: python tools/speed_table.py -->\n", "<!-- /table -->"


def main() -> int:
    """Write or check; returns the exit code."""
    made = table(harness.record.read(RECORDS))
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    old, after = rest.split(END)
    if "--check" in sys.argv[1:]:
        return int(old != made)
    with atomic.file(PAGE) as partial:
        partial.write_text(before + BEGIN + made + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
