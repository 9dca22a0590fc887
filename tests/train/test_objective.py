"""Objectives are the losses they are made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import encode, losses, train
from jaxemb.data.tokenize import grouped, pad
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


@pytest.mark.parametrize("make", [train.objective, train.queued])
@pytest.mark.parametrize("name", ["step", "loss", "gradient_norm", "validation", "best", "negatives"])
def test_a_term_by_a_name_of_the_log_is_refused(make, name):
    term = train.Term(losses.info_nce, "query", "document")
    with pytest.raises(ValueError, match=f"{name}'.* (choose|call)"):
        make(ENCODER, {"a": term, name: term})


def test_an_entry_that_a_term_reads_and_the_batch_has_not_is_named():
    lacking = {name: BATCH[name] for name in ("query", "target")}
    wanted = r"wanted the batch to have document, ignore, got \['query', 'target'\]"
    with pytest.raises(ValueError, match=wanted):
        train.pairwise(ENCODER, losses.info_nce, passed=["ignore"])(PARAMS, lacking)


def test_texts_in_groups_of_like_length_are_the_same_texts():
    rows = [np.arange(1, 1 + length, dtype=np.int32) for length in (9, 2, 17, 3, 1, 12)]
    documents = [row[::-1].copy() for row in rows]
    at_once = {"query": pad(rows, 24), "document": pad(documents, 24)}
    in_groups = {"query": grouped(rows, 3), "document": grouped(documents, 2)}
    assert [group.ids.shape for group in in_groups["query"].groups] == [(2, 8), (2, 16), (2, 24)]

    def gradient(encoder, given):
        mean = lambda params: train.pairwise(encoder, losses.info_nce)(params, given)[0].mean()
        return jax.jit(jax.grad(mean))(PARAMS)

    wanted = gradient(ENCODER, at_once)
    for encoder in (ENCODER, train.gradient_cache(ENCODER, 1)):
        got = gradient(encoder, in_groups)
        jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6), got, wanted)
    assert train.pairwise(ENCODER, losses.info_nce)(PARAMS, in_groups)[1] == {"negatives": 5}


def test_fit_reads_groups_on_a_mesh():
    rows = [np.arange(1, 2 + i, dtype=np.int32) for i in range(16)]
    given = {"query": grouped(rows, 2), "document": pad(rows[::-1], 16)}

    class Same:
        def __next__(self):
            return given

        def get_state(self):
            return 0

        def set_state(self, state):
            pass

    loss = losses.on_mesh(losses.tiled(losses.info_nce, 1), train.data_mesh(8))
    found = [
        train.fit(train.pairwise(ENCODER, one), optax.sgd(0.1), Same(), PARAMS, steps=2, mesh=mesh, what=None)
        for one, mesh in ((loss, train.data_mesh(8)), (losses.info_nce, train.data_mesh(1)))
    ]
    jax.tree.map(lambda ours, wanted: np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6), *found)


@pytest.mark.parametrize("groups", [0, 4])
def test_texts_that_do_not_divide_into_groups_are_refused(groups):
    with pytest.raises(ValueError, match=f"6 texts do not divide into {groups} groups"):
        grouped([np.arange(2)] * 6, groups)


def test_a_cache_of_no_rows_is_refused_and_what_is_left_over_is_read():
    with pytest.raises(ValueError, match="wanted one row at a time or more, got 0"):
        train.gradient_cache(ENCODER, 0)
    got = train.gradient_cache(ENCODER, 2).apply(PARAMS, BATCH["document"])
    np.testing.assert_allclose(got, vectors("document"), rtol=1e-6)
