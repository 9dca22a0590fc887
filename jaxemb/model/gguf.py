"""GGUF files in: one file with shape, tokenizer and (quantised) weights, as llama.cpp writes them.

Weights become float32.  Of what llama.cpp reads, the architectures of the Llama family are read here, with byte-level
BPE tokenizers: enough for SmolLM2, Qwen2 and Qwen3, and for embedding models made of them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, Float

from jaxemb import checkpoint, extras
from jaxemb.encode.text.llama import LLAMA, LlamaConfig
from jaxemb.encode.text.rope import Rope
from jaxemb.model.gguf_tokenizer import read_tokenizer
from jaxemb.model.spec import Model, Spec, make
from jaxemb.types import Entry

ARCHITECTURES = ("llama", "qwen2", "qwen3")

_POOLINGS = {0: "lasttoken", 1: "mean", 2: "cls", 3: "lasttoken"}
"""What `pooling_type` means; 0 is a file that makes no vectors by itself."""

_SHAPE = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_OPTIONAL = {
    "attention.causal", "attention.head_count_kv", "attention.key_length", "attention.value_length", "pooling_type",
    "rope.dimension_count", "rope.freq_base", "rope.scaling.factor", "rope.scaling.type", "vocab_size",
}  # fmt: skip

_TENSORS = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Hugging Face's names and those of a GGUF file."""


