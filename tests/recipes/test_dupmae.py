from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import encode, losses, train
from jaxemb.data import masking, stream
from jaxemb.recipes import dupmae
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SHAPE = encode.BertConfig(
    vocab_size=24,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=10,
    type_vocab_size=0,
)
CFG = dupmae.Config(dense=4, sparse=3)
MODEL = dupmae.duplex(CFG, SHAPE)
SPECIAL = np.arange(24) < 5


def texts(n, seed=0):
    """Six words of the same kind between [CLS] and [SEP]: what is hidden can be told from what is seen."""
    chance = np.random.default_rng(seed)
    kinds = 5 + 3 * chance.integers(0, 6, (n, 1))
    ids = np.concatenate([np.full((n, 1), 2), kinds + chance.integers(0, 3, (n, 6)), np.full((n, 1), 3)], axis=1)
    ids = np.pad(ids, ((0, 0), (0, 2))).astype(np.int32)
    return Tokens(ids, (ids > 0).astype(np.int32))


def batch(rows):
    text = texts(len(rows), seed=int(rows[0]))
    return {"text": text, "words": masking.word_numbers(text, SPECIAL)}


@pytest.fixture(scope="module")
def params():
    return dupmae.init(CFG, MODEL, jax.random.key(0))


@pytest.mark.grid
def test_each_of_the_three_losses_falls(params, tmp_path):
    told = []
    train.fit(
        dupmae.objective(CFG, MODEL),
        optax.adam(1e-2),
        stream(range(64), batch_size=16, seed=0, make=batch),
        params,
        steps=40,
        key=jax.random.key(1),
        watch=told.append,
        mesh=train.data_mesh(1),
    )
    for name in ("masked", "decoded", "words"):
        values = [step.metrics[name] for step in told]
        assert np.mean(values[-8:]) < 0.9 * np.mean(values[:4]), name


def test_terms_of_no_weight_are_left_out(params):
    cfg = replace(CFG, decoder_weight=0.0, bow_weight=0.0)
    given = {**batch([0, 1]), "key": jax.random.key(0)}
    each, shown = jax.jit(dupmae.objective(cfg, MODEL))(params, given)
    assert list(shown) == ["masked"]
    assert each.shape == (2,)
    whole, parts = jax.jit(dupmae.objective(CFG, MODEL))(params, given)
    np.testing.assert_allclose(whole.mean(), sum(parts.values()), rtol=1e-6)
    np.testing.assert_allclose(parts["masked"], each.mean(), rtol=1e-6)


def test_the_masked_loss_of_few_positions_is_that_of_all(params):
    given = {**batch([0, 1, 2]), "key": jax.random.key(3)}
    _, shown = jax.jit(dupmae.objective(replace(CFG, decoder_weight=0.0, bow_weight=0.0), MODEL))(params, given)
    covering, corrupting, _ = jax.random.split(given["key"], 3)
    chosen = masking.covered(covering, jnp.asarray(given["words"]), CFG.mask_rate)
    ids = jnp.asarray(given["text"].ids)
    changed = masking.corrupted(corrupting, ids, chosen, mask=CFG.mask, first=CFG.special, vocabulary=24)
    states = MODEL.backbone.apply(params["encoder"], given["text"]._replace(ids=changed))
    head = partial(dupmae.words, MODEL, params)
    each = losses.token_cross_entropy(states, ids, chosen, head=head)
    np.testing.assert_allclose(shown["masked"], each.mean(), rtol=1e-5)


