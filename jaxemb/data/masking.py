"""What a text hides of itself in pre-training: whole words at random, and what each place may see of the rest.

All is drawn with `jax.random` from one key a text, so that no draw depends on how many devices share a batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

from jaxemb.types import Tokens

MASK, RANDOM = 0.8, 0.1  # of the tokens chosen; the rest stay as they are


def word_numbers(
    tokens: Tokens, special: Bool[np.ndarray, " v"], continues: Bool[np.ndarray, " v"] | None = None
) -> Int[np.ndarray, "b t"]:
    """Which word of its text each token belongs to, from 0; -1 for special tokens and padding.

    >>> ids = np.array([[2, 5, 6, 7, 3]], np.int32)
    >>> special, continues = np.arange(8) < 5, np.arange(8) == 6
    >>> print(word_numbers(Tokens(ids, np.ones_like(ids)), special, continues))
    [[-1  0  0  1 -1]]

    Args:
      special: of every id of the vocabulary, whether it is no word.
      continues: whether it goes on with the word before it, as `##ing` does; None where every token is a word.
    Raises: ValueError for ids outside the vocabulary, or a text without any word.
    """
    ids, mask = np.asarray(tokens.ids), np.asarray(tokens.mask)
    if ids.size and (ids.min() < 0 or ids.max() >= len(special)):
        raise ValueError(f"word_numbers: wanted ids from 0 to {len(special) - 1}, got {ids.min()} to {ids.max()}")
    real = (mask > 0) & ~special[ids]
    if not real.any(axis=1).all():
        bare = int(np.flatnonzero(~real.any(axis=1))[0])
        raise ValueError(f"word_numbers: text {bare} has no token but special ones")
    goes_on = np.zeros_like(real) if continues is None else continues[ids] & real
    goes_on[:, 1:] &= real[:, :-1]
    goes_on[:, 0] = False
    starts = real & ~goes_on
    return np.where(real, np.cumsum(starts, axis=1) - 1, -1).astype(np.int32)


def check_rate(name: str, rate: float) -> None:
    """Raises: ValueError for a share that is not between 0 and 1."""
    if not 0 < rate < 1:
        raise ValueError(f"{name}: wanted a rate above 0 and below 1, got {rate}")


def keys_of(key: Array, count: int) -> Array:
    """A key for each of so many texts; that of a text does not depend on how many there are."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(count))


def covered(key: Array, words: Int[Array, "b t"], rate: float) -> Bool[Array, "b t"]:
    """Whole words at random that make up about `rate` of each text's tokens, one word at least.

    Words are taken in a random order as long as they fit what is to be covered, rounded.

    Args:
      words: as `word_numbers` has them.
    Source: whole-word masking of Devlin et al.'s code (2019); a text's share is rounded, not drawn.
    """
    check_rate("covered", rate)
    return jax.vmap(lambda own, row: _covered(own, row, rate))(keys_of(key, words.shape[0]), words)


def _covered(key: Array, words: Int[Array, " t"], rate: float) -> Bool[Array, " t"]:
    t = words.shape[0]
    real = words >= 0
    budget = jnp.maximum(1, jnp.round(rate * real.sum().astype(jnp.float32)).astype(jnp.int32))
    chance = jax.random.uniform(key, (t,))[jnp.maximum(words, 0)]  # one number a word
    order = jnp.argsort(jnp.where(real, chance, jnp.inf))
    # Behind the last token of a word in this order stand as many tokens as would be covered with it.
    ordered, sizes = words[order], jnp.zeros(t, jnp.int32).at[jnp.maximum(words, 0)].add(real.astype(jnp.int32))
    first = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    before = jax.lax.cummax(jnp.where(first, jnp.arange(t), 0))  # tokens of the words before
    fits = (before + sizes[jnp.maximum(ordered, 0)] <= budget) | (before == 0)
    return jnp.zeros(t, bool).at[order].set(fits & (ordered >= 0))


def chosen_first(chosen: Bool[Array, "b t"], count: int, *values: Shaped[Array, "b t ..."]) -> tuple[Array, ...]:
    """So many positions of each text, those chosen before others, each kind in its order: what is read where few are.

    >>> print(chosen_first(jnp.array([[False, True, True]]), 2, jnp.array([[5, 6, 7]]))[0])
    [[6 7]]

    Args:
      count: of the positions that stay; where more are chosen, the last of them go.
      values: arrays with an entry, or a vector, a position; `chosen` may be one of them.
    Returns: the same arrays with `count` positions, `[b, count, ...]`.
    Raises: ValueError for a count that is not from 1 to `t`.
    """
    if not 1 <= count <= chosen.shape[1]:
        raise ValueError(f"chosen_first: wanted a count from 1 to {chosen.shape[1]}, got {count}")
    places = jnp.argsort(~chosen, axis=1, stable=True)[:, :count]
    return tuple(jax.vmap(lambda row, own: row[own])(each, places) for each in values)


def corrupted(
    key: Array, ids: Int[Array, "b t"], chosen: Bool[Array, "b t"], *, mask: int, first: int, vocabulary: int
) -> Int[Array, "b t"]:
    """Of the tokens chosen, 80 % become `mask`, 10 % any token from `first` on, and 10 % stay.

    Args:
      first: the first id that is no special token; those below are never drawn.
    Source: Devlin et al. 2019, arXiv:1810.04805, sec. 3.1.
    """
    if not (0 <= mask < vocabulary and 0 <= first < vocabulary):
        raise ValueError(f"corrupted: wanted mask and first below {vocabulary}, got {mask} and {first}")

    def one(own: Array, row: Array, some: Array) -> Array:
        kinds, drawn = jax.random.split(own)
        kind = jax.random.uniform(kinds, row.shape)
        other = jax.random.randint(drawn, row.shape, first, vocabulary, row.dtype)
        changed = jnp.where(kind < MASK, jnp.asarray(mask, row.dtype), jnp.where(kind < MASK + RANDOM, other, row))
        return jnp.where(some, changed, row)

    return jax.vmap(one)(keys_of(key, ids.shape[0]), ids, chosen)


def visible(
    key: Array, words: Int[Array, "b t"], mask: Int[Array | np.ndarray, "b t"], rate: float
) -> Bool[Array, "b t t"]:
    """What each place of a text sees of the others in enhanced decoding: all but whole words that cover `rate` of it.

    Each place has words of its own hidden.  No place sees itself; all but the first see the first, which is the text's
    vector there; none sees padding.

    Source: Xiao et al. 2022, arXiv:2205.12035 (RetroMAE), sec. 3.3, and its code.
    """
    check_rate("visible", rate)
    t = words.shape[1]

    def one(own: Array, row: Array, real: Array) -> Array:
        hidden = jax.vmap(lambda place: _covered(place, row, rate))(keys_of(own, t))
        seen = ~hidden & (real > 0)[None, :]
        seen = seen.at[1:, 0].set(True)
        return seen & ~jnp.eye(t, dtype=bool)

    return jax.vmap(one)(keys_of(key, words.shape[0]), words, jnp.asarray(mask))
