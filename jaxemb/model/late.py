"""Late interaction: a vector for every token of a text, compared by `similarity.maxsim`.

    late = model.load_late(folder)
    query, document = (model.stacked(model.encode_late(late, texts, side=side)) for side, texts in sides.items())
    scores = similarity.maxsim(query.vectors, document.vectors, query_mask=query.mask, document_mask=document.mask)

Source: Khattab & Zaharia 2020, arXiv:2004.12832 (ColBERT).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int

from jaxemb import encode as encoders
from jaxemb import progress
from jaxemb.data.tokenize import Tokenizer, bucket, check_texts, pad
from jaxemb.model import precision
from jaxemb.model.spec import after, check_ids, sizes_after
from jaxemb.types import Backbone, Params, Tokens

Side = Literal["query", "document"]

AT_ONCE = 4096
"""Tokens that are read at once, padding included, unless one text alone is longer."""


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """Queries filled up with a token whose states are scored, too: what the encoder makes of them are more words.

    token: what they are filled up with, as `[MASK]`.
    length: to how many tokens.
    attend: whether the tokens of the query see those that were added.
    cut: whether a longer query loses its end, so that all have this length.
    """

    token: str
    length: int
    attend: bool = False
    cut: bool = True


@dataclass(frozen=True, kw_only=True)
class LateSpec:
    """What a folder says of a late-interaction model.

    backbone: the architecture's shape; one of `encode.FAMILIES`.
    modules: what every token's vector goes through, in this order, before it is normalised; the params of the `i`-th
      stand under `module_i`.
    normalize: whether they have length one.
    max_length: the longest text, in tokens.
    query_length, document_length: the longest of a side, where it is another.
    expansion: how queries are filled up; None where they are not.
    skipped: tokens that are not scored, as punctuation.
    skipping: the sides of which they are not.
    prompts: side -> what is put before its texts.
    """

    backbone: Any
    modules: tuple[encoders.Module, ...]
    normalize: bool
    max_length: int
    query_length: int | None = None
    document_length: int | None = None
    expansion: Expansion | None = None
    skipped: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ("document",)
    prompts: Mapping[str, str] = field(default_factory=dict)


class LateModel(NamedTuple):
    """A backbone with the tokenizer and the params that make it give a vector for every token."""

    backbone: Backbone
    params: Params
    tokenizer: Tokenizer
    spec: LateSpec
    dtype: jnp.dtype = jnp.dtype("float32")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return sizes_after(self.spec.backbone.hidden_size, self.spec.modules)[-1]


def make_late(spec: LateSpec, params: Params, tokenizer: Tokenizer, *, dtype: DTypeLike = jnp.float32) -> LateModel:
    """A late-interaction model from its parts.

    Raises: ValueError when the tokenizer has ids that the encoder has no row for, texts may be longer than there are
      positions, the token of an expansion is unknown, or a module does not fit.
    """
    sizes_after(spec.backbone.hidden_size, spec.modules)
    positions = encoders.family_of(spec.backbone).longest(spec.backbone)
    for side in ("query", "document"):
        if not 0 < (length := _longest(spec, side)) <= positions:
            raise ValueError(f"a {side} must have from 1 to the encoder's {positions} positions, got {length}")
    check_ids(tokenizer, spec.backbone.vocab_size)
    if spec.expansion is not None and spec.expansion.token not in tokenizer.vocabulary:
        raise ValueError(f"queries are filled up with {spec.expansion.token!r}, which is no token of the tokenizer")
    backbone = _built(spec.backbone, spec.modules, spec.normalize, precision.checked(dtype).name)
    return LateModel(backbone, params, tokenizer, spec, jnp.dtype(dtype))


@functools.lru_cache(maxsize=32)
def _built(backbone: Any, modules: tuple[encoders.Module, ...], normalize: bool, dtype: str) -> Backbone:
    states = encoders.family_of(backbone).backbone(backbone, dtype=jnp.dtype(dtype))
    whole = after(states, modules, normalize, dtype)
    return whole._replace(apply=jax.jit(whole.apply))


def _longest(spec: LateSpec, side: str) -> int:
    """The longest text of a side, in tokens."""
    told = (spec.query_length if side == "query" else spec.document_length) or spec.max_length
    if side == "query" and spec.expansion is not None:
        return spec.expansion.length if spec.expansion.cut else max(told, spec.expansion.length)
    return told


class Row(NamedTuple):
    """A text as it is read, `[t]` each.

    ids: tokens.
    seen: 1 on those that attention sees.
    scored: 1 on those whose vectors are kept.
    """

    ids: Int[np.ndarray, " t"]
    seen: Int[np.ndarray, " t"]
    scored: Int[np.ndarray, " t"]


class _Reading(NamedTuple):
    """How texts of a side become tokens: cut by `tokenizer`, filled up with `filler`; `skipped` ids are not scored."""

    tokenizer: Tokenizer
    filler: int
    skipped: tuple[int, ...]


@functools.lru_cache(maxsize=16)  # to copy a tokenizer takes longer than to encode a query
def _reading(tokenizer: Tokenizer, longest: int, filler: str | None, skipped: tuple[str, ...]) -> _Reading:
    known = tokenizer.vocabulary
    limited = tokenizer.limited(longest, add_special=True)
    token = 0 if filler is None else known[filler]  # nothing is filled up then
    return _Reading(limited, token, tuple(known[token] for token in skipped if token in known))


def _rows(late: LateModel, texts: Sequence[str], side: Side, report: Callable[[str], None]) -> list[Row]:
    spec, longest = late.spec, _longest(late.spec, side)
    expansion = spec.expansion if side == "query" else None
    skipped = spec.skipped if side in spec.skipping else ()
    reading = _reading(late.tokenizer, longest, None if expansion is None else expansion.token, skipped)
    found, truncated, _ = reading.tokenizer.ids(texts)
    if truncated.any():
        report(f"{int(truncated.sum())} of {len(texts)} texts were longer than {longest} tokens and lost their end")
    rows = []
    for ids in found:
        more = 0 if expansion is None else max(0, expansion.length - len(ids))
        attend = expansion is not None and expansion.attend
        seen = np.concatenate([np.ones(len(ids), np.int32), np.full(more, attend, np.int32)])
        ids = np.concatenate([ids, np.full(more, reading.filler, np.int32)])
        rows.append(Row(ids, seen, (~np.isin(ids, reading.skipped)).astype(np.int32)))
    return rows


def _padded(rows: Sequence[Row], length: int) -> Tokens:
    return pad([row.ids for row in rows], length)._replace(mask=pad([row.seen for row in rows], length).ids)


def encode_late(
    late: LateModel,
    texts: Sequence[str],
    *,
    side: Side,
    prefix: str | None = None,
    what: str | None = None,
    report: Callable[[str], None] = progress.say,
) -> list[Float[np.ndarray, "_ d"]]:
    """The vectors of every text's tokens, float32, the texts in their order.

    Args:
      side: queries are filled up as the model's expansion says; of documents, skipped tokens have no vector.
      prefix: what to put before every text instead of the model's prompt for the side.
      what: the name of a progress bar; None shows none.
      report: told once how many texts were cut.
    Returns: `[t, d]` a text, with its own `t`.
    Raises: TypeError for what is no list of texts; ValueError for another side; FloatingPointError that names the first
      text with a vector that is not finite.
    """
    if isinstance(texts, str):
        raise TypeError(f"encode_late: wanted a list of texts, got one text, {texts[:60]!r}")
    if side not in ("query", "document"):
        raise ValueError(f"encode_late: side must be 'query' or 'document', got {side!r}")
    texts = list(texts)
    check_texts(texts)  # before a prompt is put before what is none
    before = late.spec.prompts.get(side, "") if prefix is None else prefix
    rows = _rows(late, [before + text for text in texts] if before else texts, side, report)
    vectors: list[Any] = [None] * len(rows)
    with progress.bar(what or "", len(rows), shown=what is not None) as advance, precision.exact(late.dtype):
        for places, length, count in _batches([len(row.ids) for row in rows], _longest(late.spec, side)):
            some = [rows[i] for i in places]
            nothing = [Row(*[row[:0] for row in some[0]])] * (count - len(some))
            states = np.asarray(late.backbone.apply(late.params, _padded(some + nothing, length)), np.float32)
            for i, row, state in zip(places, some, states, strict=False):  # rows that fill the batch are thrown away
                vectors[i] = state[: len(row.ids)][row.scored > 0]
            advance(len(some))
    for i, found in enumerate(vectors):
        if not np.isfinite(found).all():
            raise FloatingPointError(f"a vector of text {i} is not finite: {texts[i][:60]!r}")
    return vectors


def _batches(lengths: Sequence[int], longest: int) -> list[tuple[list[int], int, int]]:
    """Which texts go together, the length they are padded to and how many rows: one shape a length of the plan."""
    groups: dict[int, list[int]] = {}
    for i, size in enumerate(lengths):
        groups.setdefault(bucket(max(size, 1), longest), []).append(i)
    found = []
    for size, places in sorted(groups.items(), reverse=True):
        most = max(1, AT_ONCE // size)
        rows = min(most, 2 ** (len(places) - 1).bit_length())
        found += [(places[start : start + rows], size, rows) for start in range(0, len(places), rows)]
    return found


class TokenVectors(NamedTuple):
    """Texts as `maxsim` takes them.

    vectors: `[n, t, d]`, zeros where a text has fewer than `t`.
    mask: `[n, t]`, 1 on its own.
    """

    vectors: Float[Array, "n t d"]
    mask: Int[Array, "n t"]


def stacked(vectors: Sequence[Float[np.ndarray, "_ d"]], *, longest: int | None = None) -> TokenVectors:
    """Texts with a number of vectors each, in one array.

    Args:
      longest: `t`; by default the next of the planned lengths, so that few programs are compiled.
    Raises: ValueError for no texts, texts of different `d`, or more vectors than `longest`.
    """
    sizes = {one.shape[1] for one in vectors}
    if len(sizes) != 1:
        raise ValueError(f"stacked: wanted texts with vectors of one size, got sizes {sorted(sizes)}")
    most = max(len(one) for one in vectors)
    length = bucket(max(most, 1)) if longest is None else longest
    if most > length:
        raise ValueError(f"stacked: a text has {most} vectors, wanted {length} at most")
    whole = np.zeros((len(vectors), length, sizes.pop()), np.float32)
    mask = np.zeros((len(vectors), length), np.int32)
    for i, one in enumerate(vectors):
        whole[i, : len(one)], mask[i, : len(one)] = one, 1
    return TokenVectors(jnp.asarray(whole), jnp.asarray(mask))
