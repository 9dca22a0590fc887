"""Encoders and cross-encoders from ONNX folders: dequantised int8 weights, as vectors and scores in float32.

What the file's own engine computes differs a little: it also rounds to 8 bits what goes into every product.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import checkpoint
from jaxemb.data.tokenize import Tokenizer
from jaxemb.encode.family import Family
from jaxemb.encode.text import head_names
from jaxemb.model import cross_folder, settings, transformer
from jaxemb.model.cross import CrossModel, CrossSpec, make_cross
from jaxemb.model.onnx_graph import Graph, read_graph
from jaxemb.model.spec import Model, Spec, make
from jaxemb.types import Params

FILE = "model.onnx"


class _Opened(NamedTuple):
    graph: Graph
    config: dict[str, Any]
    family: Family
    backbone: Any
    max_length: int
    tokenizer: Tokenizer


def load_onnx(
    folder: Path | str,
    *,
    pooling: str,
    normalize: bool = True,
    max_length: int | None = None,
    file: str = FILE,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """A text encoder from a folder with an ONNX file and a `tokenizer.json`.

    Args:
      pooling: one of `encode.POOLINGS`; the file does not say it.
      normalize: whether vectors get length one.
      max_length: the longest text, in tokens; by default what the tokenizer's settings say.
      file: the ONNX file's name.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names a weight that is missing, left over, of another
      shape or not understood, or a fact in which `config.json` and the graph differ.
    """
    opened = _open(Path(folder), file, "last_hidden_state", max_length)
    spec = Spec(backbone=opened.backbone, pooling=pooling, normalize=normalize, max_length=opened.max_length)
    return make(spec, _states_params(opened), opened.tokenizer, dtype=dtype)


def load_onnx_cross(
    folder: Path | str,
    *,
    activation: str = "Identity",
    max_length: int | None = None,
    file: str = FILE,
    dtype: DTypeLike = jnp.float32,
) -> CrossModel:
    """A cross-encoder from a folder with an ONNX file that gives `logits`, and a `tokenizer.json`.

    Args:
      activation: what makes scores of logits; the file does not say it.  One of `cross.ACTIVATIONS`.
      max_length, file, dtype: as `load_onnx` has them.
    Raises: as `load_onnx`.
    """
    opened = _open(Path(folder), file, "logits", max_length)
    labels = len(opened.graph.tensors.get("classifier.weight", ()))
    head = head_names.read_classifier({"num_labels": labels, **opened.config, "architectures": None})
    spec = CrossSpec(
        backbone=opened.backbone,
        classifier=head,
        max_length=opened.max_length,
        activation=activation,
        segments="token_type_ids" in opened.graph.inputs,
    )
    params = cross_folder.fitted(opened.graph.tensors, opened.family, opened.backbone, head)
    return make_cross(spec, params, opened.tokenizer, dtype=dtype)


def _open(folder: Path, file: str, output: str, max_length: int | None) -> _Opened:
    graph = read_graph(folder / file)
    if output not in graph.outputs:
        raise ValueError(f"{folder / file}: wanted a model that gives {output}, got one of {', '.join(graph.outputs)}")
    config = _agreed(folder, settings.read(folder / "config.json", {}) or _shape(graph), graph)
    family, backbone = cross_folder.parsed(config)
    longest = transformer.longest(folder, family.longest(backbone)) if max_length is None else max_length
    return _Opened(graph, config, family, backbone, longest, transformer.read_tokenizer(folder))


def _states_params(opened: _Opened) -> Params:
    family, tensors = opened.family, opened.graph.tensors
    bare = checkpoint.without_prefix(tensors, family.prefix)
    like = jax.eval_shape(family.backbone(opened.backbone).init, jax.random.key(0))
    return checkpoint.from_foreign(bare, family.keys(opened.backbone), like, unused=family.unused)


def _agreed(folder: Path, config: dict[str, Any], graph: Graph) -> dict[str, Any]:
    """A `config.json` that the constants of the graph do not contradict."""
    for key, found in graph.config.items():
        told = config.get(key, found)
        told = "gelu_new" if told == "gelu_pytorch_tanh" else told  # two names of one function
        if not (told == found if isinstance(found, str) else np.isclose(told, found, rtol=1e-5, atol=0)):
            raise ValueError(f"{folder / 'config.json'}: {key} is {told!r}, but the graph has {found!r}")
    return config


def _shape(graph: Graph) -> dict[str, Any]:
    """The `config.json` of a BERT, where there is none: from the shapes of its weights and the graph's constants."""
    missing = {"num_attention_heads", "layer_norm_eps", "hidden_act"} - graph.config.keys()
    if missing:
        raise ValueError(f"no config.json, and the graph does not say {', '.join(sorted(missing))}")
    words, positions, kinds = (
        _matrix(graph.tensors, f"embeddings.{table}_embeddings.weight") for table in ("word", "position", "token_type")
    )
    up = _matrix(graph.tensors, "encoder.layer.0.intermediate.dense.weight")
    numbers = {
        int(name.partition("encoder.layer.")[2].partition(".")[0]) for name in graph.tensors if ".layer." in name
    }
    return {
        "model_type": "bert",
        "vocab_size": words[0],
        "hidden_size": words[1],
        "max_position_embeddings": positions[0],
        "type_vocab_size": kinds[0],
        "intermediate_size": up[0],
        "num_hidden_layers": len(numbers),
        **graph.config,
    }


def _matrix(tensors: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
    for prefix in ("", "bert."):
        if prefix + name in tensors:
            return tensors[prefix + name].shape
    raise ValueError(f"no config.json, and weights that are no BERT's: {name} is missing")
