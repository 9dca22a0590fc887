"""Settings files of a model folder: JSON, of which every key is known or refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def content(file: Path) -> Any:
    """What a JSON file holds.  Raises: FileNotFoundError; ValueError when it is not JSON."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; wanted a model folder")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that are no UTF-8, or a text that is no JSON
        raise ValueError(f"{file}: not JSON ({error})") from error


def read(file: Path, fallback: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The names and values in a JSON file.

    Args:
      fallback: what a file that is not there says; None where it must be there.
    Raises: FileNotFoundError; ValueError when it is not JSON, or holds something else.
    """
    if fallback is not None and not file.is_file():
        return dict(fallback)
    return mapping(file, content(file))


def mapping(file: Path, told: Any) -> dict[str, Any]:
    """`told`, which was read in `file`, if it is names and values.  Raises: ValueError for anything else."""
    if not isinstance(told, dict):
        raise ValueError(f"{file}: wanted names and values, got {str(told)[:60]!r}")
    return told


def checked(file: Path, told: Any, known: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """`told`, if it is a mapping that says nothing unknown.

    Args:
      file: where it was read, for messages.
      known: every key that may be there, with the values it may have; none listed allows all.
    Raises: ValueError that names the key, and wanted and got.
    """
    told = mapping(file, told)
    for key, value in told.items():
        if key not in known:
            raise ValueError(f"{file}: unknown key {key!r}; known are {sorted(known)}")
        if known[key] and value not in known[key]:
            raise ValueError(f"{file}: {key} must be one of {list(known[key])}, got {value!r}")
    return told


def number(file: Path, told: Mapping[str, Any], key: str) -> int:
    """A whole number above zero.  Raises: ValueError for anything else, or nothing."""
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{file}: {key} must be a whole number above 0, got {value!r}")
    return value


def truth(file: Path, told: Mapping[str, Any], key: str, fallback: bool) -> bool:
    """True or false; `fallback` where the key is not there.  Raises: ValueError for anything else."""
    value = told.get(key, fallback)
    if not isinstance(value, bool):
        raise ValueError(f"{file}: {key} must be true or false, got {value!r}")
    return value


def other_than(task: str) -> Callable[[Path], str | None]:
    """What a folder holds by its `config.json`, where that is no architecture `...For{task}`; for `atomic.folder`."""

    def other(folder: Path) -> str | None:
        named = read(folder / "config.json", {}).get("architectures") or ["no architecture"]
        return None if all(str(name).endswith(f"For{task}") for name in named) else ", ".join(map(str, named))

    return other
