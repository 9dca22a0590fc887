"""GPT-2: who sees whom, the length of the position table, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.encode.text import gpt2
from jaxemb.types import Tokens

SMALL = {"model_type": "gpt2", "vocab_size": 25, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 12}
PUBLISHED = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}


def random(backbone):
    """Params of the right shapes, without compiling the init."""
    shapes, draw = jax.eval_shape(backbone.init, jax.random.key(0)), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), leaf.dtype), shapes)


@functools.cache
def states(config):
    """The states of two texts that differ in their last token alone."""
    backbone = encode.gpt2(config)
    ids = jnp.array([[3, 7, 5, 9], [3, 7, 5, 8]])
    return np.asarray(jax.jit(backbone.apply)(random(backbone), Tokens(ids, jnp.ones_like(ids))))


def test_the_published_shape():
    assert gpt2.parse(PUBLISHED) == encode.GPT2Config()
    assert (encode.GPT2Config().hidden_size, encode.GPT2Config().max_position_embeddings) == (768, 1024)


@pytest.mark.parametrize("is_causal", [True, False])
def test_early_tokens_see_later_ones_only_where_the_config_says_so(is_causal):
    one, other = states(gpt2.parse({**SMALL, "is_causal": is_causal}))
    assert not np.allclose(one[3], other[3], atol=1e-3)
    assert np.allclose(one[:3], other[:3], atol=1e-6) == is_causal


def test_kernels_are_stored_as_they_multiply():
    params = random(encode.gpt2(gpt2.parse(SMALL)))
    there = checkpoint.to_foreign(params, gpt2.KEYS)
    assert there["h.1.mlp.c_fc.weight"].shape == (16, 64)
    np.testing.assert_array_equal(there["h.1.mlp.c_fc.weight"], params["blocks"]["up"]["kernel"][1])


def test_masks_and_the_head_of_older_files_are_left_out():
    params = random(encode.gpt2(gpt2.parse(SMALL)))
    there = checkpoint.to_foreign(params, gpt2.KEYS)
    there |= {"h.1.attn.bias": np.ones((1, 1, 12, 12), np.float32), "lm_head.weight": np.ones((25, 16), np.float32)}
    back = checkpoint.from_foreign(there, gpt2.KEYS, params, unused=gpt2.UNUSED)
    assert checkpoint.leaves(back).keys() == checkpoint.leaves(params).keys()
    surprise = {**there, "h.2.attn.c_attn.bias": np.ones(48, np.float32)}  # a layer more than there is
    with pytest.raises(ValueError, match=r"left over h\.2\.attn\.c_attn\.bias"):
        checkpoint.from_foreign(surprise, gpt2.KEYS, params, unused=gpt2.UNUSED)


def test_a_batch_longer_than_the_positions_is_refused():
    backbone = encode.gpt2(gpt2.parse(SMALL))
    params = jax.eval_shape(backbone.init, jax.random.key(0))
    long = Tokens(jnp.zeros((1, 13), jnp.int32), jnp.ones((1, 13), jnp.int32))
    with pytest.raises(ValueError, match="13 tokens a text, but only 12 positions"):
        jax.eval_shape(backbone.apply, params, long)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"surprise": 1}, r"unknown keys \['surprise'\]"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx must be False, got True"),
        ({"scale_attn_weights": False}, "scale_attn_weights must be True, got False"),
        ({"add_cross_attention": True}, "add_cross_attention must be False"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention must be False"),
        ({"is_causal": None}, "is_causal must be true or false, got None"),
        ({"activation_function": "swish"}, "activation_function 'swish' is unknown: gelu"),
        ({"n_head": 5}, "n_embd 16 is no multiple of 5 heads"),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_configs_of_other_models_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        gpt2.parse({**SMALL, **config})
