"""`encode`: order, padding, counts and bad input; and the plan of its shapes."""

import os
from itertools import combinations
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemb import encode, model
from jaxemb.data.tokenize import BUCKETS
from jaxemb.model import encoding

GOLDEN = Path(__file__).parent.parent / "golden" / "bert"


@pytest.fixture(scope="module")
def bert():
    return model.load(GOLDEN / "new")


@pytest.fixture(scope="module")
def static(bert):
    table = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)
    shape = encode.StaticConfig(vocab_size=25, hidden_size=6)
    spec = model.Spec(backbone=shape, pooling=None, normalize=True, max_length=None)
    return model.make(spec, encode.from_table(table), bert.tokenizer)


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


def counted(one: model.Model) -> model.Model:
    """The same model with a program cache of its own, so that what it compiles can be counted."""
    apply = one.encoder.apply
    return one._replace(encoder=one.encoder._replace(apply=jax.jit(lambda *inputs: apply(*inputs))))


def test_what_is_cut_or_empty_is_said_once(bert, static):
    said = []
    model.encode(bert, ["a", "", "a " * 30, "b " * 30, "  "], report=said.append)
    assert said == [
        "2 of 5 texts were longer than 12 tokens and lost their end",
        "2 of 5 texts are empty; their vectors say nothing",
    ]
    encoding.tell(static, 3, 1, 0, said.append)
    assert said[2].startswith("1 of 3 texts")


def test_an_empty_text_has_a_vector_of_its_special_tokens(bert, static):
    vectors = model.encode(bert, ["", "a"], report=quiet)
    assert np.isclose(np.linalg.norm(vectors[0]), 1)
    np.testing.assert_array_equal(model.encode(static, [""], report=quiet), np.zeros((1, 6)))


def test_order_batch_and_bucket_change_nothing(bert):
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(list("abcdefgh"), size=n)) for n in draw.integers(1, 10, size=300)]
    together = model.encode(bert, texts)
    turned = draw.permutation(300)
    np.testing.assert_allclose(model.encode(bert, [texts[i] for i in turned]), together[turned], atol=2e-6)
    alone = np.concatenate([model.encode(bert, [text]) for text in texts[:5]])
    np.testing.assert_allclose(alone, together[:5], atol=2e-6)


def test_no_texts_no_vectors(bert):
    assert model.encode(bert, []).shape == (0, 16)


def test_what_is_no_text_is_named(bert, as_users_call):
    with pytest.raises(TypeError, match="text 1 is float, wanted str"):
        model.encode(bert, ["a", float("nan")])


def test_one_text_is_no_list_of_texts_and_an_iterator_is_not_lost(bert, as_users_call):
    with pytest.raises(TypeError, match="wanted a list of texts, got one text, 'a b c'"):
        model.encode(bert, "a b c")
    np.testing.assert_array_equal(model.encode(bert, (text for text in ("a b", "c"))), model.encode(bert, ["a b", "c"]))


def test_a_vector_that_is_not_finite_is_named(bert):
    bad = bert._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, bert.params))
    with pytest.raises(FloatingPointError, match="the vector of text 0 is not finite: 'a b'"):
        model.encode(bad, ["a b", "c"])


def test_tokenizing_in_slices_changes_nothing(bert, monkeypatch):
    texts = ["a b", "a " * 30, "", "c d e", "b " * 20]
    whole = encoding.tokenized(bert, texts, None)
    monkeypatch.setattr(encoding, "SLICE", 2)
    cut = encoding.tokenized(bert, texts, None)
    assert [row.tolist() for row in cut.rows] == [row.tolist() for row in whole.rows]
    assert cut.truncated.tolist() == whole.truncated.tolist() == [False, True, False, False, True]
    assert cut.empty.tolist() == [False, False, True, False, False]


def test_devices_share_the_rows(bert):
    texts = [letter * n for letter in ("a ", "b ") for n in range(1, 20)]
    wanted = model.encode(bert, texts, report=quiet)
    devices = jax.devices()[:8]
    assert len(devices) == 8
    np.testing.assert_allclose(model.encode(bert, texts, report=quiet, devices=devices), wanted, atol=2e-6)
    seen = []
    spread = bert._replace(
        encoder=bert.encoder._replace(apply=lambda p, t: seen.append(t.ids.shape) or t.ids.astype(jnp.float32))
    )
    read = model.reader(spread, devices)
    got = read(encoding.pad([np.arange(3, dtype=np.int32)] * 16, 4))
    assert seen == [(2, 4)]  # each device is given two rows of sixteen
    assert {shard.device for shard in got.addressable_shards} == set(devices)


def cheap(**changes: float) -> model.Machine:
    return model.Machine(step=1, tokens=40)._replace(**changes)


