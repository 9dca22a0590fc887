"""A step that breaks is named with its batch; TensorBoard gets what the log gets."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killable import run

from jaxemb import train
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")


class Given:
    """One batch for ever."""

    def __init__(self, **entries):
        self.entries = entries

    def __next__(self):
        return self.entries

    def get_state(self):
        return {}

    def set_state(self, state):
        raise NotImplementedError


def fit(objective, batches, folder, **kwargs):
    params = {"w": np.float32(1.0), "v": np.float32(0.0)}
    settings = {"steps": 2, "log": folder / "log.jsonl", "what": None, "mesh": train.data_mesh(2), **kwargs}
    return train.fit(objective, optax.sgd(0.1), batches, params, **settings)


def test_rows_whose_losses_are_not_finite_are_named_and_the_batch_is_kept(tmp_path):
    def objective(params, batch):
        return params["w"] * jnp.log(batch["score"]) + 0 * params["v"], {}

    tokens = Tokens(np.arange(8, dtype=np.int32).reshape(4, 2), np.ones((4, 2), np.int32))
    score = np.array([1.0, 0.0, 2.0, -1.0], np.float32)
    with pytest.raises(
        FloatingPointError, match=r"loss of step 1 is nan.*rows .* \[1, 3\] of 4; the batch is in"
    ) as told:
        fit(objective, Given(query=tokens, score=score), tmp_path, key=jax.random.key(0))
    file = re.search(r"the batch is in (.*)$", str(told.value))[1]
    assert file == str(tmp_path / "log.jsonl.step-1.npz")
    with np.load(file, allow_pickle=False) as kept:
        assert sorted(kept) == ["query.ids", "query.mask", "score"]
        np.testing.assert_array_equal(kept["score"], score)
        np.testing.assert_array_equal(kept["query.ids"], tokens.ids)
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_leaves_whose_gradients_are_not_finite_are_named(tmp_path):
    def objective(params, batch):
        return params["w"] * jnp.ones(4) + jnp.sqrt(params["v"]), {}

    with pytest.raises(FloatingPointError, match=r"all losses are finite, the gradients of \['v'\] are not"):
        fit(objective, Given(score=np.ones(4, np.float32)), tmp_path)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            lambda p, batch: (3e38 * (p["w"] - 1 + p["v"]) * batch["x"], {}),
            "all losses and all gradients are finite, the norm of the gradients is too large",
        ),
        (
            lambda p, batch: (3e38 * p["w"] * batch["x"] + p["v"], {}),
            "losses of all rows here are finite, the mean over the whole batch is not",
        ),
    ],
)
def test_numbers_that_are_too_large_together_are_told_apart(tmp_path, objective, message):
    with pytest.raises(FloatingPointError, match=message):
        fit(objective, Given(x=np.ones(4, np.float32)), tmp_path)


def test_entries_that_came_broken_are_named(tmp_path):
    def objective(params, batch):
        return params["w"] * batch["teacher"], {}

    batches = Given(teacher=np.array([1, np.inf], np.float32), other=np.ones(2, np.float32))
    with pytest.raises(FloatingPointError, match=r"\[1\] of 2; its entries \['teacher'\] are not finite either$"):
        fit(objective, batches, tmp_path, log=None)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_every_number_and_hides_steps_that_run_again(tmp_path):
    pytest.importorskip("tensorboardX")
    for steps in (3, 4):
        with train.tensorboard(tmp_path / "board") as watch:
            run(tmp_path, steps, watch=watch, mesh=train.data_mesh(1))
    files = sorted((tmp_path / "board").iterdir())
    told = [event for file in files for event in read(file)]
    found = {(event.step, value.tag) for event in told for value in event.summary.value}
    assert found == {(step, name) for step in (1, 2, 3, 4) for name in ("loss", "negatives", "gradient_norm")}
    assert 4 in {event.step for event in told if event.HasField("session_log")}  # from here on, the second run counts


def read(file):
    """The events of a file: each is its length, a checksum, itself and another checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content, place = file.read_bytes(), 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 8], "little")
        yield Event.FromString(content[place + 12 : place + 12 + size])
        place += size + 16
