"""Objectives are the losses they are made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode, losses, train
from jaxemb.types import Encoder, Tokens

ENCODER = encode.static(encode.StaticConfig(vocab_size=20, hidden_size=4))
PARAMS = ENCODER.init(jax.random.key(0))


def tokens(seed: int, rows: int) -> Tokens:
    ids = np.random.default_rng(seed).integers(0, 20, size=(rows, 5)).astype(np.int32)
    return Tokens(jnp.asarray(ids), jnp.ones((rows, 5), jnp.int32))


BATCH = {
    "query": tokens(0, 3),
    "document": tokens(1, 5),
    "target": jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)), jnp.float32),
    "ignore": jnp.array([[True, True, False, False, False], [False] * 5, [False, True, False, False, True]]),
}


def vectors(name: str) -> jax.Array:
    return ENCODER.apply(PARAMS, BATCH[name])


def test_pairwise_is_the_loss_of_both_sides():
    loss = partial(losses.info_nce, temperature=0.2)
    each, shown = train.pairwise(ENCODER, loss)(PARAMS, BATCH)
    np.testing.assert_allclose(each, loss(vectors("query"), vectors("document")), rtol=1e-6)
    assert shown == {"negatives": 4}


def test_a_mask_reaches_the_loss_and_lessens_the_negatives():
    each, shown = train.pairwise(ENCODER, losses.info_nce, passed=["ignore"])(PARAMS, BATCH)
    wanted = losses.info_nce(vectors("query"), vectors("document"), ignore=BATCH["ignore"])
    np.testing.assert_allclose(each, wanted, rtol=1e-6)
    assert shown["negatives"] == pytest.approx((3 + 4 + 2) / 3)  # the first row's own document is not dropped


def test_terms_are_weighed_and_shown():
    terms = {
        "distil": train.Term(losses.embedding_distillation, "query", "target"),
        "contrast": train.Term(losses.info_nce, "query", "document", weight=0.5),
    }
    each, shown = train.objective(ENCODER, terms)(PARAMS, BATCH)
    distil = losses.embedding_distillation(vectors("query"), BATCH["target"])
    contrast = losses.info_nce(vectors("query"), vectors("document"))
    np.testing.assert_allclose(each, distil + 0.5 * contrast, rtol=1e-6)
    np.testing.assert_allclose([shown["distil"], shown["contrast"]], [distil.mean(), contrast.mean()], rtol=1e-6)


def test_every_text_is_encoded_once():
    calls = []

    def apply(params, read):
        calls.append(read.ids.shape)
        return ENCODER.apply(params, read)

    term = train.Term(losses.info_nce, "query", "document")
    train.objective(Encoder(ENCODER.init, apply), {"a": term, "b": term})(PARAMS, BATCH)
    assert calls == [(3, 5), (5, 5)]


def test_no_term_is_refused():
    with pytest.raises(ValueError, match="wanted one term or more"):
        train.objective(ENCODER, {})
