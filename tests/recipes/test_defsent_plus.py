"""DefSent+: entries, their isotropy, the loss that selects them, and stages; unequal numbers by hand."""

from dataclasses import replace
from functools import partial
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import adapt, data, encode, evaluate, losses, train
from jaxemb.recipes import defsent_plus
from jaxemb.types import Encoder, Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

QUERY = jnp.array([[1.0, 2.0], [0.5, -1.0]])
ENTRIES = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
LABEL = jnp.array([1, 2])
LOGITS = np.array([[2.0, 2.0, -1.0], [1.0, -1.0, 1.5]])


# --- the loss --------------------------------------------------------------------------------------------------------


def test_entry_cross_entropy_by_hand():
    half = np.exp(LOGITS / 2)
    wanted = [log(half[0].sum()) - 1.0, log(half[1].sum()) - 0.75]
    for at_once in (50_000, 2, 1):
        got = losses.entry_cross_entropy(QUERY, ENTRIES, label=LABEL, scale=0.5, at_once=at_once)
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_in_parts_the_gradient_is_the_same_and_entries_have_none():
    def mean(query, entries, at_once):
        return losses.entry_cross_entropy(query, entries, label=LABEL, at_once=at_once).mean()

    whole, parts = (jax.grad(mean, argnums=(0, 1))(QUERY, ENTRIES, at_once) for at_once in (9, 2))
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-5)
    assert abs(whole[0]).max() > 0.1
    assert not whole[1].any()
    assert not parts[1].any()


def test_candidates_stand_for_all_others():
    got = losses.entry_cross_entropy(QUERY, ENTRIES, label=LABEL, candidates=jnp.array([0, 1, 0, 2]))
    # Of the four, 0, 0 and 2 are not the first text's own: two others in all, so that each counts two thirds.
    first = log(exp(2) + 2 / 3 * (2 * exp(2) + exp(-1))) - 2
    second = log(exp(1.5) + 2 / 3 * (2 * exp(1) + exp(-1))) - 1.5
    np.testing.assert_allclose(got, [first, second], rtol=1e-5)
    all_others = losses.entry_cross_entropy(QUERY, ENTRIES, label=LABEL, candidates=jnp.arange(3))
    np.testing.assert_allclose(all_others, losses.entry_cross_entropy(QUERY, ENTRIES, label=LABEL), rtol=1e-5)


def test_scale_gives_logits_their_spread():
    got = losses.entry_scale(QUERY, ENTRIES, 2.0)
    np.testing.assert_allclose(got, 2 / LOGITS.std(), rtol=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"label": jnp.array([0, 3])}, "an entry, 0 to 2, got 3"),
        ({"label": jnp.array([0])}, "label must be"),
        ({"document": ENTRIES[:1]}, "two entries or more, got 1"),
        ({"document": jnp.ones((3, 3))}, "2 dimensions on one side, 3"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"at_once": 0}, "one entry at a time"),
    ],
)
def test_the_loss_refuses(as_users_call, changed, said):
    given = {"query": QUERY, "document": ENTRIES, "label": LABEL} | changed
    with pytest.raises(ValueError, match=said):
        losses.entry_cross_entropy(given.pop("query"), given.pop("document"), **given)


# --- entries ---------------------------------------------------------------------------------------------------------


def test_every_definition_weighs_alike_however_they_are_read():
    rows = jnp.array([[1.0, 0.0], [2.0, 4.0], [6.0, 1.0], [3.0, 3.0], [5.0, 5.0]])
    entry = np.array([1, 0, 1, 1, 0])
    wanted = [[3.5, 4.5], [10 / 3, 4 / 3]]
    np.testing.assert_allclose(encode.entry_means(rows, entry, 2), wanted, rtol=1e-6)
    encoder = Encoder(lambda key: {}, lambda params, tokens: rows[tokens.ids[:, 0]])
    ids = np.arange(5, dtype=np.int32)[:, None]
    got = encode.entry_matrix(encoder, {}, Tokens(ids, np.ones_like(ids)), entry, 2, at_once=2)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("entry", "said"),
    [([0, 2, 0], "entries are 0 to 1, got 0 to 2"), ([1, 1, 1], "1 of 2 entries have no definition"), ([0], "3 rows")],
)
def test_entries_without_a_definition_are_refused(as_users_call, entry, said):
    with pytest.raises(ValueError, match=said):
        encode.entry_means(jnp.ones((3, 2)), np.array(entry), 2)


