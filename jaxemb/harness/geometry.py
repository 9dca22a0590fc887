"""Where things go in a plot: which points are on the front, where the ticks are, where a label has room."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


def pareto(points: Float[np.ndarray, "n m"]) -> Bool[np.ndarray, " n"]:
    """The Pareto front: points to which no other is at least equal in every number and better in one.

    Larger is better in every column; negate what should be small.  Equal points are on the front together, and a
    point with NaN never is.

    >>> print(pareto(np.array([[-1.0, 0.5], [-2.0, 0.6], [-2.0, 0.4], [-3.0, 0.6]])))
    [ True  True False False]
    """
    as_good = (points[:, None] >= points[None, :]).all(axis=2)
    better = (points[:, None] > points[None, :]).any(axis=2)
    return np.logical_not((as_good & better).any(axis=0) | np.isnan(points).any(axis=1))


def front(cost: Float[np.ndarray, " n"], quality: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The Pareto front of small costs and large qualities.

    >>> print(front(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.5, 0.6, 0.4, 0.6])))
    [ True  True False False]
    """
    return pareto(np.stack([-cost, quality], axis=1))


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round numbers inside a range, in steps of 1, 2 or 5 times a power of ten.

    >>> print(ticks(0.31, 0.72))
    [0.4, 0.5, 0.6, 0.7]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * (1 - 1e-9))
    marks = (round(i * step, 12) for i in range(math.floor(low / step), math.ceil(high / step) + 1))
    return [mark for mark in marks if low <= mark <= high]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside a range; with 2 and 5 times them where that leaves fewer than three.

    >>> print(log_ticks(30.0, 4e4), log_ticks(30.0, 300.0))
    [100.0, 1000.0, 10000.0] [50.0, 100.0, 200.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0,), (1.0, 2.0, 5.0)):
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) >= 3:
            return found
    return found


class Box(NamedTuple):
    """A rectangle; `x1 >= x0` and `y1 >= y0`."""

    x0: float
    y0: float
    x1: float
    y1: float


def overlap(a: Box, b: Box) -> float:
    """Area that two rectangles share."""
    return max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))


def along(corners: Sequence[tuple[float, float]], width: float = 3.0) -> list[Box]:
    """Boxes that cover a line of level and upright pieces."""
    half = width / 2
    return [
        Box(min(a, c) - half, min(b, d) - half, max(a, c) + half, max(b, d) + half)
        for (a, b), (c, d) in pairwise(corners)
    ]


DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


def place(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], taken: Sequence[Box], frame: Box
) -> list[Box]:
    """A box of its size for the label of every point, near it, inside the frame, over as little else as possible.

    Greedy, in the order given: each label takes the place where it covers least
    of the labels placed before, of all points and of `taken`; of equal ones the nearest.
    """
    dots = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    placed: list[Box] = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        candidates = [
            (gap, _beside(x, y, width, height, gap, direction))
            for gap in (8.0, 16.0, 28.0, 44.0, 64.0)
            for direction in DIRECTIONS
        ]

        def cost(candidate: tuple[float, Box], area: float = width * height) -> float:
            gap, box = candidate
            outside = area - overlap(box, frame)
            covered = 4 * sum(overlap(box, other) for other in placed)
            covered += 2 * sum(overlap(box, dot) for dot in dots) + sum(overlap(box, one) for one in taken)
            return 10 * outside + covered + 0.4 * gap

        placed.append(min(candidates, key=cost)[1])
    return placed


def _beside(x: float, y: float, width: float, height: float, gap: float, direction: tuple[int, int]) -> Box:
    across, down = direction
    far = gap if 0 in direction else 0.8 * gap
    x0 = x + far if across > 0 else x - far - width if across < 0 else x - width / 2
    y0 = y + far if down > 0 else y - far - height if down < 0 else y - height / 2
    return Box(x0, y0, x0 + width, y0 + height)
