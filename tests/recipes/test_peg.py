"""The recipe on toy pairs: it learns, what its steps do to weights, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import data, encode, losses, train
from jaxemb.data import Pair, negatives
from jaxemb.data.words import word_tokenizer
from jaxemb.recipes import peg
from jaxemb.recipes.peg import Config

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PAIRS = [Pair(f"q{i}", f"d{i}", (f"d{(i + 1) % 12}", f"d{(i + 2) % 12}")) for i in range(12)]
WORDS = word_tokenizer((text for pair in PAIRS for text in pair[:2]), 64)
TOY = {"negatives": 2, "steps": 30, "batch_size": 6, "learning_rate": 0.1, "temperature": 0.1}
TOY |= {"query_tokens": 2, "document_tokens": 2}
ENCODER = encode.static(encode.StaticConfig(vocab_size=WORDS.size, hidden_size=8))
START = ENCODER.init(jax.random.key(0))


def trained(**settings):
    cfg = Config(**{**TOY, **settings})
    stream = data.stream(PAIRS, batch_size=6, seed=0, make=lambda some: peg.batch(cfg, WORDS, some))
    return peg.run(cfg, ENCODER, START, stream, what=None, mesh=train.data_mesh(1))


def found(params):
    query, document = (
        ENCODER.apply(params, peg.batch(Config(**TOY), WORDS, PAIRS)[side]) for side in ("query", "document")
    )
    return float((np.asarray(losses.info_nce(query, document[:12], temperature=0.1)) < 0.3).mean())


@pytest.mark.grid
@pytest.mark.parametrize(
    "settings",
    [
        {"rows": 4, "tile": 2},
        *(pytest.param({"weighing": way}, marks=pytest.mark.grid) for way in ("negatives", "focal", "none")),
    ],
)
def test_a_toy_run_learns(settings):
    assert found(START) < 0.5
    assert found(trained(**settings).params) > 0.9


def test_the_strength_moves_with_the_step():
    strength = train.moving(-0.5, 0.5, 4, "quadratic")
    objective = train.scheduled(lambda params, batch: (batch["strength"][None], {}), {"strength": strength})
    batch, seen = train.counted(), []
    for _ in range(3):
        each, shown = objective({}, batch)
        seen.append(float(each[0]))
        batch = {"done": shown["done"]}
    np.testing.assert_allclose(seen, [-0.5, -0.5 + 1 / 16, -0.25])


def test_no_strength_is_plain_info_nce():
    """All that is composed, tiles and cache too, against one call of the loss."""
    cfg = Config(**{**TOY, "start": 0.0, "end": 0.0, "rows": 5, "tile": 4})
    batch = jax.tree.map(jnp.asarray, peg.batch(cfg, WORDS, PAIRS))
    each, _ = peg.objective(cfg, ENCODER)(START, {**batch, **train.counted()})
    query, document = (ENCODER.apply(START, batch[side]) for side in ("query", "document"))
    wanted = losses.mask_duplicates(losses.info_nce)(
        query, document, document_key=batch["document_key"], temperature=0.1
    )
    np.testing.assert_allclose(each, wanted, rtol=1e-4, atol=1e-5)


def test_the_rate_rises_over_its_share_and_falls_in_a_line():
    rate = peg.rate(Config(**{**TOY, "steps": 10, "warmup": 0.2}))
    np.testing.assert_allclose([float(rate(step)) for step in (0, 1, 2, 6, 10)], [0, 0.05, 0.1, 0.05, 0], atol=1e-9)


def test_words_find_the_rarest_first():
    words = word_tokenizer(["a b c d e"], 16)
    search = negatives.tfidf(["a b", "a c", "a a d", "e"], words)
    rows, scores = search(["c a", "b"], 3)
    assert rows.tolist()[0][0] == 1
    assert rows.tolist()[1] == [0, -1, -1]
    assert scores[0, 0] == pytest.approx(1)


def test_pairs_below_their_own_source_s_quantile_go():
    scores = np.array([0.9, 0.1, 0.5, 0.3, 0.2])
    source = ["a", "a", "a", "b", "b"]
    assert data.above_quantile(scores, source, {"a": 0.5, "b": 0.0}).tolist() == [True, False, True, True, True]


def of_zeros(side):
    """The loss of two queries and their documents, of which one vector of a side has no direction."""
    vectors = {"query": jnp.ones((2, 4)), "document": jnp.ones((6, 4))}
    vectors[side] = vectors[side].at[1].set(0.0)
    return peg.loss(Config(**TOY))(**vectors, document_key=jnp.arange(6), strength=0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: peg.batch(Config(**TOY), WORDS, PAIRS[:1]), "wanted 2 or more, got 1"),
        (lambda: peg.batch(Config(), WORDS, PAIRS), "pair 0, 'q0': wanted 5 negatives, got 2"),
        (
            lambda: peg.batch(Config(**TOY), WORDS, [PAIRS[0], Pair("q1", "d1", ("d1", "d2"))]),
            "pair 1, 'q1': its own document is among its negatives",
        ),
        (lambda: peg.batch(Config(**TOY), WORDS, [PAIRS[0], PAIRS[1]._replace(query=" ")]), "with a token, got ' '"),
        (
            lambda: peg.batch(Config(**{**TOY, "negatives": 0}), WORDS, [Pair("q0", "d0"), Pair("q0", "d1")]),
            "a negative for each query, got all documents as answers of 'q0'",
        ),
        (lambda: of_zeros("query"), "the largest entry of query vectors must be above 0, got 0.0"),
        (lambda: of_zeros("document"), "the largest entry of document vectors must be above 0, got 0.0"),
        (lambda: Config(**TOY, warmup=1.0), "warm-up must be at least 0 and below 1, got 1.0"),
        (lambda: peg.loss(Config(**{**TOY, "weighing": "some"})), "weighing must be one of rows, negatives, focal"),
        (lambda: Config(**{**TOY, "temperature": 0.0}), "temperature must be above 0 and finite, got 0.0"),
        (lambda: Config(**{**TOY, "temperature": float("nan")}), "temperature must be above 0 and finite, got nan"),
        (lambda: Config(**TOY, end=float("inf")), "strengths must be finite, got start=.* and end=inf"),
        (lambda: train.moving(float("nan"), 0.5, 4), "wanted finite ends"),
        (lambda: train.moving(0.0, 0.5, 4)(5), "the step must be from 0 to 4, got 5"),
        (lambda: train.moving(0.0, 0.5, 4, "cubic"), "linear or quadratic"),
        (
            lambda: train.scheduled(lambda params, batch: (jnp.ones(1), {}), {})({}, {}),
            "wanted the batch to have 'done'",
        ),
        (
            lambda: train.scheduled(lambda params, batch: (jnp.ones(1), {}), {"x": lambda done: done})(
                {}, {**train.counted(), "x": 1}
            ),
            r"\['x'\] move with the step",
        ),
        (lambda: train.gradient_cache(ENCODER, 0), "wanted one row at a time or more, got 0"),
        (lambda: data.above_quantile(np.ones(2), ["a", "a"], 1.0), r"at least 0 and below 1, got \{'a': 1.0\}"),
        (lambda: data.above_quantile(np.ones(2), ["a", "b"], {"a": 0.5}), r"no quantile of the sources \['b'\]"),
        (lambda: data.above_quantile(np.ones(2), ["a"], 0.5), "2 scores need as many sources, got 1"),
        (lambda: data.above_quantile(np.array([1.0, np.nan]), ["a", "a"], 0.5), "wanted finite scores, got nan"),
        (lambda: negatives.tfidf([], WORDS), "wanted one document or more"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
