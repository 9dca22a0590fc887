"""Real models that packages bring, here and in the reference: every row of `tools/parity_real.py` within its bound."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import parity_real

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("name", parity_real.MODELS)
def test_states_of_every_layer_and_what_comes_out(name):
    if lacking := parity_real.missing(parity_real.MODELS[name].modules):
        pytest.skip(lacking)
    row = parity_real.measured(name)
    assert row.difference <= 1e-5, row
