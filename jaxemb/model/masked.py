"""Masked language models: a backbone, the head that scores words for every place, and the tokenizer of both.

Folders are those of transformers, of one architecture `...ForMaskedLM`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import atomic, checkpoint
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer, check_texts
from jaxemb.encode.family import headed
from jaxemb.encode.text import head_names
from jaxemb.encode.text.heads import Headed, WordScorer, masked_lm
from jaxemb.model import folder as folders
from jaxemb.model import precision, settings, transformer
from jaxemb.model.spec import check_ids
from jaxemb.types import Params


class MaskedModel(NamedTuple):
    """A masked language model and all it needs.

    language: tokens to logits, `[b, t, v]`.
    params: float32; those of the backbone, and the head's under `head`.
    tokenizer: cuts texts at the longest that the backbone reads.
    backbone, head: their shapes.
    dtype: of the products.
    """

    language: Headed
    params: Params
    tokenizer: Tokenizer
    backbone: Any
    head: WordScorer
    dtype: jnp.dtype = jnp.dtype("float32")


def make_masked(
    backbone: Any, head: WordScorer, params: Params, tokenizer: Tokenizer, *, dtype: DTypeLike = jnp.float32
) -> MaskedModel:
    """A masked language model from its parts.

    Raises: ValueError when the tokenizer has ids that the backbone has no row for, or reads longer texts than it.
    """
    family = encoders.family_of(backbone)
    positions = family.longest(backbone)
    check_ids(tokenizer, backbone.vocab_size)
    if tokenizer.max_length is None:
        tokenizer = tokenizer.limited(positions, add_special=True)
    elif tokenizer.max_length > positions:
        raise ValueError(f"the tokenizer reads {tokenizer.max_length} tokens a text, the encoder {positions}")
    dtype = precision.checked(dtype)
    states = family.backbone(backbone, dtype=dtype)
    made = masked_lm(states, head, backbone.vocab_size, backbone.hidden_size, dtype=dtype)
    return MaskedModel(Headed(made.init, jax.jit(made.apply)), params, tokenizer, backbone, head, dtype)


def load_masked(source: Path | str, *, dtype: DTypeLike = jnp.float32) -> MaskedModel:
    """Read a folder of transformers with a masked language model, or fetch one by its hub id.

    Args:
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, another architecture, or weights
      that are missing, left over or, where they should be one, differ.
    """
    folder = folders.resolved(source)
    file = folder / "config.json"
    config = settings.read(file)
    try:
        family = encoders.family_named(config.get("model_type", ""))
        backbone, head = family.parse(config), head_names.read_word_scorer(config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    tensors = headed(checkpoint.read_weights(folder), family)
    tensors = checkpoint.without_copies(tensors, head_names.copies(family, backbone, head), agree=head.tied)
    like = jax.eval_shape(
        masked_lm(family.backbone(backbone), head, backbone.vocab_size, backbone.hidden_size).init, jax.random.key(0)
    )
    params = checkpoint.from_foreign(
        tensors, head_names.masked_lm_keys(family, backbone, head), like, unused=head_names.unused_beside_head(family)
    )
    length = transformer.longest(folder, family.longest(backbone))
    tokenizer = transformer.read_tokenizer(folder).limited(length, add_special=True)
    return make_masked(backbone, head, params, tokenizer, dtype=dtype)


def save_masked(model: MaskedModel, folder: Path | str) -> None:
    """Write a folder that transformers loads for masked language modelling; whole or not at all.

    Raises: FileExistsError where a folder of another kind is, ValueError where a model with modules is.
    """
    if (Path(folder) / "modules.json").is_file():
        raise ValueError(f"{folder}: wanted nothing there or a masked language model, got a model with modules.json")
    files = transformer.files(model.backbone, model.tokenizer.max_length, model.tokenizer)
    told = head_names.describe_word_scorer(files["config.json"], model.head)
    keys = head_names.masked_lm_keys(encoders.family_of(model.backbone), model.backbone, model.head)
    with atomic.folder(folder, replaces=checkpoint.WEIGHTS, other=settings.other_than("MaskedLM")) as partial:
        for name, content in (("config.json", told), (transformer.TOKENS, files[transformer.TOKENS])):
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (partial / "tokenizer.json").write_text(model.tokenizer.to_json(), encoding="utf-8")
        checkpoint.write_tensors(checkpoint.to_foreign(model.params, keys), partial / checkpoint.WEIGHTS)


def fill(model: MaskedModel, texts: Sequence[str], *, mask: str | None = None, top: int = 5) -> list[list[str]]:
    """The likeliest words, best first, for the first masked place of every text.

    Args:
      mask: the token that stands for what is asked for, as the tokenizer spells it; by default the tokenizer's own, or
        `[MASK]` where it tells none.
      top: how many words.
    Raises: ValueError that names a token the tokenizer does not have, or the first text without it, or fewer words than
      one; TypeError for one text instead of a list; FloatingPointError that names the first text with a logit that is
      not finite.
    """
    if isinstance(texts, str):
        raise TypeError(f"fill: wanted a list of texts, got one text, {texts[:40]!r}")
    if top < 1:
        raise ValueError(f"top must be 1 or more, got {top}")
    check_texts(texts)
    mask = model.tokenizer.special.get("mask_token", "[MASK]") if mask is None else mask
    vocabulary = model.tokenizer.vocabulary
    if mask not in vocabulary:
        raise ValueError(f"the tokenizer has no token {mask!r}")
    if len(texts) == 0:
        return []
    tokens = model.tokenizer(texts)
    there = np.asarray(tokens.ids) == vocabulary[mask]
    if len(without := np.flatnonzero(~there.any(axis=1))):
        raise ValueError(f"text {without[0]} has no {mask!r} in its first {model.tokenizer.max_length} tokens")
    with precision.exact(model.dtype):
        logits = np.asarray(model.language.apply(model.params, tokens))
    words = {number: word for word, number in vocabulary.items()}
    rows = logits[np.arange(len(texts)), there.argmax(axis=1)]
    if len(broken := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
        raise FloatingPointError(f"a logit of text {broken[0]} is not finite: {texts[broken[0]][:40]!r}")
    known = np.array([number in words for number in range(rows.shape[1])])
    best = np.argsort(np.where(known, -rows, np.inf), axis=1, kind="stable")[:, :top]
    return [[words[int(number)] for number in row] for row in best]
