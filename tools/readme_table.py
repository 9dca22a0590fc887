"""Write the README's table from the records in bench/results/quickstart.jsonl; run from the repository's root.

    python tools/readme_table.py [--check]

With `--check` nothing is written, and the exit code is 1 when the table is not what the records say.
"""

import sys
from pathlib import Path

from jaxemb import harness
from jaxemb.harness.summary import Board
from jaxemb.harness.tables import significant

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "bench" / "results" / "quickstart.jsonl"
BEGIN, END = "<!-- table: python tools/readme_table.py -->\n", "<!-- /table -->"
SHOWN = (
    "MiniLM",
    "MiniLM / int8",
    "MiniLM / scann",
    "MiniLM / bits",
    "MiniLM / hamming",
    "BM25",
    "merged student",
    "merged student / int8",
    "merged student / bits",
    "token average",
)


def table(board: Board) -> str:
    """The rows that the README shows, best first, as Markdown."""
    lines = [
        "| rank | system | nDCG@10 | bytes a vector | encode and search one query, median ms |",
        "|---:|---|---:|---:|---:|",
    ]
    for row in board.rows:
        if row.label in SHOWN:
            quality, size, wait = (row.cells[key] for key in ("ndcg@10", "bytes_per_vector", "query_ms_p50"))
            if quality is None or size is None or wait is None:
                raise ValueError(f"{RECORDS}: {row.label} lacks a quality, bytes or a latency")
            lines.append(
                f"| {row.rank.partition(' ')[0]} | {row.label} | "
                f"{quality.value:.3f} [{quality.low:.3f}, {quality.high:.3f}] | "
                f"{size.value:,.0f} | {significant(wait.value, 2)} |"
            )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check; returns the exit code."""
    made = table(harness.summarise(harness.record.read(RECORDS)))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    if "--check" in sys.argv[1:]:
        return int(old != made)
    readme.write_text(before + BEGIN + made + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
