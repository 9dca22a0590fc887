"""Adapters on disk: a map between two models, with the two that it is for.

adapter.json        its name, both models' fingerprints, sizes
state.safetensors   what was learnt
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Float

from jaxemb import atomic
from jaxemb.adapt.between import Between, identity, perceptron, procrustes, ridge, shift
from jaxemb.similarity import unit
from jaxemb.types import Params

FORMAT = 1
FILE = "adapter.json"
BETWEEN: Mapping[str, Callable[..., Between]] = {
    "identity": identity,
    "shift": shift,
    "procrustes": procrustes,
    "ridge": ridge,
    "perceptron": lambda hidden: perceptron(int(hidden)),
}
"""What a name begins with, and what makes the map from the numbers behind it."""


class Adapter(NamedTuple):
    """A map that was learnt, and which models it goes between.

    source: the fingerprint of the model whose vectors it takes, as `model.fingerprint` gives it.
    target: that of the model whose space it brings them to.
    """

    between: Between
    state: Params
    source: str
    target: str

    @property
    def nbytes(self) -> int:
        """Bytes of what was learnt."""
        return sum(np.asarray(leaf).nbytes for leaf in self.state.values())


def brought(adapter: Adapter, vectors: Float[Array, "b d"], *, of: str) -> Float[Array, "b e"]:
    """Vectors of the source model in the target's space, of length one, so that scores of several indexes compare.

    Args:
      of: the fingerprint of the model that made them.
    Raises: ValueError for vectors of another model, as those that have been brought there already are.
    """
    if of != adapter.source:
        there = " already" if of == adapter.target else ""
        raise ValueError(
            f"adapter {adapter.between.name}: it takes vectors of {adapter.source} to {adapter.target}, got some of "
            f"{of}{there}"
        )
    return unit(adapter.between.apply(adapter.state, vectors))


def by_name(name: str) -> Between:
    """The map of that name, as `procrustes` or `perceptron-256`.

    >>> by_name("perceptron-16").name
    'perceptron-16'

    Raises: ValueError that lists what there is.
    """
    head, _, numbers = name.partition("-")
    if head not in BETWEEN or bool(numbers) != (head == "perceptron") or (numbers and not numbers.isdigit()):
        raise ValueError(f"no map {name!r} between models; there are {', '.join(BETWEEN)}-<hidden>")
    return BETWEEN[head](*([numbers] if numbers else []))


def save(folder: Path | str, adapter: Adapter) -> None:
    """Write it, whole or not at all."""
    said = {"format": FORMAT, "name": adapter.between.name, "source": adapter.source, "target": adapter.target}
    with atomic.folder(folder, replaces=FILE) as partial:
        (partial / FILE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        arrays = {key: np.array(value, order="C") for key, value in adapter.state.items()}
        (partial / "state.safetensors").write_bytes(safetensors.numpy.save(arrays))


def load(folder: Path | str) -> Adapter:
    """Read what `save` wrote.

    Raises: FileNotFoundError where there is none; ValueError for a format or a name that this version does not know.
    """
    folder = Path(folder)
    said = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if said.get("format") != FORMAT:
        raise ValueError(f"{folder}: wanted adapter format {FORMAT}, got {said.get('format')!r}")
    state = safetensors.numpy.load_file(folder / "state.safetensors")
    learnt = {key: jnp.asarray(value) for key, value in state.items()}
    return Adapter(by_name(said["name"]), learnt, said["source"], said["target"])
