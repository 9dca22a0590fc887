"""Documents to embed, from a file."""

import json
from pathlib import Path
from typing import NamedTuple


class Documents(NamedTuple):
    """Ids and texts, row by row."""

    ids: list[str]
    texts: list[str]


def read_texts(path: Path | str) -> Documents:
    """Read documents: a `.txt` file with one a line, or a `.jsonl` file of `{"id": ..., "text": ...}`.

    A line of a `.txt` file has its number, from 1, as id; empty lines are no documents.  In JSONL `_id` and `title` are
    read as BEIR has them, the title in front of the text.

    Raises: FileNotFoundError; ValueError that names the line, with what was wanted and what came, for another kind of
      file, and for a file without a document.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix not in {".txt", ".jsonl"}:
        raise ValueError(f"{path}: wanted a .txt or .jsonl file, got {path.suffix or 'no suffix'}")
    found = Documents([], [])
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: a text may hold other separators
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8 ({error})") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            name, text = (str(number), line) if path.suffix == ".txt" else _record(f"{path}, line {number}", line)
            found.ids.append(name)
            found.texts.append(text)
    if not found.ids:
        raise ValueError(f"{path}: wanted one document or more, got none")
    return found


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
