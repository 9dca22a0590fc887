"""A board as text: for the terminal, for Markdown, and as comma-separated values with every digit."""

import csv
import io
import math

from rich.table import Table
from rich.text import Text

from jaxemb.harness.summary import DASH, Board, Cell, Column, Kind, Row

HOW = (
    "Intervals hold the truth 95 % of the time: of quality by a BCa bootstrap over the queries, of latencies and "
    "throughputs by order statistics.",
    "Ranks are those a system may hold when the queries are a sample: systems tie where a paired bootstrap over the "
    "queries, at 95 % for all comparisons together, cannot tell them apart.",
)


def significant(value: float, digits: int = 3) -> str:
    """So many digits that mean something, never an exponent.

    >>> print(significant(0.012345), significant(1.5), significant(12345.6))
    0.0123 1.50 12,300
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = f"{value:.{digits - 1}e}"
    places = digits - 1 - int(rounded.partition("e")[2])
    return f"{float(rounded):,.{max(0, places)}f}"


def size(count: float) -> str:
    """Bytes in powers of ten.

    >>> print(size(999.0), size(4_612_345.0))
    999 B 4.61 MB
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{significant(count / unit)} {name}"
    return f"{count:.0f} B"


def number(kind: Kind, value: float) -> str:
    """One number as a column of its kind writes it."""
    if kind == "share":
        return f"{value:.3f}"
    if kind == "percent":
        return f"{100 * value:.1f} %"
    if kind == "size":
        return size(value)
    if kind in ("bytes", "count"):
        return f"{value:,.0f}"
    return significant(value)


def spread(column: Column, cell: Cell | None) -> str:
    """The interval, as `0.41-0.45`; an end that too few values were taken for is left open; empty if there is none."""
    if cell is None or (cell.low is None and cell.high is None):
        return ""
    low, high = ("" if end is None else number(column.kind, end) for end in (cell.low, cell.high))
    return f"{low}{DASH}{high}"


def text(column: Column, cell: Cell | None, *, interval: bool) -> str:
    """A cell, with its interval behind it if wanted; a dash where nothing was measured."""
    if cell is None:
        return DASH
    shown = number(column.kind, cell.value)
    around = spread(column, cell) if interval else ""
    return f"{shown} [{around}]" if around else shown


def _with_interval(column: Column) -> bool:
    return column.kind == "share"


def ranked(row: Row) -> str:
    """`1`, or `2–4 tied with A, B`."""
    return f"{row.rank} tied with {', '.join(row.tied)}" if row.tied else row.rank


def terminal(board: Board) -> Table:
    """The brief columns as a table for `rich`."""
    columns = [column for column in board.columns if column.brief]
    table = Table(
        title=Text(board.task), caption=Text("; ".join(board.devices)), title_justify="left", caption_justify="left"
    )
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("system", overflow="fold")
    for column in columns:
        table.add_column(column.title, justify="right")
    for row in board.rows:
        cells = [text(column, row.cells[column.key], interval=_with_interval(column)) for column in columns]
        table.add_row(*(Text(cell) for cell in (row.rank, row.label, *cells)))
    return table


def markdown(board: Board) -> str:
    """The brief columns as a Markdown table, and below it what they mean and what was measured on."""
    columns = [column for column in board.columns if column.brief]
    lines = [
        f"# {_escape(board.task)}",
        "",
        "| rank | system | " + " | ".join(_escape(column.title) for column in columns) + " |",
        "|---:|:---|" + "---:|" * len(columns),
    ]
    for row in board.rows:
        cells = [text(column, row.cells[column.key], interval=_with_interval(column)) for column in columns]
        lines.append(f"| {_escape(ranked(row))} | {_escape(row.label)} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"- {_escape(said)}" for said in (*facts(board), *HOW, *board.notes)]
    lines += [f"- {_escape(column.title)}: {_escape(column.about)}" for column in columns]
    return "\n".join(lines) + "\n"


def facts(board: Board) -> list[str]:
    """What was measured on and with, in words."""
    versions = ["; ".join(f"{name} {version}" for name, version in one.items()) for one in board.versions]
    measured = dict.fromkeys(
        f"each search asks for {how['depth']} documents; timed on {how['cores']} "
        f"{'core' if how['cores'] == 1 else 'cores'}{'' if how['pinned'] else ' (not pinned)'}, "
        f"{how['calls']} single calls and {how['repeats']} batches of {how['batch']}"
        for row in board.rows
        if (how := row.config.get("measured"))
    )
    measured |= dict.fromkeys(
        f"a timed search asks for {how['depth']} documents, and one that is judged at k for k; each number of threads "
        f"({', '.join(map(str, how['threads']))}) is a process on as many cores, {how['calls']} single calls and "
        f"{how['repeats']} batches of {how['batch']}"
        for row in board.rows
        if (how := row.config.get("swept"))
    )
    return [*(f"Device: {one}." for one in board.devices), *(f"Versions: {one}." for one in versions), *measured]


def comma_separated(board: Board) -> str:
    """Every column with both ends of its interval, every digit; what was not measured is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = [f"{column.key}{end}" for column in board.columns for end in ("", "_low", "_high")]
    writer.writerow(["task", "system", "rank_best", "rank_worst", "tied_with", *ends])
    for row in board.rows:
        numbers: list[float | None] = []
        for column in board.columns:
            cell = row.cells[column.key]
            numbers += [None, None, None] if cell is None else [cell.value, cell.low, cell.high]
        writer.writerow([board.task, row.label, row.best, row.worst, "; ".join(row.tied), *numbers])
    return out.getvalue()


def _escape(words: str) -> str:
    escaped = words.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    for mark in "*_`[]":
        escaped = escaped.replace(mark, f"\\{mark}")
    return " ".join(escaped.split())
