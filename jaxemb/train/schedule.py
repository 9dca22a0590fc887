"""Numbers that a loss is given by the step: what moves while training goes on."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.losses.checks import all_values
from jaxemb.types import Batch, Objective, Params

Shape = Literal["linear", "quadratic"]
DONE = "done"
"""The entry of a batch that says how many steps are behind it."""


def counted() -> dict[str, Int[Array, ""]]:
    """What `fit` is given as `carried`, so that batches know their step: checkpoints have it, too."""
    return {DONE: jnp.zeros((), jnp.int32)}


def moving(start: float, end: float, steps: int, shape: Shape = "linear") -> Callable[[Array | int], Float[Array, ""]]:
    """A number that goes from `start` at the first step to `end` behind the last.

    >>> strength = moving(-0.5, 0.5, 10)
    >>> [float(strength(step)) for step in (0, 5, 10)]
    [-0.5, 0.0, 0.5]

    Args:
      shape: of the share `x` of steps that are done: `x`, or `x^2`.
    Raises: ValueError for ends that are not finite, no steps, another shape; when it is called, for a step outside.
    """
    if not (np.isfinite(start) and np.isfinite(end)) or steps < 1 or shape not in ("linear", "quadratic"):
        raise ValueError(
            f"moving: wanted finite ends, 1 step or more, linear or quadratic; got {start}, {end}, {steps}, {shape!r}"
        )

    def at(done: Array | int) -> Float[Array, ""]:
        step = jnp.asarray(done)
        all_values("moving", "the step", step, f"from 0 to {steps}", lambda given: (given >= 0) & (given <= steps))
        share = step.astype(jnp.float32) / steps
        return start + (end - start) * (share if shape == "linear" else share * share)

    return at


def scheduled(objective: Objective, numbers: Mapping[str, Callable[[Array], Float[Array, ""]]]) -> Objective:
    """An objective whose batches have further entries, each a number by how many steps are done.

    For `fit(..., carried=counted())`; each number is shown under its name.

    Args:
      numbers: as `{"strength": moving(-0.5, 0.5, steps)}`.
    Raises: ValueError when a batch does not know its step, or has an entry of such a name.
    """

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        if DONE not in batch:
            raise ValueError(f"scheduled: wanted the batch to have {DONE!r}; call fit with carried=train.counted()")
        if twice := sorted(numbers.keys() & batch.keys()):
            raise ValueError(f"scheduled: {twice} move with the step, and are in the batch, too")
        now = {name: number(batch[DONE]) for name, number in numbers.items()}
        each, shown = objective(params, {**batch, **now})
        return each, {**shown, **now, DONE: batch[DONE] + 1}

    return weighed
