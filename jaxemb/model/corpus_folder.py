"""The folder of an encoded corpus: its shards, and the manifest that says what they were made of and with."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxemb import atomic
from jaxemb.model import shards
from jaxemb.model.shards import Format, Shard

FILE = "manifest.json"
FORMAT = "jaxemb-corpus-1"


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
            if not is_whole(self.folder, told, verify=verify):
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

    Raises: FileNotFoundError where there is none; ValueError for another kind of folder, one that is not finished, or
      a manifest that lacks something, by name.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{folder}: no encoded corpus there, for it has no {FILE}")
    told = _read(folder)
    if told["truncated"] is None:
        done, wanted = len(told["shards"]), shard_count(told["settings"])
        raise ValueError(f"{folder}: is not finished, it has {done} of {wanted} shards; run what began it again")
    return Corpus(folder, told)


def shard_name(number: int, kind: Format) -> str:
    """The file of a shard, counted from 0."""
    return f"vectors-{number:06d}{kind.suffix}"


def shard_count(settings: Mapping[str, Any]) -> int:
    """How many shards all documents make."""
    return -(-settings["documents"] // settings["shard_rows"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add(out: Path, number: int, shard: Shard, kind: Format, *, empty: int) -> dict[str, Any]:
    """Write a shard, whole or not at all; returns what the manifest says of it.

    Args:
      empty: how many of its documents had nothing to read.
    """
    path = out / shard_name(number, kind)
    with atomic.file(path) as partial:
        kind.write(shard, partial)
    return {
        "file": path.name,
        "rows": len(shard.ids),
        "truncated": int(shard.truncated.sum()),
        "empty": empty,
        "bytes": path.stat().st_size,
        "sha256": _sha256(path),
    }


def is_whole(folder: Path, told: Mapping[str, Any], *, verify: bool = True) -> bool:
    """Whether a shard is there as the manifest tells."""
    path = folder / told["file"]
    return path.is_file() and path.stat().st_size == told["bytes"] and (not verify or _sha256(path) == told["sha256"])


def write_manifest(
    out: Path, settings: Mapping[str, Any], done: Mapping[str, Any], *, finished: bool
) -> dict[str, Any]:
    """Write the manifest; one that has no totals is of a run that is not finished."""
    rows = [done[name] for name in sorted(done, key=lambda name: (len(name), name))]  # past a million, too
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
    return _whole(folder / FILE, told)


_COUNT, _COUNT_LATER, _NAME = (int,), (int, type(None)), (str,)
KINDS: dict[str, tuple[type, ...]] = {
    "settings": (dict,), "shards": (list,), "truncated": _COUNT_LATER, "empty": _COUNT_LATER,
}  # fmt: skip
SETTING_KINDS: dict[str, tuple[type, ...]] = {
    "documents": _COUNT, "dimensions": _COUNT, "shard_rows": _COUNT, "format": _NAME,
}  # fmt: skip
SHARD_KINDS: dict[str, tuple[type, ...]] = {
    "file": _NAME, "rows": _COUNT, "truncated": _COUNT, "empty": _COUNT, "bytes": _COUNT, "sha256": _NAME,
}  # fmt: skip
"""What a manifest, its settings and its shards must have; a run that is not finished has no totals yet."""


def _whole(file: Path, told: dict[str, Any]) -> dict[str, Any]:
    """The same manifest.  Raises: ValueError that names what it lacks, or what has a value it cannot have."""
    _has(f"{file}:", told, KINDS)
    _has(f"{file}: settings:", told["settings"], SETTING_KINDS)
    if told["settings"]["shard_rows"] < 1:
        raise ValueError(f"{file}: settings: shard_rows must be 1 or more, got {told['settings']['shard_rows']}")
    for number, one in enumerate(told["shards"]):
        _has(f"{file}: shard {number}:", one, SHARD_KINDS)
    return told


def _has(where: str, told: Any, kinds: Mapping[str, tuple[type, ...]]) -> None:
    if not isinstance(told, dict):
        raise ValueError(f"{where} wanted names and values, got {type(told).__name__}")
    if missing := [key for key in kinds if key not in told]:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    for key, wanted in kinds.items():
        value = told[key]
        if isinstance(value, bool) or not isinstance(value, wanted) or (isinstance(value, int) and value < 0):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise ValueError(f"{where} {key} must be {names}, and no number below 0, got {value!r:.60}")


def begin(out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the run that is to go on, or of a new one.

    Raises: ValueError that names the settings in which the run that is there differs, or another kind of manifest;
      FileExistsError for a folder that holds something else; NotADirectoryError for a file.
    """
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
    return write_manifest(out, settings, {}, finished=False)


def _check(out: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    keys = dict.fromkeys([*now, *begun])
    if odd := [f"{key} {begun.get(key)!r}, now {now.get(key)!r}" for key in keys if begun.get(key) != now.get(key)]:
        raise ValueError(f"{out}: was begun with other settings: {'; '.join(odd)}; write to another folder")
