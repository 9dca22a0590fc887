"""Objectives: an encoder and losses become a function of params and a batch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.types import Batch, Encoder, Grouped, Loss, Objective, Params, Tokens


class Term(NamedTuple):
    """One loss between two entries of the batch.

    loss: of two sets of vectors.
    left, right: entries of the batch; tokens are encoded, anything else is taken as the vectors that it is.
    weight: of this term in the sum.
    passed: entries of the batch that go to the loss by name, as `ignore` or `teacher`.
    """

    loss: Loss
    left: str
    right: str
    weight: float = 1.0
    passed: Sequence[str] = ()


def vectors_of(encoder: Encoder, params: Params, entry: Any) -> Float[Array, "b d"]:
    """What an entry of a batch is to a loss: texts are encoded, in groups where they come so; else it is itself."""
    if isinstance(entry, Grouped):
        vectors = [encoder.apply(params, group) for group in entry.groups]
        return jnp.concatenate(vectors)[jnp.asarray(entry.places)]
    return encoder.apply(params, entry) if isinstance(entry, Tokens) else entry


def objective(encoder: Encoder, terms: Mapping[str, Term]) -> Objective:
    """A weighted sum of losses over one batch, in which every text is encoded once.

    Shown beside it: each term's mean under its name where there are several, and `negatives`, how many documents a
    query is told apart from in the last term between two sets of texts.

    Raises: ValueError when there is no term.
    """
    if not terms:
        raise ValueError("objective: wanted one term or more, got none")

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        names = dict.fromkeys(name for term in terms.values() for name in (term.left, term.right))
        read = {name: isinstance(batch[name], (Tokens, Grouped)) for name in names}
        vectors = {name: vectors_of(encoder, params, batch[name]) for name in names}
        shown: dict[str, Array] = {}
        losses = []
        for name, term in terms.items():
            extra = {key: batch[key] for key in term.passed}
            each = term.loss(vectors[term.left], vectors[term.right], **extra)
            losses.append(term.weight * each)
            if len(terms) > 1:
                shown[name] = each.mean()
            if read[term.left] and read[term.right]:
                shown["negatives"] = _negatives(vectors[term.right], extra.get("ignore"))
        return sum(losses[1:], start=losses[0]), shown

    return weighed


def _negatives(document: Float[Array, "n d"], ignore: Array | None) -> Float[Array, ""]:
    """Documents a query is told apart from, on average; its own, which a mask never takes away, is none of them."""
    count = jnp.asarray(document.shape[0] - 1, jnp.float32)
    if ignore is None:
        return count
    dropped = ignore & ~jnp.eye(ignore.shape[0], ignore.shape[1], dtype=bool)
    return count - dropped.sum(axis=1).astype(jnp.float32).mean()


def pairwise(encoder: Encoder, loss: Loss, *, passed: Sequence[str] = ()) -> Objective:
    """Queries against documents: a batch has `query` and `document` tokens, the first `b` of which answer the queries.

    Args:
      passed: entries of the batch that go to the loss by name, as `ignore` or `teacher`.
    """
    return objective(encoder, {"loss": Term(loss, "query", "document", passed=passed)})
