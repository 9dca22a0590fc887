"""What models added to a common start: how far each went, in which direction, and where in the model."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemb.model.merged import alike, floats, opened, products_of, same_kind, weight_files


class Vectors(NamedTuple):
    """Task vectors of models, as whole trees and layer by layer.

    lengths: `[k]`.
    cosines: `[k, k]`.
    layers: names of layers, `embeddings` and what else is outside of them by its first name.
    layer_lengths: `[l, k]`.
    """

    lengths: Float[np.ndarray, " k"]
    cosines: Float[np.ndarray, "k k"]
    layers: tuple[str, ...]
    layer_lengths: Float[np.ndarray, "l k"]


def task_vectors(folders: Sequence[Path], base: Path) -> Vectors:
    """How far each model went from the base, whether they went the same way, and where in the model.

    Raises: ValueError as `merge_folders` for models that do not belong together.
    """
    everyone = [base, *folders]
    same_kind(everyone)
    products: dict[str, Any] = {}
    with ExitStack() as stack:
        copies = alike(everyone, stack)
        for file in weight_files(copies):
            ones = [stack.enter_context(opened(folder / file)) for folder in copies]
            for name in floats(ones):
                layer = _layer(name)
                products[layer] = products.get(layer, 0) + np.asarray(products_of(ones, name, based=True))
    total = sum(products.values())
    lengths = np.sqrt(np.diagonal(total))
    away = np.where(lengths > 0, lengths, 1)
    ordered = sorted(
        products, key=lambda name: (name.startswith("layer "), int(name.split()[-1]) if " " in name else 0)
    )
    rows = [np.sqrt(np.diagonal(products[layer])) for layer in ordered]
    return Vectors(lengths, total / away[:, None] / away[None, :], tuple(ordered), np.stack(rows))


def _place(layer: str) -> tuple[bool, int]:
    """What is outside of layers first, then these by number."""
    kind, _, number = layer.partition(" ")
    return kind == "layer", int(number or 0)


def _layer(name: str) -> str:
    """Of a tensor's name: `layer 3` where a number is in it, else the first part that is no wrapper."""
    parts = [part for part in name.split(".") if part not in ("model", "bert", "roberta", "encoder", "auto_model")]
    number = next((part for part in parts if part.isdigit()), None)
    return parts[0] if number is None else f"layer {number}"


def told(folders: Sequence[Path], base: Path) -> str:
    """`task_vectors` as a table."""
    found = task_vectors(folders, base)
    names = [folder.name[:14] for folder in folders]
    width = max(12, *map(len, names)) + 2

    def line(name: str, values: Float[np.ndarray, " k"]) -> str:
        return f"{name:16}" + "".join(f"{value:>{width}.4f}" for value in values)

    head = f"{'task vector':16}" + "".join(f"{name:>{width}}" for name in names)
    cosines = [line(f"cosine {name}"[:16], row) for name, row in zip(names, found.cosines, strict=True)]
    layers = [line(name[:16], row) for name, row in zip(found.layers, found.layer_lengths, strict=True)]
    return "\n".join([head, line("length", found.lengths), *cosines, *layers])
