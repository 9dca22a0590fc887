"""Static token tables in folders: the StaticEmbedding module of sentence-transformers, and model2vec's own folders.

The two libraries read the same files otherwise.  sentence-transformers averages the rows of all tokens of a text.
model2vec leaves out the unknown token, reads `max_length` tokens (512 unless a folder says otherwise), and before it
tokenises cuts a text to `max_length` times the median length of its tokens, in characters.  Here a folder is read as
the library that wrote it does: as model2vec does where there is a `config.json` of its kind.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxemb import checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
from jaxemb.model import settings
from jaxemb.model.spec import Model, Spec
from jaxemb.types import Params

MAX_LENGTH = 512
"""Tokens that model2vec reads of a text where a folder does not say."""

KNOWN: dict[str, tuple[Any, ...]] = {
    "model_type": ("model2vec",),
    "normalize": (True, False, None),
    "max_length": (),
    **dict.fromkeys(  # how the table was made, and what its tensors say by themselves
        (
            "architectures", "tokenizer_name", "apply_pca", "apply_zipf", "sif_coefficient", "hidden_dim", "seq_length",
            "pooling", "embedding_dtype", "vocabulary_quantization",
        ),
        (),
    ),
}  # fmt: skip
"""What model2vec's `config.json` may say, and the values it may have; none listed allows all."""


def is_model2vec(folder: Path) -> bool:
    """Whether model2vec wrote a folder: its `config.json` says so, or says nothing but what model2vec does."""
    if not (told := settings.read(folder / "config.json", {})):
        return False
    return told.get("model_type") == "model2vec" or ("model_type" not in told and told.keys() <= KNOWN.keys())


def read_embedding(folder: Path) -> tuple[Spec, Params, Tokenizer]:
    """A StaticEmbedding module: texts are cut as its tokenizer file says, and not at all where that says nothing.

    Raises: FileNotFoundError for what is missing; ValueError for other tensors.
    """
    tensors = checkpoint.read_weights(folder)
    if "embeddings" in tensors:
        table, weight = _unfolded(tensors, folder)
    else:
        table = _matrix(tensors, "embedding.weight", folder)
        _nothing_else(tensors, {"embedding.weight"}, folder)
        weight = np.ones(len(table), np.float32)
    file = folder / "tokenizer.json"
    cut = settings.read(file, {}).get("truncation") or {}
    if cut.get("direction", "Right") != "Right":
        raise ValueError(f"{file}: truncation must keep the start of a text, got direction {cut['direction']!r}")
    spec = Spec(
        backbone=encoders.StaticConfig(vocab_size=table.shape[0], hidden_size=table.shape[1]),
        pooling=None,
        normalize=False,
        max_length=cut.get("max_length"),
    )
    return spec, _params(table, weight), Tokenizer.load(file, add_special=False)


def read_model2vec(folder: Path) -> tuple[Spec, Params, Tokenizer]:
    """A model2vec folder, with what that library does to a text.

    Codes of 8 bits are read as the whole numbers they are.  Half-precision tables are summed in float32 here.

    Raises: FileNotFoundError for what is missing; ValueError that names unknown settings or tensors.
    """
    file = folder / "config.json"
    told = settings.checked(file, settings.read(file), KNOWN)
    table, weight = _unfolded(checkpoint.read_weights(folder), folder)
    tokenizer = Tokenizer.load(folder / "tokenizer.json", add_special=False)
    if tokenizer.size != len(table):
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.size} ids, the table {len(table)} rows; wanted as many"
        )
    length = told.get("max_length", MAX_LENGTH)
    length = None if length is None else settings.number(file, {"max_length": length}, "max_length")
    spec = Spec(
        backbone=encoders.StaticConfig(
            vocab_size=table.shape[0], hidden_size=table.shape[1], unknown=tokenizer.unknown
        ),
        pooling=None,
        normalize=bool(told.get("normalize", False)),
        max_length=length,
        max_characters=None if length is None else length * median_length(tokenizer),
    )
    return spec, _params(table, weight), tokenizer


