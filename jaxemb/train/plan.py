"""What a training step would need: compiled for shapes alone, on as many devices as there are, and never run."""

from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxemb.train.leaves import split
from jaxemb.train.placement import AXIS, Layout, data_mesh, fully_sharded
from jaxemb.train.step import make_step
from jaxemb.types import Batch, Objective, Params


class Plan(NamedTuple):
    """A compiled step.

    params: how many numbers the model has, and `moving`, how many of them are trained.
    devices: that it is compiled for.
    bytes_held: of a device, for params, optimizer state and batch.
    bytes_worked: of a device, at most, beside these while the step runs.
    """

    params: int
    moving: int
    devices: int
    bytes_held: int
    bytes_worked: int


def planned(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    params: Params,
    batch: Batch,
    *,
    frozen: tuple[str, ...] = (),
    mesh: Mesh | None = None,
    layout: Layout = fully_sharded,
) -> Plan:
    """Compile the step that `fit` would make, from shapes, and tell the memory that a device would need.

    Args:
      params, batch: arrays, or their shapes as `jax.eval_shape` gives them.
      frozen: as `fit` has it.
      mesh: all devices by default.
      layout: of params and optimizer state.
    Raises: ValueError for rows that do not divide among the devices.
    """
    mesh = data_mesh() if mesh is None else mesh
    devices = mesh.shape[AXIS]
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(batch)):
        if not leaf.ndim or leaf.shape[0] % devices:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ValueError(f"planned: {name} has the shape {leaf.shape}, wanted a multiple of {devices} rows")
    moving, still = split(params, frozen) if frozen else (params, {})
    state = jax.eval_shape(optimizer.init, moving)
    where: tuple[Any, Any, Any] = layout(moving, mesh), layout(state, mesh), {}
    rows = NamedSharding(mesh, PartitionSpec(AXIS))
    shapes = (
        _laid(moving, where[0]),
        _laid(state, where[1]),
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=rows), dict(batch)),
        _laid(still, layout(still, mesh)),
    )
    step: Any = make_step(objective, optimizer, shardings=where)
    needed = step.lower(*shapes).compile().memory_analysis()
    return Plan(
        params=_size(params),
        moving=_size(moving),
        devices=devices,
        bytes_held=needed.argument_size_in_bytes,
        bytes_worked=needed.temp_size_in_bytes + needed.output_size_in_bytes - needed.alias_size_in_bytes,
    )


def _laid(tree: Any, shardings: Any) -> Any:
    def laid(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(laid, tree, shardings)


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
