"""Gemma 3 and EmbeddingGemma: windows, ropes, and above all who sees whom."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.text import gemma3
from jaxemb.encode.text.decoder import UNBOUNDED
from jaxemb.types import Tokens

SMALL = {
    "model_type": "gemma3_text",
    "vocab_size": 25,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "query_pre_attn_scalar": 4,
    "sliding_window": 4,
}
EMBEDDING_GEMMA = {
    "_sliding_window_pattern": 6,
    "architectures": ["Gemma3TextModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "dtype": "float32",
    "eos_token_id": 1,
    "final_logit_softcapping": None,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 1152,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 4,
    "max_position_embeddings": 2048,
    "model_type": "gemma3_text",
    "num_attention_heads": 3,
    "num_hidden_layers": 24,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
    "use_bidirectional_attention": True,
    "use_cache": True,
    "vocab_size": 262144,
}


def random(backbone):
    """Params of the right shapes, without compiling the init."""
    shapes, draw = jax.eval_shape(backbone.init, jax.random.key(0)), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), leaf.dtype), shapes)


@functools.cache
def states(config):
    """The states of two texts that differ in their last token alone."""
    backbone = encode.gemma3(config)
    ids = jnp.array([[3, 7, 5, 9], [3, 7, 5, 8]])
    return np.asarray(jax.jit(backbone.apply)(random(backbone), Tokens(ids, jnp.ones_like(ids))))


def test_embedding_gemma_sees_256_places_to_either_side():
    config = gemma3.parse(EMBEDDING_GEMMA)
    assert config.use_bidirectional_attention
    assert config.reaches == [256, 256, 256, 256, 256, UNBOUNDED] * 4
    assert (config.rope_parameters.rope_theta, config.rope_local_base_freq) == (1e6, 1e4)
    causal = gemma3.parse({**EMBEDDING_GEMMA, "use_bidirectional_attention": False})
    assert causal.reaches[:2] == [511, 511]


def test_layers_left_out_are_five_local_and_one_global():
    told = {key: value for key, value in EMBEDDING_GEMMA.items() if key != "layer_types"}
    assert gemma3.parse(told) == gemma3.parse(EMBEDDING_GEMMA)
    assert gemma3.parse({**told, "_sliding_window_pattern": 2}).layer_types == gemma3.parse(told).layer_types
    every_second = gemma3.parse({**told, "sliding_window_pattern": 2})
    assert every_second.layer_types == ("sliding_attention", "full_attention") * 12


@pytest.mark.parametrize("flag", [True, False, None, "absent"])
def test_no_bidirectional_model_is_ever_causal_nor_the_other_way_round(flag):
    """Every early token's states change with a later token exactly where the configuration says that it sees it."""
    told = SMALL if flag == "absent" else {**SMALL, "use_bidirectional_attention": flag}
    one, other = states(gemma3.parse(told))
    moved = np.abs(one - other).max(axis=1) > 1e-5
    # Both layers see two places to either side: from the last of four to the second in one layer, to the first in two.
    assert moved.tolist() == ([True] * 4 if flag is True else [False, False, False, True])


def test_flipping_the_flag_changes_early_tokens():
    causal, seeing = (states(gemma3.parse({**SMALL, "use_bidirectional_attention": flag}))[0] for flag in (False, True))
    assert (np.abs(causal - seeing).max(axis=1)[:3] > 1e-3).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"surprise": 1}, r"unknown keys \['surprise'\]"),
        ({"is_causal": False}, "is_causal must be True, got False"),
        ({"is_causal": None}, "is_causal must be True, got None"),
        ({"use_bidirectional_attention": "all"}, "use_bidirectional_attention must be true or false, got 'all'"),
        ({"sliding_window": None}, "sliding_window must be 1 or more, got None"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping must be None, got 50.0"),
        ({"layer_types": ["full_attention"]}, "layer_types must be 2 of"),
        ({"layer_types": ["full_attention", "chunked_attention"]}, "layer_types must be 2 of .*chunked_attention"),
        ({"rope_parameters": {"rope_type": "default"}}, "rope_parameters of full_attention and sliding_attention"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, r"rope_type must be one of .*got \['yarn'\]"),
        (
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            "the rope of sliding_attention must be of type default, got 'linear'",
        ),
        ({"num_attention_heads": 3}, "3 heads are no multiple of 2 groups"),
        ({"sliding_window": 0}, "sliding_window must be 1 or more, got 0"),
        ({"model_type": "gemma3"}, r"model_type must be one of \['gemma3_text'\], got 'gemma3'"),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_configs_of_other_models_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        gemma3.parse({**SMALL, **config})
