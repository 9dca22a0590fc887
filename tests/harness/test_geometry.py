from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jaxemb.harness.geometry import Box, front, log_ticks, overlap, place, ticks

NUMBER = st.integers(0, 5).map(float)


@given(points=st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points):
    cost, quality = (np.array(column) for column in zip(*points, strict=True))
    on = front(cost, quality)
    for i, (c, q) in enumerate(points):
        beaten = any(c2 <= c and q2 >= q and (c2, q2) != (c, q) for c2, q2 in points)
        assert on[i] == (not beaten)


@given(low=st.floats(-10, 10), width=st.floats(1e-3, 100))
@example(low=1e-8, width=31.0)
@example(low=0.3, width=0.4)
def test_ticks_lie_inside_and_are_few(low, width):
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 7
    assert all(low <= mark <= low + width for mark in found)


@given(low=st.floats(1e-3, 1e5), times=st.floats(1.5, 1e6))
def test_log_ticks_lie_inside(low, times):
    found = log_ticks(low, low * times)
    assert all(low <= mark <= low * times for mark in found)
    assert len(found) <= 10
    assert len(found) >= 2 or times < 5


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_a_crowded_plot_stay_inside_and_apart(seed):
    chance = np.random.default_rng(seed)
    frame = Box(0, 0, 500, 350)
    points = [(float(x), float(y)) for x, y in zip(chance.uniform(0, 500, 14), chance.uniform(0, 350, 14), strict=True)]
    points += [(480.0, 20.0), (481.0, 22.0), (484.0, 19.0)]
    boxes = place(points, [(90.0, 14.0)] * len(points), [], frame)
    assert all(overlap(box, frame) == pytest.approx(90 * 14) for box in boxes)
    assert max(overlap(a, b) for a, b in combinations(boxes, 2)) < 0.1 * 90 * 14
