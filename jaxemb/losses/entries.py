"""The loss of a text that has to select its entry out of a fixed list of vectors."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.losses.checks import above_zero, all_values, one_a_row, same_size
from jaxemb.similarity import dot

AT_ONCE = 50_000
"""Entries whose logits are there at a time."""


def entry_cross_entropy(
    query: Float[Array, "b d"],
    document: Float[Array, "e d"],
    *,
    label: Int[Array, " b"],
    scale: float | Float[Array, ""] = 1.0,
    candidates: Int[Array, " c"] | None = None,
    at_once: int = AT_ONCE,
) -> Float[Array, " b"]:
    """Surprise, in nats, of a text's own entry among all.  Entries get no gradient.

        loss_i = -log( exp(s r_i . w_(y_i)) / sum_e exp(s r_i . w_e) )

    It is of the whole list, on every device: entries are not rows of a batch, so that no function of losses, as
    `across_devices`, is to be put around it.

    >>> each = entry_cross_entropy(jnp.eye(2), jnp.eye(2), label=jnp.array([0, 0]))
    >>> [f"{one:.3f}" for one in each]
    ['0.313', '1.313']

    Args:
      query: of the texts, as they are: lengths count.
      document: a vector an entry.
      label: which entry each text is of.
      scale: of the logits, > 0; `entry_scale` finds one.
      candidates: entries drawn evenly, with replacement, that stand for all others: each of those that are not a text's
        own counts `(e - 1) / c'` times, where `c'` is how many these are.
      at_once: entries whose logits are made at a time; more are read in parts, and again for the gradient.
    Returns: one loss a text; `log(e)` where all logits are equal.
    Raises: ValueError for fewer than two entries, another size of vectors, labels outside the entries or not one a
      text, or a scale that is not above 0.
    Source: Tsukagoshi et al. 2021, arXiv:2105.04339 (DefSent), eq. 1; arXiv:2405.16153 (DefSent+) for any entries.
    """
    name = "entry_cross_entropy"
    entries = document.shape[0]
    if entries < 2:
        raise ValueError(f"{name}: wanted two entries or more, got {entries}")
    same_size(name, query, document)
    one_a_row(name, query.shape[0], label=label)
    all_values(name, "label", label, f"an entry, 0 to {entries - 1}", lambda values: (values >= 0) & (values < entries))
    above_zero(name, scale=scale)
    if at_once < 1:
        raise ValueError(f"{name}: wanted one entry at a time or more, got {at_once}")
    fixed = jax.lax.stop_gradient(document)
    own = scale * jnp.einsum("bd,bd->b", query, fixed[label], preferred_element_type=jnp.float32)
    if candidates is not None:
        return jnp.logaddexp(own, _of_candidates(query, fixed, label, scale, candidates)) - own
    return _all(query, fixed, scale, at_once) - own


def entry_scale(query: Float[Array, "b d"], document: Float[Array, "e d"], spread: float = 2.0) -> Float[Array, ""]:
    """The scale at which the logits of these texts have the standard deviation `spread`.

    Raises: ValueError for a spread that is not above 0.
    """
    above_zero("entry_scale", spread=spread)
    return spread / jnp.std(dot(query, document))


def _all(query: Array, entries: Array, scale: float | Array, at_once: int) -> Float[Array, " b"]:
    """The logarithm of the sum over all entries."""
    if len(entries) <= at_once:
        return jax.nn.logsumexp(scale * dot(query, entries), axis=1)
    more = -len(entries) % at_once
    blocks = jnp.pad(entries, ((0, more), (0, 0))).reshape(-1, at_once, entries.shape[1])
    there = jnp.pad(jnp.ones(len(entries), bool), (0, more)).reshape(-1, at_once)

    @jax.checkpoint  # logits are made again for the gradient, and not kept
    def some(block: tuple[Array, Array]) -> Array:
        logits = scale * dot(query, block[0])
        return jax.nn.logsumexp(jnp.where(block[1][None, :], logits, -jnp.inf), axis=1)

    return jax.nn.logsumexp(jax.lax.map(some, (blocks, there)), axis=0)


def _of_candidates(
    query: Array, entries: Array, label: Array, scale: float | Array, candidates: Array
) -> Float[Array, " b"]:
    """What the others' sum is expected to be, as its logarithm."""
    others = candidates[None, :] != label[:, None]
    logits = jnp.where(others, scale * dot(query, entries[candidates]), -jnp.inf)
    met = jnp.maximum(others.sum(axis=1), 1).astype(logits.dtype)
    return jax.nn.logsumexp(logits, axis=1) + jnp.log((len(entries) - 1) / met)
