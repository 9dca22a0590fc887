"""Query drift compensation on a toy encoder whose drift is a constant."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import adapt, train
from jaxemb.recipes import query_drift as recipe
from jaxemb.recipes.query_drift import Config
from jaxemb.similarity import unit
from jaxemb.types import Encoder

CONFIG = Config(steps=4, learning_rate=1e-2, scale=10.0)
DISTILS = replace(CONFIG, query_distillation=1.0, document_distillation=0.5)
ENCODER = Encoder(
    lambda key: {"matrix": jax.random.normal(key, (3, 3)), "still": jnp.zeros(3)},
    lambda params, rows: unit(rows @ params["matrix"] + params["still"][None, :]),
)
OLD, NEW = ENCODER.init(jax.random.key(0)), ENCODER.init(jax.random.key(1))


def batch(count=4, negatives=0):
    draw = np.random.default_rng(0)
    return {
        "query": jnp.asarray(draw.normal(size=(count, 3)), jnp.float32),
        "document": jnp.asarray(draw.normal(size=(count * (1 + negatives), 3)), jnp.float32),
    }


class Endless:
    def __next__(self):
        return {name: np.asarray(rows) for name, rows in batch(8).items()}

    def get_state(self):
        return None

    def set_state(self, state): ...


def test_the_loss_by_hand():
    given = batch(4, negatives=1)
    each, shown = recipe.objective(DISTILS, ENCODER, negatives=1)({"new": NEW, "old": OLD}, given)
    q, d = (np.asarray(ENCODER.apply(NEW, given[side])) for side in ("query", "document"))
    before_q, before_d = (np.asarray(ENCODER.apply(OLD, given[side])) for side in ("query", "document"))
    logits = 10 * q @ d.T
    contrast = np.log(np.exp(logits).sum(axis=1)) - np.diagonal(logits)
    query, document = 1 - (q * before_q).sum(axis=1), 1 - (d * before_d).sum(axis=1)
    np.testing.assert_allclose(each.mean(), contrast.mean() + query.mean() + 0.5 * document.mean(), rtol=1e-5)
    np.testing.assert_allclose(shown["document_distillation"], document.mean(), rtol=1e-5)


def test_the_model_before_has_no_gradient():
    aim = recipe.objective(DISTILS, ENCODER)
    slope = jax.grad(lambda tree: aim(tree, batch())[0].mean())({"new": NEW, "old": OLD})
    assert float(jnp.abs(slope["new"]["matrix"]).max()) > 0
    assert float(jnp.abs(slope["old"]["matrix"]).max()) == 0


def test_an_update_moves_what_it_may_and_leaves_the_rest():
    learnt = recipe.update(DISTILS, ENCODER, OLD, Endless(), frozen=("still",), what=None)
    assert float(jnp.abs(learnt["matrix"] - OLD["matrix"]).max()) > 0
    np.testing.assert_array_equal(learnt["still"], OLD["still"])


def test_distillation_holds_to_the_model_before():
    def moved(cfg):
        learnt = recipe.update(replace(cfg, steps=20), ENCODER, OLD, Endless(), what=None)
        return adapt.told(recipe.drifted(ENCODER, OLD, learnt, [batch(8)])).cosine

    assert moved(replace(DISTILS, query_distillation=10.0)) > moved(CONFIG)


def test_drift_is_summed_over_batches():
    one = batch(8)
    halves = [{"query": one["query"][:4]}, {"query": one["query"][4:]}]
    whole, parts = recipe.drifted(ENCODER, OLD, NEW, [one]), recipe.drifted(ENCODER, OLD, NEW, halves)
    np.testing.assert_allclose(adapt.mean_drift(parts), adapt.mean_drift(whole), atol=1e-6)
    with pytest.raises(ValueError, match="wanted one batch of queries or more"):
        recipe.drifted(ENCODER, OLD, NEW, [])


def test_one_device_and_eight_give_the_same_update():
    def updated(count):
        mesh = jax.make_mesh((count,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:count])
        aim = recipe.objective(CONFIG, ENCODER)
        return train.fit(aim, optax.sgd(0.1), Endless(), {"new": OLD}, steps=2, mesh=mesh, what=None)["new"]

    np.testing.assert_allclose(updated(8)["matrix"], updated(1)["matrix"], atol=1e-5)


@pytest.mark.parametrize(
    ("cfg", "params", "negatives", "said"),
    [
        (replace(CONFIG, scale=0.0), {"new": NEW}, 0, "wanted a scale above 0"),
        (replace(CONFIG, query_distillation=-1.0), {"new": NEW}, 0, "weights of 0 or more"),
        (DISTILS, {"new": NEW}, 0, "distillation wants the model before"),
        (CONFIG, {"new": NEW}, 2, "wanted 2 negatives for each of 4 queries, got 4 documents"),
    ],
)
def test_what_cannot_be_learnt_is_refused(as_users_call, cfg, params, negatives, said):
    with pytest.raises(ValueError, match=said):
        recipe.objective(cfg, ENCODER, negatives=negatives)(params, batch())
