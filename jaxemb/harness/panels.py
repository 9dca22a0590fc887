"""The plots of a board as data: quality against bytes, against latency, and whatever other pair of columns."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxemb.harness.geometry import front
from jaxemb.harness.summary import Board, Cell, Column


class Axes(NamedTuple):
    """Keys of the two columns of a plot.

    across: on a logarithmic axis.
    up: a mean over queries; None for the one that the board is ranked by.
    """

    across: str
    up: str | None = None


LEADERBOARD = (Axes("bytes_per_vector"), Axes("query_ms_p50"))
"""What a board shows unless it is told otherwise."""
SWEEP = (
    Axes("bytes_per_vector", "ndcg@10"),
    Axes("search_one_per_s_1t", "fidelity@10"),
    Axes("bytes_per_vector", "fidelity@10"),
)
"""The fronts of many pipelines: quality and bytes, recall of the exact neighbours and searches a second, and bytes."""
TITLES = {
    "bytes_per_vector": "bytes per vector",
    "query_ms_p50": "median ms for one query, encoding and search",
    "search_one_per_s_1t": "searches a second, one at a time on one thread",
}
LABELLED = 24
"""Where there are more points, only those on the front are named."""


class Drawn(NamedTuple):
    """What a point is drawn from.

    row, group: places of its row in the board and of its group in `groups`.
    """

    label: str
    row: int
    group: int
    cost: float
    quality: Cell


class Point(NamedTuple):
    """A `Drawn` in a panel.

    front: whether no other is at least as good in both and better in one, by the estimates alone.
    """

    label: str
    row: int
    group: int
    cost: float
    quality: Cell
    front: bool


class Panel(NamedTuple):
    """Points, and the ranges of a plot of them: `cost` is for a logarithmic axis.

    column, quality_column: what is across and what is up.
    left_out: labels of the systems without one of the two numbers.
    """

    column: Column
    quality_column: Column
    axis: str
    points: tuple[Point, ...]
    cost: tuple[float, float]
    quality: tuple[float, float]
    left_out: tuple[str, ...]

    @property
    def steps(self) -> list[tuple[float, float]]:
        """Corners of the front, from the best in cost to the other edge: the best quality to be had for a cost."""
        small = self.column.better == "low"
        best = sorted((one for one in self.points if one.front), key=lambda one: one.cost, reverse=not small)
        corners: list[tuple[float, float]] = []
        for point in best:
            if corners:
                corners.append((point.cost, corners[-1][1]))
            corners.append((point.cost, point.quality.value))
        return [*corners, (self.cost[1 if small else 0], corners[-1][1])]

    @property
    def named(self) -> list[Point]:
        """Those whose labels are written."""
        return [one for one in self.points if one.front or len(self.points) <= LABELLED]


def groups(board: Board) -> list[str]:
    """Names of the groups, in the order of their best rows."""
    return list(dict.fromkeys(row.group for row in board.rows))


def panels(board: Board, axes: Sequence[Axes] = LEADERBOARD) -> list[Panel]:
    """One panel for each pair of columns that some row has both of; none where nothing can be drawn."""
    columns = {column.key: column for column in board.columns}
    found = []
    for across, up in axes:
        quality = board.ranked_by if up is None else columns.get(up)
        if across in columns and quality is not None:
            found.append(_panel(board, columns[across], quality))
    return [panel for panel in found if panel is not None]


def panel(column: Column, quality: Column, drawn: Sequence[Drawn], left_out: Sequence[str] = ()) -> Panel:
    """The plot of some points, one or more, with costs above zero."""
    costs = np.array([one.cost for one in drawn])
    sign = 1.0 if column.better == "low" else -1.0
    on_front = front(sign * costs, np.array([one.quality.value for one in drawn]))
    points = tuple(Point(*one, front=bool(best)) for one, best in zip(drawn, on_front, strict=True))
    axis = TITLES.get(column.key, column.title)
    return Panel(column, quality, axis, points, _log_range(costs), _range(points), tuple(left_out))


def _panel(board: Board, column: Column, quality_column: Column) -> Panel | None:
    drawn, left_out = [], []
    names = groups(board)
    for place, row in enumerate(board.rows):
        cost, quality = row.cells[column.key], row.cells.get(quality_column.key)
        if cost is None or quality is None or cost.value <= 0:
            left_out.append(row.label)
        else:
            drawn.append(Drawn(row.label, place, names.index(row.group), cost.value, quality))
    return panel(column, quality_column, drawn, left_out) if drawn else None


def _log_range(costs: np.ndarray) -> tuple[float, float]:
    low, high = math.log10(costs.min()), math.log10(costs.max())
    room = max(0.15, 0.12 * (high - low))
    return 10 ** (low - room), 10 ** (high + room)


def _range(points: Sequence[Point]) -> tuple[float, float]:
    ends = [end for point in points for end in point.quality if end is not None]
    room = max(0.01, 0.08 * (max(ends) - min(ends)))
    return min(ends) - room, max(ends) + room
