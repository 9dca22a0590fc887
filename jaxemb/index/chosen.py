"""Scores of chosen rows from their codes: the second step of a search in two."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int64, Shaped

from jaxemb.compress.linear import mixed
from jaxemb.index import interface
from jaxemb.index.tables import look_up, looked_up, scores, split, tables
from jaxemb.types import Compressor, Params

Scorer = Callable[[Float32[np.ndarray, "b d"], Int64[np.ndarray, "b m"]], Float32[np.ndarray, "b m"]]
"""(queries, chosen rows of each) -> their scores, as the compressor scores them."""

AT_ONCE = 1 << 20  # numbers of codes that are read for one turn of queries


def scorer(compressor: Compressor, state: Params, codes: Shaped[np.ndarray, "n c"]) -> Scorer:
    """How to score chosen rows: in NumPy where the compressor's scores are simple, else by its own `asymmetric`.

    Args:
      codes: of all rows; of a mapped file only the chosen rows are read.
    """
    codes = np.asarray(codes)  # a view of a mapped one: its class makes every index dearer
    lead, last, learnt = split(compressor, state)
    if looked_up(last.name):
        return in_turns(_looked_up(compressor, state, codes), codes)
    stem = last.name.partition("-")[0]
    if last.name == "rabitq-8":
        product = _estimated(learnt, codes)
    elif stem == "int8":
        product = _affine(learnt, codes)
    elif stem in ("float32", "truncate"):
        product = _product(last, learnt, codes)
    else:
        return in_turns(_by_itself(compressor, state, codes), codes)
    return in_turns(product if lead is None else lambda query, rows: product(lead(query), rows), codes)


def in_turns(score: Scorer, codes: Shaped[np.ndarray, "n c"]) -> Scorer:
    """The same scores, of so many queries at a time that the codes of what they chose fit."""

    def turns(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        some = max(1, AT_ONCE // max(1, rows.shape[1] * codes.shape[1]))
        if len(query) <= some:
            return score(query, rows)
        parts = [score(query[at : at + some], rows[at : at + some]) for at in range(0, len(query), some)]
        return np.concatenate(parts)

    return turns


def _looked_up(compressor: Compressor, state: Params, codes: np.ndarray) -> Scorer:
    found = tables(compressor, state)
    return lambda query, rows: scores(found, look_up(found, found.query(query)), codes.take(rows, axis=0))


def _product(last: Compressor, learnt: Params, codes: np.ndarray) -> Scorer:
    code = interface.coder(last, learnt)
    return lambda query, rows: np.matmul(codes.take(rows, axis=0), code(query)[:, :, None])[:, :, 0]


def _affine(learnt: Params, codes: np.ndarray) -> Scorer:
    """Of `int8`: the steps are folded into the query."""
    step, offset = np.asarray(learnt["step"]), np.asarray(learnt["offset"])

    def score(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        products = np.matmul(codes.take(rows, axis=0).astype(np.float32), (query * step[None, :])[:, :, None])[:, :, 0]
        return products + (query @ offset)[:, None]

    return score


def _estimated(learnt: Params, codes: np.ndarray) -> Scorer:
    """Of `rabitq` with a byte a dimension: levels, how far along the mean, and the estimate's factor."""
    along, scale = np.asarray(learnt["along"])[None, :], float(learnt["scale"])
    turn = np.asarray(mixed(learnt["flipped"], jnp.eye(along.shape[1])))

    def score(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        ahead = (query * along).sum(axis=1, keepdims=True)
        turned = (query - ahead * along) @ turn
        some = codes.take(rows, axis=0)
        levels = some[:, :, :-8].astype(np.float32)
        products = np.matmul(levels, turned[:, :, None])[:, :, 0] - 127.5 * turned.sum(axis=1, keepdims=True)
        far, factor = np.moveaxis(np.ascontiguousarray(some[:, :, -8:]).view(np.float32), 2, 0)
        return scale * (products * factor + ahead * far)

    return score


def _by_itself(compressor: Compressor, state: Params, codes: np.ndarray) -> Scorer:
    score = jax.jit(jax.vmap(lambda one, some: compressor.asymmetric(state, one[None, :], some)[0]))

    def padded(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        wide = interface.padded(query)
        chosen = np.zeros((len(wide), rows.shape[1]), rows.dtype)
        chosen[: len(rows)] = rows
        return np.asarray(score(wide, codes[chosen]))[: len(query)]

    return padded
