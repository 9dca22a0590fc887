"""Losses over the documents of all devices: gathered on each of them, or passed around a ring.

Both work inside `shard_map` or `pmap`, where a device has its own rows of the batch; `on_mesh` brings a loss there from
a whole batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Shaped

from jaxemb.losses.form import Form, form_for, form_of, queries_of, roles, with_form
from jaxemb.types import Loss

Similarity = Callable[[Array, Array], Array]


def across_devices(loss: Loss, axis: str) -> Loss:
    """Inside `shard_map` or `pmap`, score each device's queries against every device's documents.

    Every device gathers the documents of all of them; `ring` gathers none.  With one device the loss is unchanged.

    Keyword arrays with a column for each of all the devices' documents (a mask, a teacher's scores) keep their columns
    in the order of the devices; they are turned along with the documents.  Arrays with a row a document are gathered.
    Raises: ValueError for a loss that has the documents of all devices already.
    """
    form = _spread(loss, "across_devices")
    if form.reads == "pairs":
        return loss
    if form.reads == "batch":
        return _whole(loss, axis)

    def gathered(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        given = _all_columns(form, kwargs, axis, query.shape[0], document.shape[0])
        if form.reads == "everyone":
            given["queries"] = _own_first(queries_of(kwargs, query), axis)
        return loss(query, _own_first(document, axis), **given)

    return with_form(gathered, form._replace(spread=True))


def ring(loss: Loss, axis: str) -> Loss:
    """Inside `shard_map` or `pmap`, score each device's queries against every device's documents, which never gather.

    Documents are passed from device to device, in the gradient too, each with its own gradient: a device holds those of
    one device, and its own rows of scores `[b, n of all]`; `tiled` within makes those small.  Keyword arrays are as for
    `across_devices`.
    Raises: ValueError for a loss that has the documents of all devices already, or that reads a batch at once; and,
      when it is called, for a `similarity` that is learnt itself, whose gradient does not go around.
    """
    form = _spread(loss, "ring")
    if form.reads == "pairs":
        return loss
    if form.reads == "batch" or not form.compares:
        raise ValueError(
            f"ring: {_name(loss)} takes no `similarity` to score documents that pass by; use across_devices"
        )

    def passed(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        similarity: Similarity | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        given = _all_columns(form, kwargs, axis, query.shape[0], document.shape[0])
        if form.reads == "everyone":
            given["queries"] = queries_of(kwargs, query)
        compared = similarity or form.similarity
        if jax.closure_convert(compared, query, document)[1]:
            raise ValueError(
                "ring: the similarity is made of arrays that are learnt, or traced, which do not go around; "
                "use across_devices, or change the vectors before they are compared"
            )
        return loss(query, document, similarity=partial(_passing, compared, axis), **given)

    return with_form(passed, form._replace(spread=True, compares=False))


def on_mesh(
    loss: Loss, mesh: Mesh, *, axis: str = "data", spread: Callable[[Loss, str], Loss] = across_devices
) -> Loss:
    """A loss of a whole batch, computed by each device of a mesh for its own rows: for `jit`, as in `train.fit`.

        on_mesh(tiled(info_nce), mesh)                  # every device has all documents, and tiles of its own rows
        on_mesh(tiled(info_nce), mesh, spread=ring)     # documents pass by

    Args:
      loss: any; documents beyond one a query come in blocks of one a query.
      axis: of the mesh, over which rows are shared.
      spread: `across_devices` or `ring`.
    Raises: ValueError for an axis that the mesh has not, queries that do not divide among the devices, or documents
      that are not as many for each.
    """
    if axis not in mesh.shape:
        raise ValueError(f"on_mesh: wanted an axis of the mesh, {', '.join(mesh.axis_names)}, got {axis!r}")
    local, form, devices = spread(loss, axis), form_of(loss), mesh.shape[axis]
    rows, blocks = PartitionSpec(axis), PartitionSpec(None, axis)

    def shared(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        b, n = query.shape[0], document.shape[0]
        if b % devices or n % b:
            raise ValueError(
                f"on_mesh: wanted queries that divide among {devices} devices, and as many documents for each query, "
                f"got {b} queries and {n} documents"
            )
        roled = roles(form, kwargs, b, n)
        arrays = {name: value for name, value in kwargs.items() if roled[name] != "value" or hasattr(value, "shape")}
        others = {name: value for name, value in kwargs.items() if name not in arrays}
        where = {"document": blocks, "value": PartitionSpec()}

        def cut(name: str, value: Array) -> Array:
            # Row i's own document is row i, and i, too, in every further block: each device has what its rows need.
            if roled[name] == "document":
                return value.reshape(n // b, b, *value.shape[1:])
            return _by_device(value, b, devices) if roled[name] == "matrix" else value

        def one(query: Array, document: Array, arrays: dict[str, Array]) -> Array:
            joined = {
                name: value.reshape(-1, *value.shape[2:]) if roled[name] == "document" else value
                for name, value in arrays.items()
            }
            return local(query, document.reshape(-1, document.shape[-1]), **joined, **others)

        specs = {name: where.get(roled[name], rows) for name in arrays}
        mapped = jax.shard_map(one, mesh=mesh, in_specs=(rows, blocks, specs), out_specs=rows)
        return mapped(
            query, document.reshape(n // b, b, -1), {name: cut(name, value) for name, value in arrays.items()}
        )

    return with_form(shared, form._replace(spread=True))


def _by_device(matrix: Shaped[Array, "b n"], b: int, devices: int) -> Shaped[Array, "b n"]:
    """Columns of blocks of documents, in the order that devices have them: all blocks of one, then of the next."""
    blocks = matrix.reshape(matrix.shape[0], -1, devices, b // devices)
    return jnp.swapaxes(blocks, 1, 2).reshape(matrix.shape)


def _spread(loss: Loss, name: str) -> Form:
    form = form_for(name, loss)
    if form.spread:
        raise ValueError(f"{name}: the loss has the documents of all devices already; spread it once")
    return form


def _name(loss: Any) -> str:
    return getattr(getattr(loss, "func", loss), "__name__", repr(loss))


def _own_first(value: Shaped[Array, "n *d"], axis: str) -> Shaped[Array, "m *d"]:
    """The rows of all devices, this one's first: a loss takes row i's own document from row i."""
    return jnp.roll(lax.all_gather(value, axis, tiled=True), -lax.axis_index(axis) * value.shape[0], axis=0)


def _all_columns(form: Form, kwargs: dict[str, Any], axis: str, b: int, n: int) -> dict[str, Any]:
    """Keyword arrays for the documents of all devices, this one's first."""
    kept = {name: value for name, value in kwargs.items() if name != "queries"}
    roled = roles(form, kept, b, n, devices=lax.axis_size(axis))
    start = -lax.axis_index(axis) * n

    def spread(name: str, value: Any) -> Any:
        if roled[name] == "document":
            return _own_first(value, axis)
        return jnp.roll(value, start, axis=1) if roled[name] == "matrix" else value

    return {name: spread(name, value) for name, value in kept.items()}


