"""The documents' ids and texts on disk, of which one is read without the others.

`documents.jsonl` has a document a line, `{"id": ..., "text": ...}`; `offsets.npy`,
int64 `[n + 1]`, says at which byte each line begins, and where the last one ends.
"""

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from jaxemb import atomic


@dataclass(frozen=True, eq=False)
class Texts:
    """Documents by row; `offsets` has one more than there are.

    The file is mapped, not read: only what is asked for comes into memory.
    """

    lines: mmap.mmap
    offsets: Int64[np.ndarray, " e"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> tuple[str, str]:
        """The id and the text of a row.

        Raises: IndexError for a row that is not there, negative ones included.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"wanted a row from 0 to {len(self) - 1}, got {row}")
        line = json.loads(self.lines[self.offsets[row] : self.offsets[row + 1]])
        return line["id"], line["text"]

    @property
    def resident_bytes(self) -> int:
        """Bytes held in memory: the offsets.  The mapped file is the system's to keep or drop."""
        return self.offsets.nbytes


def check(ids: Sequence[str], texts: Sequence[str]) -> None:
    """Whether the ids are unique, and as many as the texts.

    Raises: ValueError, which names the first id that is there twice.
    """
    if len(ids) != len(texts) or not ids:
        raise ValueError(f"documents: wanted 1 or more, and an id for each, got {len(ids)} ids and {len(texts)} texts")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"documents: wanted unique ids, got {twice!r} more than once")


def write(folder: Path | str, ids: Sequence[str], texts: Sequence[str]) -> None:
    """Write both files.

    Raises: ValueError for ids that are not unique, or not as many as texts, and for a
      text with half of a surrogate pair, which no file can hold.
    """
    check(ids, texts)
    offsets = np.zeros(len(ids) + 1, np.int64)
    with atomic.folder(folder, replaces="offsets.npy") as partial:
        with (partial / "documents.jsonl").open("wb") as file:
            for row, (name, text) in enumerate(zip(ids, texts, strict=True)):
                line = json.dumps({"id": name, "text": text}, ensure_ascii=False)
                try:
                    offsets[row + 1] = offsets[row] + file.write(line.encode() + b"\n")
                except UnicodeEncodeError as broken:
                    raise ValueError(f"document {name!r}: wanted Unicode text, got {broken.reason}") from broken
        np.save(partial / "offsets.npy", offsets, allow_pickle=False)


def load(folder: Path | str) -> Texts:
    """Open what `write` wrote.

    Raises: ValueError when the offsets are not those of the lines.
    """
    folder = Path(folder)
    offsets = np.load(folder / "offsets.npy", allow_pickle=False)
    with (folder / "documents.jsonl").open("rb") as file:
        lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if offsets.ndim != 1 or offsets.dtype != np.int64 or offsets[-1] != len(lines):
        raise ValueError(f"{folder}: wanted offsets that end at byte {len(lines)}, got {offsets[-1:]}")
    return Texts(lines, offsets)
