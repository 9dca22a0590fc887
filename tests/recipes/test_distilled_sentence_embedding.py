from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import encode, losses, train
from jaxemb.data.judged import Judged, Scores, taught
from jaxemb.data.words import word_tokenizer
from jaxemb.model.cross import CrossSpec, make_cross
from jaxemb.model.cross_training import pair_batch, teach_cross
from jaxemb.recipes import distilled_sentence_embedding as recipe
from jaxemb.types import Encoder

WORDS = [f"w{i}" for i in range(12)]
TOKENIZER = word_tokenizer(WORDS, 32)
PAIRS = [Judged(f"{i}-{j}", f"w{i} w{i}", f"w{j}", (i + j - 11) / 5) for i in range(12) for j in range(12) if i != j]
SHAPE = encode.BertConfig(
    vocab_size=32,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=8,
    initializer_range=0.3,
)
CONFIG = recipe.Config(layers=2, hidden=16, tokens=4, steps=16, batch_size=32, learning_rate=0.05, alpha=0.5)
STUDENT = recipe.student(CONFIG, encode.bert(SHAPE), 8)
PARAMS = STUDENT.init(jax.random.key(0))
pytestmark = pytest.mark.usefixtures("compiled_quickly")


def read(params, tokens):
    return params["scale"] * jnp.asarray(tokens.ids[:, 1:3], jnp.float32)


WORDY = recipe.Student(
    encode.pooled(encode.words(32, 8), encode.without_first(encode.mean)), encode.feature_head(8, 16)
)
SIMPLE = recipe.Student(Encoder(lambda key: {"scale": jnp.array(0.5)}, read), encode.feature_head(2, 3))
SIMPLE_PARAMS = SIMPLE.init(jax.random.key(1))
HEAD = encode.Classifier(labels=("together",), dense="pooler.dense", out="classifier", pooling="mean")
SCORED = taught(PAIRS, Scores(tuple(p.id for p in PAIRS), np.array([[3 * p.label - 1] for p in PAIRS], np.float32)))


def cross(labels=("together",), *, key=None):
    spec = CrossSpec(
        backbone=SHAPE, classifier=replace(HEAD, labels=labels), max_length=6, activation="Identity", segments=True
    )
    made = make_cross(spec, {}, TOKENIZER)
    return made if key is None else made._replace(params=made.encoder.init(key))


@pytest.mark.grid
def test_a_teacher_learns_and_its_scores_alone_teach_a_student():
    """Not one label reaches the student; its embedder ranks by the head."""
    taught_cross = teach_cross(
        cross(key=jax.random.key(2)), PAIRS, optax.adam(0.05), steps=16, batch_size=32, seed=0, what=None
    )
    scores = recipe.scores(taught_cross, PAIRS, what=None)
    label = np.array([pair.label for pair in PAIRS])
    assert scores.ids == tuple(pair.id for pair in PAIRS)
    assert np.corrcoef(scores.numbers[:, 0], label)[0, 1] > 0.5
    unlabelled = [pair._replace(label=None) for pair in taught(PAIRS, scores)]
    cfg = replace(CONFIG, alpha=1.0)
    embedder = recipe.run(cfg, WORDY, WORDY.init(jax.random.key(0)), unlabelled, TOKENIZER, seed=0)
    tokens = recipe.batch(cfg, TOKENIZER.limited(4, add_special=True), SCORED[:8])
    query, document = (embedder.query(embedder.params, tokens[side]) for side in ("query", "document"))
    got = np.asarray(embedder.score(query[:1], document))[0]
    assert np.corrcoef(got, label[:8])[0, 1] > 0.5
    plain = WORDY.head.apply(embedder.params["head"], query, document)[:, 0]
    np.testing.assert_allclose(got, plain, atol=1e-5)


def test_at_alpha_zero_it_is_plain_supervised_training():
    """The teacher's scores do not count, and need not be there."""
    cfg = replace(CONFIG, alpha=0.0)
    tokenizer = TOKENIZER.limited(4, add_special=True)
    with_scores, without = (
        jax.tree.map(jnp.asarray, recipe.batch(cfg, tokenizer, some[:16])) for some in (SCORED, PAIRS)
    )
    assert "teacher" not in with_scores
    plain = train.headed(
        SIMPLE.encoder,
        SIMPLE.head.apply,
        {"label": train.Term(losses.logit_regression, "query", "document", passed=("label",))},
    )
    ours = recipe.objective(cfg, SIMPLE)(SIMPLE_PARAMS, with_scores)[0]
    np.testing.assert_array_equal(ours, plain(SIMPLE_PARAMS, {k: v for k, v in without.items() if k != "weight"})[0])