def test_the_decoder_reaches_the_encoder_through_the_vector_alone(params):
    text = texts(2)
    seen = masking.visible(jax.random.key(0), jnp.asarray(masking.word_numbers(text, SPECIAL)), text.mask, 0.5)

    @jax.jit
    def decoded(vector, text):
        return MODEL.decoder.apply(params["decoder"], params["encoder"]["embeddings"], vector, text, seen)

    vector = jax.random.normal(jax.random.key(1), (2, 16))
    assert (jax.grad(lambda v: (decoded(v, text)[:, 1:] ** 3).sum())(vector) != 0).all()
    # A place does not see its own token: another one there changes every other place that sees it, and not itself.
    other = text._replace(ids=np.where(np.arange(10) == 3, 23, text.ids))
    differs = np.abs(np.asarray(decoded(vector, other) - decoded(vector, text))).max(axis=2) > 1e-7
    np.testing.assert_array_equal(differs[:, :8], np.asarray(seen)[:, :8, 3])


def test_the_score_is_that_of_the_vectors_and_of_the_words_the_document_keeps(params):
    one = dupmae.embedder(CFG, MODEL, params)
    query, document = texts(2), texts(3, seed=1)
    rows = jax.jit(one.document)(one.params, document)
    got = one.score(jax.jit(one.query)(one.params, query), rows)
    read = jax.jit(partial(dupmae.vectors, MODEL, params))
    (dense, asked), (other, words) = (read(side) for side in (query, document))
    kept = np.where(words >= np.sort(words, axis=1)[:, -3:-2], words, 0)
    wanted = (dense @ params["reduce"]) @ (other @ params["reduce"]).T + asked @ kept.T
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert rows.shape == (3, 4 + 2 * 3)


def test_words_are_read_from_all_tokens_but_the_first(params):
    states = jnp.arange(24.0).reshape(1, 3, 8)
    text = Tokens(np.ones((1, 3), np.int32), np.array([[1, 1, 0]], np.int32))
    np.testing.assert_array_equal(losses.lexical_pool(states, dupmae.ordinary(text)), states[:, 1])


def test_an_empty_text_is_its_first_token_and_no_words(params):
    ids = np.array([[2, 0, 0], [2, 3, 0], [2, 7, 3]], np.int32)
    text = Tokens(ids, (ids > 0).astype(np.int32))

    @jax.jit
    def read(params, text):
        states = MODEL.backbone.apply(params["encoder"], text)
        row = dupmae.embedder(CFG, MODEL, params).document(params, text)
        return dupmae.vectors(MODEL, params, text), states[:, 0], dupmae.words(MODEL, params, states[1, 1]), row

    (vector, lexical), first, of_separator, row = read(params, text)
    np.testing.assert_allclose(vector, first, rtol=1e-6)
    assert not lexical[0].any()
    np.testing.assert_allclose(lexical[1], of_separator, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(row[:, :4], first @ params["reduce"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(row[0, 4:7], np.zeros(3))


def test_a_text_without_a_token_is_refused(params):
    ids = np.zeros((2, 3), np.int32)
    with pytest.raises(ValueError, match="dupmae: tokens of a text must be 1 or more, got 0"):
        dupmae.vectors(MODEL, params, Tokens(ids, ids))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mask_rate": 0.0}, "above 0 and below 1, got 0"),
        ({"decoder_mask_rate": 1.0}, "above 0 and below 1, got 1"),
        ({"bow_weight": -0.1}, "0 or more"),
        ({"bow_weight": float("nan")}, "0 or more"),
        ({"mask": 99, "special": 200}, "wanted mask below special, and both in the vocabulary of 24, got 99 and 200"),
        ({"dense": 17}, "dense from 1 to 16"),
        ({"sparse": 0}, "sparse from 1 to 24"),
        ({"sparse": 25}, "sparse from 1 to 24"),
    ],
)
def test_settings_that_the_shape_does_not_have_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        dupmae.duplex(replace(CFG, **change), SHAPE)


def test_tokens_beyond_the_heads_vocabulary_are_refused(params):
    states, ids = jnp.zeros((1, 2, 16)), jnp.array([[3, 24]])
    head = partial(dupmae.words, MODEL, params)
    with pytest.raises(ValueError, match="0 to 23"):
        losses.bag_of_words(states, ids, jnp.ones((1, 2), bool), head=head)
