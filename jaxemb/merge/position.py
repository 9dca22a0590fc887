"""Self Positioning: where between models to stand, learnt by gradient on a few probes."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxemb.merge.directions import fold_coefficients, gram
from jaxemb.merge.tasks import moved, task_vectors
from jaxemb.merge.trees import combination
from jaxemb.types import Batch, Objective, Params

Coefficients = Callable[[Float[Array, "k k"], Float[Array, " k"]], Float[Array, " k"]]
"""The Gram matrix of task vectors and a weight each, above 0, to what each vector is multiplied with."""


class Position(NamedTuple):
    """Where a merge came to stand.

    params: of the merged model.
    weights: of the task vectors.
    scale: of what they are merged to.
    losses: the probes' mean, before each step.
    """

    params: Params
    weights: Float[np.ndarray, " k"]
    scale: float
    losses: Float[np.ndarray, " s"]


def weighted_mean(products: Float[Array, "k k"], weights: Float[Array, " k"]) -> Float[Array, " k"]:
    """Coefficients of a plain mean of task vectors."""
    return weights / weights.sum()


def self_position(
    base: Params,
    tuned: list[Params],
    objective: Objective,
    batches: Iterable[Batch],
    *,
    steps: int = 150,
    learning_rate: float = 5e-3,
    penalty: float = 0.0,
    coefficients: Coefficients = fold_coefficients,
) -> Position:
    """Weights and a scale of task vectors that make the loss on probes least; the models themselves stay as they are.

        min over a, l of   mean loss( base + l V(a) ) + penalty * l,   a, l > 0

    Only `k + 1` numbers are learnt, so a few hundred probes are enough; they should have all tasks in equal parts.
    Every step costs a forward and a backward pass of one merged model.

    Args:
      objective: as models are trained with.
      batches: of probes, `steps` of them or more.
      penalty: on the scale, which keeps the merged vector from growing.
      coefficients: how the weights merge the vectors; the paper's fold of arcs by default.
    Raises: ValueError as `task_vectors`, for no steps, and where batches end before.
    Source: Li et al. 2024, arXiv:2410.15035, eq. 3; Adam as a public re-implementation has it.
    """
    if steps < 1 or not learning_rate > 0 or penalty < 0:
        raise ValueError(
            f"self_position: wanted 1 step or more, a rate above 0 and a penalty of 0 or more, "
            f"got {steps}, {learning_rate} and {penalty}"
        )
    vectors = task_vectors(base, tuned)
    products = gram(vectors)
    one = jnp.log(jnp.expm1(jnp.float32(1.0)))  # softplus makes 1 of it
    free = {"weights": jnp.full(len(vectors), one), "scale": one}
    optimizer = optax.adam(learning_rate)

    def merged(free: Params) -> Params:
        shares = coefficients(products, jax.nn.softplus(free["weights"]))
        return moved(base, combination(vectors, list(shares)), jax.nn.softplus(free["scale"]))

    def lost(free: Params, batch: Batch) -> Float[Array, ""]:
        each, _ = objective(merged(free), batch)
        return each.mean() + penalty * jax.nn.softplus(free["scale"])

    @jax.jit
    def step(free: Params, state: optax.OptState, batch: Batch) -> tuple[Params, optax.OptState, Array]:
        loss, slope = jax.value_and_grad(lost)(free, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax divides floats by its whole count of steps
            change, state = optimizer.update(slope, state, free)
            return optax.apply_updates(free, change), state, loss

    state, losses, probes = optimizer.init(free), [], iter(batches)
    for number in range(steps):
        if (batch := next(probes, None)) is None:
            raise ValueError(f"self_position: wanted {steps} batches of probes, got {number}")
        free, state, loss = step(free, state, batch)
        losses.append(float(loss))
    weights = np.asarray(jax.nn.softplus(free["weights"]))
    return Position(merged(free), weights, float(jax.nn.softplus(free["scale"])), np.array(losses))
