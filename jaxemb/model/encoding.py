"""Texts to vectors: batches of planned shapes, their order restored."""

import functools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float

from jaxemb import progress
from jaxemb.data.tokenize import BUCKETS, bucket, check_texts, pad
from jaxemb.model import precision, prompts
from jaxemb.model.spec import Model
from jaxemb.types import Tokens

ROWS = (1, 4, 16, 64, 256)
"""Rows of the fixed shapes: a smaller batch is filled up with rows that are thrown away."""
TOKENS = 512
"""Tokens of a batch on a CPU, padding included, unless one text alone is longer: few enough to stay in cache."""
ACCELERATED = 128
"""How many times more an accelerator reads at once."""
WORTH = 0.005
"""Seconds that a batch takes at least, for an encoder that is quicker than others: less is lost between batches."""
SECONDS = 0.5
"""What one more program costs to compile."""
OPERATIONS = {"cpu": 1e11}
"""Multiplications and additions a second, by JAX's name of the platform."""
OPERATIONS_ELSEWHERE = 1e14
LEAST = 1e-6
"""Seconds that a token takes at least, however small the encoder."""
SLICE = 1024
"""Texts that are tokenized at once: what the tokenizer makes of a text takes a hundred times its memory."""

Read = Callable[[Tokens], jax.Array]
"""A padded batch to its vectors `[b, d]`, params included."""


class Machine(NamedTuple):
    """What a plan must know of devices and encoder.

    devices: among how many the rows of a batch are given out.
    tokens: what one device reads at once, padding included.
    lanes: how many batches are on their way at a time.
    program: how many tokens are read in the time that one more program takes to compile.
    step: lengths that are chosen are multiples of it.
    """

    devices: int = 1
    tokens: int = TOKENS
    lanes: int = 2
    program: float = 2500.0
    step: int = 2


ONE_CPU = Machine()


class Batch(NamedTuple):
    """Which texts, and the planned shape `[rows, length]` they are padded to."""

    texts: np.ndarray
    rows: int
    length: int


