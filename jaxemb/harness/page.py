"""A board as one HTML page that opens from disk: sortable table, plots, and the numbers as JSON inside."""

import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jaxemb import extras
from jaxemb.harness import tables
from jaxemb.harness.geometry import Box, along, log_ticks, place, ticks
from jaxemb.harness.panels import LEADERBOARD, Axes, Panel, Point, groups, panels
from jaxemb.harness.summary import Board, Cell, Column, as_json

WIDTH, HEIGHT = 560.0, 400.0
FRAME = Box(54, 14, WIDTH - 12, HEIGHT - 44)
LETTER, LINE = 6.4, 14.0  # width of a letter and height of a line of a label, in the plot's units
SHAPES = ("circle", "square", "triangle", "diamond")


def html(board: Board, axes: Sequence[Axes] = LEADERBOARD) -> str:
    """The whole page as text, with a plot for each of `axes`.

    Raises: ImportError that names the extra, without jinja2.
    """
    jinja2 = extras.load("jinja2")
    source = resources.files("jaxemb.harness").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names = groups(board)
    return environment.from_string(source).render(
        board=board,
        rows=[_row(board, place) for place in range(len(board.rows))],
        groups=[{"name": name, "colour": place % 6, "shape": SHAPES[place % 4]} for place, name in enumerate(names)],
        plots=[_plot(panel) for panel in panels(board, axes)],
        facts=tables.facts(board),
        how=tables.HOW,
        summary=as_json(board),
        frame=FRAME,
        width=WIDTH,
        height=HEIGHT,
    )


def _row(board: Board, place: int) -> dict[str, Any]:
    row = board.rows[place]
    return {
        "place": place,
        "label": row.label,
        "colour": groups(board).index(row.group) % 6,
        "shape": SHAPES[groups(board).index(row.group) % 4],
        "rank": row.rank,
        "rank_value": "" if row.best is None or row.worst is None else row.best + row.worst / 1000,
        "tied": row.tied,
        "tied_places": [other for other, one in enumerate(board.rows) if one.label in row.tied],
        "config": json.dumps(row.config, indent=2, ensure_ascii=False),
        "cells": [_cell(board, column, row.cells[column.key]) for column in board.columns],
    }


def _cell(board: Board, column: Column, cell: Cell | None) -> dict[str, Any]:
    values = [one.value for row in board.rows if (one := row.cells[column.key])]
    best = (max if column.better == "high" else min)(values)
    return {
        "value": "" if cell is None else repr(cell.value),
        "text": tables.text(column, cell, interval=False),
        "spread": tables.spread(column, cell),
        "best": cell is not None and len(values) > 1 and cell.value == best,
        "strip": _strip(board, column, cell) if column == board.ranked_by else None,
    }


def _strip(board: Board, column: Column, cell: Cell | None) -> dict[str, float] | None:
    """The interval on a scale of 100 that all rows share."""
    cells = [one for row in board.rows if (one := row.cells[column.key])]
    ends = [end for one in cells for end in one if end is not None]
    if cell is None or cell.low is None or cell.high is None or max(ends) <= min(ends):
        return None
    low, value, high = (100 * (end - min(ends)) / (max(ends) - min(ends)) for end in (cell.low, cell.value, cell.high))
    return {"low": round(low, 2), "value": round(value, 2), "high": round(high, 2)}


def _plot(panel: Panel) -> dict[str, Any]:
    """Everything in the plot's own units, y downwards."""

    def x(cost: float) -> float:
        low, high = (math.log(end) for end in panel.cost)
        return FRAME.x0 + (math.log(cost) - low) / (high - low) * (FRAME.x1 - FRAME.x0)

    def y(value: float) -> float:
        low, high = panel.quality
        return FRAME.y1 - (value - low) / (high - low) * (FRAME.y1 - FRAME.y0)

    dots = [(x(point.cost), y(point.quality.value)) for point in panel.points]
    bars = [
        None
        if point.quality.low is None or point.quality.high is None
        else (y(point.quality.low), y(point.quality.high))
        for point in panel.points
    ]
    front = [(x(cost), y(value)) for cost, value in panel.steps]
    taken = [Box(dot[0] - 2, bar[1], dot[0] + 2, bar[0]) for dot, bar in zip(dots, bars, strict=True) if bar] + along(
        front
    )
    named = {point.label: dot for point, dot in zip(panel.points, dots, strict=True) if point in panel.named}
    sizes = [(LETTER * len(label), LINE) for label in named]
    boxes = dict(zip(named, place(list(named.values()), sizes, taken, FRAME), strict=True))
    marks = ticks(*panel.quality)
    return {
        "axis": panel.axis,
        "up": panel.quality_column.title,
        "left_out": panel.left_out,
        "x_ticks": [{"at": x(mark), "text": tables.significant(mark, 1)} for mark in log_ticks(*panel.cost)],
        "y_ticks": [{"at": y(mark), "text": shown} for mark, shown in zip(marks, _decimals(marks), strict=True)],
        "front": " ".join(f"{across:.1f},{down:.1f}" for across, down in front),
        "points": [
            {
                "row": point.row,
                "label": point.label,
                "colour": point.group % 6,
                "shape": SHAPES[point.group % 4],
                "front": point.front,
                "x": dot[0],
                "y": dot[1],
                "bar": bar,
                "about": _about(panel, point),
                **_named(dot, boxes.get(point.label)),
            }
            for point, dot, bar in zip(panel.points, dots, bars, strict=True)
        ],
    }


def _named(dot: tuple[float, float], box: Box | None) -> dict[str, Any]:
    """Where a point's label stands; nowhere, where it has none."""
    if box is None:
        return {"text": None, "text_y": None, "leader": None}
    return {"text": _anchored(dot, box), "text_y": box.y1 - 3.5, "leader": _leader(dot, box)}


def _decimals(marks: list[float]) -> list[str]:
    """All with as many decimals as the one that needs most."""
    places = max((len(f"{mark:g}".partition(".")[2]) for mark in marks), default=0)
    return [f"{mark:.{places}f}" for mark in marks]


def _anchored(dot: tuple[float, float], box: Box) -> tuple[float, str]:
    """Where a label is fixed and by which end: the one at its point, because letters are not all as wide as thought."""
    if box.x1 <= dot[0]:
        return box.x1, "end"
    return (box.x0, "start") if box.x0 >= dot[0] else ((box.x0 + box.x1) / 2, "middle")


def _about(panel: Panel, point: Point) -> str:
    quality = tables.text(panel.quality_column, point.quality, interval=True)
    return f"{point.label}: {quality}, {tables.number(panel.column.kind, point.cost)} {panel.axis}"


def _leader(dot: tuple[float, float], box: Box) -> tuple[float, float] | None:
    """Where a line from the point meets its label, if the label is so far off that it needs one."""
    near = (min(max(dot[0], box.x0), box.x1), min(max(dot[1], box.y0), box.y1))
    return near if (near[0] - dot[0]) ** 2 + (near[1] - dot[1]) ** 2 > 14**2 else None
