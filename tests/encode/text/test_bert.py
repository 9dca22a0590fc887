"""What is BERT's own: its poolings against golden values, segments, and what it refuses.  Laws hold the rest."""

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


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_poolings(params, tokens, values, pooling):
    encoder = encode.pooled(encode.bert(CONFIG), encode.POOLINGS[pooling])
    np.testing.assert_allclose(jax.jit(encoder.apply)(params, tokens), values[pooling], atol=1e-5)


def test_embeddings_by_hand(params):
    tokens = Tokens(jnp.array([[7, 9, 7]]), jnp.ones((1, 3), jnp.int32), segments=jnp.array([[0, 0, 1]]))
    got = jax.jit(encode.bert(CONFIG).hidden)(params, tokens)[0, 0]
    tables = {name: np.asarray(part["table"]) for name, part in params["embeddings"].items() if name != "norm"}
    summed = tables["tokens"][[7, 9, 7]] + tables["positions"][[0, 1, 2]] + tables["segments"][[0, 0, 1]]
    normed = (summed - summed.mean(axis=1, keepdims=True)) / summed.std(axis=1, keepdims=True)
    norm = params["embeddings"]["norm"]
    np.testing.assert_allclose(got, normed * norm["scale"][None] + norm["bias"][None], atol=1e-5)


def test_init_has_the_shapes_of_the_checkpoint_and_depends_on_its_key(params):
    backbone = encode.bert(CONFIG)
    made = backbone.init(jax.random.key(1))
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)
    assert not np.array_equal(made["blocks"]["qkv"]["kernel"][0], made["blocks"]["qkv"]["kernel"][1])
    other = backbone.init(jax.random.key(2))
    assert not np.array_equal(made["embeddings"]["tokens"]["table"], other["embeddings"]["tokens"]["table"])


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
        ({"model_type": "bart"}, r"model_type must be one of \['bert'\], got 'bart'"),
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
