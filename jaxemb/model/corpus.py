"""A corpus to vectors on disk: memory stays the same however many documents there are, and a run may be killed.

The folder that is written has a shard for every so many documents, in their order, and `manifest.json`, which says what
the vectors were made of and with, and every finished shard with its sha256.  What a shard holds depends on its own
documents and on the settings, never on what was done before: a run that was killed and run again writes the same bytes.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np

import jaxemb
from jaxemb import atomic, progress
from jaxemb.data.texts import stream_texts
from jaxemb.model import prompts, shards
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

FILE = "manifest.json"
FORMAT = "jaxemb-corpus-1"
SHARD_ROWS = 8192
"""Documents a shard: enough that few batches are not full, and that a run which is killed loses minutes."""
SAMPLE = 4096
"""Documents whose lengths stand for all when shapes are planned."""
STORED = ("float32", "float16")

Documents = Iterable[tuple[str, str]]
"""Ids and texts."""


@dataclass(frozen=True)
class Corpus:
    """A folder that `encode_corpus` wrote, and what its manifest tells."""

    folder: Path
    manifest: Mapping[str, Any]

    def __len__(self) -> int:
        """How many documents there are."""
        return self.manifest["settings"]["documents"]

    def shards(self, *, verify: bool = True) -> Iterator[Shard]:
        """All vectors in order, a shard at a time.

        Raises: ValueError that names the shard which is missing or, where it is asked to `verify`, has changed.
        """
        read = shards.by_name(self.manifest["settings"]["format"]).read
        for told in self.manifest["shards"]:
            if not _whole(self.folder, told, verify=verify):
                raise ValueError(
                    f"{self.folder / told['file']}: is missing or has changed since the manifest was written"
                )
            yield read(self.folder / told["file"])

    def truncated(self) -> Iterator[str]:
        """The ids of all documents that lost their end, in order."""
        for shard in self.shards(verify=False):
            yield from (shard.ids[row] for row in np.flatnonzero(shard.truncated))


def open_corpus(folder: Path | str) -> Corpus:
    """What `encode_corpus` wrote.

    Raises: FileNotFoundError where there is none; ValueError for another kind of folder, or one that is not finished.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{folder}: no encoded corpus there, for it has no {FILE}")
    told = _read(folder)
    if told["truncated"] is None:
        done, wanted = len(told["shards"]), _shard_count(told["settings"])
        raise ValueError(f"{folder}: is not finished, it has {done} of {wanted} shards; run what began it again")
    return Corpus(folder, told)


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
    devices, out = jax.local_devices() if devices is None else devices, Path(out)
    kind, source = shards.by_name(format), _source(documents)
    survey, at = _survey(source), machine(model, devices, compile_s=compile_s)
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
    told = _begin(out, settings)
    done = {one["file"]: one for one in told["shards"] if _whole(out, one)}
    for one in told["shards"]:
        if one["file"] not in done:
            report(f"{out / one['file']}: is missing or has changed; its documents are encoded again")
    if len(done) < (wanted := _shard_count(settings)) or told["truncated"] is None:
        report(
            f"{survey.documents} texts in {wanted} shards, {len(done)} of them there; "
            f"{len(lengths)} programs to compile at most"
        )
        left = survey.documents - sum(one["rows"] for one in done.values())
        read = reader(model, devices)
        with progress.bar(what or "", left, shown=what is not None) as advance:
            for window in _beside(_windows(job, frozenset(done))):
                shard = _encoded(job, read, window, advance)
                done[_name(window.number, kind)] = _written(out, window, shard, kind)
                _write(out, settings, done, finished=False)
        told = _write(out, settings, done, finished=True)
    tell(model, survey.documents, told["truncated"], told["empty"], report)
    return Corpus(out, told)


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


def _survey(source: Callable[[], Documents]) -> _Survey:
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
        raise ValueError("encode_corpus: wanted one document or more, got none")
    return _Survey(seen, digest.hexdigest(), sample)


def _lengths(sample: Ready, documents: int, longest: int | None, at: Machine) -> list[int]:
    """The lengths that all texts are padded to, from a sample of theirs."""
    times = documents / len(sample.rows)
    lengths = choose([len(row) for row in sample.rows], longest, at, times=times)
    if longest is None or times == 1 or lengths[-1] == longest:
        return lengths
    return [*lengths, longest]  # for what may be longer than any of the sample


def _name(number: int, kind: Format) -> str:
    return f"vectors-{number:06d}{kind.suffix}"


def _shard_count(settings: Mapping[str, Any]) -> int:
    return -(-settings["documents"] // settings["shard_rows"])


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
        if _name(number, job.kind) not in done:
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
    vectors = embedded(read, window.ready.rows, window.batches, job.model.size, advance)
    with np.errstate(over="ignore"):  # what does not fit is found below
        vectors = vectors.astype(stored, copy=False)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise FloatingPointError(f"the vector of document {window.ids[broken[0]]!r} is not finite in {stored}")
    return Shard(window.ids, vectors, window.ready.truncated)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(out: Path, window: _Window, shard: Shard, kind: Format) -> dict[str, Any]:
    """Write a shard; returns what the manifest says of it."""
    path = out / _name(window.number, kind)
    with atomic.file(path) as partial:
        kind.write(shard, partial)
    return {
        "file": path.name,
        "rows": len(shard.ids),
        "truncated": int(shard.truncated.sum()),
        "empty": int(window.ready.empty.sum()),
        "bytes": path.stat().st_size,
        "sha256": _sha256(path),
    }


def _whole(folder: Path, told: Mapping[str, Any], *, verify: bool = True) -> bool:
    """Whether a shard is there as the manifest tells."""
    path = folder / told["file"]
    return path.is_file() and path.stat().st_size == told["bytes"] and (not verify or _sha256(path) == told["sha256"])


def _write(out: Path, settings: Mapping[str, Any], done: Mapping[str, Any], *, finished: bool) -> dict[str, Any]:
    """Write the manifest; one that has no totals is of a run that is not finished."""
    rows = [done[name] for name in sorted(done)]
    totals = {key: sum(row[key] for row in rows) if finished else None for key in ("truncated", "empty")}
    told = {"kind": FORMAT, "settings": settings, **totals, "shards": rows}
    with atomic.file(out / FILE) as partial:
        partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def _read(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except ValueError as broken:
        raise ValueError(f"{folder / FILE}: not JSON ({broken})") from broken
    if not isinstance(told, dict) or told.get("kind") != FORMAT:
        got = told.get("kind") if isinstance(told, dict) else type(told).__name__
        raise ValueError(f"{folder / FILE}: wanted the manifest of an encoded corpus, {FORMAT!r}, got {got!r}")
    return told


def _begin(out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the run that is to go on, or of a new one."""
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: wanted a folder or nothing there, got a file")
    if (out / FILE).is_file():
        told = _read(out)
        _check(out, told["settings"], settings)
        return told
    # A run that was killed before its first manifest leaves no more than a part of that.
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if there := [name for name in names if not name.startswith(f".{FILE}{atomic.MARK}")]:
        raise FileExistsError(f"{out}: wanted nothing there or a folder with {FILE}, got one with {there[:5]}")
    out.mkdir(parents=True, exist_ok=True)
    return _write(out, settings, {}, finished=False)


def _check(out: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    keys = dict.fromkeys([*now, *begun])
    if odd := [f"{key} {begun.get(key)!r}, now {now.get(key)!r}" for key in keys if begun.get(key) != now.get(key)]:
        raise ValueError(f"{out}: was begun with other settings: {'; '.join(odd)}; write to another folder")
