"""Rows of small integers, trained without a float copy: one step for all of them, or one that each row learns."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BatchLoss,
    BelowFloor,
    Fields,
    Looked,
    Method,
    Now,
    Table,
    Training,
    checked,
    checked_budget,
    fits,
    global_ids,
    near,
    same,
    uniform,
)
from jaxemb.types import Params

REACH = 1.28
"""The largest value that a level stands for, unless a step is given: steps of 0.01 at 8 bits."""
STEP_RATE = 2e-3
"""How far a learnt step moves at once, as a share of where it began: 2e-5 of 0.01."""

Rounding = Callable[[Float[Array, "..."], Float[Array, "..."]], Float[Array, "..."]]
"""(draws from [0, 1), values) -> whole values."""


def stochastic(drawn: Float[Array, "..."], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Up or down by chance, so that the mean is the value: `floor(v + U[0, 1))`."""
    return jnp.floor(values + drawn)


def nearest(drawn: Float[Array, "..."], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """To the nearest: updates below half a step are lost, so that learning stalls.  For comparison only."""
    return jnp.floor(values + 0.5)


def quantized(bits: int = 8, step: float | None = None, rounding: Rounding = stochastic) -> Method:
    """Integers of 8 or 16 bits, a level being worth `step`: `e = step q`.

    A training step turns the rows that a batch has into floats, moves them, and rounds them back: no float table is
    kept.  Only the rows of the batch move, and only by what the optimizer says in that step.

    Args:
      step: above 0; None for 1.28 by the number of levels above 0, which is 0.01 at 8 bits.
      rounding: `stochastic`, or `nearest` to see what goes wrong with it.
    Source: the benchmark's INT8/16 (Zhang et al. 2023, arXiv:2311.15578); Gupta et al. 2015, arXiv:1502.02551.
    """
    worth = _checked("int", bits, step)
    name = f"int{bits}" if rounding is stochastic else f"int{bits}-{rounding.__name__}"

    def plan(fields: Fields, ratio: float) -> Table:
        checked_budget(name, fields, ratio)
        spent = fields.ids * fields.dim * bits // 8 + FLOAT_BYTES
        _fitting(name, fields, ratio, spent, f"{bits} bits a number")

        def init(key: Array) -> Params:
            return {"levels": _start(key, fields, worth, bits), "step": jnp.float32(worth)}

        def opened(params: Params) -> Params:
            return {"weight": params["levels"].astype(jnp.float32) * params["step"], "step": params["step"]}

        def look(moving: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            return Looked(moving["weight"][global_ids(fields, ids)])

        def settle(before: Params, moved: Params, now: Now, loss: BatchLoss) -> Params:
            at = global_ids(fields, now.ids).reshape(-1)
            rows = rounding(_draws(now.key, at, fields.dim), moved["weight"][at] / before["step"])
            return {**before, "levels": before["levels"].at[at].set(_levels(rows, bits))}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return params["levels"][global_ids(fields, ids)].astype(jnp.float32) * params["step"]

        training = Training(opened=opened, look=look, settle=settle, held=("step",))
        larger = None if near(fields, ratio, spent) else math.inf
        return checked(
            Table(name, fields, {"bits": bits, "step": worth}, spent, larger, init, lookup, same, lookup,
                  ("levels", "step"), training=training)
        )  # fmt: skip

    return plan


def learnt_steps(bits: int = 8, step: float | None = None) -> Method:
    """ALPT: as `quantized`, with a step a row, which is learnt: `e = s_x q`.

    After the optimizer has moved the rows of a batch to `w'`, the model runs once more on what they would be rounded
    to, and the steps move against their gradient there:

        v = w' / s,   e = s rnd(v),   de/ds = rnd(v) - v inside the range, and its end outside
        stored: q = stochastic(w' / s')

    The optimizer of the steps is Adam that remembers nothing, which is the gradient's sign, so that its scale is
    irrelevant and no moments are kept: a step moves by 2e-3 of where it began, and stays above 1e-2 of it.

    Source: Li et al. 2023, arXiv:2212.05735, alg. 1.
    """
    worth = _checked("alpt", bits, step)
    name = f"alpt{bits}"

    def plan(fields: Fields, ratio: float) -> Table:
        checked_budget(name, fields, ratio)
        spent = fields.ids * (fields.dim * bits // 8 + FLOAT_BYTES)
        _fitting(name, fields, ratio, spent, f"{bits} bits a number, and a step an id,")

        def init(key: Array) -> Params:
            steps = jnp.full((fields.ids, 1), worth, jnp.float32)
            return {"levels": _start(key, fields, worth, bits), "steps": steps}

        def opened(params: Params) -> Params:
            return {"weight": params["levels"].astype(jnp.float32) * params["steps"], "steps": params["steps"]}

        def look(moving: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            return Looked(moving["weight"][global_ids(fields, ids)])

        def settle(before: Params, moved: Params, now: Now, loss: BatchLoss) -> Params:
            at = global_ids(fields, now.ids)
            weight = moved["weight"]

            def rounded(steps: Float[Array, "n 1"]) -> Float[Array, ""]:
                return loss(lambda ids: _learnt(bits, weight[(w := global_ids(fields, ids))], steps[w]))

            gradient = jax.grad(rounded)(before["steps"])
            steps = before["steps"] - STEP_RATE * worth * jnp.sign(gradient)
            steps = jnp.maximum(steps, worth / 100)
            at = at.reshape(-1)
            rows = stochastic(_draws(now.key, at, fields.dim), weight[at] / steps[at])
            return {"levels": before["levels"].at[at].set(_levels(rows, bits)), "steps": steps}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            at = global_ids(fields, ids)
            return params["levels"][at].astype(jnp.float32) * params["steps"][at]

        training = Training(opened=opened, look=look, settle=settle, held=("steps",))
        larger = None if near(fields, ratio, spent) else math.inf
        return checked(
            Table(name, fields, {"bits": bits, "step": worth}, spent, larger, init, lookup, same, lookup,
                  ("levels", "steps"), training=training)
        )  # fmt: skip

    return plan


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _learnt(bits: int, weight: Float[Array, "*n d"], steps: Float[Array, "*n 1"]) -> Float[Array, "*n d"]:
    """What weights become by rounding to the nearest level, whose slope by the step is that of Esser et al. 2020."""
    low, high = _ends(bits)
    return steps * jnp.clip(jnp.floor(weight / steps + 0.5), low, high)


@_learnt.defjvp
def _learnt_slope(bits: int, at: tuple[Array, Array], along: tuple[Array, Array]) -> tuple[Array, Array]:
    weight, steps = at
    low, high = _ends(bits)
    value = weight / steps
    inside = (value > low) & (value < high)
    level = jnp.clip(jnp.floor(value + 0.5), low, high)
    by_step = jnp.where(inside, level - value, level)
    return steps * level, jnp.where(inside, along[0], 0.0) + by_step * along[1]


def _draws(key: Array, ids: Int[Array, " m"], dim: int) -> Float[Array, "m d"]:
    """From [0, 1), the same for each place of an id: which of them is written last is then irrelevant."""
    return jax.vmap(lambda one: jax.random.uniform(jax.random.fold_in(key, one), (dim,)))(ids)


def _start(key: Array, fields: Fields, worth: float, bits: int) -> Int[Array, "n d"]:
    """The rows that a full table has from the same key, rounded by chance: the nearest level of most is 0."""
    shape = (fields.ids, fields.dim)
    drawn = jax.random.uniform(jax.random.fold_in(key, 1), shape)
    return _levels(stochastic(drawn, uniform(key, shape, fields) / worth), bits)


def _ends(bits: int) -> tuple[int, int]:
    return -(1 << bits - 1), (1 << bits - 1) - 1


def _levels(values: Float[Array, "..."], bits: int) -> Int[Array, "..."]:
    return jnp.clip(values, *_ends(bits)).astype(jnp.int8 if bits == 8 else jnp.int16)


def _checked(what: str, bits: int, step: float | None) -> float:
    if bits not in (8, 16):
        raise ValueError(f"{what}{bits}: wanted 8 or 16 bits, got {bits}")
    if step is not None and not (math.isfinite(step) and step > 0):
        raise ValueError(f"{what}{bits}: wanted a step above 0, got {step}")
    return REACH / (1 << bits - 1) if step is None else step


def _fitting(name: str, fields: Fields, ratio: float, spent: int, because: str) -> None:
    if not fits(fields, ratio, spent):
        raise BelowFloor(name, ratio, spent / fields.bytes, because)
