"""Objectives: an encoder and a loss become a function of params and a batch."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.types import Batch, Encoder, Loss, Objective, Params


def pairwise(encoder: Encoder, loss: Loss, *, passed: Sequence[str] = ()) -> Objective:
    """Queries against documents, both through one encoder.

    A batch has `query` and `document` tokens, `n >= b` documents of which the first `b` answer the queries.

    Args:
      passed: entries of the batch that go to the loss by name, as `ignore` or `teacher`.
    """

    def objective(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        query = encoder.apply(params, batch["query"])
        document = encoder.apply(params, batch["document"])
        extra = {name: batch[name] for name in passed}
        negatives = jnp.asarray(document.shape[0] - 1, jnp.float32)
        if (ignore := extra.get("ignore")) is not None:
            # A query's own document is never dropped.
            dropped = ignore & ~jnp.eye(ignore.shape[0], ignore.shape[1], dtype=bool)
            negatives = negatives - dropped.sum(axis=1).astype(jnp.float32).mean()
        return loss(query, document, **extra), {"negatives": negatives}

    return objective


def towards(encoder: Encoder, loss: Loss, texts: str, target: str) -> Objective:
    """The vectors of one side of the batch towards vectors that are given: embedding distillation.

    Args:
      texts: the entry of tokens.
      target: the entry of vectors `[b, d]`, row by row those of the same texts.
    """

    def objective(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        return loss(encoder.apply(params, batch[texts]), batch[target]), {}

    return objective


def weighted(parts: dict[str, tuple[float, Objective]]) -> Objective:
    """A weighted sum of objectives over one batch; each part's mean loss is shown under its name.

    Raises: ValueError when there is no part.
    """
    if not parts:
        raise ValueError("weighted: wanted one objective or more, got none")

    def objective(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        total: Array | None = None
        shown: dict[str, Array] = {}
        for name, (weight, part) in parts.items():
            each, metrics = part(params, batch)
            shown |= {**metrics, name: each.mean()}
            total = weight * each if total is None else total + weight * each
        assert total is not None
        return total, shown

    return objective
