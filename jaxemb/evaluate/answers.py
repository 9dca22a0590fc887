"""The place of the right answer among all that could be given."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxemb.evaluate.pairwise import unit_rows

ROUNDING = 1e-12  # equal vectors may differ in the last digits of their products


def answer_ranks(scores: Float[np.ndarray, "b m"], right: Bool[np.ndarray, "b m"]) -> Int[np.ndarray, " b"]:
    """Rank from 1 of the best right answer, behind every wrong one whose score is as high.

    Ties count against the answer: vectors that are all the same know nothing, and shall not score as if they did.

    >>> print(answer_ranks(np.array([[0.9, 0.5, 0.5]]), np.array([[False, True, False]])))
    [3]
    """
    best = np.where(right, scores, -np.inf).max(axis=1)
    return 1 + (~right & (scores >= best[:, None] - ROUNDING)).sum(axis=1)


def blocks_of_cosines(
    first: Float[np.ndarray, "n d"],
    second: Float[np.ndarray, "m d"],
    judge: Callable[[slice, Float[np.ndarray, "b m"]], Int[np.ndarray, " b"]],
    *,
    block: int = 1 << 22,
) -> Int[np.ndarray, " n"]:
    """What `judge` says of some rows' cosines with all of `second`, for all rows; about `block` numbers are held."""
    first, second = unit_rows(first), unit_rows(second)
    step = max(1, block // len(second))
    spans = [slice(start, start + step) for start in range(0, len(first), step)]
    return np.concatenate([judge(span, first[span] @ second.T) for span in spans])
