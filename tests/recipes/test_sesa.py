"""SESA: concept heads, their losses, explanations and the recipe; unequal numbers by hand."""

from dataclasses import replace
from functools import partial
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import data, encode, evaluate, losses, model, train
from jaxemb.recipes import sesa
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

NAMES = ("net", "game", "sound")
LEFT, RIGHT = np.array([0.5, 0.25, 0.0]), np.array([0.8, 0.4, 0.9])
LOGITS = jnp.array([[0.0, 2.0, -1.0], [1.0, -3.0, 0.5]])
KNOWN = jnp.array([[1, 0, 0], [0, 0, 1]])


def surprise(logit, has):
    return log(1 + exp(-logit if has else logit))


# --- losses ----------------------------------------------------------------------------------------------------------


def test_concepts_are_summed_with_weights_and_what_nobody_named_counts_in_part():
    got = losses.concept_classification(LOGITS, KNOWN)
    wanted = [
        sum(surprise(float(u), bool(k)) for u, k in zip(*row, strict=True)) for row in zip(LOGITS, KNOWN, strict=True)
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    got = losses.concept_classification(LOGITS, KNOWN, positive_weight=np.array([2.0, 5.0, 3.0]), unlabelled=0.25)
    first = 2 * surprise(0.0, True) + 0.25 * (surprise(2.0, False) + surprise(-1.0, False))
    second = 3 * surprise(0.5, True) + 0.25 * (surprise(1.0, False) + surprise(-3.0, False))
    np.testing.assert_allclose(got, [first, second], rtol=1e-5)


def test_logits_far_from_zero_stay_finite():
    got = losses.concept_classification(jnp.array([[1e4, -1e4]]), jnp.array([[0, 1]]))
    np.testing.assert_allclose(got, [2e4])


def test_rare_concepts_weigh_more_up_to_the_root_of_twenty():
    np.testing.assert_allclose(losses.rare_weight(np.array([0.1, 0.9, 1e-6])), [3.0, 1 / 3, 20**0.5], rtol=1e-6)


def test_activations_are_summed():
    got = losses.activation_sum(LOGITS, LOGITS)
    np.testing.assert_allclose(got, (1 / (1 + np.exp(-np.asarray(LOGITS)))).sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: losses.concept_classification(LOGITS, KNOWN * 2), "concepts must be 0 or 1, got 2"),
        (lambda: losses.concept_classification(LOGITS, KNOWN[:, :2]), "3 dimensions on one side, 2"),
        (lambda: losses.concept_classification(LOGITS * jnp.nan, KNOWN), "no NaN"),
        (lambda: losses.concept_classification(LOGITS, KNOWN, unlabelled=1.5), "unlabelled must be from 0 to 1"),
        (lambda: losses.concept_classification(LOGITS, KNOWN, positive_weight=np.ones(2)), "positive_weight must be"),
        (lambda: losses.concept_classification(LOGITS, KNOWN, positive_weight=np.zeros(3)), "above 0"),
        (lambda: losses.rare_weight(np.array([0.0, 0.5])), "inside"),
    ],
)
def test_losses_refuse(as_users_call, call, said):
    with pytest.raises(ValueError, match=said):
        call()


# --- vectors of concepts ---------------------------------------------------------------------------------------------


def inner():
    return encode.pooled(encode.words(5, 2), encode.mean)