def test_definitions_are_refused_and_told():
    made = data.dictionary([("night owl", "an owl of the night"), ("bat", "a bat or a club"), ("bat", "a mammal")])
    assert made.entries == ["night owl", "bat"]
    assert made.entry.tolist() == [0, 1, 1]
    assert data.telling(made) == pytest.approx(1 / 3)
    for pairs, said in (
        ([("owl", " "), ("bat", "x")], "'owl' has an empty definition"),
        ([("", "a bird"), ("bat", "x")], "empty entry"),
        ([("owl", "a bird")], "two entries or more, got 1"),
    ):
        with pytest.raises(ValueError, match=said):
            data.dictionary(pairs)
    synonyms = [("owl", "a bird"), ("bird of night", "a bird")]
    assert data.dictionary(synonyms).entry.tolist() == [0, 1]
    with pytest.raises(ValueError, match="'a bird' defines both 'owl' and 'bird of night'"):
        data.dictionary(synonyms, strict=True)


def test_word_vectors_are_of_single_known_tokens():
    made = data.dictionary(
        [("owl", "a bird"), ("night owl", "a man"), ("auk", "a bird"), ("owl", "a look"), ("bat", "x")]
    )
    words = data.word_tokenizer(["owl bat night"], 9)
    single = data.single_words(words, made)
    assert (single.entries, single.texts, single.entry.tolist()) == (
        ["owl", "bat"],
        ["a bird", "a look", "x"],
        [0, 0, 1],
    )
    vocabulary = words.vocabulary
    assert data.word_ids(words, single.entries).tolist() == [vocabulary["owl"], vocabulary["bat"]]
    with pytest.raises(ValueError, match="one known token, got 'night owl' of 2"):
        data.word_ids(words, ["owl", "night owl"])
    with pytest.raises(ValueError, match="one known token, got 'auk'"):
        data.word_ids(words, ["auk"])


def test_lemmas_of_a_synset_share_its_definition():
    one = data.wordnet.Synset("n1", "n", ("Owl", "bird of Minerva", "hooter"), "a bird", ())
    made = data.of_synsets([one])
    assert (made.entries, made.texts) == (["owl", "bird of minerva"], ["a bird"] * 2)


def test_prompts_count_their_mask_alone():
    words = data.word_tokenizer(["an owl means a bird"], 12, add_special=True)
    tokens = data.prompted(words, ["an owl", "a"], "a {text} means [MASK]")
    assert (tokens.ids * tokens.counted).sum(axis=1).tolist() == [4, 4]
    assert tokens.mask.sum(axis=1).tolist() == [7, 6]
    states = jnp.arange(16.0).reshape(2, 8, 1)
    np.testing.assert_array_equal(encode.mean(states, jnp.asarray(tokens.pooled))[:, 0], [5.0, 12.0])
    made = partial(data.prompted, texts=["an owl"])
    for call, said in (
        (lambda: made(words, template="a {text}"), "one {text} and one"),
        (lambda: made(words, template="{text} [MASK] [MASK]"), "one {text} and one"),
        (lambda: made(words.limited(4, add_special=True), template="a {text} means [MASK]"), "too long"),
        (lambda: data.prompted(words, ["a [MASK]"], "{text} [MASK]"), "of its own"),
        (lambda: made(data.byte_tokenizer(), template="{text} [MASK]"), "no mask_token"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


# --- isotropy --------------------------------------------------------------------------------------------------------


def test_isotropy_by_hand():
    found = evaluate.isotropy(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]))
    assert found.mean_cosine == pytest.approx(1 / 3)
    sums = [exp(3) + 1 + exp(1), exp(-3) + 1 + exp(-1), 1 + exp(2) + 1, 1 + exp(-2) + 1]
    assert found.partition == pytest.approx(min(sums) / max(sums))
    far = evaluate.isotropy(np.array([[3000.0, 0.0], [0.0, 2.0]]))
    assert 0 <= far.partition < 1e-300
    for vectors, said in ((np.ones((1, 2)), "two vectors"), (np.array([[1.0], [0.0]]), "vector 1 is zero")):
        with pytest.raises(ValueError, match=said):
            evaluate.isotropy(vectors)


# --- the recipe ------------------------------------------------------------------------------------------------------

CFG = defsent_plus.Config(steps=40, batch_size=8, learning_rate=0.03)
ENCODER = encode.residual(encode.pooled(encode.words(25, 4), encode.mean), 4, 8)


@pytest.fixture(scope="module")
def begun():
    return defsent_plus.started(ENCODER.init(jax.random.key(0)), 4)


def toy():
    """Six entries, four words each; two definitions an entry and more, three words a definition."""
    chance = np.random.default_rng(0)
    entry = np.repeat(np.arange(6), 8)
    ids = (1 + 4 * entry[:, None] + chance.integers(0, 4, (48, 3))).astype(np.int32)
    return Tokens(ids, np.ones_like(ids)), entry.astype(np.int32)


def right(learnt, texts, entry):
    reader = defsent_plus.projected(CFG, ENCODER, 4)
    return float((np.asarray(reader.apply(learnt.params, texts) @ learnt.entries.T).argmax(axis=1) == entry).mean())


