"""The best params are returned, and a run ends when none better come, whenever it was killed."""

import json

import jax
import numpy as np
import pytest
from killable import run
from test_fit import StoppedError, logged

from jaxemb import train

VALUES = [0.1, 0.5, 0.3, 0.5, 0.4, 0.9]  # by check, every 2 steps: the best of five is the second

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def checks(seen):
    """A metric that gives `VALUES`, and keeps the params that it saw."""

    def metric(params):
        value = VALUES[len(seen)]
        seen.append(jax.tree.map(np.array, params))
        return value

    return metric


def go(folder, seen, patience, steps=12, watch=None):
    validation = train.Validation(checks(seen), every=2, patience=patience)
    return run(folder, steps, validation=validation, watch=watch, mesh=train.data_mesh(1))


def lines(folder):
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_the_best_params_are_returned_and_patience_ends_the_run(tmp_path):
    seen = []
    got = go(tmp_path, seen, patience=3)
    assert len(seen) == 5
    np.testing.assert_array_equal(got["table"], seen[1]["table"])
    told = lines(tmp_path)
    assert [line["step"] for line in told] == list(range(1, 11))
    assert [(line["validation"], line["best"]) for line in told[1::2]] == list(
        zip(VALUES[:5], [0.1, 0.5, 0.5, 0.5, 0.5], strict=True)
    )
    assert "validation" not in told[0]
    # It ended, so it is not taken up again.
    again = go(tmp_path, seen, patience=3, watch=lambda step: pytest.fail("a step ran"))
    np.testing.assert_array_equal(again["table"], got["table"])
    # More patience takes it up again, and the last check is the best.
    got = go(tmp_path, seen, patience=4)
    assert len(seen) == 6
    np.testing.assert_array_equal(got["table"], seen[5]["table"])


def test_a_killed_run_keeps_the_best_and_the_count(tmp_path):
    seen = []

    def stop(step):
        if step.number == 8:
            raise StoppedError

    with pytest.raises(StoppedError):
        go(tmp_path, seen, patience=3, watch=stop)  # the newest checkpoint is of step 6, after three checks
    del seen[3:]
    best = seen[1]["table"]
    got = go(tmp_path, seen, patience=3)
    assert len(seen) == 5
    np.testing.assert_array_equal(got["table"], best)
    assert len(logged(tmp_path)) == 10
    with pytest.raises(ValueError, match="a run with validation, this one is without"):
        run(tmp_path, 12)


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        (train.Validation(lambda params: 0.0, every=0), ValueError, "got every=0 and patience=None"),
        (train.Validation(lambda params: 0.0, every=1, patience=0), ValueError, "patience=0"),
        (train.Validation(lambda params: float("nan"), every=1), FloatingPointError, "after step 1 gave nan"),
    ],
)
def test_bad_input(validation, error, message, tmp_path):
    with pytest.raises(error, match=message):
        run(tmp_path, 2, validation=validation, checkpoints=None, mesh=train.data_mesh(1))
