"""What is ModernBERT's own: two generations of config, the window's edge, the first layer's missing norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.text.modernbert import describe, keys, parse
from jaxemb.types import Tokens

FULL, LOCAL = "full_attention", "sliding_attention"
# As ModernBERT-base has it; files of fine-tuned models come from it.
OLD = {
    "architectures": ["ModernBertForMaskedLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": False, "classifier_dropout": 0.0,
    "classifier_pooling": "mean", "cls_token_id": 50281, "decoder_bias": True, "deterministic_flash_attn": False,
    "embedding_dropout": 0.0, "eos_token_id": 50282, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
    "gradient_checkpointing": False, "hidden_activation": "gelu", "hidden_size": 768,
    "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "intermediate_size": 1152, "layer_norm_eps": 1e-05,
    "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192, "mlp_bias": False,
    "mlp_dropout": 0.0, "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "num_attention_heads": 12,
    "num_hidden_layers": 22, "pad_token_id": 50283, "position_embedding_type": "absolute", "sep_token_id": 50282,
    "tie_word_embeddings": True, "torch_dtype": "float32", "transformers_version": "4.47.0.dev0", "vocab_size": 50368,
}  # fmt: skip
COUNTED = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta", "layer_norm_eps")
NEW = {key: value for key, value in OLD.items() if key not in COUNTED} | {
    "layer_types": [FULL if i % 3 == 0 else LOCAL for i in range(22)],
    "rope_parameters": {
        FULL: {"rope_type": "default", "rope_theta": 160000.0},
        LOCAL: {"rope_type": "default", "rope_theta": 10000.0},
    },
}


@pytest.mark.parametrize("raw", [OLD, NEW, OLD | NEW], ids=["old", "new", "both"])
def test_either_generation_of_files_says_the_same(raw):
    assert parse(raw) == encode.ModernBertConfig()


def test_a_base_that_is_left_null_is_the_global_one():
    config = parse({**OLD, "local_rope_theta": None, "global_rope_theta": 80000.0})
    assert (config.global_rope_theta, config.local_rope_theta) == (80000.0, 80000.0)


def test_layers_in_no_even_order_are_described_by_name_alone():
    assert describe(parse(OLD))["global_attn_every_n_layers"] == 3
    odd = parse({**NEW, "num_hidden_layers": 3, "layer_types": [LOCAL, FULL, LOCAL]})
    assert "global_attn_every_n_layers" not in describe(odd)
    assert describe(odd)["layer_types"] == [LOCAL, FULL, LOCAL]


@pytest.mark.parametrize(("window", "reach"), [(2, 1), (4, 2), (5, 2)])
def test_how_far_a_local_token_sees(drawn, window, reach):
    config = encode.ModernBertConfig(
        vocab_size=9, hidden_size=4, intermediate_size=6, num_hidden_layers=2, num_attention_heads=1,
        layer_types=(LOCAL, FULL), local_attention=window,
    )  # fmt: skip
    backbone = encode.modernbert(config)
    params, hidden = drawn(backbone), jax.jit(backbone.hidden)
    tokens = Tokens(jnp.array([[1, 2, 3, 4, 5, 6, 7]]), jnp.ones((1, 7), jnp.int32))
    changed = tokens._replace(ids=tokens.ids.at[0, 3].set(8))
    before, after = hidden(params, tokens)[:, 0], hidden(params, changed)[:, 0]
    moved = np.abs(before - after).max(axis=-1) > 1e-6
    np.testing.assert_array_equal(moved[1], [abs(place - 3) <= reach for place in range(7)])
    assert moved[2].all()  # the global layer above sees all


def test_the_first_layer_has_no_norm_of_its_own():
    config = encode.ModernBertConfig(
        vocab_size=9, hidden_size=4, intermediate_size=6, num_hidden_layers=3, num_attention_heads=1,
        layer_types=(FULL, LOCAL, FULL),
    )  # fmt: skip
    names = {entry.theirs[0]: entry.first for entry in keys(config) if "attn_norm" in entry.theirs[0]}
    assert names == {"layers.{layer}.attn_norm.weight": 1}
    shapes = jax.eval_shape(encode.modernbert(config).init, jax.random.key(0))
    assert shapes["attention_norms"]["scale"].shape == (2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps 1e-06 is not norm_eps 1e-05"),
        ({"layer_types": [FULL] * 22}, "global_attn_every_n_layers 3 is not what layer_types has"),
        ({"rope_parameters": {LOCAL: {"rope_theta": 5.0}}}, "local_rope_theta 10000.0 is not the rope_theta of slid"),
        ({"rope_parameters": {"chunked": {}}}, r"wanted rope_parameters of .*, got \['chunked'\]"),
        (
            {"rope_parameters": {FULL: {"rope_type": "linear", "factor": 2.0}}},
            "the rope of full_attention must be of type default, got 'linear'",
        ),
        ({"rope_parameters": {FULL: {"rope_type": "yarn", "factor": 2.0}}}, r"rope_type must be one of .*\['yarn'\]"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling must be None"),
        ({"hidden_activation": "mish"}, "hidden_activation 'mish' is unknown"),
        ({"num_attention_heads": 5}, "hidden_size 768 gives no even size to 5 heads"),
        ({"num_hidden_layers": 1}, "num_hidden_layers must be 2 or more, got 1"),
        ({"num_experts": 4}, r"unknown keys \['num_experts'\]"),
        ({"is_causal": True}, r"unknown keys \['is_causal'\]"),
    ],
)
def test_configs_of_other_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parse({**OLD, **change})


def test_layers_of_unknown_kind_are_refused():
    with pytest.raises(ValueError, match="layer_types must be 22 of full_attention and sliding_attention"):
        parse({**NEW, "layer_types": ["chunked_attention"] * 22})
