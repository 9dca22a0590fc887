"""Adapters by hand, and what holds of both kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killable import batch, source

from jaxemb import checkpoint, data, encode, losses, train
from jaxemb.types import Tokens

KINDS = [train.lora, train.dora]
BERT = encode.BertConfig(
    vocab_size=200, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=8,
)  # fmt: skip
ENCODER = encode.pooled(encode.bert(BERT), encode.mean)
pytestmark = pytest.mark.usefixtures("compiled_quickly")
TOKENS = Tokens(np.array([[3, 5, 7], [11, 13, 0]], np.int32), np.array([[1, 1, 1], [1, 1, 0]], np.int32))


@pytest.fixture(scope="module")
def base():
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(ENCODER.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0.5, 0.5, leaf.shape), leaf.dtype), shapes)


def moved(adapters, seed=1):
    """As training would leave them: nothing is zero."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + 0.3 * draw.normal(size=leaf.shape).astype(np.float32), adapters)


W = np.array([[1.0, 2.0], [3.0, -4.0], [0.0, 1.0]], np.float32)
A, B = np.array([[1.0], [0.5], [-1.0]], np.float32), np.array([[2.0, -1.0]], np.float32)


def test_lora_by_hand():
    adapter = train.lora(["w"], rank=1, alpha=0.5)
    got = adapter.merged({"w": jnp.asarray(W)}, {"w": {"a": jnp.asarray(A), "b": jnp.asarray(B)}})
    np.testing.assert_allclose(got["w"], [[2.0, 1.5], [3.5, -4.25], [-1.0, 1.5]])  # W + 0.5 * a b


def test_dora_by_hand():
    adapter = train.dora(["w"], rank=1, alpha=0.5)
    own = {"a": jnp.asarray(A), "b": jnp.asarray(B), "magnitude": jnp.array([3.0, 0.5])}
    got = adapter.merged({"w": jnp.asarray(W)}, {"w": own})
    summed = np.array([[2.0, 1.5], [3.5, -4.25], [-1.0, 1.5]])
    lengths = [(4 + 12.25 + 1) ** 0.5, (2.25 + 18.0625 + 2.25) ** 0.5]
    np.testing.assert_allclose(got["w"], summed / lengths * [3.0, 0.5], rtol=1e-6)
    started = adapter.init(jax.random.key(0), {"w": jnp.asarray(W)})["w"]
    np.testing.assert_allclose(started["magnitude"], [10**0.5, 21**0.5], rtol=1e-6)


@pytest.mark.parametrize(("scaling", "scale"), [(train.by_rank, 8 / 4), (train.by_root_of_rank, 8 / 2)])
def test_the_scale_of_a_rank(scaling, scale):
    adapter = train.lora(["w"], rank=4, alpha=8.0, scaling=scaling)
    own = {"a": jnp.ones((5, 4)), "b": jnp.full((4, 6), 0.25)}
    got = adapter.merged({"w": jnp.zeros((5, 6))}, {"w": own})["w"]
    np.testing.assert_allclose(got, np.full((5, 6), scale))


def test_outputs_without_weights_are_finite_in_value_and_gradient():
    adapter = train.dora(["w"], rank=1)
    base = {"w": jnp.asarray(W).at[:, 0].set(0.0)}
    own = adapter.init(jax.random.key(0), base)
    np.testing.assert_allclose(adapter.merged(base, own)["w"], base["w"], rtol=1e-6)
    gradient = jax.grad(lambda own: (adapter.merged(base, own)["w"] ** 2).sum())(own)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_is_the_base_and_adapters_are_small(kind, base):
    adapter = kind(["blocks.*.kernel", "embeddings.tokens.*"], rank=2)
    own = adapter.init(jax.random.key(1), base)
    merged = adapter.merged(base, own)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7), merged, base)
    shapes = {path: leaf.shape for path, leaf in checkpoint.leaves(own).items() if not path.endswith("magnitude")}
    assert shapes == {
        "blocks.down.kernel.a": (2, 12, 2), "blocks.down.kernel.b": (2, 2, 8),
        "blocks.out.kernel.a": (2, 8, 2), "blocks.out.kernel.b": (2, 2, 8),
        "blocks.qkv.kernel.a": (2, 8, 2), "blocks.qkv.kernel.b": (2, 2, 24),
        "blocks.up.kernel.a": (2, 8, 2), "blocks.up.kernel.b": (2, 2, 12),
        "embeddings.tokens.table.a": (200, 2), "embeddings.tokens.table.b": (2, 8),
    }  # fmt: skip
    assert not np.array_equal(own["blocks"]["up"]["kernel"]["a"][0], own["blocks"]["up"]["kernel"]["a"][1])


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_has_its_own(kind, base):
    """Stacked layers are changed one by one, as matrices of their own would be."""
    adapter = kind(["blocks.up.kernel"], rank=2, alpha=3.0)
    own = moved(adapter.init(jax.random.key(1), base))
    got = adapter.merged(base, own)["blocks"]["up"]["kernel"]
    for layer in range(2):
        alone = kind(["w"], rank=2, alpha=3.0).merged(
            {"w": base["blocks"]["up"]["kernel"][layer]},
            {"w": jax.tree.map(lambda leaf, layer=layer: leaf[layer], own["blocks"]["up"]["kernel"])},
        )
        np.testing.assert_allclose(got[layer], alone["w"], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_out_the_plain_encoder_gives_the_vectors_of_the_adapted(kind, base):
    adapter = kind(["blocks.*"], rank=2)
    params = train.started(adapter, base, jax.random.key(1))
    params = {**params, "adapters": moved(params["adapters"])}
    merged = adapter.merged(params["base"], params["adapters"])
    assert jax.tree.structure(merged) == jax.tree.structure(base)
    wrapped = train.adapted(ENCODER, adapter)
    assert jax.tree.structure(jax.eval_shape(wrapped.init, jax.random.key(0))) == jax.tree.structure(params)
    plain, got = jax.jit(ENCODER.apply), jax.jit(wrapped.apply)(params, TOKENS)
    np.testing.assert_allclose(plain(merged, TOKENS), got, rtol=1e-5, atol=1e-6)
    assert np.abs(got - plain(base, TOKENS)).max() > 0.01


def test_half_precision_params_are_summed_in_float32_and_rounded_once():
    base = {"w": jnp.asarray(W, jnp.bfloat16)}
    adapter = train.lora(["w"], rank=1, alpha=0.5)
    got = adapter.merged(base, {"w": {"a": jnp.asarray(A) / 3, "b": jnp.asarray(B)}})["w"]
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, jnp.asarray(W + 0.5 * A / 3 @ B, jnp.bfloat16))


