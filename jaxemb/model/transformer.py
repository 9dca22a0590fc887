"""The Transformer module of a sentence-transformers folder: architecture, weights, longest text, tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxemb import checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
from jaxemb.encode.family import headed
from jaxemb.encode.text import head_names
from jaxemb.model import settings
from jaxemb.types import Params

NAMES = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
"""Early releases named the settings file after the architecture."""

NONE: tuple[Any, ...] = (None, {})
"""What a setting may be that is not honoured: nothing."""

KNOWN: dict[str, tuple[Any, ...]] = {
    "max_seq_length": (),
    "do_lower_case": (),  # `read` checks that the tokenizer does it
    "unpad_inputs": (),  # how it is computed, not what
    "transformer_task": ("feature-extraction",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "module_output_name": ("token_embeddings",),
    **dict.fromkeys(
        ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs"), NONE
    ),
    "processing_kwargs": NONE,
}
"""What the settings file may say, and the values it may have; none listed allows all."""

LATE = ("query_length", "document_length", "query_expansion")
"""What only a late-interaction model says there."""


class Transformer(NamedTuple):
    """A backbone with what belongs to it.

    told: what the settings file says, every key known.
    """

    backbone: Any
    params: Params
    max_length: int
    tokenizer: Tokenizer
    told: dict[str, Any]


def read(folder: Path, *, late: bool = False) -> Transformer:
    """Read the module.

    Args:
      late: whether the settings of late interaction may be there.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown settings or weights.
    """
    file = folder / "config.json"
    config = settings.read(file)
    try:
        family = encoders.family_named(config.get("model_type", ""))
        backbone = family.parse(config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    told = _told(folder, late)
    shapes = jax.eval_shape(family.backbone(backbone).init, jax.random.key(0))
    tensors = checkpoint.without_prefix(headed(checkpoint.read_weights(folder), family), family.prefix)
    unused = (*family.unused, *head_names.unused_without_words(config))
    params = checkpoint.from_foreign(tensors, family.keys(backbone), shapes, unused=unused)
    length = longest(folder, family.longest(backbone), told)
    return Transformer(backbone, params, length, read_tokenizer(folder, told), told)


TOKENS = "tokenizer_config.json"
"""The file of how a tokenizer is used."""


def read_tokenizer(folder: Path, told: Mapping[str, Any] | None = None) -> Tokenizer:
    """A folder's tokenizer.

    Args:
      told: what the module's settings say, if there are any.
    Raises: FileNotFoundError; ValueError for one that cuts the start of a text, or one that tells upper from lower case
      where the settings say that it does not.
    """
    side = settings.read(folder / TOKENS, {}).get("truncation_side") or "right"
    if side != "right":
        raise ValueError(f"{folder / TOKENS}: truncation_side must be 'right', got {side!r}")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    if told and told.get("do_lower_case"):
        upper, lower = tokenizer.ids(["A B C Xyz", "a b c xyz"]).rows
        if not np.array_equal(upper, lower):
            raise ValueError(f"{folder}: do_lower_case is true, but the tokenizer tells upper from lower case")
    return tokenizer


def longest(folder: Path, positions: int, told: Mapping[str, Any] | None = None) -> int:
    """The longest text: by the module's settings, else the tokenizer's, but never above the positions.

    Raises: ValueError for a length that is no number above 0.
    """
    if told and told.get("max_seq_length") is not None:
        return min(settings.number(folder / "sentence_bert_config.json", told, "max_seq_length"), positions)
    length = settings.read(folder / TOKENS, {}).get("model_max_length")
    if length is None:
        return positions
    if not isinstance(length, int | float) or not length >= 1:
        raise ValueError(f"{folder / TOKENS}: model_max_length must be a number above 0, got {length!r}")
    return int(min(length, positions))  # a tokenizer without a limit says 1e30


def _told(folder: Path, late: bool) -> dict[str, Any]:
    there = [folder / f"sentence_{name}_config.json" for name in NAMES]
    file = next((file for file in there if file.is_file()), there[0])
    known = KNOWN | dict.fromkeys(LATE, () if late else (None,))
    return settings.checked(file, settings.read(file, {}), known)


def files(backbone: Any, max_length: int | None, tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    """The settings files that the module is saved with."""
    inputs = ["input_ids", "attention_mask"]
    if getattr(backbone, "type_vocab_size", 1) > 1:
        inputs.insert(1, "token_type_ids")
    return {
        "config.json": encoders.family_of(backbone).describe(backbone),
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_length,
            "model_input_names": inputs,
            **tokenizer.special,
        },
    }


def tensors(backbone: Any, params: Params) -> dict[str, np.ndarray]:
    """The module's weights by foreign names; of `params`, those of the backbone."""
    return checkpoint.to_foreign(params, encoders.family_of(backbone).keys(backbone))
