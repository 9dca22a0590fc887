"""Tokenizers without a vocabulary of words: a token is a character, or a byte.

A word is a text of characters here: the subwords of fastText are the n-grams of `<word>`.
"""

import string
from typing import Any

from jaxemb.data.tokenize import Tokenizer


def character_tokenizer(alphabet: str = string.printable, max_length: int | None = None) -> Tokenizer:
    """Every character of a text is a token, spaces and line ends too; nothing is lower-cased.

    Padding has id 0, a character outside of the alphabet 1, and the alphabet's own 2 and up: no character shares an id
    with padding.

    >>> print(character_tokenizer("ab ").ids(["a bé"]).rows[0])
    [2 4 3 1]

    Args:
      alphabet: by default the hundred printable characters of ASCII.
      max_length: characters a text; what is longer loses its end.
    Raises: ValueError for an alphabet that is empty or has a character twice.
    Source: Merkx & Frank 2019, arXiv:1903.11393; there padding and unknown characters share the ids of others.
    """
    if not alphabet or len(set(alphabet)) < len(alphabet):
        raise ValueError(f"alphabet must be different characters, at least one, got {alphabet!r}")
    known = {character: row for row, character in enumerate(alphabet, start=2)}
    return _symbols({PADDING: 0, UNKNOWN: 1, **known}, max_length)


def byte_tokenizer(max_length: int | None = None) -> Tokenizer:
    """Every byte of a text in UTF-8 is a token: padding has id 0, a byte its value plus 1, and nothing is unknown.

    >>> print(byte_tokenizer().ids(["aé"]).rows[0])
    [ 98 196 170]

    Args:
      max_length: bytes a text; what is longer loses its end.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    # The library shows bytes as characters: those that can be seen as they are, the others from 256 on.
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shown = {byte: byte for byte in seen} | {
        byte: 256 + row for row, byte in enumerate(byte for byte in range(256) if byte not in seen)
    }
    known = {chr(shown[byte]): byte + 1 for byte in range(256)}
    return _symbols({PADDING: 0, **known}, max_length, ByteLevel(add_prefix_space=False, use_regex=False))


PADDING, UNKNOWN = "[PAD]", "[UNK]"


def _symbols(vocabulary: dict[str, int], max_length: int | None, *before: Any) -> Tokenizer:
    """One token a character of what the steps `before` make of a text."""
    from tokenizers import Regex, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    backend = Backend(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    single = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")  # a dot would leave line ends out
    backend.pre_tokenizer = pre_tokenizers.Sequence([*before, single])
    special = {"pad_token": PADDING} | ({"unk_token": UNKNOWN} if UNKNOWN in vocabulary else {})
    return Tokenizer(backend, max_length, special=special)
