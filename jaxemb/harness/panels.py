"""The two plots of a board as data: quality against bytes, and against latency."""

import math
from typing import NamedTuple

import numpy as np

from jaxemb.harness.geometry import front
from jaxemb.harness.summary import Board, Cell, Column, Row

COSTS = ("bytes_per_vector", "query_ms_p50")
AXES = {"bytes_per_vector": "bytes per vector", "query_ms_p50": "median ms for one query, encoding and search"}


class Point(NamedTuple):
    """A system in a panel.

    row, group: places of its row in the board and of its group in `groups`.
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

    left_out: labels of the systems without one of the two numbers.
    """

    column: Column
    axis: str
    points: tuple[Point, ...]
    cost: tuple[float, float]
    quality: tuple[float, float]
    left_out: tuple[str, ...]

    @property
    def steps(self) -> list[tuple[float, float]]:
        """Corners of the front, from the cheapest point to the right edge: the best quality to be had for a cost."""
        corners: list[tuple[float, float]] = []
        for point in sorted((one for one in self.points if one.front), key=lambda one: (one.cost, one.quality.value)):
            if corners:
                corners.append((point.cost, corners[-1][1]))
            corners.append((point.cost, point.quality.value))
        return [*corners, (self.cost[1], corners[-1][1])]


def groups(board: Board) -> list[str]:
    """Names of the groups, in the order of their best rows."""
    return list(dict.fromkeys(row.group for row in board.rows))


def panels(board: Board) -> list[Panel]:
    """One panel a cost that some row has; none where nothing can be drawn."""
    columns = {column.key: column for column in board.columns}
    found = [_panel(board, columns[key]) for key in COSTS if key in columns]
    return [panel for panel in found if panel is not None]


def _panel(board: Board, column: Column) -> Panel | None:
    drawn: list[tuple[int, Row, float, Cell]] = []
    left_out = []
    for place, row in enumerate(board.rows):
        cost, quality = row.cells[column.key], row.cells.get(board.ranked_by.key)
        if cost is None or quality is None or cost.value <= 0:
            left_out.append(row.label)
        else:
            drawn.append((place, row, cost.value, quality))
    if not drawn:
        return None
    costs = np.array([cost for _, _, cost, _ in drawn])
    on_front = front(costs, np.array([quality.value for *_, quality in drawn]))
    names = groups(board)
    points = [
        Point(row.label, place, names.index(row.group), cost, quality, bool(best))
        for (place, row, cost, quality), best in zip(drawn, on_front, strict=True)
    ]
    return Panel(column, AXES[column.key], tuple(points), _log_range(costs), _range(points), tuple(left_out))


def _log_range(costs: np.ndarray) -> tuple[float, float]:
    low, high = math.log10(costs.min()), math.log10(costs.max())
    room = max(0.15, 0.12 * (high - low))
    return 10 ** (low - room), 10 ** (high + room)


def _range(points: list[Point]) -> tuple[float, float]:
    ends = [end for point in points for end in point.quality if end is not None]
    room = max(0.01, 0.08 * (max(ends) - min(ends)))
    return min(ends) - room, max(ends) + room
