"""Where batches, params and optimizer state lie: over one mesh, whose axis `data` shares rows and perhaps params."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxemb.types import Batch

AXIS = "data"

Layout = Callable[[Any, Mesh], Any]
"""(a tree of arrays or their shapes, mesh) -> the sharding of each leaf."""


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh with one axis, `data`, over all devices or the first few."""
    chosen = jax.devices()[:devices]
    return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def replicated(tree: Any, mesh: Mesh) -> Any:
    """Every device holds all of every leaf."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, PartitionSpec()), tree)


def fully_sharded(tree: Any, mesh: Mesh) -> Any:
    """Every leaf cut along its largest axis that the devices divide; a leaf without one is on all of them.

    What a step needs of a leaf is gathered when it needs it.  Of stacked layers that is one layer at a time where the
    cut is not along the layers, so that axis is the last choice of a leaf with three or more.
    Source: Rajbhandari et al. 2019, arXiv:1910.02054 (ZeRO, stage 3), as a layout of arrays.
    """
    devices = mesh.shape[AXIS]

    def sharding(leaf: Any) -> NamedSharding:
        axes = [axis for axis, size in enumerate(leaf.shape) if size and size % devices == 0]
        if not axes:
            return NamedSharding(mesh, PartitionSpec())
        stacked = len(leaf.shape) >= 3
        cut = max(axes, key=lambda axis: (not (stacked and axis == 0), leaf.shape[axis]))
        return NamedSharding(mesh, PartitionSpec(*(AXIS if axis == cut else None for axis in range(cut + 1))))

    return jax.tree.map(sharding, tree)


def placed(batch: Batch, mesh: Mesh) -> dict[str, Any]:
    """A host batch as arrays sharded by rows; each process of several brings its own rows.

    Raises: ValueError for a batch without entries; that names an entry without rows, or whose rows do not divide among
      the devices; and with several processes, when entries differ in rows: each process's share stays together, so rows
      beyond the pairs would shift those of others.
    """
    given = {name: value for name, value in batch.items() if value is not None}
    here = len(mesh.local_devices)
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.shape(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(given)
    }
    if not shapes:
        raise ValueError("batch: wanted one entry or more, got none")
    if single := [name for name, shape in shapes.items() if not shape]:
        raise ValueError(f"batch: {single[0]} is one value, wanted an array with rows first")
    counts = {name: shape[0] for name, shape in shapes.items()}
    if jax.process_count() > 1 and len(set(counts.values())) > 1:
        raise ValueError(f"batch: with several processes all entries need the same rows, got {counts}")
    if odd := [name for name, count in counts.items() if not count or count % here]:
        raise ValueError(f"batch: {odd[0]} has {counts[odd[0]]} rows, wanted a multiple of {here} devices")
    rows = NamedSharding(mesh, PartitionSpec(AXIS))

    def put(value: Any) -> Array:
        return jax.make_array_from_process_local_data(rows, np.asarray(value))

    return jax.tree.map(put, given)
