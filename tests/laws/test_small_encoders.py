"""What holds of every small encoder; a new one joins `KINDS` and meets every law."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import checkpoint, encode
from jaxemb.types import Encoder, Params, Tokens

WORDS, SIZE = 12, 8
LENGTHS = np.resize([6, 2, 1, 4, 5, 3, 0], 48)
BLOCK = encode.BertConfig(hidden_size=SIZE, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12)


def texts(seed):
    """Texts of every length, none among them, half of them with a 3; what stands in the padding is no zero."""
    draw = np.random.default_rng(seed)
    ids = draw.choice([1, 2, *range(4, WORDS)], (len(LENGTHS), max(LENGTHS)))
    with_three = (draw.random(len(LENGTHS)) < 0.5) & (LENGTHS > 0)
    ids[with_three, draw.integers(0, np.maximum(LENGTHS, 1))[with_three]] = 3
    mask = np.arange(max(LENGTHS))[None] < LENGTHS[:, None]
    return Tokens(jnp.asarray(ids, jnp.int32), jnp.asarray(mask, jnp.int32)), jnp.asarray(with_three, jnp.float32)


GRAMS = encode.Grams(orders=(1, 2), skip=3)
KNOWN = encode.count_ngrams([texts(7)[0]], GRAMS)


def bag(pooling, rows=WORDS):
    return encode.pooled(encode.words(rows, SIZE), pooling)


def above(pooling, *layers):
    """Words, layers and a pooling, with or without params."""
    backbone = encode.extended(encode.words(WORDS, SIZE), *layers)
    return (encode.pooled_by if isinstance(pooling, encode.LearntPooling) else encode.pooled)(backbone, pooling)


def convolutions(dtype=jnp.float32):
    first = encode.convolution(SIZE, SIZE, 5, dtype=dtype)
    second = encode.convolution(SIZE, SIZE, 5, residual=True, dtype=dtype)
    return above(encode.gated_mean(SIZE), encode.positions(9, SIZE), first, second)


def scales(dtype=jnp.float32):
    inner = above(encode.scales(SIZE, 5, (1, 3, 20), dtype=dtype))
    return encode.followed(inner, encode.DenseConfig(in_features=15, out_features=SIZE))


def grus(dtype=jnp.float32):
    return above(encode.feature_attention(10, 4, heads=2), encode.gru(SIZE, 5, dtype=dtype))


def lstms(dtype=jnp.float32):
    return above(encode.self_attentive(8, 6, 3), encode.lstm(SIZE, 5, dtype=dtype), encode.lstm(10, 4, dtype=dtype))


def attention(dtype=jnp.float32):
    below = encode.convolution(SIZE, SIZE, 4, dtype=dtype)
    return above(encode.mean, below, encode.self_attention(BLOCK, dtype=dtype))


def sequences(dtype=jnp.float32):
    return above(encode.by_place(3), encode.windows(SIZE, 7, 3, dtype=dtype))


def mixture():
    deep = encode.extended(encode.words(WORDS, SIZE), encode.convolution(SIZE, SIZE, 3), encode.gru(SIZE, SIZE // 2))
    return encode.pooled(encode.mixed(deep, 3), encode.ends)


HALF = {
    "convolutions": convolutions,
    "scales": scales,
    "grus": grus,
    "lstms": lstms,
    "attention": attention,
    "sequences": sequences,
}
BAGS = {
    "mean": lambda: bag(encode.mean),
    "binary": lambda: encode.reading(bag(encode.total), encode.distinct),
}
KINDS = {
    **BAGS,
    "hashed": lambda: encode.reading(bag(encode.mean, 64), encode.hashed_ngrams(GRAMS, 64)),
    "known": lambda: encode.reading(bag(encode.total, KNOWN.size), encode.known_ngrams(KNOWN)),
    **HALF,
    "mixture": mixture,
}
pytestmark = pytest.mark.usefixtures("compiled_quickly")
every_kind = pytest.mark.parametrize("name", KINDS)


def key(seed):
    """Of the generator that is quick to compile."""
    return jax.random.key(seed, impl="rbg")


class Case(NamedTuple):
    encoder: Encoder
    params: Params
    tokens: Tokens
    labels: jax.Array
    vectors: np.ndarray


@cache
def made(name):
    """An encoder with all that is compiled for it once."""
    encoder = KINDS[name]()
    quick = Encoder(jax.jit(encoder.init), jax.jit(encoder.apply))
    params = quick.init(key(0))
    tokens, labels = texts(0)
    return Case(quick, params, tokens, labels, np.asarray(quick.apply(params, tokens)))


@cache
def trained(name, steps=40):
    """Gradients of the first step, and encoder and classifier after the last."""
    case, optimizer = made(name), optax.adam(0.05)

    def loss(both):
        logits = case.encoder.apply(both["encoder"], case.tokens) @ both["weight"] + both["bias"]
        return optax.sigmoid_binary_cross_entropy(logits, case.labels).mean()

    def step(carry, _):
        both, state = carry
        slopes = jax.grad(loss)(both)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slopes, state)
            return (optax.apply_updates(both, updates), state), slopes["encoder"]

    size = case.vectors.shape[1]
    both = {"encoder": case.params, "weight": jnp.ones(size) / size, "bias": jnp.zeros(())}
    run = jax.jit(lambda both: jax.lax.scan(step, (both, optimizer.init(both)), length=steps))
    (both, _), slopes = run(both)
    return checkpoint.leaves(jax.tree.map(lambda leaf: np.asarray(leaf[0]), slopes)), both


@pytest.mark.grid
@every_kind
def test_it_learns_a_toy_task(name):
    case, (_, both), (tokens, labels) = made(name), trained(name), texts(1)
    told = case.encoder.apply(both["encoder"], tokens) @ both["weight"] + both["bias"] > 0
    assert (told == (labels > 0)).mean() > 0.7  # a constant is right for about half of them


@every_kind
def test_value_and_gradient_are_finite_with_texts_without_tokens(name):
    case = made(name)
    assert np.isfinite(case.vectors).all()
    assert all(np.isfinite(leaf).all() for leaf in trained(name)[0].values())
    if "module" not in case.params:  # a projection has a bias of its own
        np.testing.assert_array_equal(case.vectors[LENGTHS == 0], 0.0)


@every_kind
def test_no_weight_is_left_out(name):
    assert [path for path, leaf in trained(name)[0].items() if not leaf.any()] == []


@every_kind
def test_params_are_float32_and_depend_on_the_key(name):
    case = made(name)
    ours, theirs = checkpoint.leaves(case.params), checkpoint.leaves(case.encoder.init(key(1)))
    assert {leaf.dtype for leaf in theirs.values()} == {jnp.dtype(jnp.float32)}
    random = [path for path in ours if path.endswith(("kernel", "table", "boundary"))]
    assert random
    assert all((ours[path] != theirs[path]).any() for path in random)


@every_kind
def test_what_stands_in_the_padding_changes_nothing(name):
    case = made(name)
    other = case.tokens._replace(ids=jnp.where(case.tokens.mask > 0, case.tokens.ids, 3))
    np.testing.assert_allclose(case.encoder.apply(case.params, other), case.vectors, atol=2e-6)


@every_kind
def test_more_padding_and_more_devices_change_nothing(name):
    case = made(name)
    ids = jnp.pad(case.tokens.ids, ((0, 0), (0, 3)), constant_values=3)
    wide = Tokens(ids, jnp.pad(case.tokens.mask, ((0, 0), (0, 3))))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    got = case.encoder.apply(case.params, jax.device_put(wide, rows))
    assert len(got.sharding.device_set) == 4
    np.testing.assert_allclose(got, case.vectors, atol=2e-6)


@every_kind
def test_order_counts_where_it_should(name):
    case = made(name)
    place = np.maximum(LENGTHS[:, None] - 1 - np.arange(max(LENGTHS))[None], 0)
    backwards = np.take_along_axis(np.asarray(case.tokens.ids), place, axis=1)
    got = case.encoder.apply(case.params, case.tokens._replace(ids=jnp.asarray(backwards)))
    same = np.isclose(got, case.vectors, atol=1e-5).all(axis=1)
    assert same.all() if name in BAGS else not same[LENGTHS > 3].any()


@every_kind
def test_params_survive_the_disk(name, tmp_path):
    params = made(name).params
    checkpoint.write_tensors(checkpoint.leaves(params), tmp_path / "params.safetensors")
    back = checkpoint.nest(checkpoint.read_tensors(tmp_path / "params.safetensors"))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("name", HALF)
def test_bfloat16_stays_close(name):
    case, kept = made(name), LENGTHS > 0
    half = jax.jit(HALF[name](jnp.bfloat16).apply)(case.params, case.tokens)
    assert half.dtype == jnp.float32
    a, b = case.vectors[kept], np.asarray(half)[kept]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cosine > 0.999).all()
    assert not np.allclose(a, b, atol=1e-6)  # the products really ran in bfloat16
