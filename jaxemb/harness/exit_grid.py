"""Quality of every layer at every size as a PNG: a grid for each row of the records."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxemb import atomic, extras
from jaxemb.harness.record import Record

CELL = re.compile(r"\((\d+), (\d+)\)")


def grids(records: Iterable[Record], metric: str) -> dict[str, dict[tuple[int, int], float]]:
    """Means of the records of `metric (layer, size)`, by the record's row and its cell."""
    found: dict[str, dict[tuple[int, int], float]] = {}
    for one in records:
        name, _, cell = one.metric.partition(" ")
        if name == metric and (place := CELL.fullmatch(cell)):
            found.setdefault(one.recipe, {})[int(place[1]), int(place[2])] = float(np.mean(one.values))
    return found


def png(records: Iterable[Record], path: Path | str, *, metric: str) -> None:
    """Draw the grids of `metric (layer, size)` side by side, in one scale, into a file, whole or not at all.

    Raises: ImportError that names the extra, without matplotlib; ValueError when there is no such record.
    """
    agg, figures = extras.load("matplotlib.backends.backend_agg"), extras.load("matplotlib.figure")
    found = grids(records, metric)
    if not found:
        raise ValueError(f"exit_grid: wanted records of {metric!r} at (layer, size), got none")
    layers, sizes = (sorted({cell[axis] for grid in found.values() for cell in grid}) for axis in (0, 1))
    across = min(4, len(found))
    down = -(-len(found) // across)
    figure = figures.Figure(
        figsize=(across * (0.6 * len(sizes) + 0.7), down * (0.4 * len(layers) + 0.9)), dpi=150, layout="constrained"
    )
    agg.FigureCanvasAgg(figure)
    every = [value for grid in found.values() for value in grid.values()]
    all_axes = figure.subplots(down, across, squeeze=False).ravel()
    for axes in all_axes[len(found) :]:
        axes.set_axis_off()
    for axes, (name, grid) in zip(all_axes, found.items(), strict=False):
        _grid(axes, name, grid, layers, sizes, (min(every), max(every)))
    figure.supxlabel("dimensions", fontsize=8)
    figure.supylabel("layers", fontsize=8)
    figure.suptitle(f"{metric}, by layers that are run and dimensions that are kept", fontsize=9)
    with atomic.file(path) as partial:
        figure.savefig(partial, format="png")


def _grid(
    axes: Any,
    name: str,
    grid: dict[tuple[int, int], float],
    layers: list[int],
    sizes: list[int],
    scale: tuple[float, float],
) -> None:
    table = np.array([[grid.get((layer, size), np.nan) for size in sizes] for layer in layers])
    axes.imshow(table, cmap="Blues", vmin=scale[0], vmax=scale[1], origin="lower", aspect="auto")
    middle = (scale[0] + scale[1]) / 2
    for (layer, size), value in np.ndenumerate(table):
        if not np.isnan(value):
            colour = "white" if value > middle else "#1c2126"
            axes.text(size, layer, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_title(name, fontsize=8)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes], fontsize=7)
    axes.set_yticks(range(len(layers)), [str(layer) for layer in layers], fontsize=7)
    axes.spines[:].set_visible(False)