class Plan(NamedTuple):
    """Batches, and how many tokens of the texts they hold."""

    batches: list[Batch]
    tokens: int

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Every shape `(rows, length)`: a program is compiled for each."""
        return sorted({(batch.rows, batch.length) for batch in self.batches})

    @property
    def padding(self) -> float:
        """The share of what is computed that is padding, from 0 to 1."""
        computed = sum(batch.rows * batch.length for batch in self.batches)
        return 1 - self.tokens / computed if computed else 0.0


def machine(model: Model, devices: Sequence[jax.Device] = (), *, compile_s: float = SECONDS) -> Machine:
    """What there is to know of a model on these devices; by default on the one that JAX computes on.

    A token is taken to cost two operations a weight, tables of ids left out.  These are round figures: a plan only
    weighs padding against compiling with them.

    Raises: ValueError for a `compile_s` that is no number from 0.
    """
    if isinstance(compile_s, bool) or not isinstance(compile_s, int | float) or not 0 <= compile_s < math.inf:
        raise ValueError(f"compile_s must be a number of seconds from 0, got {compile_s!r}")
    platform = devices[0].platform if devices else jax.default_backend()
    vocabulary = model.spec.backbone.vocab_size
    weights = sum(leaf.size for leaf in jax.tree.leaves(model.params) if leaf.ndim and leaf.shape[0] != vocabulary)
    seconds = max(2 * weights / OPERATIONS.get(platform, OPERATIONS_ELSEWHERE), LEAST)
    tokens = max(TOKENS, int(WORTH / seconds))
    if platform == "cpu":
        return Machine(max(len(devices), 1), tokens, _cores(), compile_s / seconds, step=2)
    return Machine(max(len(devices), 1), tokens * ACCELERATED, 2, compile_s / seconds, step=8)


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fixed(longest: int | None, at: Machine = ONE_CPU) -> list[tuple[int, int]]:
    """Every shape that a few texts can be given: what is worth compiling before the first query comes.

    With no `longest`, up to the last of `tokenize.BUCKETS`.

    Raises: ValueError for a `longest` below 1.
    """
    if longest is not None and longest < 1:
        raise ValueError(f"longest must be 1 token or more, got {longest}")
    lengths = BUCKETS if longest is None else sorted({min(size, longest) for size in (*BUCKETS, longest)})
    return [(rows, length) for length in lengths for rows in _rows(length, (), at)]


def shape(length: int, at: Machine = ONE_CPU) -> tuple[int, int]:
    """The shape `(rows, length)` of batches whose length was chosen for the texts: all that is read at once."""
    return at.devices * max(1, at.tokens // length), length


def _rows(length: int, chosen: Sequence[int], at: Machine) -> list[int]:
    """How many rows a batch of this length may have."""
    if length in chosen:
        return [shape(length, at)[0]]
    return [at.devices * rows for rows in ROWS if rows == 1 or rows * length <= at.tokens]


def choose(lengths: Sequence[int], longest: int | None, at: Machine = ONE_CPU, *, times: float = 1.0) -> list[int]:
    """The lengths to pad texts to, ascending: those that cost least, padding and compiling together.

    With `l_1 < ... < l_k` chosen, a text of `n` tokens is padded to the smallest `l_i >= n`, and `k` programs are
    compiled: the sum of padded lengths plus `k * at.program` is the least there is.  Found by going through the lengths
    in order, with the cheapest way to end at each.

    Args:
      times: how many texts each of `lengths` stands for, where they are a sample.
    """
    most = np.inf if longest is None else longest
    rounded = np.minimum(-(-np.maximum(np.asarray(lengths), 1) // at.step) * at.step, most).astype(np.int64)
    sizes, counts = np.unique(rounded, return_counts=True)
    before = np.concatenate([[0.0], np.cumsum(counts * times)])  # texts that are shorter than each size
    least = np.zeros(len(sizes) + 1)
    previous = np.zeros(len(sizes) + 1, np.int64)
    for end, size in enumerate(sizes.tolist(), start=1):
        ways = least[:end] + size * (before[end] - before[:end]) + at.program
        previous[end] = ways.argmin()
        least[end] = ways[previous[end]]
    chosen: list[int] = []
    end = len(sizes)
    while end:
        chosen.append(int(sizes[end - 1]))
        end = int(previous[end])
    return chosen[::-1]


def fill(lengths: Sequence[int], longest: int | None, chosen: Sequence[int], at: Machine = ONE_CPU) -> Plan:
    """Group texts of like length into batches, longest first.

    A batch is as long as its longest text needs and is filled up with the next shorter ones: all but the last are full.
    Its length is one of those `chosen`, or where none is long enough one of `tokenize.BUCKETS`, with rows from `ROWS`.
    """
    sizes = np.maximum(np.asarray(lengths, dtype=np.int64), 1)
    order = np.argsort(-sizes, kind="stable")
    batches: list[Batch] = []
    start = 0
    while start < len(order):
        size = int(sizes[order[start]])
        length = next((length for length in chosen if length >= size), bucket(size, longest))
        allowed = _rows(length, chosen, at)
        some = order[start : start + allowed[-1]]
        batches.append(Batch(some, min(rows for rows in allowed if rows >= len(some)), length))
        start += len(some)
    return Plan(batches, int(np.sum(np.asarray(lengths, dtype=np.int64))))


def plan(lengths: Sequence[int], longest: int | None, at: Machine = ONE_CPU) -> Plan:
    """Batches for texts of these lengths, in tokens; the same for the same lengths.

    Up to `ROWS[-1]` texts a device get the `fixed` shapes, so that queries, however they come, never need another.
    More get lengths of their own: few for a small job, close ones for a large one.

    >>> plan([3, 5, 40, 41, 200], 256).shapes
    [(1, 256), (4, 48)]

    Raises: ValueError that names the first length below 0.
    """
    for text, length in enumerate(lengths):
        if length < 0:
            raise ValueError(f"text {text}: a length must be 0 tokens or more, got {length}")
    few = len(lengths) <= ROWS[-1] * at.devices
    return fill(lengths, longest, () if few else choose(lengths, longest, at), at)


@functools.lru_cache(maxsize=8)
def _on(devices: tuple[jax.Device, ...], apply: Callable[[Any, Tokens], jax.Array]) -> tuple[Mesh, Callable[..., Any]]:
    """A mesh, and `apply` with every device reading its own rows."""
    mesh = Mesh(np.array(devices), ("rows",))
    whole, rows = PartitionSpec(), PartitionSpec("rows")
    each = jax.shard_map(apply, mesh=mesh, in_specs=(whole, rows), out_specs=rows, check_vma=False)
    return mesh, jax.jit(each)


def reader(model: Model, devices: Sequence[jax.Device] = ()) -> Read:
    """What reads batches with this model: the one place where its encoder meets its params.

    Args:
      devices: each reads an equal share of a batch's rows, with params of its own; none means where they are.
    """
    apply, params = model.encoder.apply, model.params
    default = jax.config.jax_default_device  # type: ignore[attr-defined]  # a thread of its own would not know it
    if len(devices) > 1:
        mesh, apply = _on(tuple(devices), apply)
        params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    elif devices:
        params = jax.device_put(params, devices[0])

    def read(tokens: Tokens) -> jax.Array:
        with precision.exact(model.dtype), jax.default_device(default):
            return apply(params, tokens)

    return read


class Ready(NamedTuple):
    """Texts as token ids.

    rows: one int32 array a text, its prompt included.
    truncated, empty: which texts lost their end, and which had nothing to read.
    uncounted: how many tokens at the start of every text pooling leaves out, as those of a prompt.
    """

    rows: list[np.ndarray]
    truncated: Bool[np.ndarray, " n"]
    empty: Bool[np.ndarray, " n"]
    uncounted: int = 0


def tokenized(model: Model, texts: Sequence[str], prompt: str | None, prefix: str | None = None) -> Ready:
    """Token ids of texts with one of the model's prompts, or the prefix, put before each, as `model.prompts` says.

    Raises: TypeError that names the first entry that is no text; ValueError for a prompt that the model does not have.
    """
    check_texts(texts)
    before, most = prompts.resolved(model.spec, prompt, prefix), model.spec.max_characters
    rows: list[np.ndarray] = []
    truncated = np.array([most is not None and len(before) + len(text) > most for text in texts], dtype=bool)
    for start in range(0, len(texts), SLICE):
        some = model.tokenizer.ids([(before + text)[:most] for text in texts[start : start + SLICE]])
        rows += some.rows
        truncated[start : start + SLICE] |= some.truncated
    uncounted = 0 if model.spec.include_prompt or not before else prompts.tokens_of(model.tokenizer, before)
    return Ready(rows, truncated, np.array([not text.strip() for text in texts], dtype=bool), uncounted)


def tell(model: Model, texts: int, truncated: int, empty: int, report: Callable[[str], None]) -> None:
    """Report how many texts lost their end or are empty, if any."""
    longest, most = model.tokenizer.max_length, model.spec.max_characters
    if truncated:
        limit = " or ".join([f"{longest} tokens"] * (longest is not None) + [f"{most} characters"] * (most is not None))
        report(f"{truncated} of {texts} texts were longer than {limit} and lost their end")
    if empty:
        report(f"{empty} of {texts} texts are empty; their vectors say nothing")


def embedded(
    read: Read,
    rows: Sequence[np.ndarray],
    batches: Sequence[Batch],
    size: int,
    advance: Callable[[int], None],
    *,
    lanes: int = 2,
    segments: Sequence[np.ndarray] | None = None,
) -> Float[np.ndarray, "n d"]:
    """The vectors of token ids, in the order of the rows; `advance` is told how many more are done."""
    vectors = np.zeros((len(rows), size), np.float32)
    nothing = np.zeros(0, np.int32)

    def filled(some: Sequence[np.ndarray], batch: Batch) -> list[np.ndarray]:
        return [some[i] for i in batch.texts] + [nothing] * (batch.rows - len(batch.texts))

    def one(batch: Batch) -> np.ndarray:
        kinds = None if segments is None else filled(segments, batch)
        return np.asarray(read(pad(filled(rows, batch), batch.length, kinds)), np.float32)

    for batch, got in in_lanes(one, batches, lanes):
        vectors[batch.texts] = got[: len(batch.texts)]
        advance(len(batch.texts))
    return vectors


def in_lanes(
    one: Callable[[Batch], np.ndarray], batches: Sequence[Batch], lanes: int
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Every batch with what `one` makes of it, in order; on as many threads as there are lanes.

    The cores of a CPU then need not wait for each other at the end of every small product, and an accelerator has its
    next batch when it is done with one.
    """
    if min(lanes, len(batches)) < 2:
        yield from ((batch, one(batch)) for batch in batches)
        return
    with ThreadPoolExecutor(lanes) as threads:
        coming = ((batch, threads.submit(one, batch)) for batch in batches)
        waiting = deque(islice(coming, lanes + 1))  # no further ahead: what is made must be held
        while waiting:
            batch, made = waiting.popleft()
            yield batch, made.result()
            waiting.extend(islice(coming, 1))


