"""Documents to embed, from a file."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

SUFFIXES = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")


class Documents(NamedTuple):
    """Ids and texts, row by row."""

    ids: list[str]
    texts: list[str]


def read_texts(path: Path | str) -> Documents:
    """Read documents: a `.txt` file with one a line, or a `.jsonl` file of `{"id": ..., "text": ...}`; either gzipped.

    A line of a `.txt` file has its number, from 1, as id; empty lines are no documents.  In JSONL `_id` and `title` are
    read as BEIR has them, the title in front of the text.

    Raises: FileNotFoundError; ValueError that names the line, with what was wanted and what came, for another kind of
      file, and for a file without a document.
    """
    found = Documents([], [])
    for name, text in stream_texts(path):
        found.ids.append(name)
        found.texts.append(text)
    if not found.ids:
        raise ValueError(f"{path}: wanted one document or more, got none")
    return found


def stream_texts(path: Path | str) -> Iterator[tuple[str, str]]:
    """The same documents one by one, `(id, text)`: no more than a line is in memory.  A file may have none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path}: wanted a .txt or .jsonl file, got {path.suffix or 'no suffix'}; either may be .gz")
    return _documents(path, plain=path.name.endswith((".txt", ".txt.gz")))


def _documents(path: Path, *, plain: bool) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not text in UTF-8 ({error})") from error
        if text.strip():
            yield (str(number), text) if plain else _record(where, text)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines without their ends; not `splitlines`, because a text may hold other separators."""
    with cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for line in file:
                yield line.removesuffix(b"\n").removesuffix(b"\r")
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path}: not a whole gzip file ({error})") from error


def _record(where: str, line: str) -> tuple[str, str]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error})") from error
    name = record.get("_id", record.get("id")) if isinstance(record, dict) else None
    if (
        not isinstance(name, str | int)
        or not all(isinstance(record.get(part, ""), str) for part in ("title", "text"))
        or "text" not in record
    ):
        got = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise ValueError(f'{where}: wanted {{"id": ..., "text": "..."}}, got {got}')
    return str(name), " ".join(part for part in (record.get("title", ""), record["text"]) if part)
