"""Texts to `Tokens`: the `tokenizers` library, planned lengths, and a count of what did not fit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from jaxemb.types import Grouped, Tokens

BUCKETS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
"""Lengths that batches are padded to: few, so that few programs are compiled; close, so that little is padding."""


class Ids(NamedTuple):
    """Token ids of texts, or of pairs of texts, not padded yet.

    rows: one int32 array a text or pair.
    truncated: which texts or pairs were longer than the encoder and lost an end.
    segments: of pairs, one int32 array each: which of the two texts a token belongs to, as the tokenizer file says it.
    """

    rows: list[np.ndarray]
    truncated: Bool[np.ndarray, " n"]
    segments: list[np.ndarray] | None = None


def bucket(length: int, longest: int | None = None) -> int:
    """The smallest planned length that holds `length` tokens, at most `longest`; above the plan, the next power of two.

    >>> bucket(17, 256), bucket(200, 250), bucket(9000)
    (24, 250, 16384)
    """
    if longest is not None and length > longest:
        raise ValueError(f"{length} tokens do not fit in {longest}")
    planned = next((size for size in BUCKETS if size >= length), 2 ** (length - 1).bit_length())
    return planned if longest is None else min(planned, longest)


def pad(rows: Sequence[np.ndarray], length: int, segments: Sequence[np.ndarray] | None = None) -> Tokens:
    """Ids, and segments where there are any, on the left; zeros on the right.

    Raises: ValueError when a row is longer than `length`.
    """
    ids, mask = _filled(rows, length), np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        mask[i, : len(row)] = 1
    return Tokens(ids, mask, None if segments is None else _filled(segments, length))


def grouped(rows: Sequence[np.ndarray], groups: int, longest: int | None = None) -> Grouped:
    """Ids in as many groups of like length, each padded to its own planned length.

    >>> found = grouped([np.arange(9), np.arange(2), np.arange(20), np.arange(3)], 2)
    >>> [one.ids.shape for one in found.groups], found.places
    ([(2, 8), (2, 24)], array([2, 0, 3, 1], dtype=int32))

    Raises: ValueError when the texts do not divide into so many groups.
    """
    if groups < 1 or not rows or len(rows) % groups:
        raise ValueError(f"grouped: {len(rows)} texts do not divide into {groups} groups")
    order = np.argsort([len(row) for row in rows], kind="stable")
    parts = [[rows[i] for i in some] for some in order.reshape(groups, -1)]
    places = np.empty(len(rows), np.int32)
    places[order] = np.arange(len(rows), dtype=np.int32)
    return Grouped(tuple(pad(part, bucket(len(part[-1]), longest)) for part in parts), places)


def _filled(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
    table = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        if len(row) > length:
            raise ValueError(f"pad: row {i} has {len(row)} tokens, wanted {length} at most")
        table[i, : len(row)] = row
    return table


def check_texts(texts: Sequence[Any]) -> None:
    """Raises: TypeError that names the first entry that is no text; ValueError for one that is no Unicode text."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {i} is {type(text).__name__}, wanted str")
        _check_unicode(f"text {i}", text)


def check_pairs(pairs: Sequence[Any]) -> None:
    """Raises: TypeError that names the first entry that is no pair of texts; ValueError for one not in Unicode."""
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise TypeError(f"pair {i} is {str(pair)[:60]!r}, wanted two texts")
        for text in pair:
            _check_unicode(f"pair {i}", text)