def encode(
    model: Model,
    texts: Sequence[str],
    *,
    prompt: str | None = None,
    prefix: str | None = None,
    what: str | None = None,
    report: Callable[[str], None] = progress.say,
    devices: Sequence[jax.Device] = (),
    compile_s: float = SECONDS,
) -> Float[np.ndarray, "n d"]:
    """The vectors of texts, in their order, float32.

    Neither the order of the texts nor what they are batched with changes a vector by more than rounding.

    Args:
      prompt: which of the model's prompts to put before every text, as `query`; by default the model's default, if it
        has one.  A side, `query` or `document`, that it has no prompt for adds nothing.
      prefix: what to put before every text instead, whatever prompts the model has; `""` puts nothing there.
      what: the name of a progress bar; None shows none.
      report: told once how many texts were cut to the encoder's length, and how many are empty.  An empty text has the
        vector of its special tokens; where an encoder has none, the zero vector.
      devices: among which the rows of each batch are given out; by default the one that JAX computes on reads them.
      compile_s: what one more program costs to compile, in seconds; less where programs are cached or used again, and
        texts are padded less.
    Raises: FloatingPointError that names the first text whose vector is not finite; ValueError for a prompt that the
      model does not have, with those that it has.
    """
    if isinstance(texts, str):
        raise TypeError(f"encode: wanted a list of texts, got one text, {texts[:60]!r}")
    texts = list(texts)
    ready = tokenized(model, texts, prompt, prefix)
    tell(model, len(texts), int(ready.truncated.sum()), int(ready.empty.sum()), report)
    at = machine(model, devices, compile_s=compile_s)
    batches = plan([len(row) for row in ready.rows], model.tokenizer.max_length, at).batches
    read = prompts.leaving_out(reader(model, devices), ready.uncounted)
    with progress.bar(what or "", len(texts), shown=what is not None) as advance:
        vectors = embedded(read, ready.rows, batches, model.size, advance, lanes=at.lanes)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise FloatingPointError(f"the vector of text {broken[0]} is not finite: {texts[broken[0]][:60]!r}")
    return vectors