def median_length(tokenizer: Tokenizer) -> int:
    """The median length of a tokenizer's tokens, in characters, rounded down."""
    return int(np.median([len(token) for token in tokenizer.vocabulary]))


def _unfolded(tensors: dict[str, np.ndarray], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """model2vec's table with a row a token id, and its weights: ids may share rows by a `mapping`."""
    table = _matrix(tensors, "embeddings", folder)
    _nothing_else(tensors, {"embeddings", "weights", "mapping"}, folder)
    if (mapping := tensors.get("mapping")) is not None:
        if mapping.ndim != 1 or not np.issubdtype(mapping.dtype, np.integer):
            raise ValueError(f"{folder}: 'mapping' must be a row number an id, got {mapping.dtype}{mapping.shape}")
        if len(mapping) and not 0 <= mapping.min() <= mapping.max() < len(table):
            raise ValueError(f"{folder}: 'mapping' has rows {mapping.min()} to {mapping.max()} of {len(table)}")
        table = table[mapping]
    weight = tensors.get("weights", np.ones(len(table), np.float32))
    if weight.shape != (len(table),):
        raise ValueError(f"{folder}: 'weights' must have shape {(len(table),)}, got {weight.shape}")
    return table, weight


def _matrix(tensors: dict[str, np.ndarray], name: str, folder: Path) -> np.ndarray:
    found = tensors.get(name)
    if found is None or found.ndim != 2:
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        raise ValueError(f"{folder}: wanted one matrix {name!r}, got {shapes}")
    return found


def _nothing_else(tensors: dict[str, np.ndarray], known: set[str], folder: Path) -> None:
    if more := sorted(tensors.keys() - known):
        raise ValueError(f"{folder}: wanted {sorted(known)}, left over {more}")


def _params(table: np.ndarray, weight: np.ndarray) -> Params:
    return {"table": jnp.asarray(table, jnp.float32), "weight": jnp.asarray(weight, jnp.float32)}


def check_embedding(spec: Spec) -> None:
    """Refuse a static model that a StaticEmbedding module cannot say.

    Raises: ValueError that names what it reads otherwise.
    """
    odd = {"unknown": spec.backbone.unknown, "max_characters": spec.max_characters}
    if said := {name: value for name, value in odd.items() if value is not None}:
        raise ValueError(
            f"a StaticEmbedding module tokenises texts whole and counts every token, but this model has {said}: "
            "save it with layout='model2vec', or take that out of its spec"
        )


def model2vec_settings(model: Model) -> dict[str, Any]:
    """The `config.json` with which model2vec reads a model alike.

    Raises: ValueError that names what model2vec would read otherwise.
    """
    spec, tokenizer = model.spec, model.tokenizer
    if not isinstance(spec.backbone, encoders.StaticConfig):
        raise ValueError(f"model2vec folders hold static tables alone, not {type(spec.backbone).__name__}")
    if spec.modules or spec.prompts:
        raise ValueError("model2vec folders hold neither modules nor prompts; take them out of the spec")
    if tokenizer.size != spec.backbone.vocab_size:
        raise ValueError(f"model2vec wants a row a token: {tokenizer.size} ids, {spec.backbone.vocab_size} rows")
    if spec.backbone.unknown != tokenizer.unknown:
        raise ValueError(
            f"model2vec leaves out the unknown token, {tokenizer.unknown}: "
            f"StaticConfig.unknown must be that, got {spec.backbone.unknown}"
        )
    read = None if spec.max_length is None else spec.max_length * median_length(tokenizer)
    if spec.max_characters != read:
        raise ValueError(
            f"model2vec reads {read} characters of a text: max_characters must be that, got {spec.max_characters}"
        )
    return {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": spec.backbone.hidden_size,
        "normalize": spec.normalize,
        "max_length": spec.max_length,
        "embedding_dtype": "float32",
    }
