import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb.data.clicks import Clicks, by_time
from jaxemb.encode import click_models, tables
from jaxemb.recipes import table_compression, table_steps
from jaxemb.recipes.table_compression import Config

MODEL = click_models.wide_and_deep((4,))
CONFIG = Config(ratio=0.5, dim=4, epochs=8, batch_size=32, learning_rate=3e-2)


def log(validation=0.2):
    """Every id of the first field is clicked always or never."""
    draw = np.random.default_rng(0)
    ids = np.stack([draw.integers(20, size=320), draw.integers(3, size=320)], axis=1).astype(np.int32)
    liked = draw.random(20) < 0.5
    return by_time(Clicks(("a", "b"), (20, 3), ids, liked[ids[:, 0]], np.zeros((320, 0), np.float32)), validation, 0.2)


def test_a_toy_run_learns_and_repeats_itself():
    one, other, again = table_compression.run(CONFIG, tables.robe(), MODEL, log(), seeds=(0, 1, 0), what=None)
    assert one.auc > 0.8
    assert one.bytes == tables.size(one.form) == one.table.bytes <= 0.5 * 23 * 4 * 4
    assert one.training_bytes > one.bytes
    np.testing.assert_array_equal(one.form["array"], again.form["array"])
    assert (one.auc, one.log_loss) == (again.auc, again.log_loss)
    assert not np.array_equal(one.form["array"], other.form["array"])


def wanted_table(seen):
    """A table that records what the loop asks of it: three stages of entries, and a second table."""
    fields = tables.Fields((20, 3), 4)
    last = tables.full()(fields, 1.0)

    def look(params, ids, now):
        return tables.Looked(
            last.lookup({"rows": params["rows"]}, ids) * params["scale"], 0.0, {"calls": params["calls"] + 1.0}
        )

    def settle(before, moved, now, loss):
        return {**moved, "rows": jnp.clip(moved["rows"], -0.01, 0.01)}

    def then(params, key, score):
        seen.update(params=params, score=score(lambda ids: last.lookup({"rows": params["rows"]}, ids)))
        return tables.Next(last, {"rows": params["rows"]}, restart=True)

    training = tables.Training(
        look=look, settle=settle, held=("calls",), validated={"scale": optax.sgd(0.1)}, share=0.5, then=then
    )

    def init(key):
        return {**last.init(key), "scale": jnp.ones(()), "calls": jnp.zeros(())}

    return last._replace(init=init, training=training)


def test_stages_do_what_a_table_asks_for():
    seen = {}
    (made,) = table_compression.run(CONFIG, lambda fields, ratio: wanted_table(seen), MODEL, log(), what=None)
    assert float(seen["params"]["calls"]) == 0.5 * 8 * 6  # half of the steps; six batches an epoch
    assert float(jnp.abs(seen["params"]["rows"]).max()) == pytest.approx(0.01)
    assert float(seen["params"]["scale"]) != 1.0
    assert 0 <= seen["score"] <= 1
    assert sorted(made.form) == ["rows"]
    with pytest.raises(ValueError, match="wanted validation rows, by which its stages choose, got none"):
        table_compression.run(CONFIG, lambda fields, ratio: wanted_table(seen), MODEL, log(0.0), what=None)


def test_rows_that_a_batch_has_not_stay():
    table = tables.full()(tables.Fields((4, 2), 2), 1.0)
    steps = table_steps.steps(table, MODEL, optax.adam(0.1), 0, 2)
    state = steps.start(jax.random.key(0))
    before = np.array(state.table["rows"])
    for at, ids in enumerate(([[0, 0]], [[1, 1]])):
        batch = table_steps.Rows(jnp.array(ids, jnp.int32), jnp.ones(1), jnp.zeros((1, 0)))
        state, _ = steps.step(state, batch, None, np.int32(at), jax.random.key(1))
        moved = (np.asarray(state.table["rows"]) != before).any(axis=1)
        assert (
            moved.tolist() == [[True, False, False, False, True, False], [False, True, False, False, False, True]][at]
        )
        before = np.array(state.table["rows"])


def test_plain_tables_train_by_fit_as_well():
    one = log().train
    table = tables.robe()(table_compression.fields(CONFIG, log()), 0.5)
    objective = table_compression.objective(table, MODEL)
    params = {"table": table.init(jax.random.key(0)), "model": MODEL.init(jax.random.key(1), 2, 4, 0)}
    batch = {
        "ids": jnp.asarray(one.ids),
        "clicked": jnp.asarray(one.clicked, jnp.float32),
        "dense": jnp.asarray(one.dense),
    }
    losses, shown = objective(params, batch)
    assert losses.shape == (192,)
    assert not shown
    with pytest.raises(ValueError, match="int8: training it takes more than a gradient step"):
        table_compression.objective(tables.quantized()(table_compression.fields(CONFIG, log()), 0.5), MODEL)


def test_log_loss_by_hand():
    rows = table_steps.Rows(jnp.zeros((2, 1), jnp.int32), jnp.array([1.0, 0.0]), jnp.zeros((2, 0)))
    got = table_compression.log_loss(np.array([0.0, np.log(3.0)]), rows)
    assert got == pytest.approx((np.log(2) + np.log(4)) / 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"epochs": 0}, "wanted 1 epoch"), ({"batch_size": 1}, "2 rows a batch"), ({"learning_rate": 0.0}, "above 0")],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        Config(**{"ratio": 0.5, **change})


def test_fewer_rows_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="wanted 512 training rows or more, got 192"):
        table_compression.run(Config(ratio=0.5, batch_size=512), tables.full(), MODEL, log(), what=None)
