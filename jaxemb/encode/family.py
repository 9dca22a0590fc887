"""What an architecture must say of itself to be read from, and written to, a Hugging Face folder."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxemb.types import Backbone, Entry

Config = TypeVar("Config")


class Family(NamedTuple):
    """One architecture: its shape, its function and where its weights stand in foreign checkpoints.

    names: the `model_type`s of `config.json` that it answers to.
    config: the frozen dataclass of its shape.
    parse: `config.json` as a mapping -> that dataclass; refuses every key it does not know.
    describe: the dataclass -> a `config.json` that the reference library reads, with `model_type` and `architectures`.
    backbone: (config, dtype=...) -> `Backbone`.
    keys: config -> every leaf of the params and the foreign names it comes from, without `prefix`.
    prefix: what checkpoints that were saved with a head put before those names, as `bert.`.
    former: what others put there, as a family's own code before the reference library had it.
    unused: foreign names, without the prefix and with `*` for anything, on which no token state depends.
    longest: config -> tokens of the longest text.
    """

    names: tuple[str, ...]
    config: type
    parse: Callable[[Mapping[str, Any]], Any]
    describe: Callable[[Any], dict[str, Any]]
    backbone: Callable[..., Backbone]
    keys: Callable[[Any], list[Entry]]
    prefix: str = ""
    former: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    longest: Callable[[Any], int] = lambda config: config.max_position_embeddings


def headed(tensors: Mapping[str, np.ndarray], family: Family) -> dict[str, np.ndarray]:
    """Foreign tensors with the family's own `prefix` where a checkpoint has one of the `former`.

    Raises: ValueError that names a tensor which is there with both.
    """
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        former = next((old for old in family.former if name.startswith(old)), None)
        today = name if former is None else family.prefix + name.removeprefix(former)
        if today in found or (today != name and today in tensors):
            raise ValueError(f"{name} is {today} by a former name, and both are there")
        found[today] = tensor
    return found


TRAINING = frozenset({
    "_attn_implementation", "_attn_implementation_autoset", "_name_or_path", "_num_labels", "architectures",
    "attention_dropout", "attention_probs_dropout_prob", "bad_words_ids", "begin_suppress_tokens", "bos_token_id",
    "classifier_dropout", "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample",
    "dtype", "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing", "hidden_dropout_prob",
    "id2label", "label2id", "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups",
    "num_beams", "num_labels", "num_return_sequences", "output_attentions", "output_hidden_states", "output_past",
    "output_scores", "pad_token_id", "prefix", "problem_type", "remove_invalid_values", "repetition_penalty",
    "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens", "task_specific_params",
    "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings", "tokenizer_class", "top_k",
    "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p", "use_bfloat16", "use_cache",
    "xla_device",
})  # fmt: skip
"""Keys of `config.json` that change no hidden state: training, generation, bookkeeping."""

ENCODER: dict[str, Any] = {
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "pruned_heads": {},
}
"""Keys that older releases wrote for every architecture, and what they must say: anything else is another model."""


FROM_ZERO = ("type_vocab_size",)
"""Counts of which there may be none."""


def read(
    config: Mapping[str, Any],
    shape: type[Config],
    *,
    names: tuple[str, ...],
    fixed: Mapping[str, Any],
    irrelevant: frozenset[str] | set[str] = frozenset(),
    **derived: Any,
) -> Config:
    """A dataclass of an architecture's shape from a `config.json`.

    Args:
      config: the file's content.
      shape: the dataclass; its fields have the file's names.
      names: the `model_type`s that are meant; the first stands in messages.
      fixed: keys that must have one value, because any other is another model.
      irrelevant: keys, beside `TRAINING`, that change nothing in the states.
      derived: fields whose value the caller worked out from other keys.
    Raises: ValueError that names every unknown key, and a known one whose value means another model or is of another
      kind than its default.
    """
    who, fixed = names[0], {**ENCODER, **fixed}
    if config.get("model_type", who) not in names:
        raise ValueError(f"{who} config: model_type must be one of {list(names)}, got {config['model_type']!r}")
    fields = shape.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(config.keys() - fields.keys() - fixed.keys() - irrelevant - TRAINING - {"model_type"})
    if unknown:
        raise ValueError(f"{who} config: unknown keys {unknown}; known are {sorted(fields.keys() | fixed.keys())}")
    for key, wanted in fixed.items():
        if config.get(key, wanted) != wanted:
            raise ValueError(f"{who} config: {key} must be {wanted!r}, got {config[key]!r}")
    given = {key: value for key, value in config.items() if key in fields and key not in derived}
    for key, value in given.items():
        if wanted := _wanted(key, value, fields[key].default):
            raise ValueError(f"{who} config: {key} must be {wanted}, got {value!r}")
    return shape(**{key: _as(value, fields[key].default) for key, value in given.items()}, **derived)


def _wanted(key: str, value: Any, like: Any) -> str | None:
    """What a value should be to be of the kind of a field's default; None where it is, or where that says nothing."""
    if isinstance(like, bool):
        return None if isinstance(value, bool) else "true or false"
    number = isinstance(value, int | float) and not isinstance(value, bool)  # for Python, true is a whole number
    if isinstance(like, int):
        least = 0 if key.endswith("_token_id") or key in FROM_ZERO else 1
        return None if number and isinstance(value, int) and value >= least else f"{least} or more"
    if isinstance(like, float):
        return None if number and 0 <= value < float("inf") else "a number from 0"
    return None if isinstance(value, str) or not isinstance(like, str) else "a text"


def _as(value: Any, like: Any) -> Any:
    """A value of a file as a field has it: JSON knows no tuples, and writes a float without digits like a count."""
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(like, float) else value


def norm(ours: str, theirs: str, *, bias: bool = True) -> list[Entry]:
    """The entries of a norm with scale and perhaps shift."""
    scale = [Entry(f"{ours}.scale", (f"{theirs}.weight",))]
    return [*scale, Entry(f"{ours}.bias", (f"{theirs}.bias",))] if bias else scale


def dense(ours: str, *theirs: str, bias: bool = True, sizes: tuple[int, ...] | None = None) -> list[Entry]:
    """The entries of one `Dense`, of several foreign ones joined by their outputs, `sizes` wide if not all alike."""
    kernel = [Entry(f"{ours}.kernel", tuple(f"{name}.weight" for name in theirs), transpose=True, sizes=sizes)]
    return [*kernel, Entry(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs), sizes=sizes)] if bias else kernel