def _whole(loss: Loss, axis: str) -> Loss:
    """A loss of all rows at once: computed on every device from everyone's rows, of which each keeps its own."""
    form = form_of(loss)

    def gathered(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        b, n, devices = query.shape[0], document.shape[0], lax.axis_size(axis)
        roled = roles(form, kwargs, b, n, devices=devices)

        def everyone(value: Array) -> Array:
            return lax.all_gather(value, axis, tiled=True)

        def documents(value: Array) -> Array:
            # Every device's own documents before any device's further ones: row i is query i's again.
            blocks = everyone(value).reshape(devices, n, *value.shape[1:])
            if n % b == 0:  # blocks of one a query: everyone's first negatives before anyone's second ones
                return jnp.swapaxes(blocks.reshape(devices, n // b, b, *value.shape[1:]), 0, 1).reshape(
                    devices * n, *value.shape[1:]
                )
            parts = blocks[:, :b], blocks[:, b:]
            return jnp.concatenate([part.reshape(-1, *value.shape[1:]) for part in parts])

        spread = {"row": everyone, "matrix": everyone, "document": documents, "value": lambda value: value}
        given = {name: spread[roled[name]](value) for name, value in kwargs.items()}
        each = loss(everyone(query), documents(document), **given)
        return lax.dynamic_slice_in_dim(each, lax.axis_index(axis) * b, b)

    return with_form(gathered, form._replace(spread=True))


# --- scores of documents that pass by ------------------------------------------------------------------------------


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _passing(
    similarity: Similarity, axis: str, query: Float[Array, "b d"], document: Float[Array, "n d"]
) -> Float[Array, "b m"]:
    """Scores of this device's queries with the documents of all devices, its own first, then its next neighbour's."""

    def step(passing: Array, _: None) -> tuple[Array, Array]:
        return _to_the_one_before(passing, axis), similarity(query, passing)

    _, scores = lax.scan(step, document, length=lax.axis_size(axis))
    return jnp.moveaxis(scores, 0, 1).reshape(query.shape[0], -1)


def _to_the_one_before(value: Array, axis: str) -> Array:
    devices = lax.axis_size(axis)
    return lax.ppermute(value, axis, [(i, (i - 1) % devices) for i in range(devices)])


def _passing_forward(
    similarity: Similarity, axis: str, query: Array, document: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _passing(similarity, axis, query, document), (query, document)


def _passing_backward(
    similarity: Similarity, axis: str, kept: tuple[Array, Array], gradient: Float[Array, "b m"]
) -> tuple[Array, Array]:
    """The documents go around once more, and each takes its gradient with it until it is home."""
    query, document = kept
    blocks = jnp.moveaxis(gradient.reshape(query.shape[0], -1, document.shape[0]), 1, 0)

    def gradients(passing: Array, block: Array) -> tuple[Array, Array]:
        return jax.vjp(similarity, query, passing)[1](block)

    # The first step is apart, so that what the others add to varies from device to device as they do.
    of_query, of_document = gradients(document, blocks[0])
    start = of_query, _to_the_one_before(document, axis), _to_the_one_before(of_document, axis)

    def step(carry: tuple[Array, Array, Array], block: Array) -> tuple[tuple[Array, Array, Array], None]:
        of_query, passing, of_passing = carry
        more_query, more_passing = gradients(passing, block)
        of_passing = _to_the_one_before(of_passing + more_passing, axis)
        return (of_query + more_query, _to_the_one_before(passing, axis), of_passing), None

    (of_query, _, of_document), _ = lax.scan(step, start, blocks[1:])
    return of_query, of_document


_passing.defvjp(_passing_forward, _passing_backward)
