"""A step of a click model and of the table inside it: what `encode.tables.Training` asks for, done once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.data.clicks import Clicks
from jaxemb.encode.click_models import ClickModel
from jaxemb.encode.tables import Looked, Now, Table
from jaxemb.types import Params

ROWS_AT_ONCE = 65_536
OWN = "model"


class Rows(NamedTuple):
    """A log, or a batch of it, as a step reads it."""

    ids: Int[Array, "n f"]
    clicked: Float[Array, " n"]
    dense: Float[Array, "n m"]


class Parts(NamedTuple):
    """A `data.clicks.Log` on the device."""

    train: Rows
    validation: Rows
    test: Rows


class State(NamedTuple):
    """What training changes.

    table, model: params of either.
    optimizer: of the model's params, and of the table's entries that move with them.
    others: of entries that have an optimizer of their own, by name.
    """

    table: Params
    model: Params
    optimizer: Any
    others: dict[str, Any]


class Steps(NamedTuple):
    """Compiled for one table.

    start: (key, table params or None, model params or None) -> the first state.
    step: (state, batch, validation batch or None, number of the step, key) -> (state, mean loss).
    chances: (lookup, state, rows) -> logits, `lookup` being `ids -> vectors`.
    """

    start: Callable[[Array, Params | None, Params | None], State]
    step: Callable[..., tuple[State, Float[Array, ""]]]
    chances: Callable[..., Float[np.ndarray, " n"]]


def rows(clicks: Clicks) -> Rows:
    """On the device."""
    return Rows(jnp.asarray(clicks.ids, jnp.int32), jnp.asarray(clicks.clicked, jnp.float32), jnp.asarray(clicks.dense))


def take(log: Rows, chosen: Int[np.ndarray, " b"]) -> Rows:
    """A batch."""
    return Rows(*(_taken(part, chosen) for part in log))


@jax.jit
def _taken(part: Array, chosen: Int[Array, " b"]) -> Array:
    return part[chosen]


def steps(table: Table, model: ClickModel, optimizer: optax.GradientTransformation, dense: int, total: int) -> Steps:
    """What a table's training is made of.

    Args:
      optimizer: of all that has none of its own.
      dense: plain numbers a row.
      total: steps that the table will be trained for.
    """
    training = table.training
    own = {**training.apart, **training.validated}

    def opened(params: Params) -> Params:
        return training.opened(params) if training.opened else params

    def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
        return training.look(params, ids, now) if training.look else Looked(table.lookup(params, ids))

    def moving(params: Params) -> Params:
        return {name: value for name, value in params.items() if name not in {*own, *training.held} and _floats(value)}

    def start(key: Array, params: Params | None = None, above: Params | None = None) -> State:
        one, other = jax.random.split(key)
        # What is given is copied, for a step takes the memory of the state that it is given.
        params = table.init(one) if params is None else jax.tree.map(jnp.copy, params)
        fields = table.fields
        above = (
            model.init(other, len(fields.sizes), fields.dim, dense) if above is None else jax.tree.map(jnp.copy, above)
        )
        shown = opened(params)
        others = {name: each.init(shown[name]) for name, each in own.items()}
        return State(params, above, optimizer.init({"table": moving(shown), OWN: above}), others)

    def cost(above: Params, batch: Rows, vectors: Float[Array, "b f d"]) -> Float[Array, ""]:
        logits = model.apply(above, vectors, batch.dense)
        return optax.sigmoid_binary_cross_entropy(logits, batch.clicked).mean()

    @partial(jax.jit, donate_argnums=0)
    def step(state: State, batch: Rows, judged: Rows | None, at: Array, key: Array) -> tuple[State, Float[Array, ""]]:
        keys = jax.random.split(jax.random.fold_in(key, at), 3)
        now = Now(at, total, keys[0], batch.ids)
        shown = opened(state.table)

        def loss(moved: Params, apart: Params, batch: Rows, now: Now) -> tuple[Float[Array, ""], Params]:
            looked = look({**shown, **moved["table"], **apart}, batch.ids, now)
            return cost(moved[OWN], batch, looked.vectors) + looked.loss, dict(looked.state)

        at_first = {"table": moving(shown), OWN: state.model}
        apart = {name: shown[name] for name in training.apart}
        (value, seen), (slope, apart_slope) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
            at_first, apart, batch, now
        )
        moved, optimizer_state = _moved(optimizer, slope, state.optimizer, at_first)
        moved["table"] = jax.tree.map(_where_seen, moved["table"], at_first["table"], slope["table"])
        others = dict(state.others)
        for name, each in training.apart.items():
            apart[name], others[name] = _moved(each, apart_slope[name], others[name], apart[name])
        if training.validated:
            assert judged is not None
            searched = {name: shown[name] for name in training.validated}
            then = Now(at, total, keys[1], judged.ids)
            searched_slope = jax.grad(lambda some: loss(moved, {**apart, **some}, judged, then)[0])(searched)
            for name, each in training.validated.items():
                apart[name], others[name] = _moved(each, searched_slope[name], others[name], searched[name])
        params = {**shown, **moved["table"], **apart, **seen}
        if training.settle:
            params = training.settle(
                state.table, params, Now(at, total, keys[2], batch.ids),
                lambda vectors: cost(moved[OWN], batch, vectors(batch.ids)),
            )  # fmt: skip
        return State(params, moved[OWN], optimizer_state, others), value

    score = jax.jit(model.apply)

    def chances(
        lookup: Callable[[Int[Array, "b f"]], Float[Array, "b f d"]], state: State, log: Rows
    ) -> Float[np.ndarray, " n"]:
        parts = [slice(at, at + ROWS_AT_ONCE) for at in range(0, len(log.ids), ROWS_AT_ONCE)]
        return np.concatenate(
            [np.asarray(score(state.model, lookup(log.ids[part]), log.dense[part])) for part in parts]
        )

    return Steps(start, step, chances)


def _floats(value: Any) -> bool:
    return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(value))


def _moved(optimizer: optax.GradientTransformation, slope: Any, state: Any, params: Any) -> tuple[Any, Any]:
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes; strictness is for our own maths
        updates, state = optimizer.update(slope, state, params)
        return optax.apply_updates(params, updates), state


def _where_seen(after: Array, before: Array, slope: Array) -> Array:
    """Numbers that the batch has nothing to say of stay, whatever the optimizer remembers of earlier batches."""
    return jnp.where(slope == 0, before, after)


def positive(log: Rows) -> Bool[np.ndarray, " n"]:
    """Whether each row was clicked."""
    return np.asarray(log.clicked) > 0.5
