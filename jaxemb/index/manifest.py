"""`manifest.json`: every file of a folder with its size and sha256, so that any change to one is told by its name."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "manifest.json"
FORMAT = 1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[str]:
    """Names of all that is below a folder but folders and the manifest itself, with `/` between parts."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in found} - {FILE})


def _text(said: Mapping[str, Any]) -> str:
    """One spelling for one content: its digest goes with it, so that no byte of it can change unseen."""
    body = {key: value for key, value in said.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": digest}, indent=2, sort_keys=True) + "\n"


def write(folder: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    """Write it as the last file of a folder; `said` is what it tells besides.

    Returns: all that it tells.
    Raises: TypeError or ValueError when `said` is not JSON.
    """
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _digest(folder / name)} for name in _files(folder)
    }
    text = _text({**said, "format": FORMAT, "files": files})
    (folder / FILE).write_text(text, encoding="utf-8")
    return json.loads(text)


def read(folder: Path, *, verify: bool = True) -> dict[str, Any]:
    """Read it and compare it with what is there.

    Args:
      verify: read every file and compare its sha256; without, only names and sizes are compared.
    Raises: FileNotFoundError where there is no manifest; ValueError that names the file which
      has changed, is missing, or is not in the manifest, and for an unknown format.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no bundle there, for it has no {FILE}")
    try:
        text = path.read_text(encoding="utf-8")
        said = json.loads(text)
    except ValueError as broken:
        raise ValueError(f"{path}: has changed, it is no JSON: {broken}") from broken
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        got = said.get("format") if isinstance(said, dict) else said
        raise ValueError(f"{path}: wanted bundle format {FORMAT}, got {got!r}")
    if text != _text(said):
        raise ValueError(f"{path}: has changed, its own sha256 is another")
    there = _files(folder)
    for name in sorted(set(there) ^ set(said["files"])):
        raise ValueError(f"{folder / name}: " + ("is not in the manifest" if name in there else "is missing"))
    for name, wanted in said["files"].items():
        if (folder / name).is_symlink():
            raise ValueError(f"{folder / name}: wanted a file, got a link")
        size = (folder / name).stat().st_size
        if size != wanted["bytes"]:
            raise ValueError(f"{folder / name}: has changed, wanted {wanted['bytes']} bytes, got {size}")
    for name, wanted in said["files"].items() if verify else ():
        digest = _digest(folder / name)
        if digest != wanted["sha256"]:
            raise ValueError(f"{folder / name}: has changed, wanted sha256 {wanted['sha256']}, got {digest}")
    return said
