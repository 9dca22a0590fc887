"""One step: gradient, update, and what is known after it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from jaxemb.train.leaves import joined
from jaxemb.types import Objective, Params

RESERVED = ("step", "loss", "gradient_norm", "validation", "best")
"""What a log calls numbers of its own, so that no metric may be called so."""


class Stepped(NamedTuple):
    """What a compiled step gives.

    params, state: the next params and optimizer state.
    loss: the mean of `losses`, which are one an example.
    metrics: the objective's numbers, and `gradient_norm`, that of the gradient before any clipping.
    sound: leaf by leaf, whether the gradient is finite.
    carried: entries of the next batch.
    """

    params: Params
    state: Any
    loss: Float[Array, ""]
    losses: Float[Array, " b"]
    metrics: dict[str, Array]
    sound: Bool[Array, " leaves"]
    carried: dict[str, Any]


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation, *, shardings: tuple[Any, Any, Any] | None = None
) -> Callable[..., Stepped]:
    """The compiled step: `(params, optimizer state, batch, still={}, carried={})` -> `Stepped`.

    `still` are leaves that the objective reads beside `params` and that do not move; `carried` are further entries of
    the batch, of which it shows those for the next step.  The memory of params, state and `carried` goes to the next.

    Args:
      shardings: of the next params, state and `carried`; by default what the compiler finds.
    Raises: ValueError that names an entry which is carried and not shown, or is in the batch already; for losses that
      are not one an example; for a metric that is no number, or has a name of `RESERVED`.
    """

    def step(
        params: Params,
        state: Any,
        batch: Mapping[str, Any],
        still: Params | None = None,
        carried: Mapping[str, Any] | None = None,
    ) -> Stepped:
        carried = carried or {}
        if twice := sorted(carried.keys() & batch.keys()):
            raise ValueError(f"make_step: {twice} are carried from step to step, and in the batch, too")

        def mean(p: Params) -> tuple[Array, tuple[Array, dict[str, Any]]]:
            each, shown = objective(joined(p, still) if still else p, {**batch, **carried})
            if each.ndim != 1 or not len(each):
                raise ValueError(
                    f"make_step: wanted losses [b] of the objective, one an example, got {list(each.shape)}"
                )
            return each.mean(), (each, shown)

        (loss, (each, shown)), gradient = jax.value_and_grad(mean, has_aux=True)(params)
        if lost := sorted(carried.keys() - shown.keys()):
            raise ValueError(f"make_step: {lost} are carried, but the objective shows {sorted(shown)}")
        following = {name: shown[name] for name in carried}
        metrics = {name: value for name, value in shown.items() if name not in carried}
        _check_metrics(metrics)
        sound = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)])
        metrics = {**metrics, "gradient_norm": optax.tree.norm(gradient)}
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes; strictness is for our own maths
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return Stepped(params, state, loss, each, metrics, sound, following)

    where: Any = None
    if shardings is not None:
        free: Any = None  # where the compiler puts it
        where = Stepped(shardings[0], shardings[1], free, free, free, free, shardings[2])
    return jax.jit(step, donate_argnums=(0, 1, 4), out_shardings=where)


def check_names(what: str, names: Iterable[str]) -> None:
    """Raises: ValueError for names that a log has for numbers of its own."""
    if taken := sorted(set(names) & set(RESERVED)):
        raise ValueError(f"{what} {taken}: a log has numbers of its own by these names; choose others")


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    check_names("make_step: the objective shows", metrics)
    odd = [name for name, value in metrics.items() if not jax.tree_util.all_leaves([value]) or jnp.ndim(value)]
    if odd:
        raise ValueError(f"make_step: wanted the objective to show numbers, and entries that are carried, got {odd}")
