"""Compressors of matrices by name, and what they kept on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxemb import atomic, checkpoint
from jaxemb.compress.matrix.coded import coded, magpq, pq
from jaxemb.compress.matrix.form import MatrixCompressor
from jaxemb.compress.matrix.low_rank import magsvd, svd
from jaxemb.compress.matrix.merged import dedup
from jaxemb.compress.matrix.pruned import pruned
from jaxemb.compress.matrix.quantized import quantized
from jaxemb.compress.matrix.tensor_train import tt
from jaxemb.types import Params

FORMAT = 1


def _whole(text: str) -> list[int]:
    return [int(number) for number in text.split("x")]


FORMS: dict[str, Callable[[], MatrixCompressor] | Callable[[str], MatrixCompressor]] = {
    "quantized-<bits>[x<seed>]": lambda form: quantized(*_whole(form)),
    "pruned": pruned,
    "pq-<bits>": lambda bits: pq(int(bits)),
    "magpq-<bits>x<bits>": lambda form: magpq(*_whole(form)),
    "svd": svd,
    "magsvd-<groups>": lambda groups: magsvd(int(groups)),
    "tt": tt,
    "dedup-<rows>[x<columns>]": lambda form: dedup(*_whole(form)),
    "coded-<compressor of vectors>": coded,
}
"""How each name is written, and what makes the compressor from what stands for `<...>`."""


def by_name(name: str) -> MatrixCompressor:
    """The compressor of that name, settings included.

    >>> by_name("pq-8").name
    'pq-8'

    Raises: ValueError that lists what there is, or the form that the name must have.
    """
    stem, mark, value = name.partition("-")
    for form, make in FORMS.items():
        head, placed, _ = form.partition("-<")
        if head == stem and bool(placed) == bool(mark):
            try:
                return make(value) if mark else make()  # type: ignore[call-arg]
            except (ValueError, TypeError) as wrong:  # TypeError: more numbers than it takes
                raise ValueError(f"matrix compressor {name!r}: wanted the form {form}: {wrong}") from wrong
    raise ValueError(f"no matrix compressor {name!r}; there are {', '.join(FORMS)}")


def save(folder: Path | str, compressor: MatrixCompressor, kept: Params) -> None:
    """Write a compressor's name and what it kept: `matrix.json` and `matrix.safetensors`.

    The tensors take `size(kept)` bytes; the file has a short header before them.
    """
    with atomic.folder(folder, replaces="matrix.json") as partial:
        (partial / "matrix.json").write_text(json.dumps({"format": FORMAT, "name": compressor.name}) + "\n")
        # A copy in C order: safetensors writes the bytes of a transposed array as they lie.
        arrays = {name: np.array(leaf, order="C") for name, leaf in checkpoint.leaves(kept).items()}
        safetensors.numpy.save_file(arrays, partial / "matrix.safetensors")


def load(folder: Path | str) -> tuple[MatrixCompressor, Params]:
    """Read what `save` wrote.

    Raises: ValueError for a format or a name that this version does not know.
    """
    folder = Path(folder)
    written = json.loads((folder / "matrix.json").read_text())
    if written.get("format") != FORMAT:
        raise ValueError(f"{folder}: wanted matrix format {FORMAT}, got {written.get('format')!r}")
    arrays = safetensors.numpy.load_file(folder / "matrix.safetensors")
    return by_name(written["name"]), checkpoint.nest({name: jnp.asarray(value) for name, value in arrays.items()})
