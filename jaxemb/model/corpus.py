"""A corpus to vectors on disk: memory stays the same however many documents there are, and a run may be killed.

The folder that is written has a shard for every so many documents, in their order, and `manifest.json`, which says what
the vectors were made of and with, and every finished shard with its sha256.  What a shard holds depends on its own
documents and on the settings, never on what was done before: a run that was killed and run again writes the same bytes.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np

import jaxemb
from jaxemb import progress
from jaxemb.data.texts import stream_texts
from jaxemb.model import corpus_folder, prompts, shards
from jaxemb.model.corpus_folder import Corpus
from jaxemb.model.encoding import (
    SECONDS,
    Batch,
    Machine,
    Read,
    Ready,
    choose,
    embedded,
    fill,
    machine,
    reader,
    shape,
    tell,
    tokenized,
)
from jaxemb.model.shards import Format, Shard
from jaxemb.model.spec import Model, fingerprint

SHARD_ROWS = 8192
"""Documents a shard: enough that few batches are not full, and that a run which is killed loses minutes."""
SAMPLE = 4096
"""Documents whose lengths stand for all when shapes are planned."""
STORED = ("float32", "float16")

Documents = Iterable[tuple[str, str]]
"""Ids and texts."""


class _Survey(NamedTuple):
    """What a first look at all documents tells: how many, their sha256, and some of their texts."""

    documents: int
    digest: str
    sample: list[str]


class _Job(NamedTuple):
    """What stays the same from the first shard to the last."""

    model: Model
    source: Callable[[], Documents]
    tokenize: Callable[[Sequence[str]], Ready]
    kind: Format
    lengths: list[int]
    at: Machine
    settings: dict[str, Any]


class _Window(NamedTuple):
    """The documents of a shard on their way."""

    number: int
    ids: list[str]
    ready: Ready
    batches: list[Batch]


def encode_corpus(
    model: Model,
    documents: Path | str | Documents | Callable[[], Documents],
    out: Path | str,
    *,
    format: str = "safetensors",
    shard_rows: int = SHARD_ROWS,
    stored: str = "float32",
    prompt: str | None = None,
    prefix: str | None = None,
    devices: Sequence[jax.Device] | None = None,
    compile_s: float = SECONDS,
    what: str | None = None,
    report: Callable[[str], None] = progress.say,
) -> Corpus:
    """Write the vectors of all documents into a folder of shards, with bounded memory.

    The documents are read twice: to count and check them, and to encode them.  Shapes are planned from a sample of
    4,096 of them before anything is compiled, and the most programs there can be is reported; a longer document than
    any of the sample gets the shape of the encoder's longest text, or without a longest one of the `fixed` ones.
    Texts are tokenized on a thread of their own, one shard ahead of the devices.

    A run that was killed goes on where it was: finished shards are checked by their sha256 and kept.  On one machine
    the result is the same to the byte, however often it was killed.

    Args:
      documents: a file for `data.stream_texts`; or `(id, text)` one by one, from something that can be gone through
        twice, or from a function that opens it.  Ids are not looked at: two documents may share one.
      out: a folder that is not there or empty, or one that a run with the same settings began.
      format: `safetensors`, `parquet` or `lance`; one file a shard.
      shard_rows: documents a shard; memory grows with it, and so does what a kill can lose.
      stored: `float32` or `float16`.
      prompt, prefix, compile_s, what, report: as for `encode`.
      devices: among which the rows of every batch are given out; by default all of this process.
    Returns: the finished corpus.
    Raises: ValueError for a bad setting, for no documents, for documents that change while they are read, and for a
      folder begun with other settings, another model or other texts, all named; nothing is written or removed then.
      FileExistsError for a folder that holds something else.  FloatingPointError that names the first document whose
      vector is not finite.
    """
    if shard_rows < 1:
        raise ValueError(f"shard_rows must be 1 or more, got {shard_rows}")
    if stored not in STORED:
        raise ValueError(f"vectors can be stored as {' or '.join(STORED)}, got {stored!r}")
    devices, out = _all_of(devices), Path(out)
    kind, source = shards.by_name(format), _source(documents)
    survey, at = _survey(source, documents), machine(model, devices, compile_s=compile_s)
    tokenize = partial(tokenized, model, prompt=prompt, prefix=prefix)
    lengths = _lengths(tokenize(survey.sample), survey.documents, model.tokenizer.max_length, at)
    settings = {
        "model": fingerprint(model),
        "products": model.dtype.name,
        "prompt": prompts.resolved(model.spec, prompt, prefix),
        "texts": survey.digest,
        "documents": survey.documents,
        "dimensions": model.size,
        "format": format,
        "stored": stored,
        "shard_rows": shard_rows,
        "shapes": [list(shape(length, at)) for length in lengths],
        "devices": f"{len(devices)} {devices[0].device_kind}",
        "versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "jaxemb": jaxemb.__version__},
    }
    job = _Job(model, source, tokenize, kind, lengths, at, settings)
    told = corpus_folder.begin(out, settings)
    done = {one["file"]: one for one in told["shards"] if corpus_folder.is_whole(out, one)}
    for one in told["shards"]:
        if one["file"] not in done:
            report(f"{out / one['file']}: is missing or has changed; its documents are encoded again")
    if len(done) < (wanted := corpus_folder.shard_count(settings)) or told["truncated"] is None:
        report(
            f"{survey.documents} texts in {wanted} shards, {len(done)} of them there; "
            f"{len(lengths)} programs to compile at most"
        )
        left = survey.documents - sum(one["rows"] for one in done.values())
        read = reader(model, devices)
        with progress.bar(what or "", left, shown=what is not None) as advance:
            for window in _beside(_windows(job, frozenset(done))):
                shard = _encoded(job, read, window, advance)
                done[corpus_folder.shard_name(window.number, kind)] = corpus_folder.add(
                    out, window.number, shard, kind, empty=int(window.ready.empty.sum())
                )
                corpus_folder.write_manifest(out, settings, done, finished=False)
        told = corpus_folder.write_manifest(out, settings, done, finished=True)
    tell(model, survey.documents, told["truncated"], told["empty"], report)
    return Corpus(out, told)


def corpus_shapes(
    model: Model,
    documents: Path | str | Documents | Callable[[], Documents],
    *,
    prompt: str | None = None,
    prefix: str | None = None,
    devices: Sequence[jax.Device] | None = None,
    compile_s: float = SECONDS,
) -> list[tuple[int, int]]:
    """Every shape `(rows, length)` that `encode_corpus` gives batches of these documents; for `warm_up`.

    The documents are read once.  A model without a longest text may meet one that needs a `fixed` shape besides.

    Args: as for `encode_corpus`.
    Raises: ValueError for no documents, no devices, or a prompt that the model does not have.
    """
    at = machine(model, _all_of(devices), compile_s=compile_s)
    survey = _survey(_source(documents), documents)
    sample = tokenized(model, survey.sample, prompt, prefix)
    return [shape(length, at) for length in _lengths(sample, survey.documents, model.tokenizer.max_length, at)]


def _all_of(devices: Sequence[jax.Device] | None) -> list[jax.Device]:
    """The devices, by default all of this process.  Raises: ValueError for none."""
    found = jax.local_devices() if devices is None else list(devices)
    if not found:
        raise ValueError("encode_corpus: wanted one device or more, got none")
    return found


def _source(documents: Path | str | Documents | Callable[[], Documents]) -> Callable[[], Documents]:
    if isinstance(documents, str | Path):
        path = documents
        return lambda: stream_texts(path)
    if callable(documents):
        return documents
    if iter(documents) is documents:
        raise TypeError(
            f"encode_corpus: documents are read twice, got a {type(documents).__name__}, which can be read once: "
            f"give a file, a list, or a function that opens them"
        )
    again = documents
    return lambda: again


def _spelling(position: int, document: Any) -> bytes:
    """A document as bytes that no two documents share.  Raises: TypeError or ValueError for what is no document."""
    if not (isinstance(document, tuple | list) and len(document) == 2 and all(isinstance(p, str) for p in document)):
        raise TypeError(f"document {position}: wanted an id and a text, got {document!r:.80}")
    try:
        name, text = (part.encode() for part in document)
    except UnicodeEncodeError as broken:
        raise ValueError(f"document {document[0]!r}: wanted Unicode text, got {broken.reason}") from broken
    return b"%d %d %b%b" % (len(name), len(text), name, text)


def _survey(source: Callable[[], Documents], given: Any = None) -> _Survey:
    """Go through all documents once.  The sample is drawn evenly, always the same one for the same documents."""
    digest, sample, draw, seen = hashlib.sha256(), list[str](), random.Random(0), 0
    for document in source():
        digest.update(_spelling(seen, document))
        seen += 1
        # Vitter 1985, algorithm R: every document so far is in the sample with the same chance.
        if seen <= SAMPLE:
            sample.append(document[1])
        elif (place := draw.randrange(seen)) < SAMPLE:
            sample[place] = document[1]
    if not seen:
        name = f"{given}: " if isinstance(given, str | Path) else ""
        raise ValueError(f"encode_corpus: {name}wanted one document or more, got none")
    return _Survey(seen, digest.hexdigest(), sample)


def _lengths(sample: Ready, documents: int, longest: int | None, at: Machine) -> list[int]:
    """The lengths that all texts are padded to, from a sample of theirs."""
    times = documents / len(sample.rows)
    lengths = choose([len(row) for row in sample.rows], longest, at, times=times)
    if longest is None or times == 1 or lengths[-1] == longest:
        return lengths
    return [*lengths, longest]  # for what may be longer than any of the sample


def _windows(job: _Job, done: Set[str]) -> Iterator[_Window]:
    """The documents of every shard that is not done, tokenized and in batches."""
    digest, documents = hashlib.sha256(), iter(job.source())
    for number in count():
        first = number * job.settings["shard_rows"]
        window = list(islice(documents, job.settings["shard_rows"]))
        for position, document in enumerate(window, start=first):
            digest.update(_spelling(position, document))
        if not window:
            break
        if corpus_folder.shard_name(number, job.kind) not in done:
            ready = job.tokenize([text for _, text in window])
            lengths = [len(row) for row in ready.rows]
            batches = fill(lengths, job.model.tokenizer.max_length, job.lengths, job.at).batches
            yield _Window(number, [name for name, _ in window], ready, batches)
    if digest.hexdigest() != job.settings["texts"]:
        raise ValueError("encode_corpus: the documents changed while they were encoded; run it on a copy of them")


def _beside(windows: Iterator[_Window]) -> Iterator[_Window]:
    """The same windows, the next one always made on a thread while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, windows, None)
        while (window := coming.result()) is not None:
            coming = thread.submit(next, windows, None)
            yield window


def _encoded(job: _Job, read: Read, window: _Window, advance: Callable[[int], None]) -> Shard:
    read = prompts.leaving_out(read, window.ready.uncounted)
    stored = job.settings["stored"]
    vectors = embedded(read, window.ready.rows, window.batches, job.model.size, advance, lanes=job.at.lanes)
    with np.errstate(over="ignore"):  # what does not fit is found below
        vectors = vectors.astype(stored, copy=False)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise FloatingPointError(f"the vector of document {window.ids[broken[0]]!r} is not finite in {stored}")
    return Shard(window.ids, vectors, window.ready.truncated)
