"""Points as a picture, PNG or SVG: quality against bytes and against latency, side by side, or other panels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxemb import atomic, extras
from jaxemb.harness.geometry import Box, along, log_ticks, place
from jaxemb.harness.panels import LEADERBOARD, Axes, Panel, groups, panels
from jaxemb.harness.summary import Board
from jaxemb.harness.tables import significant

COLOURS = ("#0063a6", "#c44e00", "#00805a", "#a3478b", "#6b4fa0", "#7d6200")
MARKERS = ("o", "s", "^", "D")  # with six colours: twelve groups before two look alike
INK, FAINT = "#1c2126", "#8b949e"


def png(board: Board, path: Path | str, axes: Sequence[Axes] = LEADERBOARD) -> None:
    """Draw a board's panels into a file, whole or not at all; see `draw`.

    Raises: ImportError that names the extra, without matplotlib; ValueError when there is no point to draw.
    """
    drawn = panels(board, axes)
    if not drawn:
        raise ValueError(f"{board.task}: no system has both {board.ranked_by.title} and a cost to plot it against")
    draw(drawn, groups(board), board.task, path)


def draw(drawn: Sequence[Panel], names: Sequence[str], title: str, path: Path | str) -> None:
    """Draw panels side by side into a file, `.png` or `.svg`, whole or not at all.

    Filled points are on the Pareto front of the estimates; bars are 95 % intervals.

    Args:
      names: of the groups that points belong to.
    Raises: ImportError that names the extra, without matplotlib; ValueError for a file of another kind.
    """
    form = Path(path).suffix.removeprefix(".")
    if form not in ("png", "svg"):
        raise ValueError(f"{path}: wanted a plot in .png or .svg")
    agg, figures = extras.load("matplotlib.backends.backend_agg"), extras.load("matplotlib.figure")
    figure = figures.Figure(figsize=(6.4 * len(drawn), 5.0), dpi=150, layout="constrained")
    agg.FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    all_axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, panel in zip(all_axes, drawn, strict=True):
        _axes(axes, panel, panel.quality_column.title)
    handles = [_legend(all_axes[0], place_, name) for place_, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, fontsize=8)
    figure.canvas.draw()  # settles where the axes lie, which the labels need
    for axes, panel in zip(all_axes, drawn, strict=True):
        _label(figure, axes, panel)
    same = {"metadata": {"Date": None}} if form == "svg" else {}  # the same points give the same file
    with extras.load("matplotlib").rc_context({"svg.hashsalt": "jaxemb"}), atomic.file(path) as partial:
        figure.savefig(partial, format=form, **same)


def _axes(axes: Any, panel: Panel, quality: str) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*panel.cost)
    axes.set_ylim(*panel.quality)
    marks = log_ticks(*panel.cost)
    axes.set_xticks(marks, [significant(mark, 1) for mark in marks])
    axes.tick_params(colors=INK, labelsize=8)
    axes.minorticks_off()
    axes.grid(color="#e4e7ea", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.set_xlabel(panel.axis, fontsize=9, color=INK)
    axes.set_ylabel(quality, fontsize=9, color=INK)
    steps = panel.steps
    axes.plot([x for x, _ in steps], [y for _, y in steps], color=FAINT, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)
    for point in panel.points:
        low, value, high = point.quality
        colour = COLOURS[point.group % len(COLOURS)]
        if low is not None and high is not None:
            axes.plot([point.cost, point.cost], [low, high], color=colour, linewidth=1.0, alpha=0.55, zorder=2)
        axes.plot(
            [point.cost],
            [value],
            marker=MARKERS[point.group % len(MARKERS)],
            markersize=6.5,
            color=colour,
            markerfacecolor=colour if point.front else "white",
            markeredgewidth=1.3,
            zorder=3,
        )


def _legend(axes: Any, group: int, name: str) -> Any:
    (handle,) = axes.plot(
        [], [], marker=MARKERS[group % len(MARKERS)], color=COLOURS[group % len(COLOURS)], linestyle=""
    )
    handle.set_label(name.replace("$", r"\$"))
    return handle


def _label(figure: Any, axes: Any, panel: Panel) -> None:
    """Write the names where they cover least; pixels grow upwards here, which `place` does not mind."""
    unit = figure.dpi / 100  # `place` thinks in hundredths of an inch
    effects = extras.load("matplotlib.patheffects")
    halo = [effects.withStroke(linewidth=2.5, foreground="white")]
    texts = [
        axes.text(0, 0, point.label, fontsize=7.5, color=INK, parse_math=False, path_effects=halo, zorder=4)
        for point in panel.named
    ]
    extents = [text.get_window_extent() for text in texts]
    sizes = [(one.width / unit, one.height / unit) for one in extents]

    def pixel(cost: float, quality: float) -> tuple[float, float]:
        x, y = axes.transData.transform((cost, quality))
        return float(x) / unit, float(y) / unit

    dots = [pixel(point.cost, point.quality.value) for point in panel.named]
    bars = []
    for point in panel.points:
        if point.quality.low is not None and point.quality.high is not None:
            (x, low), (_, high) = pixel(point.cost, point.quality.low), pixel(point.cost, point.quality.high)
            bars.append(Box(x - 2, low, x + 2, high))
    inside = axes.get_window_extent()
    frame = Box(inside.x0 / unit, inside.y0 / unit, inside.x1 / unit, inside.y1 / unit)
    for text, dot, box in zip(
        texts, dots, place(dots, sizes, [*bars, *along([pixel(*corner) for corner in panel.steps])], frame), strict=True
    ):
        where = axes.transData.inverted().transform((box.x0 * unit, box.y0 * unit))
        text.set_position(where)
        text.set_verticalalignment("bottom")
        near = (min(max(dot[0], box.x0), box.x1), min(max(dot[1], box.y0), box.y1))
        if (near[0] - dot[0]) ** 2 + (near[1] - dot[1]) ** 2 > 14**2:
            ends = axes.transData.inverted().transform([(x * unit, y * unit) for x, y in (dot, near)])
            axes.plot(ends[:, 0], ends[:, 1], color=FAINT, linewidth=0.6, zorder=1)
