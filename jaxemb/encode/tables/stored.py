"""A finished table on disk: its arrays, and beside them what it was planned as."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxemb import atomic
from jaxemb.encode.tables.table import Table, check_form
from jaxemb.types import Params

FORMAT = 1
JOIN = "."


def save(folder: Path | str, table: Table, form: Params) -> None:
    """Write a compact form: `table.safetensors`, whose tensors are all that the budget counts, and `table.json`.

    Raises: ValueError for params that are not finalized.
    """
    check_form(table, form)
    with atomic.folder(folder, replaces="table.json") as partial:
        (partial / "table.json").write_text(json.dumps({"format": FORMAT, **_planned(table)}) + "\n")
        arrays = {name: np.array(leaf, order="C") for name, leaf in _flat(form).items()}
        safetensors.numpy.save_file(arrays, partial / "table.safetensors")


def load(folder: Path | str, table: Table) -> Params:
    """Read the compact form that `save` wrote, for the same table planned anew.

    Raises: ValueError for another format, a table planned otherwise, or hash constants of another seed.
    """
    folder = Path(folder)
    written = json.loads((folder / "table.json").read_text())
    if written.pop("format", None) != FORMAT:
        raise ValueError(f"{folder}: wanted table format {FORMAT}")
    planned = json.loads(json.dumps(_planned(table)))
    if odd := sorted(name for name in planned if planned[name] != written.get(name)):
        raise ValueError(
            f"{folder}: it was planned with other {', '.join(odd)}: wanted {[planned[name] for name in odd]}, "
            f"got {[written.get(name) for name in odd]}"
        )
    form = _nested(safetensors.numpy.load_file(folder / "table.safetensors"))
    check_form(table, form)
    for name, value in table.constants.items():
        if not np.array_equal(np.asarray(form[name]), value):
            raise ValueError(
                f"{folder}: {name!r}, drawn from a seed, are others than those of {table.name}; with them every id "
                "would get another's vector"
            )
    return form


def _planned(table: Table) -> dict[str, object]:
    return {
        "name": table.name,
        "sizes": table.fields.sizes,
        "dim": table.fields.dim,
        "decided": dict(table.decided),
    }


def _flat(form: Params, before: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in form.items():
        if isinstance(value, dict):
            found |= _flat(value, before + name + JOIN)
        else:
            found[before + name] = np.asarray(value)
    return found


def _nested(arrays: dict[str, np.ndarray]) -> Params:
    form: Params = {}
    for path, value in arrays.items():
        *groups, name = path.split(JOIN)
        inside = form
        for group in groups:
            inside = inside.setdefault(group, {})
        inside[name] = jnp.asarray(value)
    return form
