"""Objectives: an encoder and losses become a function of params and a batch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.train.step import check_names
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


NEGATIVES = "negatives"
"""The metric that says how many documents a query meets."""


def check_terms(what: str, terms: Mapping[str, Term]) -> None:
    """Raises: ValueError for no terms; of several, whose means are shown, for a name that is taken."""
    if not terms:
        raise ValueError(f"{what}: wanted one term or more, got none")
    if len(terms) > 1:
        check_names(f"{what}: terms are called", terms)
        if NEGATIVES in terms:
            raise ValueError(f"{what}: {NEGATIVES!r} is how many documents a query meets; call the term otherwise")


def check_entries(what: str, terms: Mapping[str, Term], batch: Batch) -> None:
    """Raises: ValueError that names entries which the terms read and the batch has not."""
    wanted = {name for term in terms.values() for name in (term.left, term.right, *term.passed)}
    if missing := sorted(wanted - batch.keys()):
        raise ValueError(f"{what}: wanted the batch to have {', '.join(missing)}, got {sorted(batch)}")


def objective(encoder: Encoder, terms: Mapping[str, Term]) -> Objective:
    """A weighted sum of losses over one batch, in which every text is encoded once.

    Shown beside it: each term's mean under its name where there are several, and `negatives`, how many documents a
    query meets beside its own in the last term between two sets of texts.  Those of an entry `ignore` are taken out;
    what a loss itself masks, by keys or by scores, is counted.

    Raises: ValueError when there is no term, for a term with a name that is taken, and for a batch without an entry
      that a term reads.
    """
    check_terms("objective", terms)

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        check_entries("objective", terms, batch)
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
                shown[NEGATIVES] = _negatives(vectors[term.right], extra.get("ignore"))
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
