import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses, train
from jaxemb.types import Encoder, Tokens

ENCODER = Encoder(
    lambda key: {"scale": jnp.ones(())}, lambda params, tokens: params["scale"] * tokens.ids.astype("float32")
)


def tokens(*rows):
    return Tokens(np.array(rows, np.int32), np.ones((len(rows), len(rows[0])), np.int32))


def head(params, left, right):
    return jnp.sum(left * right, axis=1, keepdims=True) + params["bias"]


def test_losses_are_asked_of_the_learnt_head():
    terms = {"scores": train.Term(losses.logit_distillation, "query", "document", 0.5, passed=("teacher",))}
    batch = {"query": tokens([1, 2], [3, 0]), "document": tokens([1, 1], [2, 5]), "teacher": jnp.array([[0.0], [16.0]])}
    params = {"encoder": {"scale": jnp.array(2.0)}, "head": {"bias": jnp.array(1.0)}}
    each, shown = train.headed(ENCODER, head, terms)(params, batch)
    np.testing.assert_allclose(each, [0.5 * 13**2, 0.5 * 9**2])  # logits 12 + 1 and 24 + 1
    assert shown == {}  # a pair meets no negatives


def test_several_terms_are_shown():
    label = train.Term(losses.logit_regression, "query", "document", passed=("label",))
    batch = {"query": tokens([1, 2]), "document": tokens([1, 1]), "label": jnp.array([2.0])}
    params = {"encoder": {"scale": jnp.array(1.0)}, "head": {"bias": jnp.array(0.0)}}
    _, shown = train.headed(ENCODER, head, {"one": label, "other": label})(params, batch)
    assert {name: float(value) for name, value in shown.items()} == {"one": 1.0, "other": 1.0}


def test_a_term_needs_a_name_that_is_free():
    with pytest.raises(ValueError, match="headed: wanted one term or more"):
        train.headed(ENCODER, head, {})


def test_a_cross_encoder_is_asked_for_its_own_logits():
    batch = {"pair": tokens([2], [5]), "label": jnp.array([1.0, 7.0])}
    objective = train.cross_encoded(ENCODER, losses.logit_regression)
    np.testing.assert_allclose(objective({"scale": jnp.array(1.0)}, batch)[0], [1.0, 4.0])
    batch = {"pair": tokens([0, 3], [3, 0]), "label": jnp.array([1, 1])}
    objective = train.cross_encoded(ENCODER, losses.softmax_classification)
    want = np.log1p(np.exp([-3.0, 3.0]))
    np.testing.assert_allclose(objective({"scale": jnp.array(1.0)}, batch)[0], want, rtol=1e-6)
