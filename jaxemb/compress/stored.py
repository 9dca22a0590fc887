"""Compressors by name, and what they learnt on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxemb import atomic
from jaxemb.compress.chained import chain
from jaxemb.compress.floats import identity, truncate
from jaxemb.compress.linear import hadamard, itq, pca, rotate
from jaxemb.compress.product import anisotropic, opq, pq
from jaxemb.compress.rabitq import rabitq
from jaxemb.compress.recurrent import recurrent
from jaxemb.compress.residual import rq
from jaxemb.compress.scalar import int4, int6, int8
from jaxemb.compress.signs import bits, hamming
from jaxemb.types import Compressor, Params

FORMAT = 1


def _whole(form: str, count: int) -> list[int]:
    """The whole numbers of `8x4`."""
    found = [int(number) for number in form.split("x")]
    if len(found) != count:
        raise ValueError(f"wanted {count} numbers joined by x, got {form!r}")
    return found


def _anisotropic(form: str) -> Compressor:
    shape, _, threshold = form.rpartition("x")
    parts, bits = _whole(shape, 2)
    return anisotropic(parts, bits, float(threshold))


FORMS: dict[str, Callable[[], Compressor] | Callable[[str], Compressor]] = {
    "float32": identity,
    "truncate-<size>": lambda size: truncate(int(size)),
    "pca-<size>": lambda size: pca(int(size)),
    "itq-<size>": lambda size: itq(int(size)),
    "rotate-<seed>": lambda seed: rotate(int(seed)),
    "hadamard-<seed>": lambda seed: hadamard(int(seed)),
    "int8": int8,
    "int8-<share outside the range>": lambda outside: int8(float(outside)),
    "int6": int6,
    "int6-<share outside the range>": lambda outside: int6(float(outside)),
    "int4": int4,
    "int4-<share outside the range>": lambda outside: int4(float(outside)),
    "bits": bits,
    "bits-<threshold>": lambda threshold: bits(float(threshold)),
    "hamming": hamming,
    "hamming-<threshold>": lambda threshold: hamming(float(threshold)),
    "rabitq-<bits>": lambda bits: rabitq(int(bits)),
    "pq-<parts>x<bits>": lambda form: pq(*_whole(form, 2)),
    "opq-<parts>x<bits>": lambda form: opq(*_whole(form, 2)),
    "aniso-<parts>x<bits>x<threshold>": _anisotropic,
    "bebr-<size>x<bits>": lambda form: recurrent(*_whole(form, 2)),
    "rq-<books>x<bits>": lambda form: rq(*_whole(form, 2)),
}
"""How each name is written, and what makes the compressor from the text in the place of `<...>`."""


def _one(name: str) -> Compressor:
    stem, mark, value = name.partition("-")
    for form, make in FORMS.items():
        head, placed, _ = form.partition("-<")
        if head == stem and bool(placed) == bool(mark):
            try:
                return make(value) if mark else make()  # type: ignore[call-arg]
            except ValueError as wrong:
                raise ValueError(f"compressor {name!r}: wanted the form {form}: {wrong}") from wrong
    raise ValueError(f"no compressor {name!r}; there are {', '.join(FORMS)}, and chains of them joined by +")


def by_name(name: str) -> Compressor:
    """The compressor of that name, settings included.

    >>> by_name("truncate-64+int8").bytes_per_vector(384)
    64

    Raises: ValueError that lists what there is, or the form that the name must have.
    """
    stages = [_one(part) for part in name.split("+")]
    return chain(*stages) if len(stages) > 1 else stages[0]


def save(folder: Path | str, compressor: Compressor, state: Params) -> None:
    """Write a compressor's name and what it learnt: `compressor.json` and `state.safetensors`."""
    with atomic.folder(folder, replaces="compressor.json") as partial:
        (partial / "compressor.json").write_text(json.dumps({"format": FORMAT, "name": compressor.name}) + "\n")
        # A copy in C order: safetensors writes the bytes of a transposed array as they lie.
        arrays = {key: np.array(value, order="C") for key, value in state.items()}
        safetensors.numpy.save_file(arrays, partial / "state.safetensors")


def load(folder: Path | str) -> tuple[Compressor, Params]:
    """Read what `save` wrote.

    Raises: ValueError for a format or a name that this version does not know.
    """
    folder = Path(folder)
    written = json.loads((folder / "compressor.json").read_text())
    if written.get("format") != FORMAT:
        raise ValueError(f"{folder}: wanted compressor format {FORMAT}, got {written.get('format')!r}")
    state = safetensors.numpy.load_file(folder / "state.safetensors")
    return by_name(written["name"]), {key: jnp.asarray(value) for key, value in state.items()}
