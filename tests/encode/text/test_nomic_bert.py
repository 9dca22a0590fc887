"""What is Nomic BERT's own: config files of two kinds, rotary positions, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode.family import headed
from jaxemb.encode.text.nomic_bert import NOMIC_BERT, parse
from jaxemb.types import Tokens

# As the first files of nomic-embed-text have it: GPT-2's keys, and the model's own.
OLD = {
    "activation_function": "swiglu", "architectures": ["NomicBertModel"], "attn_pdrop": 0.0, "auto_map": {},
    "bos_token_id": None, "causal": False, "dense_seq_output": True, "embd_pdrop": 0.0, "eos_token_id": None,
    "fused_bias_fc": True, "fused_dropout_add_ln": True, "initializer_range": 0.02, "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert",
    "n_embd": 768, "n_head": 12, "n_inner": 3072, "n_layer": 12, "n_positions": 8192, "pad_vocab_size_multiple": 64,
    "parallel_block": False, "parallel_block_tied_norm": False, "prenorm": False, "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False, "resid_pdrop": 0.0, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True, "summary_activation": None,
    "summary_first_dropout": 0.0, "summary_proj_to_labels": True, "summary_type": "cls_index",
    "summary_use_proj": True, "torch_dtype": "float32", "transformers_version": "4.34.0", "type_vocab_size": 2,
    "use_cache": True, "use_flash_attn": True, "use_rms_norm": False, "use_xentropy": True, "vocab_size": 30528,
}  # fmt: skip
# As transformers writes it since it has the model.
NEW = {
    "architectures": ["NomicBertModel"], "attention_probs_dropout_prob": 0.0, "bos_token_id": None,
    "classifier_dropout": None, "dtype": "float32", "eos_token_id": None, "head_dim": 64, "hidden_act": "silu",
    "hidden_dropout_prob": 0.0, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
    "layer_norm_eps": 1e-12, "max_position_embeddings": 2048, "model_type": "nomic_bert", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 0, "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"},
    "transformers_version": "5.23.0", "type_vocab_size": 2, "vocab_size": 30528,
}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "longest"), [(OLD, 8192), (NEW, 2048), (OLD | NEW, 8192)], ids=["first", "transformers", "both"]
)
def test_either_kind_of_file_says_the_same(raw, longest):
    assert parse(raw) == encode.NomicBertConfig(max_position_embeddings=longest)


def test_what_the_first_files_leave_open_is_as_their_code_has_it():
    left = {key: value for key, value in OLD.items() if key not in {"layer_norm_epsilon", "rotary_emb_base", "n_inner"}}
    config = parse({**left, "vocab_size": 30522, "n_embd": 480})
    assert (config.layer_norm_eps, config.rope_theta) == (1e-5, 10_000.0)
    assert config.intermediate_size == 1280  # 8/3 of the width, in steps of 256
    assert config.vocab_size == 30528  # in steps of 64


def test_a_stretched_model_is_read_for_the_lengths_that_stretching_leaves_alone():
    assert parse({**OLD, "rotary_scaling_factor": 2.0}).max_position_embeddings == 2048


def test_only_distances_count(drawn):
    config = encode.NomicBertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6,
        rope_theta=10.0,
    )  # fmt: skip
    backbone = encode.nomic_bert(config)
    params, states = drawn(backbone), jax.jit(backbone.apply)
    text = jnp.array([[1, 2, 3, 4]])
    mask = jnp.ones((1, 4), jnp.int32)
    plain = states(params, Tokens(text, mask))[0]
    later = Tokens(jnp.concatenate([text[:, :2] * 0, text], axis=1), jnp.array([[0, 0, 1, 1, 1, 1]]))
    np.testing.assert_allclose(states(params, later)[0, 2:], plain, atol=2e-5)
    turned = states(params, Tokens(text[:, ::-1], mask))[0, ::-1]
    assert not np.allclose(turned, plain, atol=1e-2)


def test_what_its_own_code_put_before_the_names_of_its_body():
    """`bert.` in what was saved with a head; `nomic_bert.` since transformers has the family."""
    tensors = {f"bert.{part}": np.full(1, i) for i, part in enumerate(("emb_ln.weight", "pooler.dense.bias"))}
    tensors["classifier.weight"] = np.full(1, 2)
    today = headed(tensors, NOMIC_BERT)
    assert {name: int(tensor[0]) for name, tensor in today.items()} == {
        "nomic_bert.emb_ln.weight": 0, "nomic_bert.pooler.dense.bias": 1, "classifier.weight": 2,
    }  # fmt: skip
    assert headed(today, NOMIC_BERT) == today
    bare = {"emb_ln.weight": np.zeros(1)}
    assert headed(bare, NOMIC_BERT).keys() == bare.keys()
    with pytest.raises(ValueError, match=r"bert\.emb_ln\.weight is nomic_bert\.emb_ln\.weight by a former name"):
        headed({**tensors, **today}, NOMIC_BERT)


def test_segments_are_read(drawn):
    config = encode.NomicBertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6
    )
    backbone = encode.nomic_bert(config)
    params, states = drawn(backbone), jax.jit(backbone.apply)
    plain = Tokens(jnp.array([[1, 2]]), jnp.array([[1, 1]]))
    zero, one = (plain._replace(segments=jnp.array([[0, second]])) for second in (0, 1))
    np.testing.assert_allclose(states(params, plain), states(params, zero), atol=1e-6)
    assert not np.allclose(states(params, plain), states(params, one))


@pytest.mark.parametrize(
    ("raw", "change", "message"),
    [
        (OLD, {"activation_function": "gelu"}, r"activation_function must be one of \['swiglu', 'geglu'\], got 'gelu'"),
        (OLD, {"qkv_proj_bias": None}, "qkv_proj_bias must be False, got None"),
        (OLD, {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction must be 1.0, got 0.5"),
        (OLD, {"rotary_emb_interleaved": True}, "rotary_emb_interleaved must be False"),
        (OLD, {"rotary_emb_scale_base": 512}, "rotary_emb_scale_base must be None, got 512"),
        (OLD, {"prenorm": True}, "prenorm must be False"),
        (OLD, {"use_rms_norm": True}, "use_rms_norm must be False"),
        (OLD, {"causal": True}, "causal must be False"),
        (NEW, {"n_positions": 8192}, r"unknown keys \['n_positions'\]"),
        (OLD, {"num_experts": 8}, "num_experts must be 0, got 8"),
        (OLD, {"hidden_size": 384}, "hidden_size is 384, but 768 by n_embd"),
        (OLD, {"rope_parameters": {"rope_theta": 5.0}}, "rope_theta is 1000.0, but 5.0 by rope_parameters"),
        (OLD, {"img_size": 224}, r"unknown keys \['img_size'\]"),
        (NEW, {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "rope_type must be 'default', got 'linear'"),
        (NEW, {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, r"rope_type must be one of .*\['yarn'\]"),
        (NEW, {"head_dim": 32}, "hidden_size is 768, but 384 by head_dim"),
        (NEW, {"hidden_act": "mish"}, "hidden_act 'mish' is unknown"),
        (NEW, {"num_attention_heads": 5, "head_dim": None}, "hidden_size 768 gives no even size to 5 heads"),
    ],
)
def test_configs_of_other_models_are_refused(raw, change, message):
    with pytest.raises(ValueError, match=message):
        parse({**raw, **change})
