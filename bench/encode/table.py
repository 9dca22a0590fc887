"""Records to a table in Markdown: medians and ranges, and how many times as fast as the fastest peer."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxemb.harness import Record

ALIKE = 0.999  # mean cosine with the reference's vectors, from which on a system may be compared with in any precision
EQUAL = 0.99999  # the same in float32: rounding, no more

PLACES = (0.5, 0.95)  # of a query's time, among all


class Row(NamedTuple):
    """A system at one number of threads: its records by metric."""

    name: str
    records: dict[str, Record]

    def values(self, metric: str) -> np.ndarray:
        """What was measured of a metric."""
        return np.array(self.records[metric].values)

    def median(self, metric: str) -> float:
        """The middle of them."""
        return float(np.median(self.values(metric)))

    @property
    def peer(self) -> bool:
        """Whether it is somebody else's."""
        return bool(next(iter(self.records.values())).config["peer"])

    @property
    def equal(self) -> bool:
        """Whether it computes in float32 and gives the reference's vectors."""
        precision = next(iter(self.records.values())).config["precision"]
        return precision == "float32" and self.median("cosine_mean") >= EQUAL

    @property
    def alike(self) -> bool:
        """Whether its vectors are close to the reference's, in whatever precision."""
        return self.median("cosine_mean") >= ALIKE


def blocks(records: Iterable[Record]) -> dict[tuple[str, int], list[Row]]:
    """Rows by task and number of threads; a later record of the same thing takes the place of an earlier one."""
    found: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for record in records:
        rows = found[record.task, record.config["threads"]]
        rows.setdefault(record.recipe, Row(record.recipe, {})).records[record.metric] = record
    return {key: list(rows.values()) for key, rows in found.items()}


def fastest(rows: Iterable[Row], metric: str = "encode_texts_per_s") -> Row | None:
    """The row with the largest median, or the smallest where the metric is a time."""
    sign = -1 if metric.endswith("_ms") else 1
    return max(rows, key=lambda row: sign * row.median(metric), default=None)


def ratio(one: Row, other: Row) -> str:
    """How many times as fast, turn by turn: the median, and the range."""
    each = one.values("encode_texts_per_s") / other.values("encode_texts_per_s")
    return f"{np.median(each):.2f} [{each.min():.2f}, {each.max():.2f}]"


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Ours against the fastest peers: at equal vectors, at vectors alike, and for one text."""
    lines: dict[str, str] = {}
    equal, alike = [row for row in rows if row.equal], [row for row in rows if row.alike]
    for what, some in (("float32, equal vectors", equal), (f"any precision, cosine >= {ALIKE}", alike)):
        one, other = (fastest(row for row in some if row.peer is peer) for peer in (False, True))
        if one and other:
            told = f"{one.name} is {ratio(one, other)} times as fast as {other.name}"
            lines.setdefault(told, f"- corpus, {what}: {told}")
        one, other = (fastest((row for row in some if row.peer is peer), "encode_ms") for peer in (False, True))
        if one and other:
            p50, p95 = (
                np.quantile(other.values("encode_ms"), q) / np.quantile(one.values("encode_ms"), q) for q in PLACES
            )
            told = f"{one.name} is {p50:.2f} times as fast as {other.name} at p50, {p95:.2f} at p95"
            lines.setdefault(told, f"- one text, {what}: {told}")
    return list(lines.values())


def _line(row: Row, best: Row | None) -> str:
    rates, ms = row.values("encode_texts_per_s"), row.values("encode_ms")
    config = row.records["encode_ms"].config
    compiled = f"{row.median('encode_compile_s'):.1f}" if "encode_compile_s" in row.records else ""
    cells = [
        row.name,
        str(config["batch"] or "planned"),
        f"{np.median(rates):,.1f} [{rates.min():,.1f}, {rates.max():,.1f}]",
        f"{row.median('encode_tokens_per_s'):,.0f}",
        ratio(row, best) if best else "",
        f"{row.median('cosine_mean'):.5f} ({row.median('cosine_min'):.5f})",
        f"{np.median(ms):.2f} / {np.quantile(ms, PLACES[1]):.2f}",
        compiled,
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| system | batch | texts/s [range] | tokens/s | times the fastest float32 peer [range] | cosine, mean (least) "
    "| one text, ms p50 / p95 | compiling, s |\n|---|---:|---:|---:|---:|---:|---:|---:|"
)


def table(records: Sequence[Record]) -> str:
    """All of it in Markdown, a section a task and number of threads; ends with an empty line."""
    parts: list[str] = []
    for (task, threads), rows in blocks(records).items():
        one = next(iter(rows[0].records.values()))
        best = fastest(row for row in rows if row.peer and row.equal)
        known = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        parts += [
            f"## {task}, {threads} thread{'s' if threads > 1 else ''}\n",
            f"{one.config['texts']:,} texts of {one.config['tokens'] / one.config['texts']:,.0f} tokens on average, "
            f"cut at {one.config['max_length'] or 'no length'}; {one.device}; {known}.\n",
            HEADER,
            *(_line(row, best) for row in sorted(rows, key=lambda row: -row.median("encode_texts_per_s"))),
            "",
            *verdicts(rows),
            "",
        ]
    return "\n".join(parts)