def test_head_by_hand_and_where_its_bias_begins():
    encoder = encode.concept_logits(inner(), 2, 2, 3)
    params = encoder.init(jax.random.key(0))
    np.testing.assert_allclose(jax.nn.sigmoid(params["concepts"]["linear"]["bias"]), 0.05, rtol=1e-5)
    kernel = jnp.array([[1.0, -1.0], [0.5, 2.0]])
    out = jnp.array([[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]])
    params["embeddings"]["tokens"]["table"] = jnp.array([[9.0, 9.0], [2.0, 0.0], [0.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    params["concept_hidden"]["linear"] = {"kernel": kernel, "bias": jnp.array([0.25, -4.0])}
    params["concepts"]["linear"]["kernel"] = out
    params = encode.with_shares(params, np.array([0.5, 0.8, 0.2]))
    got = encoder.apply(params, Tokens(jnp.array([[1, 2, 0]]), jnp.array([[1, 1, 0]])))
    # The mean (1, 2); hidden (1 + 1 + 0.25, max(0, -1 + 4 - 4)).
    np.testing.assert_allclose(got, [[2.25, log(4), 4.5 - log(4)]], rtol=1e-5)


@pytest.mark.parametrize("layers", [(), (encode.lstm(2, 1),)])
def test_more_padding_leaves_the_logits(layers):
    pooling = encode.ends if layers else encode.mean
    encoder = encode.concept_logits(encode.pooled(encode.extended(encode.words(5, 2), *layers), pooling), 2, 4, 3)
    params = encoder.init(jax.random.key(1))
    ids, mask = np.array([[1, 2, 3], [4, 1, 0]], np.int32), np.array([[1, 1, 1], [1, 1, 0]], np.int32)
    wider = Tokens(np.pad(ids, ((0, 0), (0, 4)), constant_values=3), np.pad(mask, ((0, 0), (0, 4))))
    np.testing.assert_allclose(encoder.apply(params, wider), encoder.apply(params, Tokens(ids, mask)), atol=1e-6)


def test_known_concepts_are_certain():
    got = encode.activation(LOGITS, KNOWN == 1)
    np.testing.assert_allclose(got[0], [1.0, 1 / (1 + exp(-2)), 1 / (1 + exp(1))], rtol=1e-6)


def test_weights_move_into_the_vectors():
    weight = jnp.array([4.0, 1.0, 0.25])
    got = encode.weighted_dot(weight)(jnp.asarray(LEFT)[None], jnp.asarray(RIGHT)[None])
    np.testing.assert_allclose(got, [[4 * 0.4 + 0.1]], rtol=1e-6)
    np.testing.assert_allclose(encode.weighed(jnp.asarray(LEFT)[None], weight), [[1.0, 0.25, 0.0]])


def test_strongest_keeps_the_largest_of_each_row():
    got = encode.strongest(jnp.array([[0.3, 0.1, 0.2], [0.5, 0.7, 0.6]]), 2)
    np.testing.assert_allclose(got, [[0.3, 0.0, 0.2], [0.0, 0.7, 0.6]])


def test_table_of_concepts_by_hand():
    """Two texts of `net`, one of them a `game`, too, and one of neither; word 3 is in both concepts."""
    ids = np.array([[1, 1, 3], [2, 3, 0], [4, 0, 0]], np.int32)
    tokens = Tokens(ids, (ids > 0).astype(np.int32))
    table = encode.concept_table(tokens, np.array([[True, False], [True, True], [False, False]]), 5)
    # `net` has 1 twice, 2 and 3; `game` has 2 and 3.  Only 1 tells them apart.
    np.testing.assert_allclose(table[1], [log(3), 0.0], rtol=1e-6)
    np.testing.assert_array_equal(table[[0, 2, 3, 4]], 0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: encode.concept_logits(inner(), 2, 4, 0), "0 concepts"),
        (
            lambda: encode.with_shares(encode.concept_logits(inner(), 2, 4, 3).init(jax.random.key(0)), np.ones(3)),
            "0, 1",
        ),
        (lambda: encode.strongest(LOGITS, 4), "1 to 3 concepts, got 4"),
        (
            lambda: encode.concept_table(Tokens(np.ones((1, 1), int), np.ones((1, 1), int)), np.zeros((1, 2), bool), 2),
            "no text",
        ),
        (
            lambda: encode.concept_table(Tokens(np.ones((1, 1), int), np.ones((1, 1), int)), np.ones((2, 2), bool), 2),
            "each of 1",
        ),
    ],
)
def test_heads_refuse(as_users_call, call, said):
    with pytest.raises(ValueError, match=said):
        call()


# --- explanations ----------------------------------------------------------------------------------------------------


def test_reasons_by_hand():
    lengths = (0.25 + 0.0625) ** 0.5 * (0.64 + 0.16 + 0.81) ** 0.5
    seen = model.explain(model.Concepts(NAMES), LEFT, RIGHT, 2)
    assert [one.concept for one in seen] == ["net", "game"]
    np.testing.assert_allclose([one.share for one in seen], [0.4 / lengths, 0.1 / lengths])
    assert seen[1][2:] == (0.25, 0.4)
    weighted = model.explain(model.Concepts(NAMES, np.array([0.5, 6.0, 1.0]), bias=3.0), LEFT, RIGHT, 1)
    assert (weighted[0].concept, round(weighted[0].share, 6)) == ("game", 0.6)


def test_shares_sum_up_to_the_score():
    draw = np.random.default_rng(0)
    left, right = draw.random((4, 3)), draw.random((4, 3))
    shares = model.contributions(model.Concepts(NAMES), left, right)
    np.testing.assert_allclose(shares.sum(axis=1), evaluate.cosines(left, right), rtol=1e-12)
    np.testing.assert_allclose(model.contributions(model.Concepts(NAMES), 1e-9 * left, right), shares, rtol=1e-9)
    assert (model.contributions(model.Concepts(NAMES), 0 * left, right) == 0).all()


@pytest.mark.parametrize(
    ("names", "vector", "said"),
    [
        (("a", "b"), LEFT, "3 dimensions for 2 concepts"),
        (("a", "b", "a"), LEFT, "named twice: a"),
        ((), LEFT, "wanted one or more"),
        (NAMES, LEFT - 1, "turned or centred"),
        (NAMES, np.array([1, 0, 1]), "codes"),
        (NAMES, LEFT * np.nan, "NaN"),
    ],
)
def test_vectors_that_are_no_concepts_are_not_explained(as_users_call, names, vector, said):
    with pytest.raises(ValueError, match=said):
        model.explain(model.Concepts(names), vector, RIGHT)


def test_one_reason_or_more():
    with pytest.raises(ValueError, match="got 0"):
        model.explain(model.Concepts(NAMES), LEFT, RIGHT, 0)


def test_concepts_without_a_text_are_told_and_left_out(capsys):
    known = np.array([[True, False, False], [True, False, True]])
    names, kept = model.used_concepts(NAMES, known)
    assert names == ["net", "sound"]
    np.testing.assert_array_equal(kept, known[:, [0, 2]])
    assert "1 of 3 concepts have no text: game" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no text: game"):
        model.used_concepts(NAMES, known, strict=True)
    with pytest.raises(ValueError, match="3 names for 2 columns"):
        model.used_concepts(NAMES, known[:, :2])


def test_concepts_are_kept_beside_their_model(tmp_path):
    file = tmp_path / "concepts.json"
    model.save_concepts(file, model.Concepts(NAMES, np.array([0.5, 1.0, 2.0]), bias=0.25))
    loaded = model.load_concepts(file, 3)
    assert (loaded.names, loaded.weight.tolist(), loaded.bias) == (NAMES, [0.5, 1.0, 2.0], 0.25)
    with pytest.raises(ValueError, match="3 concepts for a model of 4"):
        model.load_concepts(file, 4)
    file.write_text("{}")
    with pytest.raises(ValueError, match="no file of concepts"):
        model.load_concepts(file, 3)


# --- data and metric -------------------------------------------------------------------------------------------------


def test_streams_are_drawn_by_themselves_and_taken_up_again():
    def made():
        one = data.stream(range(4), batch_size=2, seed=0, make=lambda rows: {"a": list(rows)})
        other = data.stream(range(6), batch_size=3, seed=0, make=lambda rows: {"b": list(rows)})
        return data.together(one, other)

    first = made()
    batches = [next(first) for _ in range(3)]
    assert all(set(batch) == {"a", "b"} for batch in batches)
    resumed = made()
    place = first.get_state()
    wanted = next(first)
    resumed.set_state(place)
    assert next(resumed) == wanted
    alone = data.stream(range(4), batch_size=2, seed=0, make=lambda rows: {"a": list(rows)})
    with pytest.raises(ValueError, match="several streams have a"):
        next(data.together(alone, alone))
    with pytest.raises(ValueError, match="of 1 streams, got 2"):
        data.together(alone).set_state(place)
    with pytest.raises(ValueError, match="one stream"):
        data.together()


def test_area_under_the_curve():
    positive = np.array([True, False, True, False])
    assert evaluate.roc_auc(positive, np.array([4.0, 3.0, 2.0, 1.0])) == 0.75
    assert evaluate.roc_auc(positive, np.array([1.0, 1.0, 2.0, 2.0])) == 0.5
    with pytest.raises(ValueError, match="both kinds"):
        evaluate.roc_auc(np.ones(2, bool), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="NaN"):
        evaluate.roc_auc(positive, np.array([1.0, np.nan, 2.0, 2.0]))


# --- the recipe ------------------------------------------------------------------------------------------------------

CFG = sesa.Config(steps=60, batch_size=8, learning_rate=0.05)
ENCODER = encode.concept_logits(encode.pooled(encode.words(13, 8), encode.mean), 8, 8, 3)


def toy(seed=0, label=False):
    """Words 1 to 12, four a concept; a pair shares a concept, or, with labels, every second one does."""
    chance = np.random.default_rng(seed)
    concept = chance.integers(0, 3, 48)
    other = np.where(np.arange(48) % 2, (concept + 1) % 3, concept) if label else concept

    def texts(of):
        ids = (1 + 4 * of[:, None] + chance.integers(0, 4, (48, 3))).astype(np.int32)
        return Tokens(ids, np.ones_like(ids))

    pairs = sesa.Judged(texts(concept), texts(other), (concept == other).astype(np.int32) if label else None)
    return pairs, sesa.Tagged(texts(concept), np.eye(3, dtype=bool)[concept])


@pytest.mark.grid
@pytest.mark.parametrize(
    "changed",
    [
        {},
        pytest.param({"score": "weighted", "temperature": 0.5, "sparsity": 0.01}, marks=pytest.mark.grid),
        pytest.param({"relevance": "binary", "unlabelled": 0.5}, marks=pytest.mark.grid),
        pytest.param({"relevance": "binary", "score": "weighted"}, marks=pytest.mark.grid),
        pytest.param({"relevance": "none"}, marks=pytest.mark.grid),
    ],
)
def test_it_learns_and_tells_why(changed):
    cfg = replace(CFG, **changed)
    pairs, items = toy(label=cfg.relevance == "binary")
    params = sesa.started(ENCODER, jax.random.key(0), items.known.mean(axis=0))
    made = sesa.run(cfg, ENCODER, params, sesa.batches(cfg, pairs, items, seed=0), what=None)
    vectors = np.asarray(made.query(made.params, items.item))
    assert (vectors.argmax(axis=1) == items.known.argmax(axis=1)).mean() > 0.95
    scores = np.asarray(made.score(jnp.asarray(vectors), jnp.asarray(vectors)))
    weight = None if cfg.score == "cosine" else np.asarray(sesa.weights(cfg, made.params))
    plain = np.asarray(sesa.vectors(cfg, ENCODER, made.params, items.item))
    concepts = model.Concepts(NAMES, weight)
    reasons = model.explain(concepts, plain[0], plain[1], 3)
    np.testing.assert_allclose(sum(one.share for one in reasons), scores[0, 1], atol=1e-5)
    alike = int(np.flatnonzero((items.known == items.known[0]).all(axis=1))[1])
    assert model.explain(concepts, plain[0], plain[alike], 1)[0].concept == NAMES[items.known[0].argmax()]


def first_batch(cfg, pairs, items):
    return jax.tree.map(jnp.asarray, next(sesa.batches(cfg, pairs, items, seed=0)))


def test_objective_is_relevance_and_lambda_times_tags():
    pairs, items = toy()
    params = sesa.started(ENCODER, jax.random.key(0))
    batch = first_batch(CFG, pairs, items)
    each, shown = sesa.objective(CFG, ENCODER)(params, batch)
    logits = {name: ENCODER.apply(params["encoder"], batch[name]) for name in ("query", "document", "item")}
    told = losses.concept_classification(logits["item"], jnp.asarray(batch["known"]))
    ranked = losses.info_nce(*(encode.activation(logits[name]) for name in ("query", "document")), temperature=0.05)
    np.testing.assert_allclose(each, ranked + 0.3 * told, rtol=1e-5)
    np.testing.assert_allclose(shown["tags"], told.mean(), rtol=1e-5)
    twin = replace(CFG, explicit=False, tags=0.0)
    ranked = losses.info_nce(logits["query"], logits["document"], temperature=0.05)
    np.testing.assert_allclose(sesa.objective(twin, ENCODER)(params, batch)[0], ranked, rtol=1e-5)


def test_binary_logits_have_a_scale_and_a_bias():
    pairs, items = toy(label=True)
    cfg = replace(CFG, relevance="binary", tags=0.0, temperature=0.5)
    params = sesa.started(ENCODER, jax.random.key(0))
    params["score"]["bias"] = jnp.asarray(0.25)
    batch = first_batch(cfg, pairs, items)
    rows = [encode.activation(ENCODER.apply(params["encoder"], batch[name])) for name in ("query", "document")]
    logits = 2 * np.asarray(losses.row_cosine(*rows)) + 0.25
    wanted = [surprise(float(u), bool(y)) for u, y in zip(logits, batch["label"], strict=True)]
    np.testing.assert_allclose(sesa.objective(cfg, ENCODER)(params, batch)[0], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tags": -0.1}, "tags must be 0 or more"),
        ({"sparsity": -1.0}, "sparsity must be 0 or more"),
        ({"relevance": "hinge"}, "relevance must be one of"),
        ({"score": "bilinear"}, "score must be one of"),
        ({"relevance": "none", "tags": 0.0}, "nothing is learnt"),
        ({"explicit": False}, "no concepts"),
    ],
)
def test_settings_are_refused(as_users_call, changed, said):
    with pytest.raises(ValueError, match=said):
        sesa.Config(**changed)


