"""Optax transforms that know params: less for deeper layers, no decay of biases, an average along the way."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxemb.train.leaves import is_matrix, mapped, matching
from jaxemb.types import Params


def decayed(params: Params) -> Params:
    """True for the leaves whose weights may decay: matrices and tables, not biases, norms and lone numbers.

    The `mask` of `optax.adamw`.  Names count and not only dimensions: the biases of stacked layers are a matrix, too.

    >>> decayed({"blocks": {"kernel": jnp.ones((2, 3, 3)), "bias": jnp.ones((2, 3))}})
    {'blocks': {'bias': False, 'kernel': True}}
    """
    return mapped(is_matrix, params)


def scale_by_depth(
    decay: float, *, stacked: Sequence[str] = ("*blocks.*",), first: Sequence[str] = ("*embeddings.*",)
) -> optax.GradientTransformation:
    """Steps of layer `i` of `n` times `decay ** (n - 1 - i)`, and of what stands before them times `decay ** n`.

    The last layer and all that follows it move at the full rate.  It comes after the optimizer, whose steps it scales,
    weight decay included: `optax.chain(optax.adamw(rate), scale_by_depth(0.9))`.

    Args:
      decay: of the rate, a layer down; in (0, 1].
      stacked: patterns of the leaves that have a leading layer axis.
      first: patterns of those that come before the layers; () for none.
    Raises: ValueError for a decay out of range; when optimization begins, for a pattern that no leaf fits, or for
      stacks of different depth.
    Source: Howard & Ruder 2018, arXiv:1801.06146, sec. 3.2 (discriminative fine-tuning).
    """
    if not 0 < decay <= 1:
        raise ValueError(f"scale_by_depth: decay must be above 0 and at most 1, got {decay}")

    def factors(params: Params) -> Params:
        layered = set(matching(params, stacked))
        lowest = set(matching(params, first)) - layered
        depths = {path: leaf.shape[0] for path, leaf in _at(params, layered).items()}
        if len(set(depths.values())) > 1:
            raise ValueError(f"scale_by_depth: stacked leaves must have equally many layers, got {depths}")
        layers = next(iter(depths.values()))

        def factor(path: str, leaf: Any) -> Any:
            if path in layered:
                powers = jnp.asarray([decay ** (layers - 1 - layer) for layer in range(layers)], leaf.dtype)
                return powers.reshape(-1, *(1,) * (leaf.ndim - 1))
            return jnp.asarray(decay**layers if path in lowest else 1.0, leaf.dtype)

        return mapped(factor, params)

    def init(params: Params) -> optax.EmptyState:
        factors(params)  # so that what does not fit is told before the first step
        return optax.EmptyState()

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        return jax.tree.map(lambda step, factor: step * factor, updates, factors(updates)), state

    return optax.GradientTransformation(init, update)


def _at(params: Params, paths: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    mapped(lambda path, leaf: found.update({path: leaf}) if path in paths else None, params)
    return found


class Averaging(NamedTuple):
    """The state of `averaging`.

    inner: of the optimizer inside.
    average: of the params so far, float32 or wider.
    """

    inner: Any
    average: Params


def averaging(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """The same steps, and beside them the exponential average of the params that they lead to.

        average_0 = params_0;  average_t = decay * average_{t-1} + (1 - decay) * params_t

    It is part of the optimizer's state, so of checkpoints; `averaged` reads it.

    Args:
      optimizer: all that makes the steps, a schedule and `scale_by_depth` included.
      decay: in [0, 1); 0.999 looks back about a thousand steps.
    Raises: ValueError for a decay out of range.
    Source: Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4), for the idea; with exponential weights as Tarvainen &
      Valpola 2017, arXiv:1703.01780, eq. 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"averaging: decay must be at least 0 and below 1, got {decay}")

    def init(params: Params) -> Averaging:
        return Averaging(optimizer.init(params), jax.tree.map(_wide, params))

    def update(updates: Params, state: Averaging, params: Params | None = None) -> tuple[Params, Averaging]:
        if params is None:
            raise ValueError("averaging: update needs the params")
        updates, inner = optimizer.update(updates, state.inner, params)
        reached = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * _wide(new), state.average, reached)
        return updates, Averaging(inner, average)

    return optax.GradientTransformation(init, update)


def _wide(leaf: Any) -> Array:
    # A copy: an optimizer state that is the params themselves could not be given away with them.
    return jnp.array(leaf, jnp.promote_types(jnp.asarray(leaf).dtype, jnp.float32), copy=True)


def averaged(params: Params, state: Any) -> Params:
    """The average that `averaging` keeps, in the dtypes of `params`; what `fit` takes as its `result`.

    Raises: ValueError when there is none in the optimizer's state.
    """
    found = [
        node
        for node in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, Averaging))
        if isinstance(node, Averaging)
    ]
    if len(found) != 1:
        raise ValueError(f"averaged: wanted an optimizer made by averaging, found {len(found)} averages in its state")
    return jax.tree.map(lambda average, leaf: average.astype(leaf.dtype), found[0].average, params)