def fitted(folder, steps, params, watch=None):
    adapter = train.dora(["table"], rank=3)
    encoder = train.adapted(encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16)), adapter)
    return train.fit(
        train.pairwise(encoder, losses.info_nce),
        optax.adamw(0.05),
        data.stream(source(), batch_size=16, seed=3, make=batch),
        params,
        steps=steps,
        frozen=train.BASE,
        checkpoints=folder,
        every=2,
        mesh=train.data_mesh(1),
        watch=watch,
        what=None,
    )


def test_only_adapters_move_and_only_they_are_saved(tmp_path):
    plain = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16)).init(jax.random.key(0))
    params = train.started(train.dora(["table"], rank=3), plain, jax.random.key(1))
    told = []
    got = fitted(tmp_path, 6, params, watch=told.append)
    jax.tree.map(np.testing.assert_array_equal, got["base"], plain)  # weight decay leaves them, too
    before, after = checkpoint.leaves(params["adapters"]), checkpoint.leaves(got["adapters"])
    assert all((after[path] != before[path]).any() for path in before)
    assert told[-1].loss < told[0].loss
    again = fitted(tmp_path, 6, params)
    jax.tree.map(np.testing.assert_array_equal, again, got)
    saved = checkpoint.Checkpoints(tmp_path)
    with pytest.raises(ValueError, match="base"):  # not there
        saved.restore({"params": params, "optimizer": {}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: train.lora(["blocks.qvk.*"], rank=2).init(jax.random.key(0), base), r"'blocks.qvk.\*' fits no"),
        (lambda base: train.lora(["*.bias"], rank=2).init(jax.random.key(0), base), r"'\*.bias' fits no"),
        (lambda base: train.lora([], rank=2).init(jax.random.key(0), base), "one pattern or more"),
        (
            lambda base: train.dora(["blocks.up.*"], rank=9).init(jax.random.key(0), base),
            r"blocks.up.kernel: rank 9 is larger than the matrix, \(8, 12\)",
        ),
        (
            lambda base: train.lora(["k"], rank=1).init(jax.random.key(0), {"k": jnp.ones((3, 3, 2, 2))}),
            r"k: wanted a matrix .* got \(3, 3, 2, 2\)",
        ),
        (lambda base: train.lora(["*"], rank=0), "rank=0"),
        (lambda base: train.dora(["*"], rank=2, alpha=-1.0), "alpha=-1.0"),
        (lambda base: train.lora(["*"], rank=2, alpha=float("nan")), "alpha=nan"),
        (
            lambda base: train.lora(["*"], rank=2).merged({"v": jnp.ones((3, 3))}, {"w": {"a": A, "b": B}}),
            "adapters have w, the base has no such leaf",
        ),
        (
            lambda base: train.lora(["*"], rank=2).merged({"w": jnp.asarray(W)}, {"w": {"a": A, "b": B}}),
            r"wanted a and b of shapes \(3, 2\) and \(2, 2\), got \(3, 1\) and \(1, 2\)",
        ),
    ],
)
def test_bad_input(make, message, base):
    with pytest.raises(ValueError, match=message):
        make(base)