def load(
    file: Path | str,
    *,
    pooling: str | None = None,
    normalize: bool = True,
    max_length: int | None = None,
    head: bool = False,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """Read a GGUF file of the Llama family.

    Args:
      file: it needs the package `gguf`, from the extra `formats`.
      pooling: one of `encode.POOLINGS`; by default what the file says, or else the last token's state.
      normalize: whether vectors get length one.
      max_length: the longest text, in tokens; by default what the file says.
      head: also keep, as `params["head"]`, the table that guesses the next token, where it is not the token table; for
        `encode.next_token`.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError; ValueError that names an architecture, metadata, a tokenizer or tensors that are not
      known or do not fit.
    """
    file = Path(file)
    metadata, tensors = _read(file)
    try:
        config = read_config(metadata)
        tokenizer = read_tokenizer(metadata)
        if config.model_type == "llama":
            tensors = _halved(tensors, config)
        like = jax.eval_shape(LLAMA.backbone(config).init, jax.random.key(0))
        keys = [entry._replace(theirs=tuple(_renamed(name) for name in entry.theirs)) for entry in LLAMA.keys(config)]
        if head and "output.weight" in tensors:
            keys.append(Entry("head.table", ("output.weight",)))
            like["head"] = {"table": jax.ShapeDtypeStruct((config.vocab_size, config.hidden_size), jnp.float32)}
        params = checkpoint.from_foreign(tensors, keys, like, unused=() if head else ("output.weight",))
        spec = Spec(
            backbone=config,
            pooling=_pooling(metadata, config.model_type) if pooling is None else pooling,
            normalize=normalize,
            max_length=config.max_position_embeddings if max_length is None else max_length,
        )
        return make(spec, params, tokenizer, dtype=dtype)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error


def _pooling(metadata: Mapping[str, Any], name: str) -> str:
    kind = metadata.get(f"{name}.pooling_type", 0)
    if kind not in _POOLINGS:
        raise ValueError(f"{name}.pooling_type must be one of {list(_POOLINGS)}, got {kind}; name a pooling")
    return _POOLINGS[kind]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata, and every tensor in float32 with its rows first."""
    gguf = extras.load("gguf")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such GGUF file")
    try:
        reader = gguf.GGUFReader(file)
        metadata = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError) as error:  # what the reader stumbles over when bytes are missing
        raise ValueError(f"{file.name}: not a whole GGUF file ({error})") from error
    if metadata.get("split.count", 1) > 1:
        raise ValueError(f"{file.name}: one of {metadata['split.count']} files of a model; join them first")
    tensors = {}
    for tensor in reader.tensors:
        try:
            tensors[tensor.name] = gguf.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise ValueError(f"{file.name}: {tensor.name} is stored as {tensor.tensor_type.name}: {error}") from error
    return metadata, tensors


def read_config(metadata: Mapping[str, Any]) -> LlamaConfig:
    """The shape that a file's metadata describe.

    Raises: ValueError for an unknown architecture, missing or unknown keys, and a kind of rope that is not known.
    """
    name = metadata.get("general.architecture")
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture {name!r} is unknown; there is {', '.join(ARCHITECTURES)}")
    own = {key.removeprefix(f"{name}."): value for key, value in metadata.items() if key.startswith(f"{name}.")}
    told = {key: _decimal(value) for key, value in own.items()}
    if missing := sorted(_SHAPE.keys() - told.keys()):
        raise ValueError(f"missing metadata {[f'{name}.{key}' for key in missing]}")
    if unknown := sorted(told.keys() - _SHAPE.keys() - _OPTIONAL):
        raise ValueError(f"unknown metadata {[f'{name}.{key}' for key in unknown]}")
    shape = {ours: told[theirs] for theirs, ours in _SHAPE.items()}
    if odd := {key: value for key, value in shape.items() if isinstance(value, list)}:
        raise ValueError(f"layers of different sizes are not known here: {odd}")
    size = told.get("attention.key_length", shape["hidden_size"] // shape["num_attention_heads"])
    for key in ("attention.value_length", "rope.dimension_count"):
        if told.get(key, size) != size:
            raise ValueError(f"{name}.{key} must be the size of a head, {size}, got {told[key]}")
    return LlamaConfig(
        model_type=name,
        vocab_size=told.get("vocab_size", len(metadata.get("tokenizer.ggml.tokens", ()))),
        num_key_value_heads=told.get("attention.head_count_kv", shape["num_attention_heads"]),
        head_dim=size,
        rope_parameters=_rope(name, told),
        is_causal=told.get("attention.causal", True),
        **shape,
    )


def _decimal(value: Any) -> Any:
    """A float32 as it was written: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _rope(name: str, told: Mapping[str, Any]) -> Rope:
    kind, base = told.get("rope.scaling.type", "none"), told.get("rope.freq_base", 10_000.0)
    if kind == "none":
        return Rope(rope_theta=base)
    if kind == "linear" and "rope.scaling.factor" in told:
        return Rope(rope_theta=base, rope_type="linear", factor=told["rope.scaling.factor"])
    raise ValueError(f"{name}.rope.scaling.type must be none, or linear with a factor, got {kind!r}")


def _renamed(name: str) -> str:
    """`layers.{layer}.mlp.up_proj.weight` -> `blk.{layer}.ffn_up.weight`."""
    stem, _, kind = name.rpartition(".")
    layer = "layers.{layer}."
    prefix = "blk.{layer}." if stem.startswith(layer) else ""
    return f"{prefix}{_TENSORS[stem.removeprefix(layer)]}.{kind}"


def _halved(tensors: Mapping[str, np.ndarray], config: LlamaConfig) -> dict[str, np.ndarray]:
    """Queries and keys whose rotary pairs are `(i, i + d / 2)`, as all our families have them.

    Files of the architecture `llama`, and of no other, have them at `(2 i, 2 i + 1)`.
    """
    counts = {"q": config.num_attention_heads, "k": config.num_key_value_heads}
    result = dict(tensors)
    for name, rows in tensors.items():
        found = re.fullmatch(r"blk\.\d+\.attn_([qk])\.weight", name)
        # Rows of another number are left as they are: the check of shapes names them.
        if found and rows.shape[0] == counts[found[1]] * config.head_dim:
            result[name] = interleaved_to_halves(rows, counts[found[1]])
    return result


def interleaved_to_halves(rows: Float[np.ndarray, "o i"], heads: int) -> Float[np.ndarray, "o i"]:
    """Every head's rows 0, 2, 4..., then its rows 1, 3, 5...

    >>> print(interleaved_to_halves(np.arange(8.0)[:, None], 2)[:, 0])
    [0. 2. 1. 3. 4. 6. 5. 7.]
    """
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
