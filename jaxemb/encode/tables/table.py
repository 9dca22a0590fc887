"""Tables of vectors for ids, trained inside a model under a budget of bytes: what a method gives, and what it is given.

A method is a function `(fields, ratio) -> Table`: it decides rows, ranks or widths so that what will be saved takes
`ratio` of the full table's bytes, and refuses a budget below its floor.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxemb.types import Params

Lookup = Callable[[Params, Any], Float[Array, "b f d"]]
"""(params, whole ids `[b, f]`) -> vectors; column `f` of the ids counts from 0 inside field `f`."""

FLOAT_BYTES = 4
TOLERANCE = 0.02


class Fields(NamedTuple):
    """What is looked up: several fields, each with ids of its own, and one width for all vectors.

    sizes: how many ids each field has.
    dim: numbers of a vector.
    counts: of every field, how often each id stands in the training data; None where nobody counted.
    """

    sizes: tuple[int, ...]
    dim: int
    counts: tuple[Int[np.ndarray, " n"], ...] | None = None

    @property
    def ids(self) -> int:
        """Ids of all fields together."""
        return sum(self.sizes)

    @property
    def starts(self) -> Int[np.ndarray, " f"]:
        """Where each field begins when the ids of all are counted through."""
        return starts(self.sizes)

    @property
    def bytes(self) -> int:
        """Of the full table in float32."""
        return self.ids * self.dim * FLOAT_BYTES


class Now(NamedTuple):
    """Where training stands.

    step: of this table, from 0.
    steps: that it will have in all.
    key: another one each step.
    ids: of the batch.
    """

    step: Int[Array, ""]
    steps: int
    key: Array
    ids: Int[Array, "b f"]


class Looked(NamedTuple):
    """What a batch's ids give while training.

    vectors: of the ids.
    loss: to be added to the model's mean loss.
    state: entries of the params that this batch changes other than by a gradient, as running means.
    """

    vectors: Float[Array, "b f d"]
    loss: Float[Array, ""] | float = 0.0
    state: Mapping[str, Any] = MappingProxyType({})


BatchLoss = Callable[[Callable[[Int[Array, "b f"]], Float[Array, "b f d"]]], Float[Array, ""]]
"""How well the model does on the batch at hand with other vectors: `(ids -> vectors) -> mean loss`."""

Score = Callable[[Callable[[Int[Array, "b f"]], Float[Array, "b f d"]]], float]
"""How well the model does on validation data with other vectors, as `(ids -> vectors) -> AUC`; larger is better."""


class Training(NamedTuple):
    """What training a table asks for beside a gradient step on its params; the defaults ask for nothing.

    Entries are the top-level names of the params.  Leaves that are no floats never move.

    opened: params -> what the optimizer moves, as integers turned into floats; None for the params themselves.
    look: (opened, ids, now) -> `Looked`, where a training step sees other vectors than `lookup` gives, or adds a loss.
    settle: (params before, opened after the optimizer's step, now, loss) -> params, as rounding or pruning does; `loss`
      is the `BatchLoss` of the same batch.  Needed where `opened` is given.
    held: entries that do not move.
    apart: entries with an optimizer of their own.
    validated: entries that move on validation batches, and not on those of training, by optimizers of their own.
    share: of the run's steps, in (0, 1], that this table takes where `then` follows; the last takes what is left.
    then: (params, key, score) -> `Next`, once those steps are done; None for the last table.
    """

    opened: Callable[[Params], Params] | None = None
    look: Callable[[Params, Int[Array, "b f"], Now], Looked] | None = None
    settle: Callable[[Params, Params, Now, BatchLoss], Params] | None = None
    held: tuple[str, ...] = ()
    apart: Mapping[str, optax.GradientTransformation] = MappingProxyType({})
    validated: Mapping[str, optax.GradientTransformation] = MappingProxyType({})
    share: float = 1.0
    then: "Callable[[Params, Array, Score], Next] | None" = None


class Table(NamedTuple):
    """A planned table: pure functions with all sizes decided.

    name: of the method, with its settings.
    fields: that it serves.
    decided: rows, ranks, widths: plain numbers, for records.
    bytes: of the compact form; None where training decides it.
    larger: bytes at the next larger setting, which is over the budget; infinity where there is none, and None where the
      budget is met within 2 %.
    init: key -> params.
    lookup: (params, ids) -> vectors, as the params stand.
    finalize: params -> the compact form, which is what is saved; every byte of it counts.
    compact: (compact form, ids) -> vectors.
    entries: top-level names of the compact form.
    constants: entries of the compact form that were drawn from a seed, as hash constants, by value; `load` compares
      them, for others would scramble all rows.
    training: what it asks of the loop.
    """

    name: str
    fields: Fields
    decided: Mapping[str, Any]
    bytes: int | None
    larger: float | None
    init: Callable[[Array], Params]
    lookup: Lookup
    finalize: Callable[[Params], Params]
    compact: Lookup
    entries: tuple[str, ...]
    constants: Mapping[str, np.ndarray] = MappingProxyType({})
    training: Training = Training()


class Next(NamedTuple):
    """The table that follows another.

    table: planned from what the other learnt.
    params: where it starts; None for its own `init`.
    restart: whether the model's other params start anew, too.
    """

    table: Table
    params: Params | None = None
    restart: bool = False


Method = Callable[[Fields, float], Table]
"""(fields, share of the full table's bytes) -> a planned table.  Raises: `BelowFloor`."""


class BelowFloor(ValueError):  # noqa: N818
    """A budget below the least that a method can take; `floor` is that, as a share of the full table's bytes."""

    def __init__(self, what: str, ratio: float, floor: float, because: str) -> None:
        super().__init__(
            f"{what}: wanted {floor:.4g} of the full table's bytes or more, got {ratio:.4g}: {because} takes as much"
        )
        self.floor = floor


def starts(counts: Sequence[int]) -> Int[np.ndarray, " f"]:
    """Where each of several runs of rows begins, laid end to end.

    >>> print(starts((3, 5, 2)))
    [0 3 8]
    """
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


def checked_budget(what: str, fields: Fields, ratio: float) -> int:
    """The bytes that `ratio` of the full table are, once fields and ratio are known to be sound.

    Raises: ValueError for a ratio outside (0, 1], fields without ids or dimensions, counts that do not fit them, or as
      many numbers as 32-bit indices do not reach.
    """
    if not (math.isfinite(ratio) and 0 < ratio <= 1):
        raise ValueError(f"{what}: wanted a share of the full table's bytes in (0, 1], got {ratio}")
    if not fields.sizes or min(fields.sizes) < 1 or fields.dim < 1:
        raise ValueError(
            f"{what}: wanted fields with 1 id and 1 dimension or more, got {fields.sizes}, dim {fields.dim}"
        )
    if fields.counts is not None:
        shapes = [np.shape(one) for one in fields.counts]
        if shapes != [(size,) for size in fields.sizes]:
            raise ValueError(f"{what}: wanted one count an id, {list(fields.sizes)}, got {shapes}")
        if any(not np.issubdtype(one.dtype, np.integer) or (one < 0).any() for one in fields.counts):
            raise ValueError(f"{what}: wanted counts as whole numbers of 0 or more")
    if fields.ids * fields.dim * ratio >= 2**31 or fields.ids >= 2**31:
        raise ValueError(
            f"{what}: {fields.ids} ids of {fields.dim} at {ratio} need 64-bit indices; wanted fewer than 2**31 numbers"
        )
    return int(ratio * fields.bytes * (1 + 1e-12))  # a ratio that was worked out from bytes gives those bytes again


def needs_counts(what: str, fields: Fields) -> tuple[Int[np.ndarray, " n"], ...]:
    """The counts.  Raises: ValueError where there are none."""
    if fields.counts is None:
        raise ValueError(f"{what}: wanted how often each id stands in the training data (`Fields.counts`), got None")
    return fields.counts


def near(fields: Fields, ratio: float, size: float | int) -> bool:
    """Whether a size in bytes is within 2 % of the budget."""
    return abs(size - ratio * fields.bytes) <= TOLERANCE * ratio * fields.bytes


def fits(fields: Fields, ratio: float, size: float | int) -> bool:
    """Whether a size in bytes is at most 2 % over the budget."""
    return size <= (1 + TOLERANCE) * ratio * fields.bytes


def size(form: Any) -> int:
    """Bytes of all arrays of a tree; those of a compact form are what its tensors take on disk.

    >>> size({"rows": jnp.zeros((3, 2)), "codes": jnp.zeros(5, jnp.uint8)})
    29
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(form))


def check_ids(what: str, fields: Fields, ids: Array | np.ndarray) -> None:
    """Raises: ValueError for ids that are no whole numbers `[b, f]`, or, where values can be seen, in no field."""
    if ids.ndim != 2 or ids.shape[1] != len(fields.sizes) or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"{what}: wanted whole ids [b, {len(fields.sizes)}], got {ids.dtype} {list(ids.shape)}")
    if isinstance(ids, jax.core.Tracer):
        return
    seen = np.asarray(ids)
    wrong = np.argwhere((seen < 0) | (seen >= np.asarray(fields.sizes)))
    if len(wrong):
        row, field = wrong[0]
        raise ValueError(
            f"{what}: wanted ids of field {field} in [0, {fields.sizes[field]}), got {seen[row, field]} in row {row}"
        )


def checked(table: Table) -> Table:
    """The same table compiled, whose lookups refuse ids outside their field, and params that are not finalized."""
    looked_up, read = jax.jit(table.lookup), jax.jit(table.compact)

    def lookup(params: Params, ids: Int[Array | np.ndarray, "b f"]) -> Float[Array, "b f d"]:
        check_ids(table.name, table.fields, ids)
        return looked_up(params, jnp.asarray(ids))

    def compact(form: Params, ids: Int[Array | np.ndarray, "b f"]) -> Float[Array, "b f d"]:
        check_form(table, form)
        check_ids(table.name, table.fields, ids)
        return read(form, jnp.asarray(ids))

    return table._replace(init=jax.jit(table.init), lookup=lookup, compact=compact)


def check_form(table: Table, form: Params) -> None:
    """Raises: ValueError where this is not the table's compact form, as for params that are still in training."""
    if sorted(form) != sorted(table.entries):
        raise ValueError(
            f"{table.name}: wanted the compact form, with {sorted(table.entries)}, got {sorted(form)}; "
            "trained params are to be finalized first"
        )


def global_ids(fields: Fields, ids: Int[Array, "b f"]) -> Int[Array, "b f"]:
    """Ids counted through all fields."""
    return ids + jnp.asarray(fields.starts, ids.dtype)[None, :]


def uniform(key: Array, shape: tuple[int, ...], fields: Fields) -> Float[Array, "..."]:
    """Rows as a full table starts: even in plus and minus `sqrt(1 / n)`, `n` the ids of the largest field."""
    bound = math.sqrt(1 / max(fields.sizes))
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def in_order(parts: Sequence[tuple[Sequence[int], Float[Array, "b _ d"]]]) -> Float[Array, "b f d"]:
    """Vectors of groups of fields, each with the fields it has, put into the order of the fields."""
    place = {field: vectors[:, at] for columns, vectors in parts for at, field in enumerate(columns)}
    return jnp.stack([place[field] for field in range(len(place))], axis=1)


def same(params: Params) -> Params:
    """A compact form that is the trained one."""
    return params