def _check_unicode(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as broken:
        raise ValueError(
            f"{name}: wanted Unicode text, got {text[broken.start]!a} at character {broken.start} ({broken.reason})"
        ) from broken


ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def _roles(folder: Path) -> dict[str, str]:
    """Which token plays which role: other libraries need it, a `tokenizer.json` does not say it."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            try:
                told = dict(json.loads((folder / name).read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:  # no UTF-8, no JSON, or no names and values
                raise ValueError(f"{folder / name}: wanted names and values as JSON ({error})") from error
            for role in ROLES:
                if (token := told.get(role)) is not None:
                    found[role] = token["content"] if isinstance(token, dict) else token
    return found


class Tokenizer:
    """A tokenizer file as an encoder wants it: up to `max_length` tokens, with or without special ones.

    The file's own truncation and padding are set aside.

    Args:
      backend: a `tokenizers.Tokenizer`.
      max_length: tokens a text, special ones counted; None for no limit.
      add_special: whether the file's special tokens (as `[CLS]`) are put around a text.
      special: role -> token, for other libraries; as `{"pad_token": "[PAD]"}`.
    Raises: ValueError for an empty vocabulary, or a limit that special tokens alone fill.
    """

    def __init__(
        self,
        backend: Any,
        max_length: int | None,
        *,
        add_special: bool = True,
        special: Mapping[str, str] | None = None,
    ) -> None:
        if not backend.get_vocab_size(with_added_tokens=True):
            raise ValueError("tokenizer: wanted a vocabulary of one token or more, got an empty one")
        added = backend.num_special_tokens_to_add(False) if add_special else 0
        if max_length is not None and max_length <= added:
            raise ValueError(f"max_length must be above {added} (the special tokens), got {max_length}")
        self._backend = type(backend).from_str(backend.to_str())  # a copy: the caller's keeps its settings
        self._backend.no_padding()
        if max_length is None:
            self._backend.no_truncation()
        else:
            self._backend.enable_truncation(max_length)
        self.max_length = max_length
        self.add_special = add_special
        self.special = dict(special or {})

    @classmethod
    def load(cls, file: Path | str, max_length: int | None = None, *, add_special: bool = True) -> "Tokenizer":
        """Read a `tokenizer.json`, and the roles of its special tokens from the files beside it.

        Raises: FileNotFoundError, or ValueError when it is no tokenizer file.
        """
        from tokenizers import Tokenizer as Backend

        file = Path(file)
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such tokenizer file; a `tokenizer.json` is needed")
        try:
            backend = Backend.from_str(file.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"{file.name}: not a tokenizer file ({error})") from error
        return cls(backend, max_length, add_special=add_special, special=_roles(file.parent))

    def limited(self, max_length: int | None, *, add_special: bool) -> "Tokenizer":
        """The same tokenizer with another limit, with or without special tokens."""
        return Tokenizer(self._backend, max_length, add_special=add_special, special=self.special)

    def marked(self, tokens: Sequence[str]) -> "Tokenizer":
        """The same tokenizer with some of its tokens found in a text as they are written, before anything else."""
        from tokenizers import AddedToken

        backend = type(self._backend).from_str(self._backend.to_str())
        backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
        return Tokenizer(backend, self.max_length, add_special=self.add_special, special=self.special)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token's id."""
        return self._backend.get_vocab(with_added_tokens=True)

    @property
    def size(self) -> int:
        """How many ids there are: one more than the largest."""
        return max(self.vocabulary.values(), default=-1) + 1

    @property
    def unknown(self) -> int | None:
        """The id of what is in no token, as `[UNK]`; None where the file names none."""
        told = json.loads(self._backend.to_str())["model"]
        token = told.get("unk_token")
        return told.get("unk_id") if token is None else self._backend.token_to_id(token)

    def to_json(self, *, truncated: bool = False) -> str:
        """The tokenizer file, without padding, and without truncation unless asked for it: the encoder's business."""
        backend = type(self._backend).from_str(self._backend.to_str())
        if not truncated:
            backend.no_truncation()
        return backend.to_str(pretty=True)

    def ids(self, texts: Sequence[str]) -> Ids:
        """Token ids of every text, cut to `max_length`.

        Raises: TypeError that names the first entry that is no text; ValueError for half a surrogate pair.
        """
        check_texts(texts)
        if len(texts) == 1:  # without threads, which take longer to wake than one text to read
            encoded = [self._backend.encode(texts[0], add_special_tokens=self.add_special)]
        else:  # the quick kind does not follow where in a text a token stands
            encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=self.add_special)
        rows = [np.asarray(one.ids, np.int32) for one in encoded]
        return Ids(rows, np.array([bool(one.overflowing) for one in encoded], dtype=bool))

    def pairs(self, pairs: Sequence[Sequence[str]]) -> Ids:
        """Token ids of every pair, read as one text, with segments.

        A pair that is longer than `max_length` loses tokens of whichever of its texts is the longer, until it fits.

        Raises: TypeError that names the first entry that is no pair of texts; ValueError for half a surrogate pair, or
          when `max_length` leaves a pair no room beside its special tokens.
        """
        check_pairs(pairs)
        added = self._backend.num_special_tokens_to_add(True) if self.add_special else 0
        if self.max_length is not None and self.max_length <= added:
            raise ValueError(f"max_length must be above {added} (a pair's special tokens), got {self.max_length}")
        encoded = self._backend.encode_batch([tuple(pair) for pair in pairs], add_special_tokens=self.add_special)
        rows = [np.asarray(one.ids, np.int32) for one in encoded]
        segments = [np.asarray(one.type_ids, np.int32) for one in encoded]
        return Ids(rows, np.array([bool(one.overflowing) for one in encoded], dtype=bool), segments)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """One batch, padded to the planned length of its longest text."""
        rows = self.ids(texts).rows
        return pad(rows, bucket(max((len(row) for row in rows), default=1), self.max_length))
