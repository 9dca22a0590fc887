"""The best params by a metric, and when to stop looking for better ones."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb.types import Params


class Validation(NamedTuple):
    """What `fit` asks of its params on the way.

    metric: params -> a number, larger is better.  With several processes all call it, and must get the same.
    every: steps between two checks; the last step is always checked.
    patience: how many checks in a row may bring nothing better before the run ends; None never ends it.
    """

    metric: Callable[[Params], float]
    every: int
    patience: int | None = None


class Best(NamedTuple):
    """The best params so far.

    params: those; the first ones before any check.
    value: of the metric; None before any check.
    step: that they were reached by.
    waited: checks since.
    """

    params: Params
    value: float | None = None
    step: int = 0
    waited: int = 0


def check(validation: Validation) -> None:
    """Raises: ValueError for a number out of range."""
    if validation.every < 1 or (validation.patience is not None and validation.patience < 1):
        raise ValueError(
            "fit: validation needs every >= 1 and patience >= 1 or None, "
            f"got every={validation.every} and patience={validation.patience}"
        )


def due(validation: Validation | None, number: int, steps: int) -> bool:
    """Whether the params are to be checked after this step."""
    return validation is not None and (number % validation.every == 0 or number == steps)


def over(validation: Validation | None, best: Best | None) -> bool:
    """Whether there has been nothing better for too long."""
    if validation is None or best is None or validation.patience is None:
        return False
    return best.waited >= validation.patience


def better(best: Best, params: Params, value: float, number: int) -> Best:
    """The best after a check of `params`, which the next step may overwrite; of equals the first stays.

    Raises: FloatingPointError for a value that is not finite, which would compare with nothing.
    """
    if not np.isfinite(value):
        raise FloatingPointError(f"fit: validation after step {number} gave {value}")
    if best.value is not None and value <= best.value:
        return best._replace(waited=best.waited + 1)
    return Best(jax.tree.map(jnp.copy, params), value, number)


def told(best: Best | None) -> dict[str, Any] | None:
    """All but the params, as JSON has it."""
    return None if best is None else {"value": best.value, "step": best.step, "waited": best.waited}