def test_a_stage_learns_to_select_and_its_logits_begin_with_the_spread(begun):
    texts, entry = toy()
    entries = encode.entry_matrix(ENCODER, begun, texts, entry, 6)
    learnt = defsent_plus.stage(CFG, ENCODER, begun, texts, entry, entries, seed=0, what=None)
    assert right(learnt, texts, entry) > 0.9
    assert (learnt.entries == entries).all()
    reader = defsent_plus.projected(CFG, ENCODER, 4)
    logits = learnt.scale * reader.apply(begun, Tokens(texts.ids[:32], texts.mask[:32])) @ entries.T
    np.testing.assert_allclose(np.asarray(logits).std(), 2.0, rtol=1e-4)
    made = defsent_plus.embedder(ENCODER, learnt)
    np.testing.assert_array_equal(made.query(made.params, texts), ENCODER.apply(learnt.params, texts))


def test_each_stage_begins_anew_with_entries_of_the_one_before(begun, monkeypatch):
    texts, entry = toy()
    seen = []

    def stage(cfg, encoder, params, texts, entry, entries, *, seed, checkpoints, what):
        seen.append((params, entries, what))
        return defsent_plus.Learnt(jax.tree.map(lambda leaf: leaf + 0.1 * len(seen), params), entries, 1.0)

    monkeypatch.setattr(defsent_plus, "stage", stage)
    stages = [(CFG, None), (CFG, None), (CFG, adapt.pca_whitening())]
    learnt = defsent_plus.progressive(stages, ENCODER, begun, texts, entry, seed=0)
    builders = [begun, learnt[0].params, learnt[1].params]
    built = [encode.entry_matrix(ENCODER, builder, texts, entry, 6) for builder in builders]
    assert all(params is begun for params, _, _ in seen)
    for (_, entries, _), wanted in zip(seen[:2], built[:2], strict=True):
        np.testing.assert_array_equal(entries, wanted)
    assert not np.allclose(built[0], built[1])
    even = seen[2][1]
    np.testing.assert_allclose(even.T @ even / 6, np.eye(4), atol=1e-2)
    assert [what for _, _, what in seen] == ["stage 1", "stage 2", "stage 3"]


def test_the_projection_begins_as_the_identity(begun):
    texts, _ = toy()
    plain = ENCODER.apply(begun, texts)
    np.testing.assert_allclose(defsent_plus.projected(CFG, ENCODER, 4).apply(begun, texts), jnp.tanh(plain), rtol=1e-5)


def test_frozen_words_stay_and_a_few_entries_stand_for_all(begun):
    texts, entry = toy()
    cfg = replace(CFG, frozen=("embeddings.*",), sampled=4, steps=3)
    learnt = defsent_plus.stage(cfg, ENCODER, begun, texts, entry, ENTRIES4, seed=0, what=None)
    assert (learnt.params["embeddings"]["tokens"]["table"] == begun["embeddings"]["tokens"]["table"]).all()
    assert not (learnt.params["residual"]["out"]["kernel"] == begun["residual"]["out"]["kernel"]).all()


ENTRIES4 = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)), jnp.float32)


@pytest.mark.parametrize(
    ("entries", "entry", "said"),
    [
        (ENTRIES4[:1], [0], "two entries or more"),
        (ENTRIES4[:, :3], [0], "of 4 numbers"),
        (ENTRIES4.at[0, 0].set(jnp.nan), [0], "NaN"),
        (ENTRIES4.at[:, 2].set(1.0), [0], "1 columns of the entries have no variance, the first is 2"),
        (ENTRIES4, [0, 6], "definitions have up to 6"),
    ],
)
def test_entries_are_refused(as_users_call, entries, entry, said):
    with pytest.raises(ValueError, match=said):
        defsent_plus.checked(entries, np.array(entry), 4)


def test_settings_are_refused(begun):
    with pytest.raises(ValueError, match="spread must be above 0"):
        defsent_plus.Config(spread=0.0)
    with pytest.raises(ValueError, match="sampled must be 1 or more"):
        defsent_plus.Config(sampled=0)
    with pytest.raises(ValueError, match="one stage or more"):
        defsent_plus.progressive([], ENCODER, begun, *toy(), seed=0)


def test_a_step_is_planned_from_shapes(begun):
    texts, entry = toy()
    whole = jax.eval_shape(lambda: {"encoder": begun, "entries": ENTRIES4})
    batch = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, {"text": texts, "entry": entry}))
    objective = defsent_plus.objective(CFG, defsent_plus.projected(CFG, ENCODER, 4), 1.0)
    plan = train.planned(objective, optax.adamw(1e-3), whole, batch, frozen=("entries",))
    assert plan.params - plan.moving == ENTRIES4.size
