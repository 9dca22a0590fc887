"""Llama, Mistral, Qwen2 and Qwen3: what their configurations mean, who sees whom, and what is refused."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.text import llama, rope
from jaxemb.encode.text.decoder import UNBOUNDED, visible
from jaxemb.types import Tokens

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "families"
SMALL = {
    "vocab_size": 25,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "is_llama_config": True,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_interleaved": False,
    "rope_scaling": None,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "vocab_size": 49152,
}
QWEN3_EMBEDDING = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151669,
}


def random(backbone):
    """Params of the right shapes, without compiling the init."""
    shapes, draw = jax.eval_shape(backbone.init, jax.random.key(0)), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(0, 0.3, leaf.shape), leaf.dtype), shapes)


@functools.cache
def states(config):
    """The states of two texts that differ in their last token alone."""
    backbone = encode.llama(config)
    ids = jnp.array([[3, 7, 5, 9], [3, 7, 5, 8]])
    return np.asarray(jax.jit(backbone.apply)(random(backbone), Tokens(ids, jnp.ones_like(ids))))


def test_published_shapes():
    smol = llama.parse(SMOLLM2)
    assert (smol.head_dim, smol.num_key_value_heads, smol.rope_parameters.rope_theta) == (64, 3, 100_000.0)
    assert smol.reaches == [UNBOUNDED] * 30
    qwen = llama.parse(QWEN3_EMBEDDING)
    assert (qwen.head_dim, qwen.has_bias, qwen.has_normed_heads) == (128, (False, False), True)
    assert (qwen.sliding_window, qwen.layer_types, qwen.is_causal) == (None, (), True)


def test_what_a_file_leaves_out_has_the_reference_s_value():
    assert llama.parse({"model_type": "mistral"}).sliding_window == 4096
    assert llama.parse({"model_type": "mistral", "sliding_window": None}).sliding_window is None
    assert llama.parse({"model_type": "mistral"}).num_key_value_heads == 8
    assert llama.parse({"model_type": "mistral", "num_key_value_heads": None}).num_key_value_heads == 32
    assert llama.parse({"model_type": "llama", "num_attention_heads": 8}).num_key_value_heads == 8
    assert llama.parse({"model_type": "qwen2", "num_attention_heads": 64}).head_dim == 64
    assert llama.parse({"model_type": "qwen3", "num_attention_heads": 64}).head_dim == 128
    assert llama.parse({"model_type": "qwen2"}).has_bias == (True, False)


def test_both_generations_write_one_rope():
    scaling = {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }
    old = llama.parse({"model_type": "llama", "rope_theta": 500000.0, "rope_scaling": scaling})
    new = llama.parse({"model_type": "llama", "rope_parameters": {**scaling, "rope_theta": 500000.0}})
    assert old == new
    assert old.rope_parameters.factor == 32.0
    oldest = llama.parse({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert oldest.rope_parameters == rope.Rope(rope_type="linear", factor=2.0)


def test_llama3_slows_slow_turns_alone():
    stretch = rope.Rope(rope_type="llama3", factor=8.0, original_max_position_embeddings=1000)
    turns = np.array([5.0, 2.5, 0.5])  # in 1,000 places: above 4, half-way between 1 and 4, below 1
    slow = stretch.stretched(2 * np.pi * turns / 1000) * 1000 / (2 * np.pi)
    np.testing.assert_allclose(slow, [5.0, 2.5 * (0.5 + 0.5 / 8), 0.5 / 8])
    np.testing.assert_allclose(rope.Rope(rope_type="linear", factor=4.0).stretched(turns), turns / 4)


def test_who_sees_whom():
    one = jnp.asarray(1)
    np.testing.assert_array_equal(visible(3, one, causal=True), [[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(visible(3, one, causal=False), [[1, 1, 0], [1, 1, 1], [0, 1, 1]])
    np.testing.assert_array_equal(visible(3, jnp.asarray(UNBOUNDED), causal=True), np.tril(np.ones((3, 3))))
    assert visible(3, jnp.asarray(UNBOUNDED), causal=False).all()


def test_a_window_counts_the_token_itself_only_where_it_is_causal():
    config = {"model_type": "mistral", "num_hidden_layers": 2, "sliding_window": 5}
    assert llama.parse(config).reaches == [4, 4]
    assert llama.parse({**config, "is_causal": False}).reaches == [5, 5]
    qwen = {"model_type": "qwen2", "num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 5}
    assert llama.parse({**qwen, "max_window_layers": 1}).reaches == [UNBOUNDED, 4, 4]
    assert llama.parse({**qwen, "max_window_layers": 0}).reaches == [4, 4, 4]
    assert llama.parse(qwen).reaches == [UNBOUNDED] * 3  # from layer 28 on, if nothing is said
    assert llama.parse({**qwen, "use_sliding_window": False, "max_window_layers": 0}).reaches == [UNBOUNDED] * 3
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    assert llama.parse({**qwen, "layer_types": kinds}).reaches == [4, UNBOUNDED, UNBOUNDED]


@pytest.mark.parametrize("is_causal", [True, False])
def test_early_tokens_see_later_ones_only_where_the_config_says_so(is_causal):
    one, other = states(llama.parse({"model_type": "llama", **SMALL, "is_causal": is_causal}))
    assert not np.allclose(one[3], other[3], atol=1e-3)
    assert np.allclose(one[:3], other[:3], atol=1e-6) == is_causal


def test_the_next_token_is_guessed_from_the_last_one_that_is_kept():
    config = llama.parse({"model_type": "llama", **SMALL})
    backbone = encode.llama(config)
    params = random(backbone)
    tokens = Tokens(jnp.array([[3, 7, 5, 9], [4, 6, 0, 0]]), jnp.array([[1, 1, 1, 1], [1, 1, 0, 0]]))
    last = np.asarray(jax.jit(backbone.apply)(params, tokens))[[0, 1], [3, 1]]
    table = np.asarray(params["embeddings"]["tokens"]["table"])
    guess = jax.jit(encode.next_token(backbone))
    np.testing.assert_allclose(guess(params, tokens), last @ table.T, atol=1e-5)
    own = {**params, "head": {"table": jnp.asarray(3 * table[::-1])}}
    np.testing.assert_allclose(guess(own, tokens), last @ (3 * table[::-1]).T, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"surprise": 1}, r"unknown keys \['surprise'\]"),
        ({"model_type": "mixtral"}, "model_type must be one of .*got 'mixtral'"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention must be False, got True"),
        ({"is_causal": None}, "is_causal must be true or false, got None"),  # to the reference it is false
        ({"sliding_window": 4096}, "llama config: sliding_window must be None, got 4096"),
        ({"auto_map": {"AutoModel": "modeling.Model"}}, "unknown keys .*auto_map"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, r"rope_type must be one of .*llama3.*got \['yarn'\]"),
        ({"rope_scaling": {"rope_type": "default", "type": "linear", "factor": 2.0}}, "rope_type must be one of"),
        ({"rope_scaling": {"type": "linear"}}, r"rope of type linear takes \['factor'\], got \[\]"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "got .*partial_rotary_factor"),
        (
            {"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_parameters or rope_scaling, got both",
        ),
        ({"num_attention_heads": 6, "num_key_value_heads": 4}, "6 heads are no multiple of 4 groups"),
        ({"head_dim": 5}, "head_dim must be even, got 5"),
        ({"hidden_act": "swish"}, "hidden_act 'swish' is unknown; there is gelu"),
        ({"model_type": "mistral", "layer_types": ["full_attention"]}, "layer_types must be None"),
        ({"model_type": "mistral", "attention_bias": True}, "attention_bias must be False, got True"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window must be 1 or more, got 0"),
        (
            {"model_type": "qwen2", "num_hidden_layers": 2, "layer_types": ["sliding_attention"] * 2},
            "layer_types has sliding_attention, but use_sliding_window is false",
        ),
        (
            {"model_type": "qwen2", "num_hidden_layers": 2, "layer_types": ["full_attention"]},
            "layer_types must be 2 of full_attention and sliding_attention",
        ),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_configs_of_other_models_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        llama.parse({"model_type": "llama", **config})


def test_a_described_shape_says_no_key_that_its_model_does_not_have():
    raw = json.loads((GOLDEN / "mistral" / "config.json").read_text())
    told = encode.family_named("mistral").describe(llama.parse(raw))
    assert told["architectures"] == ["MistralModel"]
    assert told["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert not told.keys() & {"attention_bias", "mlp_bias", "layer_types", "is_causal", "rope_parameters"}
    bidirectional = llama.parse({"model_type": "mistral", **SMALL, "is_causal": False})
    assert encode.family_named("mistral").describe(bidirectional)["is_causal"] is False


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"rope_theta": 0}, "rope_theta must be a number above 0, got 0"),
        ({"rope_theta": True}, "rope_theta must be a number above 0, got True"),
        ({"rope_theta": float("inf")}, "rope_theta must be a number above 0, got inf"),
        ({"rope_theta": float("nan")}, "rope_theta must be a number above 0, got nan"),
        ({"rope_theta": "1e4"}, "rope_theta must be a number above 0, got '1e4'"),
        ({"rope_type": "linear", "factor": 0.0}, r"factor must be a number above 0, got 0\.0"),
        ({"rope_type": ["linear"], "factor": 2.0}, r"rope_type must be one of .*, got \['linear'\]"),
        ({"type": 3}, "type must be one of .*, got 3"),
    ],
)
def test_rope_that_is_no_number_above_0_is_refused(told, message):
    with pytest.raises(ValueError, match=f"llama config: .*{message}"):
        rope.from_config({"rope_parameters": told}, who="llama", positions=8)
    if "rope_theta" in told:
        with pytest.raises(ValueError, match=message):
            rope.from_config(told, who="llama", positions=8)


def test_rope_that_is_no_mapping_is_refused(as_users_call):
    with pytest.raises(ValueError, match="rope parameters must be names and values, got 'linear'"):
        rope.from_config({"rope_scaling": "linear"}, who="llama", positions=8)
