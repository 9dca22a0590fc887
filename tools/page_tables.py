"""Write the tables of docs/pages from the records in bench/results; run from the repository's root.

    python tools/page_tables.py [--check]

`speed.md` is made from `encode.jsonl`, `training_speed.md` from `train.jsonl`, `claims.md` from `claims/`.  With
`--check` nothing is written, and the exit code is 1 when the tables are not what the records say.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # bench is no part of the package

from bench.encode.table import table as encoding  # noqa: E402
from bench.train.table import table as training  # noqa: E402
from jaxemb import atomic, claims, harness  # noqa: E402

RESULTS = ROOT / "bench" / "results"


def claimed() -> str:
    """Every claim that there are records of."""
    files = {name: RESULTS / "claims" / f"{name}.jsonl" for name in claims.CLAIMS}
    there = {name: harness.record.read(file) for name, file in files.items() if file.is_file()}
    return claims.page({name: claims.claim(name) for name in there}, there)


TABLES = {
    "speed.md": lambda: encoding(harness.record.read(RESULTS / "encode.jsonl")),
    "training_speed.md": lambda: training(harness.record.read(RESULTS / "train.jsonl")),
    "claims.md": claimed,
}
BEGIN, END = "<!-- table: python tools/page_tables.py -->\n", "<!-- /table -->"


def main() -> int:
    """Write or check; returns the exit code."""
    for name, table in TABLES.items():
        page = ROOT / "docs" / "pages" / name
        made = table()
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
