"""Texts to vectors: batches of planned shapes, their order restored."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxemb import progress
from jaxemb.data.tokenize import bucket, pad
from jaxemb.model.spec import Model

ROWS = (1, 4, 16, 64, 256)
"""Batch sizes that are compiled: a smaller batch is filled up with rows that are thrown away."""
TOKENS = 4096
"""Tokens a batch, padding included, unless one text alone is longer: enough to fill two cores, small in memory."""


class Plan(NamedTuple):
    """One batch: which texts, and the planned shape `[rows, length]` they are padded to."""

    texts: np.ndarray
    rows: int
    length: int


def plan(lengths: Sequence[int], longest: int | None) -> list[Plan]:
    """Group texts of like length into batches of planned shapes, longest first.

    A batch is as long as its longest text and is filled up with the next shorter ones: all but the last are full.
    The shapes come from `ROWS` and `tokenize.BUCKETS` alone, at most one a length and one more for the last batch: the
    number of programs that are compiled is bounded whatever the texts are.
    """
    sizes = np.array([bucket(max(length, 1), longest) for length in lengths], dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches: list[Plan] = []
    start = 0
    while start < len(order):
        size = int(sizes[order[start]])
        most = max((rows for rows in ROWS if rows * size <= TOKENS), default=1)
        some = order[start : start + most]
        batches.append(Plan(some, min(rows for rows in ROWS if rows >= len(some)), size))
        start += len(some)
    return batches


def _tokenized(model: Model, texts: Sequence[str], report: Callable[[str], None]) -> list[np.ndarray]:
    rows, truncated = model.tokenizer.ids(texts)
    if truncated.any():
        cut, longest = int(truncated.sum()), model.tokenizer.max_length
        report(f"{cut} of {len(rows)} texts were longer than {longest} tokens and lost their end")
    if empty := sum(not text.strip() for text in texts):
        report(f"{empty} of {len(rows)} texts are empty; their vectors say nothing")
    return rows


def _batches(model: Model, rows: list[np.ndarray]) -> Iterator[tuple[np.ndarray, jax.Array]]:
    for batch in plan([len(row) for row in rows], model.tokenizer.max_length):
        filled = [rows[i] for i in batch.texts] + [rows[0][:0]] * (batch.rows - len(batch.texts))
        yield batch.texts, model.encoder.apply(model.params, pad(filled, batch.length))


def encode(
    model: Model,
    texts: Sequence[str],
    *,
    prompt: str | None = None,
    what: str | None = None,
    report: Callable[[str], None] = progress.say,
) -> Float[np.ndarray, "n d"]:
    """The vectors of texts, in their order, float32.

    Neither the order of the texts nor what they are batched with changes a vector by more than rounding.

    Args:
      prompt: which of the model's prompts to put before every text, as `query`; one it does not have adds nothing.
      what: the name of a progress bar; None shows none.
      report: told once how many texts were cut to the encoder's length, and how many are empty.  An empty text has the
        vector of its special tokens; where an encoder has none, the zero vector.
    Raises: FloatingPointError that names the first text whose vector is not finite.
    """
    if isinstance(texts, str):
        raise TypeError(f"encode: wanted a list of texts, got one text, {texts[:60]!r}")
    texts = list(texts)
    before = model.spec.prompts.get(prompt, "") if prompt is not None else ""
    rows = _tokenized(model, [before + text for text in texts] if before else texts, report)
    vectors = np.zeros((len(rows), model.size), np.float32)
    waiting: list[tuple[np.ndarray, jax.Array]] = []

    def collect(most: int) -> None:
        while len(waiting) > most:
            places, got = waiting.pop(0)
            vectors[places] = np.asarray(got, np.float32)[: len(places)]
            advance(len(places))

    exact = "highest" if model.dtype == jnp.float32 else "default"  # float32 means float32 on accelerators, too
    with progress.bar(what or "", len(rows), shown=what is not None) as advance, jax.default_matmul_precision(exact):
        for batch in _batches(model, rows):
            waiting.append(batch)
            collect(2)  # the next batch is padded while the device works on this one
        collect(0)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise FloatingPointError(f"the vector of text {broken[0]} is not finite: {texts[broken[0]][:60]!r}")
    return vectors
