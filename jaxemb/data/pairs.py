"""Pairs of a query and the document that answers it: what an encoder is trained on, read where they lie on the disk."""

import hashlib
import json
import mmap
import operator
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, SupportsIndex, overload

import numpy as np
from jaxtyping import Int

from jaxemb import extras


class Pair(NamedTuple):
    """A query, a document that answers it, and documents that do not, the hardest first."""

    query: str
    document: str
    negatives: tuple[str, ...] = ()


def documents_of(pairs: Sequence[Pair], negatives: int = 0) -> list[str]:
    """A batch's documents in blocks, as losses want them: all own ones, all first negatives, all second ones.

    >>> documents_of([Pair("a", "x", ("y", "z")), Pair("b", "u", ("v", "w"))], 2)
    ['x', 'u', 'y', 'v', 'z', 'w']

    Args:
      negatives: how many of each pair, the first ones.
    Raises: ValueError that names a pair with fewer.
    """
    for pair in pairs:
        if len(pair.negatives) < negatives:
            raise ValueError(f"wanted {negatives} negatives a pair, got {len(pair.negatives)} for {pair.query[:60]!r}")
    return [pair.document for pair in pairs] + [pair.negatives[k] for k in range(negatives) for pair in pairs]


def document_keys(pairs: Sequence[Pair], negatives: int = 0) -> Int[np.ndarray, "n 2"]:
    """What a batch's documents are, for `losses.mask_duplicates`: a hash of each text, and of the query it answers.

    There is a key for each of `documents_of`; hard negatives answer no query: -1 stands there.  Hashes have 31 bits:
    among 10,000 texts two that differ share one about once in forty times.

    >>> keys = document_keys([Pair("a", "x", ("y",)), Pair("a", "z", ("x",))], 1)
    >>> bool(keys[0, 1] == keys[1, 1]), bool(keys[0, 0] == keys[3, 0]), int(keys[2, 1])
    (True, True, -1)
    """
    texts = documents_of(pairs, negatives)
    answered = [_key(pair.query) for pair in pairs] + [-1] * (len(texts) - len(pairs))
    return np.array([[_key(text) for text in texts], answered], np.int32).T


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") >> 1


class Pairs(Sequence[Pair]):
    """`length` pairs, each made by `read(row)` when it is asked for."""

    def __init__(self, length: int, read: Callable[[int], Pair]) -> None:
        self._length = length
        self._read = read

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, row: SupportsIndex) -> Pair: ...
    @overload
    def __getitem__(self, row: slice) -> list[Pair]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> Pair | list[Pair]:
        if isinstance(row, slice):
            return [self._read(each) for each in range(*row.indices(self._length))]
        each = operator.index(row)
        if not -self._length <= each < self._length:
            raise IndexError(f"pair {each} of {self._length}")
        return self._read(each % self._length)


def read_pairs(path: Path | str) -> Pairs:
    """Pairs of a `.jsonl` or `.parquet` file, any of them at once.

    Keys or columns: `query` and `document`, texts that are not empty, and perhaps `negatives`, a list of texts.  Every
    row is checked now, so that no training stops at a bad one later; blank lines of a `.jsonl` file are passed over.
    Neither kind is held in memory: lines are read from the file, and the rows of a `.parquet` file from an Arrow copy
    that lies in the system's folder for temporary files for as long as the pairs are in use.

    Raises: ValueError that names the file and the line (or row, from 0), and what was wanted and found.
    """
    path = Path(path)
    readers: Mapping[str, Callable[[Path], Pairs]] = {".jsonl": _json_lines, ".parquet": _parquet}
    if path.suffix not in readers:
        raise ValueError(f"{path}: wanted a file of pairs ending in {' or '.join(readers)}, got {path.suffix!r}")
    pairs = readers[path.suffix](path)
    if not len(pairs):
        raise ValueError(f"{path}: wanted one pair or more, got none")
    return pairs


def _pair(where: str, record: object) -> Pair:
    if not isinstance(record, dict):
        raise ValueError(f"{where}: wanted an object with the keys query and document, got {type(record).__name__}")
    for key in ("query", "document"):
        if key not in record:
            raise ValueError(f"{where}: wanted the keys query, document and perhaps negatives, got {sorted(record)}")
        if not isinstance(record[key], str) or not record[key].strip():
            raise ValueError(f"{where}: wanted a text that is not empty as {key}, got {record[key]!r}")
    negatives = record.get("negatives")
    negatives = [] if negatives is None else negatives
    if not isinstance(negatives, list) or not all(isinstance(text, str) and text.strip() for text in negatives):
        raise ValueError(f"{where}: wanted a list of texts that are not empty as negatives, got {negatives!r}")
    return Pair(record["query"], record["document"], tuple(negatives))


def _json_lines(path: Path) -> Pairs:
    """Where every line starts is kept; its text is read when it is asked for."""
    starts = np.fromiter(_starts(path), np.int64)
    with open(path, "rb") as file:
        # A map rather than a handle: threads that read one file do not share a position in it.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if starts.size else None

    def read(row: int) -> Pair:
        assert content is not None  # there are rows
        start = int(starts[row])
        end = content.find(b"\n", start)
        return _parse(f"{path}, pair {row}", content[start : end if end >= 0 else len(content)])

    return Pairs(len(starts), read)


def _starts(path: Path) -> Iterator[int]:
    position = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                _parse(f"{path}, line {number}", line)
                yield position
            position += len(line)


def _parse(where: str, line: bytes) -> Pair:
    try:
        record = json.loads(line)
    except ValueError as problem:  # bad JSON and bad UTF-8 alike
        raise ValueError(f"{where}: wanted one JSON object, got {line[:80]!r} ({problem})") from None
    return _pair(where, record)


def _parquet(path: Path) -> Pairs:
    arrow = extras.load("pyarrow")
    # The map keeps the copy's bytes when its name is gone: nothing is left behind, even by a killed process.
    with tempfile.TemporaryDirectory(prefix="jaxemb-pairs-") as folder:
        copy = Path(folder, "pairs.arrow")
        _copy(path, copy)
        table = arrow.ipc.open_file(arrow.memory_map(str(copy))).read_all()

    def read(row: int) -> Pair:
        return _pair(f"{path}, row {row}", {name: table[name][row].as_py() for name in table.column_names})

    return Pairs(len(table), read)


def _copy(path: Path, copy: Path) -> None:
    arrow, parquet = extras.load("pyarrow"), extras.load("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
    except arrow.ArrowInvalid as problem:
        raise ValueError(f"{path}: not a parquet file ({problem})") from None
    with file:
        names = file.schema_arrow.names
        if not {"query", "document"} <= set(names):
            raise ValueError(f"{path}: wanted the columns query, document and perhaps negatives, got {names}")
        columns = [name for name in ("query", "document", "negatives") if name in names]
        schema = arrow.schema([file.schema_arrow.field(name) for name in columns])
        row = 0
        with arrow.ipc.new_file(str(copy), schema) as target:
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                for record in batch.to_pylist():
                    _pair(f"{path}, row {row}", record)
                    row += 1
                target.write_batch(batch)
