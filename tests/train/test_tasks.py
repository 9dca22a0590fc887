"""Each batch of a mixture meets its own task's objective."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killable import batch, source

from jaxemb import data, encode, losses, train

ENCODER = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def batches(seed=5):
    """Two tasks with batches of different sizes."""
    pairs = data.stream(source(), batch_size=16, seed=3, make=batch)
    few = data.stream(source(24), batch_size=8, seed=4, make=batch)
    return data.mixture({"pairs": pairs, "few": few}, {"pairs": 2.0, "few": 1.0}, seed=seed)


def go(folder, steps):
    objective = train.by_task(
        {
            "pairs": train.pairwise(ENCODER, losses.info_nce),
            "few": train.pairwise(ENCODER, losses.embedding_distillation),
        }
    )
    return train.fit(
        objective, optax.adam(0.05), batches(), ENCODER.init(jax.random.key(0)), steps=steps, mesh=train.data_mesh(1),
        log=folder / "log.jsonl", checkpoints=folder / "checkpoints", every=2, what=None,
    )  # fmt: skip


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_log_names_the_task_of_every_step_and_a_run_goes_on(tmp_path):
    whole = go(tmp_path / "whole", 7)
    told = lines(tmp_path / "whole")
    order = batches()
    tasks = [order.task(number) for number in range(7)]
    assert set(tasks) == {"pairs", "few"}
    assert [line[task] for line, task in zip(told, tasks, strict=True)] == [line["loss"] for line in told]
    assert [line["negatives"] for line in told] == [{"pairs": 15, "few": 7}[task] for task in tasks]
    go(tmp_path / "parts", 3)
    resumed = go(tmp_path / "parts", 7)
    assert lines(tmp_path / "parts") == told
    np.testing.assert_array_equal(resumed["table"], whole["table"])


def test_what_stands_beside_the_task_reaches_it():
    def noisy(params, batch):
        return params["w"] + jax.random.normal(batch["key"], batch["x"].shape), {"seen": jnp.ones(())}

    one = {"a": {"x": jnp.ones(3)}, "key": jax.random.key(0), "queue": jnp.float32(7.0)}
    got, shown = train.by_task({"a": noisy})({"w": jnp.float32(2.0)}, one)
    np.testing.assert_allclose(got, 2.0 + jax.random.normal(jax.random.key(0), (3,)))
    assert shown == {"seen": 1.0, "a": got.mean(), "queue": 7.0}  # no task has changed what is carried


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"c": {}}, r"one task of \['a', 'b'\], got \['c'\]"),
        ({"a": {}, "b": {}}, r"got \['a', 'b'\]"),
        ({}, r"got \[\]"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        train.by_task({"a": lambda p, b: None, "b": lambda p, b: None})({}, given)
    with pytest.raises(ValueError, match="one objective or more"):
        train.by_task({})


def test_a_task_by_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match=r"tasks are called \['loss', 'step'\]"):
        train.by_task(dict.fromkeys(("step", "loss", "a"), lambda p, b: None))
    shows = lambda params, batch: (jnp.ones(2), {"negatives": jnp.ones(())})
    with pytest.raises(ValueError, match="objective of 'negatives' shows a number of that name"):
        train.by_task({"negatives": shows})({}, {"negatives": {}})
