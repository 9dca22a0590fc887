"""A BERT against golden values of the reference library, and what must not change a vector."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.encode.text.bert import KEYS, UNUSED, parse
from jaxemb.types import Tokens

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "bert"
CONFIG = encode.BertConfig(
    vocab_size=25,
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=12,
)


@pytest.fixture(scope="module")
def values():
    return dict(np.load(GOLDEN / "values.npz"))


@pytest.fixture(scope="module")
def tensors():
    return checkpoint.read_tensors(GOLDEN / "new" / "model.safetensors")


@pytest.fixture(scope="module")
def params(tensors):
    like = jax.eval_shape(encode.bert(CONFIG).init, jax.random.key(0))
    return checkpoint.from_foreign(tensors, KEYS, like, unused=UNUSED)


@pytest.fixture(scope="module")
def tokens(values):
    return Tokens(jnp.asarray(values["ids"], jnp.int32), jnp.asarray(values["mask"], jnp.int32))


def test_hidden_states_of_every_layer(params, tokens, values):
    kept = values["mask"].astype(bool)
    got = np.asarray(encode.bert(CONFIG).hidden(params, tokens))
    assert got.shape == values["hidden"].shape
    np.testing.assert_allclose(got[:, kept], values["hidden"][:, kept], atol=1e-5)


def test_the_last_layer_is_what_apply_gives(params, tokens):
    backbone = encode.bert(CONFIG)
    np.testing.assert_allclose(backbone.apply(params, tokens), backbone.hidden(params, tokens)[-1], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_poolings(params, tokens, values, pooling):
    encoder = encode.pooled(encode.bert(CONFIG), encode.POOLINGS[pooling])
    np.testing.assert_allclose(encoder.apply(params, tokens), values[pooling], atol=1e-5)


def test_padding_and_what_stands_in_it_change_nothing(params, tokens):
    encoder = encode.pooled(encode.bert(CONFIG), encode.mean)
    cut = Tokens(tokens.ids[:2, :6], tokens.mask[:2, :6])
    long = Tokens(tokens.ids[:2].at[:, 6:].set(7), tokens.mask[:2].at[:, 6:].set(0))
    np.testing.assert_allclose(encoder.apply(params, long), encoder.apply(params, cut), atol=2e-6)


def test_a_row_of_padding_is_finite_in_value_and_gradient(params, tokens):
    encoder = encode.normalized(encode.pooled(encode.bert(CONFIG), encode.mean))
    empty = tokens._replace(mask=tokens.mask.at[0].set(0))
    assert jnp.isfinite(encoder.apply(params, empty)).all()
    gradient = jax.grad(lambda p: encoder.apply(p, empty).sum())(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_bfloat16_stays_close_and_params_stay_float32(params, tokens):
    half = encode.pooled(encode.bert(CONFIG, dtype=jnp.bfloat16), encode.mean)
    full = encode.pooled(encode.bert(CONFIG), encode.mean)
    a, b = half.apply(params, tokens), full.apply(params, tokens)
    cosine = (a * b).sum(axis=1) / jnp.linalg.norm(a, axis=1) / jnp.linalg.norm(b, axis=1)
    assert (cosine > 0.999).all()
    assert not np.allclose(a, b, atol=1e-6)  # the products really ran in bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(half.init(jax.random.key(0)))} == {jnp.dtype(jnp.float32)}


def test_many_devices_equal_one(params, tokens):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    four = Tokens(tokens.ids[:4], tokens.mask[:4])
    encoder = encode.pooled(encode.bert(CONFIG), encode.mean)
    got = jax.jit(encoder.apply)(params, jax.device_put(four, rows))
    np.testing.assert_allclose(got, encoder.apply(params, four), atol=1e-5)


def test_init_has_the_shapes_of_the_checkpoint_and_depends_on_its_key(params):
    backbone = encode.bert(CONFIG)
    made = backbone.init(jax.random.key(1))
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)
    assert not np.array_equal(made["blocks"]["qkv"]["kernel"][0], made["blocks"]["qkv"]["kernel"][1])
    other = backbone.init(jax.random.key(2))
    assert not np.array_equal(made["embeddings"]["tokens"]["table"], other["embeddings"]["tokens"]["table"])


def test_the_key_map_goes_both_ways(params, tensors):
    back = checkpoint.to_foreign(params, KEYS)
    assert back.keys() == tensors.keys() - set(UNUSED)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("encoder.layer.1.output.dense.bias"), "missing encoder.layer.1.output.dense.bias"),
        (lambda t: t.pop("embeddings.LayerNorm.bias"), "missing embeddings.LayerNorm.bias"),
        (lambda t: t.update(surprise=np.zeros(2)), "left over surprise"),
        (
            lambda t: t.update({"embeddings.LayerNorm.bias": np.zeros(3, np.float32)}),
            r"norm.bias: wanted shape \(16,\), got \(3,\)",
        ),
        (
            lambda t: [t.pop(n) for n in list(t) if "layer.2." in n],
            "missing encoder.layer.2.attention.self.query.weight",
        ),
        (
            lambda t: t.update({"encoder.layer.3.output.dense.bias": np.zeros(16, np.float32)}),
            "left over encoder.layer.3.output.dense.bias",
        ),
        (lambda t: [t.pop(n) for n in list(t) if "encoder.layer" in n], "missing encoder.layer.0.attention"),
    ],
)
def test_weights_that_do_not_fit_are_named(params, tensors, change, message):
    wrong = dict(tensors)
    change(wrong)
    with pytest.raises(ValueError, match=message):
        checkpoint.from_foreign(wrong, KEYS, params, unused=UNUSED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new_feature": 1}, r"unknown keys \['new_feature'\]"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute', got 'relative_key'"),
        ({"is_decoder": True}, "is_decoder must be False"),
        ({"hidden_act": "swish"}, "hidden_act 'swish' is unknown; there is gelu"),
        ({"num_attention_heads": 5}, "hidden_size 16 is no multiple of 5 heads"),
    ],
)
def test_configs_of_other_models_are_refused(change, message):
    good = {"model_type": "bert", "hidden_size": 16, "num_attention_heads": 4}
    with pytest.raises(ValueError, match=message):
        parse({**good, **change})


def test_a_batch_longer_than_the_positions_is_refused(params):
    long = Tokens(jnp.zeros((1, 13), jnp.int32), jnp.ones((1, 13), jnp.int32))
    with pytest.raises(ValueError, match="13 tokens a text, but only 12 positions"):
        encode.bert(CONFIG).apply(params, long)