def test_each_loss_has_its_share_and_no_label_has_none():
    tokenizer = TOKENIZER.limited(4, add_special=True)
    some = [SCORED[0], SCORED[5]._replace(label=None)]
    batch = jax.tree.map(jnp.asarray, recipe.batch(replace(CONFIG, alpha=0.25), tokenizer, some))
    got, _ = recipe.objective(replace(CONFIG, alpha=0.25), SIMPLE)(SIMPLE_PARAMS, batch)
    u, v = (SIMPLE.encoder.apply(SIMPLE_PARAMS["encoder"], batch[side]) for side in ("query", "document"))
    logit = np.asarray(SIMPLE.head.apply(SIMPLE_PARAMS["head"], u, v))[:, 0]
    (known, _), scores = (pair.label for pair in some), np.array([pair.scores[0] for pair in some])
    want = 0.25 * (logit - scores) ** 2 + 0.75 * np.array([(logit[0] - known) ** 2, 0.0])
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_pooling_leaves_the_first_token_out_and_joins_layers():
    backbone = encode.bert(SHAPE)
    tokens = TOKENIZER.limited(4, add_special=True)(["w3 w4"])
    params = PARAMS["encoder"]
    states = backbone.hidden(params, tokens)
    want = np.concatenate([states[1, :, 1:4], states[2, :, 1:4]], axis=-1).mean(axis=1)
    np.testing.assert_allclose(STUDENT.encoder.apply(params, tokens), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\]"):
        recipe.Config(alpha=alpha)


def test_more_layers_than_there_are_are_refused():
    with pytest.raises(ValueError, match="the last 3 layers, the backbone has 2"):
        recipe.student(replace(CONFIG, layers=3), encode.bert(SHAPE), 8)


@pytest.mark.parametrize(
    ("cfg", "pair", "said"),
    [
        (CONFIG, PAIRS[0], "pair '0-1': 0 scores of the teacher, the head has 1"),
        (CONFIG, PAIRS[0]._replace(scores=(1.0, 2.0)), "2 scores of the teacher, the head has 1"),
        (
            CONFIG,
            PAIRS[0]._replace(scores=(float("nan"),)),
            "pair '0-1': wanted finite scores of the teacher, got .nan",
        ),
        (CONFIG, SCORED[0]._replace(second=" "), "no token in its second text"),
        (CONFIG, SCORED[0]._replace(label=float("inf")), "finite label"),
        (replace(CONFIG, classes=3), SCORED[0]._replace(label=3), "class from 0 to 2 as label, got 3"),
    ],
)
def test_pairs_that_teach_nothing_are_refused_before_training(cfg, pair, said):
    with pytest.raises(ValueError, match=said):
        recipe.run(cfg, STUDENT, PARAMS, [pair, *SCORED[20:60]], TOKENIZER, seed=0)


def test_scores_in_another_order_are_refused():
    scores = Scores(tuple(pair.id for pair in PAIRS), np.zeros((len(PAIRS), 1), np.float32))
    with pytest.raises(ValueError, match="pair 0 is '0-2', the teacher's scores there are of '0-1'"):
        taught([PAIRS[1], PAIRS[0], *PAIRS[2:]], scores)


def test_a_cross_encoder_needs_labels_that_it_has():
    how = {"steps": 1, "batch_size": 2, "seed": 0, "what": None}
    with pytest.raises(ValueError, match="pair '0-1' has no label"):
        teach_cross(cross(), [PAIRS[0]._replace(label=None), PAIRS[1]], optax.sgd(0.1), **how)
    with pytest.raises(ValueError, match="class from 0 to 1 as label, got 2"):
        teach_cross(cross(("no", "yes")), [PAIRS[0]._replace(label=2), PAIRS[1]], optax.sgd(0.1), **how)


def test_classes_are_whole_numbers():
    batch = pair_batch(cross(("no", "yes")), PAIRS[:2])
    assert batch["label"].dtype == np.int32
    assert batch["pair"].segments.tolist()[0] == [0, 0, 0, 0, 1, 1]
    several = recipe.batch(replace(CONFIG, classes=2, alpha=0.0), TOKENIZER.limited(4, add_special=True), PAIRS[:2])
    assert several["label"].dtype == np.int32
