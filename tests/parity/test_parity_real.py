"""Real models that packages bring, here and in the reference: every row of `tools/parity_real.py` within its bound."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import parity_real

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


QUICK = ("all-MiniLM-L6-v2", "a masked BERT of 2 layers")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in parity_real.MODELS],
)
def test_states_of_every_layer_and_what_comes_out(name):
    if lacking := parity_real.missing(parity_real.MODELS[name].modules):
        pytest.skip(lacking)
    row = parity_real.measured(name)
    # Where states are large or layers many, rounding takes the reference in float32 about as far from its float64.
    assert row.difference <= max(1e-5, 3 * row.rounding), row
    assert row.part <= 2e-5, row
    assert row.output_difference <= 1e-5 * max(1, row.output_largest), row
