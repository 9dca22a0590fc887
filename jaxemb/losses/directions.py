"""From documents to queries, both ways, and among queries and among documents."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.checks import above_zero, paired
from jaxemb.losses.contrastive import diagonal, masked, own
from jaxemb.losses.form import declared, form_for, form_of, with_form
from jaxemb.similarity import cosine
from jaxemb.types import Loss

Direction = Literal["query_to_document", "document_to_query", "query_to_query", "document_to_document"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


def swapped(loss: Loss) -> Loss:
    """The loss of finding the query of every document: its negatives are the other queries.

    Hard negatives, documents beyond the queries, are left out.  Keyword arrays with a column or a row a document are
    turned where every query has one document, and those of a guide change places; else they are refused.
    Raises: ValueError for a loss that reads both ways already, or one of which a side alone was changed.
    """
    form = form_for("swapped", loss)
    if form.reads == "everyone":
        raise ValueError("swapped: this loss reads both ways already")
    if name := form.one_sided:
        raise ValueError(
            f"swapped: {name} changes one side alone, which would be the other on the way back; "
            f"put it around: {name}(symmetric(loss), ...)"
        )

    def back(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        queries: Float[Array, "m d"] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        b, n = query.shape[0], document.shape[0]
        asked = query if queries is None else queries
        given = {name for name in kwargs.keys() & (form.matrices | form.documents) if kwargs[name] is not None}
        if given and n != asked.shape[0]:
            raise ValueError(
                f"swapped: {', '.join(sorted(given))} can be turned where every query has one document, "
                f"got {n} documents of {asked.shape[0]} queries"
            )
        matrices, partners = given & form.matrices, [pair for pair in form.partners if {*pair} <= kwargs.keys()]
        if (whole := sorted(matrices.union(*partners))) and b != n:
            raise ValueError(
                f"swapped: {', '.join(whole)} cannot be turned from {b} of {n} rows; "
                "give keys of documents instead (mask_duplicates)"
            )
        turned = {name: kwargs[name].T for name in matrices}
        for ours, theirs in partners:
            turned |= {ours: kwargs[theirs], theirs: kwargs[ours]}
        return loss(document[:b], asked, **{**kwargs, **turned})

    return with_form(back, form._replace(reads="batch" if form.reads == "batch" else "everyone"))


def symmetric(loss: Loss) -> Loss:
    """The mean of both ways: a query's own document among documents, and a document's own query among queries.

    >>> from jaxemb.losses import info_nce
    >>> both = symmetric(info_nce)
    >>> query, document = jnp.array([[1.0, 0.0], [0.6, 0.8]]), jnp.eye(2)
    >>> wanted = (info_nce(query, document) + info_nce(document, query)) / 2
    >>> print(bool(jnp.allclose(both(query, document), wanted)))
    True

    Source: Radford et al. 2021, arXiv:2103.00020 (CLIP), fig. 3.
    """
    back = swapped(loss)

    def both(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        queries: Float[Array, "m d"] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        return (loss(query, document, **kwargs) + back(query, document, queries=queries, **kwargs)) / 2

    return with_form(both, form_of(back))


@declared("everyone", matrices=("ignore",), compares=True)
def joint_info_nce(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    queries: Float[Array, "m d"] | None = None,
    directions: Sequence[Direction] = DIRECTIONS,
    temperature: float | Float[Array, ""] = 0.05,
    ignore: Array | None = None,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Surprise of a query's own document among all documents, all queries, and all of both seen from the document.

    With `s` the cosine, all in one sum:

        loss_i = -log( exp(s(q_i, d_i) / t) / Z_i )
        Z_i = sum_j exp(s(q_i, d_j) / t) + sum_j exp(s(q_j, d_i) / t)
              + sum_{j != i} exp(s(q_i, q_j) / t) + sum_{j != i} exp(s(d_i, d_j) / t)

    Args:
      queries: everyone's, where `query` are some of them, a row's own at its place; by default `query`.
      directions: which of the four sums there are; the first must be.
      temperature: divides the cosine; > 0.
      ignore: True where document `j` also answers query `i`, in the first sum.
      similarity: queries and documents to scores; larger is closer.
    Returns: one loss a query, in nats; `log(4 b - 2)` where all vectors are equal and `n` is `b`.
    Raises: ValueError for unknown directions.
    Source: Li et al. 2023, arXiv:2308.03281 (GTE), the improved contrastive loss.
    """
    if set(directions) - set(DIRECTIONS) or DIRECTIONS[0] not in directions:
        raise ValueError(
            f"joint_info_nce: directions are {DIRECTIONS[0]} and any of {DIRECTIONS[1:]}, got {list(directions)}"
        )
    paired("joint_info_nce", query, document)
    above_zero("joint_info_nce", temperature=temperature)
    asked, mine = query if queries is None else queries, document[: query.shape[0]]
    logits = {"query_to_document": similarity(query, document) / temperature}
    positive = own(logits["query_to_document"])
    if ignore is not None:
        logits["query_to_document"] = masked(logits["query_to_document"], ignore, "joint_info_nce")
    if "document_to_query" in directions:
        logits["document_to_query"] = similarity(mine, asked) / temperature
    if "query_to_query" in directions:
        logits["query_to_query"] = _without_own(similarity(query, asked) / temperature)
    if "document_to_document" in directions:
        logits["document_to_document"] = _without_own(similarity(mine, document) / temperature)
    each = jnp.stack([jax.nn.logsumexp(one, axis=-1) for one in logits.values()])
    return jax.nn.logsumexp(each, axis=0) - positive


def _without_own(logits: Float[Array, "b n"]) -> Float[Array, "b n"]:
    # Not minus infinity: a row alone would have nothing else, and no gradient.
    lowest = jnp.asarray(jnp.finfo(logits.dtype).min, logits.dtype)
    return jnp.where(diagonal(logits), lowest, logits)