def test_labels_and_texts_are_refused():
    pairs, items = toy(label=True)
    binary = replace(CFG, relevance="binary")
    made = partial(sesa.batches, items=items, seed=0)
    for label, said in ((pairs.label * 2, "no other"), (pairs.label * 0, "both 0 and 1"), (None, "labels are for")):
        with pytest.raises(ValueError, match=said):
            made(binary, pairs._replace(label=label))
    with pytest.raises(ValueError, match="labels are for"):
        made(CFG, pairs)
    for known in (items.known.astype(int) * 2, items.known[:-1], np.where(items.known, np.nan, 0.0)):
        with pytest.raises(ValueError, match=f"wanted concepts of {len(items.known)} texts as 0 and 1, got"):
            sesa.batches(CFG, toy()[0], sesa.Tagged(items.item, known), seed=0)
    words = data.word_tokenizer(["a net game"], 9)
    assert sesa.tokens(words, ["a game"], 4).ids.shape == (1, 4)
    with pytest.raises(ValueError, match="text 1 has no token: ' '"):
        sesa.tokens(words, ["a game", " "], 4)


def test_a_step_is_planned_from_shapes():
    params = jax.eval_shape(lambda: sesa.started(ENCODER, jax.random.key(0)))
    pairs, items = toy()
    batch = jax.eval_shape(lambda: first_batch(CFG, pairs, items))
    plan = train.planned(sesa.objective(CFG, ENCODER), optax.adam(1e-3), params, batch)
    assert plan.devices == 8
