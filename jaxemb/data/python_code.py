"""The built-in task `python-code`: from what a Python function's docstring says, find the function.

It needs no download.  It is made of the standard library and of the packages that jaxemb depends on, as they are
installed, so two machines share it only when they share those: its revision is a hash of the files it was made from
and part of its name, as `python-code@1f0c2a9b73de`.

How (a change of any of this raises `VERSION`):

- A pair is a function or method with a docstring of three words or more and something to do (see `functions`).
  Functions inside functions, test code and files that are not importable by name are left out (see `sources`).
- Of functions with the same docstring, the same source or nearly the same source (see `near_duplicates`) only one
  stays, the first by id.
- Whole top-level packages go to one split, by a hash of their name: pairs of one package never stand on both sides, and
  another package on the machine moves none.  Each module of the standard library counts as a package.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from jaxemb import atomic, extras, progress
from jaxemb.data import functions
from jaxemb.data.near_duplicates import first_copies
from jaxemb.data.pairs import Pair, Pairs
from jaxemb.data.sources import Source, installed
from jaxemb.data.task import Task

NAME = "python-code"
VERSION = "1.0.0"
SPLITS = ("train", "validation", "test")
# The first whole number that gives validation and test 2,000 to 4,000 pairs each and no package two fifths of them, on
# Python 3.11 and 3.12 with all extras; chosen for these sizes alone, before any model had seen the splits.
SALT = "7"


class File(NamedTuple):
    """One source file: its top-level package, its path as `json/decoder.py`, and what it held."""

    package: str
    path: str
    found: functions.Found


class Row(NamedTuple):
    """One pair: where it is from, `id` as `json.decoder:JSONDecoder.decode`, and its texts."""

    package: str
    id: str
    query: str
    document: str


def prepare(folder: Path | str, sources: Sequence[Source] | None = None) -> Path:
    """Make the data set of this machine inside `folder`, unless it is there already.

    Every file is read once, by as many processes as there are processors.  Files that are unreadable, undecodable or
    not Python are left out, counted and reported.  The data set appears whole or not at all.

    Args:
      folder: where data sets of any revision lie side by side.
      sources: what to make it of; by default `sources.installed()`.
    Returns: the data set's own folder, `python-code@<revision>`, which `pairs`, `task` and `counts` read.
    Raises: ValueError when there is no pair in some split.
    """
    folder = Path(folder)
    sources = installed() if sources is None else sources
    if any(folder.glob(f"{NAME}@*")):
        ready = folder / f"{NAME}@{revision(_digests(sources))}"
        if ready.is_dir():
            progress.say(f"{ready.name}: already prepared")
            return ready
    found = _read(sources)
    ready = folder / f"{NAME}@{revision((file.path, file.found.sha256) for file in found)}"
    progress.say(f"{ready.name}: removing repeated functions, writing the others")
    rows, dropped = distinct(_rows(found))
    splits = {split: [row for row in rows if split_of(row.package) == split] for split in SPLITS}
    tally = _tally(found) | dropped | {f"pairs to {split}": len(splits[split]) for split in SPLITS}
    if empty := [split for split in SPLITS if not splits[split]]:
        raise ValueError(f"{ready.name}: no pair for {' and '.join(empty)} among {len(rows)}; it needs more packages")
    with atomic.folder(ready, replaces="python_code") as partial:
        _write(partial, splits, tally)
    progress.say(f"{ready.name}: " + ", ".join(f"{count} {what}" for what, count in tally.items()))
    return ready


def pairs(prepared: Path | str, split: str) -> Pairs:
    """The pairs of `train`, `validation` or `test` of what `prepare` returned, by id, any of them at once."""
    source = _open(prepared, split)

    def read(row: int) -> Pair:
        example = source[row]
        return Pair(example["query"].decode(), example["document"].decode())

    return Pairs(len(source), read)


def task(prepared: Path | str, split: str) -> Task:
    """Every document of a split, and every docstring as a query that its own function answers."""
    rows = list(_open(prepared, split))
    ids = [row["id"].decode() for row in rows]
    return Task(
        name=Path(prepared).resolve().name,
        split=split,
        document_ids=ids,
        documents=[row["document"].decode() for row in rows],
        query_ids=ids,
        queries=[row["query"].decode() for row in rows],
        judgements={each: {each: 1} for each in ids},
    )


def counts(prepared: Path | str) -> dict[str, int]:
    """What the data set was made of and what was left out on the way, as `prepare` reported it."""
    return dict(_reader(prepared).info.metadata)


def split_of(package: str) -> str:
    """Of the hashes of all names 80% are `train`, 10% `validation` and 10% `test`."""
    place = int.from_bytes(hashlib.sha256(f"{SALT}/{package}".encode()).digest()[:8], "big") / 2**64
    return "train" if place < 0.8 else "validation" if place < 0.9 else "test"


def revision(digests: Iterable[tuple[str, str]]) -> str:
    """12 digits of a SHA-256 over `VERSION` and the path and SHA-256 of every file, in whatever order they come."""
    return hashlib.sha256(json.dumps([VERSION, *sorted(digests)]).encode()).hexdigest()[:12]


def distinct(rows: Iterable[Row]) -> tuple[list[Row], dict[str, int]]:
    """Rows by id without those that repeat an earlier one, and how many went for which reason."""
    ordered = sorted(rows, key=lambda row: row.id)
    by_query = _first(ordered, lambda row: " ".join(re.findall(r"\w+", row.query.casefold())))
    by_document = _first(by_query, lambda row: " ".join(row.document.split()))
    copies = first_copies([row.document for row in by_document])
    kept = [row for place, row in enumerate(by_document) if copies[place] == place]
    return kept, {
        "with the docstring of another": len(ordered) - len(by_query),
        "with the source of another": len(by_query) - len(by_document),
        "nearly the source of another": len(by_document) - len(kept),
        "pairs": len(kept),
    }


def _first(rows: Sequence[Row], key: Callable[[Row], str]) -> list[Row]:
    firsts: dict[str, Row] = {}
    for row in rows:
        firsts.setdefault(key(row), row)
    return list(firsts.values())


def _tally(found: Sequence[File]) -> dict[str, int]:
    problems = Counter(file.found.problem for file in found if file.found.problem)
    return {
        "files": len(found),
        **{f"files {problem}": count for problem, count in sorted(problems.items())},
        "functions": sum(file.found.seen for file in found),
        "documented": sum(len(file.found.functions) for file in found),
    }


def _rows(found: Iterable[File]) -> Iterator[Row]:
    """A second function of the same name, as the setter of a property, gets the id of the first and `#2`."""
    times: Counter[str] = Counter()
    for file in sorted(found, key=lambda file: (file.path, file.found.sha256)):
        module = ".".join(Path(file.path).with_suffix("").parts).removesuffix(".__init__")
        for function in file.found.functions:
            name = f"{module}:{function.name}"
            times[name] += 1
            again = f"#{times[name]}" if times[name] > 1 else ""
            yield Row(file.package, name + again, function.query, function.document)


def _digests(sources: Iterable[Source]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for path in source.files:
            yield path, functions.sha256(str(source.root / path))


def _read(sources: Sequence[Source]) -> list[File]:
    """Read every file in other processes, in parts of about the same work; the order is that of the sources."""
    files = [(source.package, path, source.root / path) for source in sources for path in source.files]
    workers = os.cpu_count() or 1
    parts = [files[start :: 8 * workers] for start in range(8 * workers)]
    found: list[File] = []
    with ThreadPoolExecutor(workers) as pool, progress.bar("reading Python files", len(files)) as advance:
        for part, results in zip(parts, pool.map(_read_part, parts), strict=True):
            found += [File(package, path, result) for (package, path, _), result in zip(part, results, strict=True)]
            advance(len(part))
    return found


def _read_part(files: Sequence[tuple[str, str, Path]]) -> list[functions.Found]:
    # Not multiprocessing: it would import the caller's main module again, and fork would copy JAX's threads.
    command = [sys.executable, "-I", "-S", "-W", "ignore", functions.__file__]
    paths = json.dumps([str(path) for _, _, path in files]).encode()
    done = subprocess.run(command, input=paths, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"reading {len(files)} files ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return [
        functions.Found(sha256, problem, seen, [functions.Function(*function) for function in taken])
        for sha256, problem, seen, taken in json.loads(done.stdout)
    ]


def _write(folder: Path, splits: Mapping[str, Sequence[Row]], tally: Mapping[str, int]) -> None:
    builder = _builder_class()(splits=splits, tally=tally, data_dir=str(folder), file_format="array_record")
    tfds = extras.load("tensorflow_datasets")
    tfds.display_progress_bar(False)
    try:
        # It writes what it does to standard output, where a program's own results belong.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    finally:
        tfds.display_progress_bar(True)
    shutil.rmtree(folder / "downloads")  # made by tfds whether it is needed or not


@functools.cache
def _builder_class() -> type:
    tfds = extras.load("tensorflow_datasets")

    class PythonCode(tfds.core.GeneratorBasedBuilder):  # type: ignore[name-defined]
        """Python functions and the first paragraphs of their docstrings."""

        VERSION = tfds.core.Version(VERSION)
        url_infos = None  # nothing is downloaded; looking for checksums would need a package that tfds does not declare

        def __init__(self, *, splits: Mapping[str, Sequence[Row]], tally: Mapping[str, int], **where: Any) -> None:
            self._splits = splits
            self._tally = tally
            super().__init__(**where)

        def _info(self) -> Any:
            text = tfds.features.Text()
            return tfds.core.DatasetInfo(
                builder=self,
                description=__doc__,
                features=tfds.features.FeaturesDict({"id": text, "query": text, "document": text}),
                metadata=tfds.core.MetadataDict(self._tally),
                disable_shuffling=True,  # rows stay sorted by id
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(rows) for split, rows in self._splits.items()}

        def _generate_examples(self, rows: Sequence[Row]) -> Iterator[tuple[int, dict[str, str]]]:
            for number, row in enumerate(rows):
                yield number, {"id": row.id, "query": row.query, "document": row.document}

    return PythonCode


def _reader(prepared: Path | str) -> Any:
    folder = Path(prepared, "python_code", VERSION)
    if not folder.is_dir():
        raise FileNotFoundError(f"{prepared}: no prepared {NAME} data set, as python_code.prepare makes it")
    return extras.load("tensorflow_datasets").builder_from_directory(str(folder))


def _open(prepared: Path | str, split: str) -> Any:
    if split not in SPLITS:
        raise ValueError(f"{NAME}: wanted a split of {', '.join(SPLITS)}, got {split!r}")
    return _reader(prepared).as_data_source(split)
