"""Losses of a text that is to be read out of its vectors: every token at its place, or the words it has in any order.

They read token states, `[b, t, d]`, and `head`, which makes logits over a vocabulary of them: `states @ table.T` where
it is tied to the embeddings, or the identity where the states are logits already.  Logits `[b, t, v]` are never there
at once: some positions are read at a time, and again for the gradient.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import all_values, any_true
from jaxemb.similarity import wide

Head = Callable[[Array], Array]
"""From states `[..., d]` to logits `[..., v]`."""

POSITIONS = 32
"""Positions of a text whose logits are made at a time."""


def logits_already(states: Float[Array, "*n v"]) -> Float[Array, "*n v"]:
    """The head of states that are logits: the identity."""
    return states


def token_cross_entropy(
    states: Float[Array, "b t d"],
    ids: Int[Array, "b t"],
    counted: Bool[Array, "b t"] | Int[Array, "b t"],
    *,
    head: Head = logits_already,
    positions: int = POSITIONS,
) -> Float[Array, " b"]:
    """Surprise, in nats, of the tokens of a text, the mean over those that count.

    It is the loss of masked language modelling, where the states are an encoder's and masked positions count; and of
    enhanced decoding, where they are the decoder's and all real positions but special ones count.

        loss_i = sum_t c_it ( logsumexp_v head(h_it)_v - head(h_it)_(x_it) ) / sum_t c_it

    A mean over all positions of a batch weighs rows by how many count: `counted.sum(1) / counted.sum(1).mean()`.

    >>> states = jnp.zeros((1, 2, 8))
    >>> [f"{one:.3f}" for one in token_cross_entropy(states, jnp.array([[3, 7]]), jnp.array([[1, 0]]))]
    ['2.079']

    Args:
      ids: the tokens as they were before masking.
      counted: 1 at the positions that count.
      head: from states to logits.
      positions: how many positions of a text have their logits made at a time.
    Returns: one loss a text; `log(v)` where all logits are equal, 0 for a text of which nothing counts.
    Raises: ValueError for ids outside the vocabulary, or when nothing counts in any text.
    Source: Devlin et al. 2019, arXiv:1810.04805; Xiao et al. 2022, arXiv:2205.12035 (RetroMAE), eq. 2 and 7.
    """
    _check("token_cross_entropy", states, ids, counted, head, positions)
    blocks = _blocks(positions, states, ids, counted.astype(bool))

    @jax.checkpoint  # logits are made again for the gradient, and not kept
    def some(block: tuple[Array, Array, Array]) -> Array:
        each = optax.softmax_cross_entropy_with_integer_labels(_logits(head, block[0]), block[1])
        return jnp.where(block[2], each, jnp.zeros_like(each)).sum(axis=1)

    total = jax.lax.map(some, blocks).sum(axis=0)
    return total / jnp.maximum(counted.astype(bool).sum(axis=1).astype(total.dtype), 1)


def lexical_pool(
    states: Float[Array, "b t d"],
    counted: Bool[Array, "b t"] | Int[Array, "b t"],
    *,
    head: Head = logits_already,
    positions: int = POSITIONS,
) -> Float[Array, "b v"]:
    """The largest logit of every word over the positions of a text: how much each word is in it.

        m_iv = max_{t counted} head(h_it)_v

    A running maximum over blocks of positions; for the gradient one `[b, v]` a block is kept.

    >>> print(lexical_pool(jnp.array([[[1.0, 5.0], [2.0, 3.0], [9.0, 9.0]]]), jnp.array([[1, 1, 0]])))
    [[2. 5.]]

    Args: as for `token_cross_entropy`; counted: all real positions but the first, where that is the text's vector.
    Returns: logits in float32 or wider; the lowest of numbers for a text of which nothing counts.
    Source: Xiao et al. 2023, arXiv:2211.08769 (DupMAE), sec. 3.2.
    """
    if states.shape[:2] != counted.shape:
        raise ValueError(f"lexical_pool: counted must be {states.shape[:2]}, got {counted.shape}")
    if positions < 1:
        raise ValueError(f"lexical_pool: wanted one position at a time or more, got {positions}")
    vocabulary = jax.eval_shape(head, states[:, :1])
    full = wide(vocabulary.dtype)
    lowest = jnp.asarray(jnp.finfo(full).min, full)

    @jax.checkpoint  # logits are made again for the gradient, and not kept
    def step(largest: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        logits = jnp.where(block[1][..., None], _logits(head, block[0]), lowest)
        return jnp.maximum(largest, logits.max(axis=1)), None

    start = jnp.full((states.shape[0], vocabulary.shape[-1]), lowest)
    largest, _ = jax.lax.scan(step, start, _blocks(positions, states, counted.astype(bool)))
    return largest


def bag_of_words(
    states: Float[Array, "b t d"],
    ids: Int[Array, "b t"],
    counted: Bool[Array, "b t"] | Int[Array, "b t"],
    *,
    words: Bool[Array, "b t"] | Int[Array, "b t"] | None = None,
    head: Head = logits_already,
    norm: Literal["tokens", "none"] = "tokens",
    positions: int = POSITIONS,
) -> Float[Array, " b"]:
    """Surprise, in nats, of the words of a text, given the largest logit of every word over its positions.

    With `m` as `lexical_pool` has it, and each word once however often it occurs:

        loss_i = sum_{v in words of i} ( logsumexp(m_i) - m_iv ) / n_i

    >>> states = jnp.zeros((1, 3, 4))
    >>> ids, counted = jnp.array([[2, 2, 1]]), jnp.ones((1, 3), bool)
    >>> [f"{one:.3f}" for one in bag_of_words(states, ids, counted)]  # two words of three tokens
    ['0.924']

    Args:
      ids: the tokens as they were before masking.
      counted: 1 at the positions that are read.
      words: 1 at the tokens that are words, not special ones; by default those of `counted`.
      head: from states to logits.
      norm: `tokens`, by how many tokens are words, repeats among them, as the authors' code; `none`, the paper's sum.
      positions: how many positions of a text have their logits made at a time.
    Returns: one loss a text; 0 for a text without words.
    Raises: ValueError for ids outside the vocabulary, another norm, or when no text has a word.
    Source: Xiao et al. 2023, arXiv:2211.08769 (DupMAE), eq. 6.
    """
    if norm not in ("tokens", "none"):
        raise ValueError(f"bag_of_words: norm is tokens or none, got {norm!r}")
    there = (counted if words is None else words).astype(bool)
    _check("bag_of_words", states, ids, there, head, positions)
    largest = lexical_pool(states, counted, head=head, positions=positions)
    # Sorted, equal words stand together, and the first of them counts.
    ascending = jnp.sort(jnp.where(there, ids, -1), axis=1)
    before = jnp.pad(ascending[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    first = (ascending >= 0) & (ascending != before)
    found = jnp.take_along_axis(largest, jnp.maximum(ascending, 0), axis=1)
    each = jax.nn.logsumexp(largest, axis=1, keepdims=True) - found
    total = jnp.where(first, each, jnp.zeros_like(each)).sum(axis=1)
    return total / jnp.maximum(there.sum(axis=1).astype(total.dtype), 1) if norm == "tokens" else total


def _logits(head: Head, states: Array) -> Array:
    logits = head(states)
    return logits.astype(wide(logits.dtype))


def _blocks(positions: int, *arrays: Array) -> tuple[Array, ...]:
    """Arrays `[b, t, ...]` as blocks of positions `[blocks, b, positions, ...]`, filled up with zeros."""
    t = arrays[0].shape[1]
    at_once = min(positions, t)
    more = -t % at_once

    def cut(array: Array) -> Array:
        padded = jnp.pad(array, [(0, 0), (0, more)] + [(0, 0)] * (array.ndim - 2))
        return jnp.moveaxis(padded.reshape(array.shape[0], -1, at_once, *array.shape[2:]), 1, 0)

    return tuple(cut(array) for array in arrays)


def _check(name: str, states: Array, ids: Array, counted: Array, head: Head, positions: int) -> None:
    for what, array in (("ids", ids), ("counted", counted)):
        if array.shape != states.shape[:2]:
            raise ValueError(f"{name}: {what} must be {states.shape[:2]}, got {array.shape}")
    if positions < 1:
        raise ValueError(f"{name}: wanted one position at a time or more, got {positions}")
    vocabulary = jax.eval_shape(head, states[:, :1]).shape[-1]
    inside = f"a token of the head's vocabulary, 0 to {vocabulary - 1}"
    all_values(name, "ids", ids, inside, lambda values: (values >= 0) & (values < vocabulary))
    any_true(name, "no token counts in any text", counted)
