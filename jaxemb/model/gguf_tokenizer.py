"""The byte-level BPE tokenizer that a GGUF file has in its metadata."""

from collections.abc import Mapping
from typing import Any

from jaxemb.data.tokenize import Tokenizer

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_START = "tokenizer.ggml."
_CUTS = ("gpt-2", "smollm", "qwen2")
"""The ways to cut a text into words that are known, by their `tokenizer.ggml.pre`."""

_KNOWN = {
    "add_bos_token", "add_eos_token", "add_space_prefix", "merges", "model", "pre", "scores", "token_type", "tokens",
}  # fmt: skip
_ROLES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
_CONTROL, _OWN = 3, 4
"""`token_type`: a token that stands for no text, as `<|im_end|>`; and one that is found as it is written."""


def read_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer in a file's metadata, without a longest text.

    Raises: ValueError for another kind of tokenizer, an unknown way to cut texts, missing and unknown keys, and parts
      that do not fit together.
    """
    from tokenizers import AddedToken, decoders, models
    from tokenizers import Tokenizer as Backend

    told = _told(metadata)
    tokens, kinds = told["tokens"], told["token_type"]
    if len(kinds) != len(tokens):
        raise ValueError(f"the tokenizer has {len(kinds)} kinds of {len(tokens)} tokens")
    backend = Backend(models.BPE(vocab=_vocabulary(tokens), merges=_merges(told["merges"], set(tokens))))
    _cut(backend, told["pre"])
    backend.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (_CONTROL, _OWN):
            backend.add_tokens([AddedToken(token, special=kind == _CONTROL, normalized=False)])
    special = _roles(told)
    _surround(backend, told, special)
    return Tokenizer(backend, None, special=special)


def _told(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What the metadata say of the tokenizer, by keys without their prefix."""
    told = {key.removeprefix(_START): value for key, value in metadata.items() if key.startswith(_START)}
    if told.get("model") != "gpt2" or told.get("pre") not in _CUTS:
        raise ValueError(
            f"the tokenizer must be of model 'gpt2' (byte-level BPE) and pre one of {list(_CUTS)}, "
            f"got {told.get('model')!r} and {told.get('pre')!r}"
        )
    if missing := [f"{_START}{key}" for key in ("tokens", "token_type", "merges") if key not in told]:
        raise ValueError(f"missing metadata {missing}")
    unknown = sorted(key for key in told.keys() - _KNOWN if not key.endswith(("_token_id", "_token_ids")))
    if unknown or told.get("add_space_prefix"):
        raise ValueError(f"unknown tokenizer metadata {unknown or ['add_space_prefix']}")
    return told


def _roles(told: Mapping[str, Any]) -> dict[str, str]:
    """Which token plays which role."""
    special = {}
    for theirs, role in _ROLES.items():
        place = told.get(f"{theirs}_token_id")
        if place is not None:
            if not 0 <= place < len(told["tokens"]):
                raise ValueError(f"{theirs}_token_id is {place}, but there are {len(told['tokens'])} tokens")
            special[role] = told["tokens"][place]
    return special


def _surround(backend: Any, told: Mapping[str, Any], special: Mapping[str, str]) -> None:
    """Have the tokenizer put a first and a last token around a text, where a file asks for them."""
    from tokenizers.processors import TemplateProcessing

    asked = {end: bool(told.get(f"add_{end}_token")) for end in ("bos", "eos")}
    if lacking := [end for end in asked if asked[end] and f"{end}_token" not in special]:
        raise ValueError(f"the tokenizer has add_{lacking[0]}_token without {lacking[0]}_token_id")
    first, last = ([special[f"{end}_token"]] if asked[end] else [] for end in ("bos", "eos"))
    if first or last:
        ids = [(token, backend.token_to_id(token)) for token in dict.fromkeys(first + last)]
        backend.post_processor = TemplateProcessing(single=[*first, "$A", *last], special_tokens=ids)


def _vocabulary(tokens: list[str]) -> dict[str, int]:
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        twice = next(token for i, token in enumerate(tokens) if vocabulary[token] != i)
        raise ValueError(f"the tokenizer has token {twice!r} twice")
    return vocabulary


def _merges(lines: list[str], tokens: set[str]) -> list[tuple[str, str]]:
    """`a b` -> `(a, b)`; neither half has a space in it, which byte-level BPE writes as another letter."""
    pairs = []
    for line in lines:
        first, _, second = line.partition(" ")
        if not {first, second, first + second} <= tokens:
            raise ValueError(f"the tokenizer merges {first!r} and {second!r}, which are not tokens, or make none")
        pairs.append((first, second))
    return pairs


def _cut(backend: Any, pre: str) -> None:
    """Give a tokenizer the way to cut texts that a file names."""
    from tokenizers import Regex, normalizers
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    if pre == "qwen2":
        backend.normalizer = normalizers.NFC()
        bytes_only = ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = Sequence([Split(Regex(_QWEN2), "isolated"), bytes_only])
    else:
        words = ByteLevel(add_prefix_space=False, use_regex=True)
        backend.pre_tokenizer = Sequence([Digits(individual_digits=True), words]) if pre == "smollm" else words
