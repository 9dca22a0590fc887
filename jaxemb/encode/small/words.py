"""The neural bag of words: a row for every token, and whichever pooling.

Source: Iyyer et al. 2015, Deep Unordered Composition Rivals Syntactic Methods for Text Classification, sec. 2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.types import Backbone, Encoder, Params, Tokens


def words(vocab_size: int, size: int) -> Backbone:
    """One vector a token, whatever stands around it; params `{"embeddings": {"tokens": {"table": [v, d]}}}`.

    The vectors of a table that was trained elsewhere go in its place.
    """

    def init(key: Array) -> Params:
        return {"embeddings": {"tokens": {"table": size**-0.5 * jax.random.normal(key, (vocab_size, size))}}}

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t d"]:
        return params["embeddings"]["tokens"]["table"][tokens.ids]

    def hidden(params: Params, tokens: Tokens) -> Float[Array, "l b t d"]:
        return apply(params, tokens)[None]

    return Backbone(init, apply, hidden)


def total(states: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "b d"]:
    """The sum over a text's tokens: a bag of words counts each as often as it stands there.

    >>> print(total(jnp.array([[[1.0], [3.0], [9.0]]]), jnp.array([[1, 1, 0]])))
    [[4.]]
    """
    return jnp.einsum("btd,bt->bd", states, mask.astype(states.dtype))


def reading(encoder: Encoder, change: Callable[[Tokens], Tokens]) -> Encoder:
    """The encoder reading what `change` makes of the tokens.

    `reading(bag, distinct)` is a binary bag of words, `reading(bag, hashed_ngrams(...))` a bag of n-grams.
    """
    return Encoder(encoder.init, lambda params, tokens: encoder.apply(params, change(tokens)))


def distinct(tokens: Tokens) -> Tokens:
    """Count every token of a text once, where it stands first: the binary bag of words.

    >>> print(distinct(Tokens(jnp.array([[7, 5, 7, 7]]), jnp.array([[1, 1, 1, 0]]))).counted)
    [[1 1 0 0]]
    """
    ids, kept = jnp.asarray(tokens.ids), jnp.asarray(tokens.pooled) > 0
    told = jnp.where(kept, ids, -1)
    order = jnp.argsort(told, axis=1, stable=True)
    ordered = jnp.take_along_axis(told, order, axis=1)
    new = jnp.concatenate([jnp.ones_like(kept[:, :1]), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    first = jnp.take_along_axis(new, jnp.argsort(order, axis=1), axis=1) & kept
    return tokens._replace(counted=first.astype(jnp.int32))


def without(token: int) -> Callable[[Tokens], Tokens]:
    """A change for `reading` by which pooling leaves out one token, as `[UNK]`, unless a text has no other.

    >>> print(without(1)(Tokens(jnp.array([[7, 1, 5], [1, 1, 5]]), jnp.array([[1, 1, 0], [1, 1, 0]]))).counted)
    [[1 0 0]
     [1 1 0]]
    """

    def change(tokens: Tokens) -> Tokens:
        counted = jnp.asarray(tokens.pooled)
        kept = jnp.where(jnp.asarray(tokens.ids) == token, jnp.zeros_like(counted), counted)
        return tokens._replace(counted=jnp.where((kept > 0).any(axis=1)[:, None], kept, counted))

    return change