def test_lengths_chosen_by_hand():
    lengths = [3, 9, 3, 10, 3]
    # One length pads 5 texts to 10: 50.  {3, 10} pads to 9 + 20 = 29, {3, 9, 10} to 28.
    assert encoding.choose(lengths, 12, cheap(program=100.0)) == [10]
    assert encoding.choose(lengths, 12, cheap(program=5.0)) == [3, 10]
    assert encoding.choose(lengths, 12, cheap(program=0.5)) == [3, 9, 10]
    assert encoding.choose(lengths, 12, cheap(program=5.0), times=100.0) == [3, 9, 10]
    assert encoding.choose(lengths, 12, cheap(program=0.5, step=8)) == [8, 12]  # 16, but for the longest text
    assert encoding.choose(lengths, None, cheap(program=0.5, step=8)) == [8, 16]


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    program=st.sampled_from([0.3, 3.3, 30.3]),
    step=st.sampled_from([1, 2, 5]),
)
def test_no_other_lengths_cost_less(lengths, program, step):
    def cost(chosen: tuple[int, ...]) -> float:
        return sum(min(size for size in chosen if size >= length) for length in lengths) + program * len(chosen)

    allowed = sorted({min(-(-length // step) * step, 12) for length in range(1, 13)})
    ways = [some for k in range(1, len(allowed) + 1) for some in combinations(allowed, k) if some[-1] >= max(lengths)]
    got = encoding.choose(lengths, 12, cheap(program=program, step=step))
    assert cost(tuple(got)) == pytest.approx(min(cost(way) for way in ways))


def test_batches_by_hand():
    planned = encoding.fill([3, 9, 3, 10, 2], 12, [4, 10], cheap())
    assert [(batch.texts.tolist(), batch.rows, batch.length) for batch in planned.batches] == [
        ([3, 1, 0, 2], 4, 10),  # filled up with shorter texts
        ([4], 10, 4),
    ]
    assert planned.shapes == [(4, 10), (10, 4)]
    assert planned.padding == pytest.approx(1 - 27 / 80)
    assert encoding.fill([], 12, [4]).padding == 0


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("count", [1, 5, 256, 3000])
def test_every_text_is_in_one_batch_that_holds_it(count, devices):
    lengths = np.random.default_rng(count).integers(0, 257, size=count).tolist()
    at = model.Machine(devices=devices)
    planned = model.plan(lengths, 256, at)
    assert sorted(np.concatenate([batch.texts for batch in planned.batches]).tolist()) == list(range(count))
    for batch in planned.batches:
        assert len(batch.texts) <= batch.rows
        assert max(lengths[i] for i in batch.texts) <= batch.length
        assert batch.rows % devices == 0
        assert batch.rows == devices or batch.rows * batch.length <= at.tokens * devices
    again = model.plan(lengths, 256, at).batches
    assert [batch.texts.tolist() for batch in again] == [batch.texts.tolist() for batch in planned.batches]


def test_a_few_texts_never_need_a_shape_of_their_own():
    shapes = set(model.fixed(250))
    assert {length for _, length in shapes} == {*(size for size in BUCKETS if size < 250), 250}
    draw = np.random.default_rng(0)
    for count in (1, 2, 30, 256):
        for _ in range(20):
            assert set(model.plan(draw.integers(0, 251, size=count).tolist(), 250).shapes) <= shapes
    assert set(model.plan([1, 5000], None).shapes) <= set(model.fixed(None))
    assert model.plan([20000], None).shapes == [(1, 32768)]


def test_small_jobs_compile_little_and_large_ones_pad_little():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(4, 0.7, size=100_000), 3, 256).astype(int).tolist()
    small, large = (model.plan(lengths[:size], 256) for size in (1000, 100_000))
    assert len(small.shapes) <= 12
    assert len(large.shapes) <= 65
    assert large.padding < 0.03
    free = model.plan(lengths[:1000], 256, model.Machine(program=1.0))
    assert free.padding < small.padding < 0.3


def test_the_price_of_a_program_falls_with_the_size_of_the_encoder(bert, static):
    at = model.machine(bert)
    weights = sum(leaf.size for leaf in jax.tree.leaves(bert.params)) - 25 * 16
    each = max(2 * weights / 1e11, 1e-6)
    assert at == model.Machine(1, max(model.TOKENS, int(0.005 / each)), len(os.sched_getaffinity(0)), 0.5 / each, 2)
    assert model.machine(bert, compile_s=1.0).program == at.program * 2
    assert model.machine(static, jax.devices()[:2]).devices == 2
    wide = static._replace(params={**static.params, "other": np.zeros((10_000, 1000), np.float32)})
    assert model.machine(wide).program == pytest.approx(0.5 / (2 * 1e7 / 1e11), rel=1e-3)


def test_compilations_are_those_of_the_plan(bert, monkeypatch):
    monkeypatch.setattr(encoding, "TOKENS", 24)
    monkeypatch.setattr(encoding, "WORTH", 0.0)
    fresh = counted(bert)
    texts = ["a " * n for n in [10] * 34 + [1, 5] * 120]
    at = model.machine(bert, compile_s=1e-6)
    shapes = model.plan([len(text) // 2 + 2 for text in texts], 12, at).shapes
    assert shapes == [(2, 12), (3, 8), (6, 4)]
    for _ in range(2):
        model.encode(fresh, texts, compile_s=1e-6)
    assert fresh.encoder.apply._cache_size() == len(shapes)
    for text in ("a", "b c d", "e " * 8):
        model.encode(fresh, [text])
    assert fresh.encoder.apply._cache_size() == len(shapes) + 2  # (1, 8) and (1, 12), whatever the queries


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), True, "1"])
def test_seconds_to_compile_are_a_number_from_0(bert, wrong, as_users_call):
    with pytest.raises(ValueError, match=f"compile_s must be a number of seconds from 0, got {wrong!r}"):
        model.encode(bert, ["a"], compile_s=wrong)
    assert encoding.machine(bert, compile_s=0).program == 0


def test_lengths_below_0_are_refused():
    with pytest.raises(ValueError, match="longest must be 1 token or more, got -3"):
        encoding.fixed(-3)
    with pytest.raises(ValueError, match="text 1: a length must be 0 tokens or more, got -1"):
        encoding.plan([0, -1], 8)


def test_half_a_surrogate_pair_is_named_by_its_text(bert):
    texts = ["a"] * encoding.SLICE + ["b", "a\ud800"]
    with pytest.raises(ValueError, match=f"text {len(texts) - 1}: wanted Unicode text"):
        model.encode(bert, texts, report=quiet)
