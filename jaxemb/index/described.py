"""`index.json`: what an index folder says of itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxemb.compress import identity
from jaxemb.types import Compressor, Params

FILE = "index.json"
FORMAT = 1


class Described(NamedTuple):
    """The checked description of a folder, with the compressor and the state it is opened with."""

    size: int
    dim: int
    compressor: Compressor
    state: Params
    settings: dict[str, Any]


def write(folder: Path, kind: str, size: int, dim: int, compressor: Compressor, settings: Mapping[str, Any]) -> None:
    """Write it into a folder that is being made."""
    said = {"format": FORMAT, "kind": kind, "size": size, "dim": dim, "compressor": compressor.name}
    (folder / FILE).write_text(json.dumps({**said, "settings": dict(settings)}, indent=2) + "\n")


def _read(folder: Path | str) -> dict[str, Any]:
    path = Path(folder) / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no index there, for it has no {FILE}")
    said = json.loads(path.read_text())
    if said.get("format") != FORMAT:
        raise ValueError(f"{path}: wanted index format {FORMAT}, got {said.get('format')!r}")
    return said


def kind_of(folder: Path | str) -> str:
    """Which kind of index is in a folder.

    Raises: FileNotFoundError where there is none; ValueError for a format that this version does not know.
    """
    return _read(folder)["kind"]


def read(folder: Path | str, kind: str, compressor: Compressor | None, state: Params | None) -> Described:
    """Read it, to open an index of that kind with that compressor; none is float32 as it is.

    Raises: FileNotFoundError where there is no index; ValueError when the format, the
      kind or the compressor is another, or the compressor lacks its state.
    """
    said = _read(folder)
    compressor = compressor or identity()
    if said["kind"] != kind:
        raise ValueError(f"{folder}: wanted an index of kind {kind}, got {said['kind']}")
    if said["compressor"] != compressor.name:
        raise ValueError(f"{folder}: made with the compressor {said['compressor']}, opened with {compressor.name}")
    if state is None:
        if compressor.name != identity().name:
            raise ValueError(f"{folder}: made with the compressor {compressor.name}, opened without its state")
        state = compressor.fit(jnp.zeros((1, said["dim"]), jnp.float32))
    return Described(said["size"], said["dim"], compressor, state, said["settings"])
