"""The recipe on toy pairs: it learns, its parts are what they are made of, and what it refuses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import data, encode, losses, train
from jaxemb.data import Listed, Pair, negatives
from jaxemb.data.judged import Judged
from jaxemb.data.words import word_tokenizer
from jaxemb.recipes import lg_anna
from jaxemb.recipes.lg_anna import Config, Source
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PAIRS = [Pair(f"q{i}", f"d{i}", (f"d{(i + 1) % 12}", f"d{(i + 2) % 12}")) for i in range(12)]
LISTS = [Listed(pair, (1.0, 0.5, 0.25 if place % 2 else 0.0)) for place, pair in enumerate(PAIRS)]
TEXTS = [text for pair in PAIRS for text in pair[:2]]
WORDS = word_tokenizer([*TEXTS, "Instruct: find. Query: Response:"], 64, add_special=True)
CONFIG = Config(
    negatives=2,
    candidates=4,
    deeper=4,
    temperature=0.1,
    student_temperature=0.2,
    teacher_temperature=0.5,
    shots=2,
    counted="query",
    query_tokens=40,
    document_tokens=4,
    rank=2,
    steps=30,
    batch_size=6,
    learning_rate=0.1,
)
RETRIEVAL = Source("retrieval", LISTS, "find", PAIRS)
CLASSES = Source("classes", data.listed(data.of_labels(TEXTS, [text[0] for text in TEXTS], 2, seed=0)))
ENCODER = encode.static(encode.StaticConfig(vocab_size=WORDS.size, hidden_size=8))
START = ENCODER.init(jax.random.key(0))
READ = jax.jit(ENCODER.apply)
DECODER = encode.llama(
    encode.LlamaConfig(
        vocab_size=WORDS.size,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        initializer_range=0.5,
    )
)


def made(cfg=CONFIG, source=RETRIEVAL, rows=None, guide=None):
    return jax.tree.map(jnp.asarray, lg_anna.batch(cfg, WORDS, source, guide, rows or source.rows[:6]))


def vectors(batch, params=START):
    return (np.asarray(READ(params, batch[side])) for side in ("query", "document"))


def losses_of(cfg, kind, batch):
    return jax.jit(lg_anna.objective(cfg, ENCODER, {"task": kind}))(START, {"task": batch})


def cosines(query, document):
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, document)]
    return unit[0] @ unit[1].T


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_a_toy_run_learns():
    stream = lg_anna.batches(CONFIG, WORDS, {"birds": RETRIEVAL}, seed=0)
    batch = made(rows=LISTS)

    def found(params):
        scores = cosines(*vectors(batch, params))[:, :12]
        return (scores.argmax(axis=1) == np.arange(12)).mean()

    assert found(START) < 0.5
    assert found(lg_anna.run(CONFIG, ENCODER, START, stream, {"birds": "retrieval"}, what=None).params) > 0.9


def test_a_batch_is_of_one_task():
    stream = lg_anna.batches(CONFIG, WORDS, {"birds": RETRIEVAL, "letters": CLASSES}, seed=0)
    some = [next(stream) for _ in range(8)]
    assert {tuple(batch) for batch in some} == {("birds",), ("letters",)}
    assert {name for batch in some for name in batch.get("letters", {})} == {
        "query",
        "document",
        "document_key",
        "ignore",
    }


def test_the_loss_is_info_nce_and_the_teacher_s_distribution_by_hand():
    cfg = replace(CONFIG, soft=0.3)
    batch = made(cfg)
    got, shown = losses_of(cfg, "retrieval", batch)
    scores = cosines(*vectors(batch))
    keys = np.asarray(batch["document_key"])
    own = keys[:6, None, 0] == keys[None, :, 0]  # a copy of the own document is no negative
    hard = np.where(own & ~np.eye(6, 18, dtype=bool), -np.inf, scores / 0.1)
    mine = np.stack([scores[i, [i, i + 6, i + 12]] for i in range(6)])
    theirs = log_softmax(np.asarray(batch["teacher"]) / 0.5)
    soft = (np.exp(theirs) * (theirs - log_softmax(mine / 0.2))).sum(axis=1)
    np.testing.assert_allclose(got, -np.diagonal(log_softmax(hard)) + 0.3 * soft, rtol=1e-4)
    np.testing.assert_allclose(shown["soft"], soft.mean(), rtol=1e-4)


def test_classes_have_no_negatives_but_their_own():
    batch = made(source=CLASSES)
    got, shown = losses_of(CONFIG, "classes", batch)
    scores = cosines(*vectors(batch))
    mine = np.stack([scores[i, [i, i + 6, i + 12]] for i in range(6)]) / 0.1
    np.testing.assert_allclose(got, -log_softmax(mine)[:, 0], rtol=1e-4)
    assert float(shown["negatives"]) == 2


def test_a_guide_takes_out_of_the_batch_what_it_finds_close():
    cfg = replace(CONFIG, guide=0.9, soft=0.0)
    told = {f"{side}{i}": np.eye(12, dtype=np.float32)[i] for i in range(12) for side in "qd"}
    told["q0"] = told["d0"] + 2 * told["d3"]  # the guide finds `d3` closer than the query's own
    batch = made(cfg, guide=lambda texts: np.stack([told[text] + 0.1 for text in texts]))
    got = losses_of(cfg, "retrieval", batch)[0]
    plain = losses_of(replace(cfg, guide=None), "retrieval", batch)[0]
    assert got[0] < plain[0] - 1e-3
    np.testing.assert_allclose(got[1:], plain[1:], rtol=1e-6)  # others are at 0.2 of the own one


def test_graded_pairs_are_put_in_order():
    rows = [Judged(str(i), f"q{i}", f"d{i}", i / 5) for i in range(6)]
    batch = made(source=Source("graded", rows, "find"))
    got = losses_of(CONFIG, "graded", batch)[0]
    query, document = (jnp.asarray(side) for side in vectors(batch))
    want = losses.cosent(query, document, label=jnp.arange(6) / 5, temperature=0.1)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_hard_and_soft_labels_can_each_be_left_out():
    assert set(lg_anna.terms(replace(CONFIG, soft=0.0), "retrieval")) == {"contrast"}
    assert set(lg_anna.terms(replace(CONFIG, hard=0.0), "retrieval")) == {"soft"}
    assert "teacher" not in made(replace(CONFIG, soft=0.0))


def test_examples_are_of_the_pool_and_the_same_each_time():
    cfg = replace(CONFIG, counted="all")
    lengths = {int(made(cfg, rows=[LISTS[i], LISTS[j]])["query"].mask[0].sum()) for i in range(6) for j in range(6, 9)}
    assert len(lengths) == 3  # 0, 1 and 2 examples
    np.testing.assert_array_equal(made(cfg)["query"].ids, made(cfg)["query"].ids)
    assert len({int(count) for count in made(cfg)["query"].mask.sum(axis=1)}) == 1  # as many for all of a batch


def test_mined_lists_keep_the_margin_and_are_filled(tmp_path):
    pairs = [Pair(f"q{i}", f"d{i}") for i in range(12)]
    documents = [pair.document for pair in pairs]

    def close(texts):  # by how far apart the numbers are
        return np.array([1.0 - abs(int(query[1:]) - int(document[1:])) / 10 for query, document in texts])

    def near(texts, k):
        scores = close([(text, document) for text in texts for document in documents]).reshape(len(texts), -1)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rows, np.take_along_axis(scores, rows, axis=1)

    words = negatives.tfidf(documents, word_tokenizer(documents, 64))
    search = negatives.hybrid(near, words)
    cfg = replace(CONFIG, least=0.85)
    lists, report = lg_anna.mined(cfg, pairs, documents, search, close, tmp_path / "mined.jsonl", what=None)
    assert [one.pair.query for one in lists] == [pair.query for pair in pairs]
    assert lists[5].pair.negatives[:1] == ("d3",)  # at 0.8; those at 0.9 are too close
    assert lists[5].scores[:2] == (1.0, 0.8)
    assert report.dropped["relative margin 0.85"] > 0
    assert report.filled == 24 - report.kept
    with pytest.raises(ValueError, match=r"pair 0, 'q0': relative_margin: wanted .* above 0, got -1"):
        lg_anna.mined(cfg, pairs, documents, search, lambda texts: close(texts) - 2, tmp_path / "x.jsonl", what=None)
    with pytest.raises(ValueError, match="teacher: wanted finite scores, got nan"):
        lg_anna.mined(
            cfg, pairs, documents, search, lambda texts: close(texts) * np.nan, tmp_path / "x.jsonl", what=None
        )


def test_a_decoder_is_read_at_the_end_of_its_prompt_wherever_padding_is():
    encoder = encode.pooled(DECODER, encode.last)
    params, read = jax.jit(encoder.init)(jax.random.key(1)), jax.jit(encoder.apply)
    plain, shown, wider = (
        data.instructed(WORDS, "find", ["q1", "q2"], some, length=length)
        for some, length in (((), 40), ([PAIRS[3:5], PAIRS[5:7]], 40), ((), 48))
    )
    none, two = (np.asarray(read(params, tokens)) for tokens in (plain, shown))
    assert none.shape == (2, 8)
    assert np.abs(none - two).max() > 1e-2  # examples change what is asked
    counts = plain.mask.sum(axis=1)
    left = (np.stack([np.roll(row, 40 - n) for row, n in zip(part, counts, strict=True)]) for part in plain[:2])
    for other in (wider, Tokens(*left)):
        np.testing.assert_allclose(read(params, other), none, atol=1e-5)


@pytest.mark.grid
def test_only_adapters_of_a_decoder_learn():
    cfg = replace(CONFIG, shots=0, query_tokens=12, steps=2)
    encoder = lg_anna.decoder(cfg, DECODER)
    start = train.started(lg_anna.adapter(cfg), jax.jit(DECODER.init)(jax.random.key(1)), jax.random.key(2))
    stream = lg_anna.batches(cfg, WORDS, {"birds": RETRIEVAL}, seed=0)
    learnt = lg_anna.run(cfg, encoder, start, stream, {"birds": "retrieval"}, frozen=train.BASE, what=None).params
    jax.tree.map(np.testing.assert_array_equal, learnt["base"], start["base"])
    assert np.abs(np.asarray(learnt["adapters"]["blocks"]["attention"]["qkv"]["kernel"]["b"])).max() > 0


def graded(label):
    return Source("graded", [Judged("7", "q1", "d1", label)] * 6, "find")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Config(temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda: Config(student_temperature=-1.0), "student_temperature must be above 0, got -1.0"),
        (lambda: Config(teacher_temperature=float("nan")), "teacher_temperature must be above 0, got nan"),
        (lambda: Config(soft=-1.0), "soft must be 0 or more, got -1.0"),
        (lambda: Config(hard=0.0, soft=0.0), "so that nothing is learnt"),
        (lambda: Config(margin="some"), "margin must be one of relative, absolute, fixed, none, got 'some'"),
        (lambda: Config(guide=1.5), "guide must be above 0 and at most 1, got 1.5"),
        (lambda: Config(candidates=3), "as many candidates as negatives or more, got 3 for 7"),
        (lambda: Config(shots=-1), "0 shots or more and 1 negative or more, got -1 and 7"),
        (lambda: lg_anna.rules(Config(least=1.01)), "a share above 0 and at most 1, got 1.01"),
        (lambda: lg_anna.rules(Config(least=0.0)), "a share above 0 and at most 1, got 0.0"),
        (lambda: lg_anna.rules(Config(margin="absolute", least=-0.1)), "a margin of 0 or more, got -0.1"),
        (lambda: lg_anna.terms(CONFIG, "ranking"), "kind must be one of retrieval, classes, graded, got 'ranking'"),
        (
            lambda: made(rows=[LISTS[0], LISTS[1]._replace(scores=())]),
            "a teacher's score of each of 3 documents, got 0",
        ),
        (lambda: made(rows=[Listed(Pair("q1", "d1", ("d2", "d1")), (1.0, 0.0, 0.0))]), "its own document is among"),
        (lambda: made(rows=[Listed(Pair("q1", "", ("d2", "d3")), (1.0, 0.0, 0.0))]), "no document of its own, got ''"),
        (lambda: made(rows=[Listed(Pair("q1", "d1", ("d2", " ")), (1.0, 0.0, 0.0))]), "texts with a token"),
        (lambda: made(replace(CONFIG, guide=0.9)), "guide=0.9 wants a teacher's vectors of texts, got no guide"),
        (lambda: made(source=graded(1.1)), "pair '7': wanted a label from 0 to 1, got 1.1"),
        (lambda: made(source=graded(None)), "pair '7': wanted a label from 0 to 1, got None"),
        (
            lambda: lg_anna.asked(replace(CONFIG, counted="query"), WORDS, "find", ["q1", "\u200b"]),
            r"queries with a token, query 1 has none: '\\u200b'",
        ),
        (lambda: made(replace(CONFIG, query_tokens=5)), "'find' leaves no room for a query in 5 tokens"),
        (
            lambda: [made(source=RETRIEVAL._replace(pool=PAIRS[:1]), rows=LISTS[i : i + 2]) for i in range(8)],
            "examples, [01] are there for",
        ),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
