"""Which documents are no negatives of a query: equal ones, and those a guide, a teacher or the model finds close."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import all_values, one_a_row
from jaxemb.losses.contrastive import own
from jaxemb.losses.form import form_for, form_of, with_form
from jaxemb.similarity import cosine, everywhere
from jaxemb.types import Loss

Rule = Literal["absolute", "relative"]
GUIDE = (("guide_query", "guide_document"),)


def mask_duplicates(loss: Loss) -> Loss:
    """Take documents that are equal to a query's own, or answer an equal query, out of its negatives.

    The result takes `document_key`, `[n]` or `[n, k]` whole numbers a document, as hashes of its text and of the query
    that it answers: a document with any key of the own document is no negative.  A key below 0 equals no other.
    """

    def masked(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        document_key: Int[Array, "m *k"],
        ignore: Bool[Array, "b m"] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        own_key = document_key[: query.shape[0]]
        keys = everywhere(document_key if document_key.ndim == 2 else document_key[:, None])
        mine = own_key if own_key.ndim == 2 else own_key[:, None]
        equal = ((mine[:, None, :] == keys[None, :, :]) & (keys >= 0)[None, :, :]).any(axis=-1)
        return loss(query, document, ignore=_either(equal, ignore), **kwargs)

    return _masking("mask_duplicates", loss, masked, documents=("document_key",))


def mask_by_guide(loss: Loss, *, margin: float = 0.0, rule: Rule = "absolute") -> Loss:
    """Take documents out of the negatives that a guide places closer to the query than its own document.

    The result takes the vectors of another model, `guide_query` `[b, g]` and `guide_document` `[n, g]`.

    Args:
      margin: how much below the own document's cosine the bound is, in units of the cosine (`absolute`) or as a part of
        its absolute value (`relative`).
    Source: Solatorio 2024, arXiv:2402.16829 (GISTEmbed), eq. 2, with margin 0.
    """
    _check_rule("mask_by_guide", margin, rule)

    def masked(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        guide_query: Float[Array, "b g"],
        guide_document: Float[Array, "m g"],
        ignore: Bool[Array, "b m"] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        close = _too_close(cosine(guide_query, guide_document), margin, rule)
        return loss(query, document, ignore=_either(close, ignore), **kwargs)

    return _masking("mask_by_guide", loss, masked, documents=("guide_document",), partners=GUIDE)


def mask_by_teacher(loss: Loss, *, margin: float = 0.0, rule: Rule = "absolute") -> Loss:
    """Take documents out of the negatives that a teacher scores above the own document less a margin.

    The result takes `teacher` scores `[b, n]`; minus infinity where it has none, which keeps the negative.

    Args:
      margin: in units of the teacher's scores (`absolute`), or as a part of the own document's score, whatever its sign
        (`relative`): 0.05 keeps negatives below 95 % of a score above 0, and below 105 % of one below 0.
    Source: Moreira et al. 2024, arXiv:2407.15831 (NV-Retriever), sec. 3: TopK-MarginPos and TopK-PercPos.
    """
    _check_rule("mask_by_teacher", margin, rule)

    def masked(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        teacher: Float[Array, "b m"],
        ignore: Bool[Array, "b m"] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        return loss(query, document, ignore=_either(_too_close(teacher, margin, rule), ignore), **kwargs)

    return _masking("mask_by_teacher", loss, masked, matrices=("teacher",))


def mask_above_own(loss: Loss, *, margin: float = 0.0, rule: Rule = "absolute") -> Loss:
    """Take documents out of the negatives that the model itself places above the own document less a margin.

    Args:
      margin: in units of the cosine (`absolute`), or as a part of the absolute value of the own document's cosine
        (`relative`).
    Source: the guide of arXiv:2402.16829 being the model itself; Zhang et al. 2025, arXiv:2506.05176 (Qwen3 Embedding),
      eq. 2, with an absolute margin of -0.1.
    """
    _check_rule("mask_above_own", margin, rule)
    compared = form_of(loss).similarity

    def masked(
        query: Float[Array, "b d"],
        document: Float[Array, "n e"],
        *,
        ignore: Bool[Array, "b m"] | None = None,
        similarity: Any = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        similarity = similarity or compared
        close = _too_close(similarity(query, document), margin, rule)
        return loss(query, document, ignore=_either(close, ignore), similarity=similarity, **kwargs)

    return _masking("mask_above_own", loss, masked)


def _too_close(scores: Float[Array, "b m"], margin: float, rule: Rule) -> Bool[Array, "b m"]:
    scores = jax.lax.stop_gradient(scores)
    mine = own(scores)
    # A part of the absolute value, so that the bound is below a score below 0, too.
    below = margin if rule == "absolute" else margin * jnp.abs(mine)
    return scores > (mine - below)[:, None]


def _either(masked: Bool[Array, "b m"], ignore: Bool[Array, "b m"] | None) -> Bool[Array, "b m"]:
    return masked if ignore is None else masked | ignore


def _check_rule(name: str, margin: float, rule: str) -> None:
    if rule not in ("absolute", "relative"):
        raise ValueError(f"{name}: the rule must be absolute or relative, got {rule!r}")
    if rule == "relative" and not 0 <= margin < 1:
        raise ValueError(f"{name}: a relative margin is a part, 0 or more and below 1, got {margin}")


def _masking(
    name: str,
    loss: Loss,
    masked: Loss,
    *,
    matrices: tuple[str, ...] = (),
    documents: tuple[str, ...] = (),
    partners: tuple[tuple[str, str], ...] = (),
) -> Loss:
    form = form_for(name, loss)
    if "ignore" not in form.matrices:
        raise ValueError(f"{name}: the loss takes no `ignore` that could take a document out of the negatives")
    if form.spread:
        raise ValueError(f"{name}: the loss has the documents of all devices; mask first: across_devices({name}(loss))")
    if form.reads == "everyone":
        raise ValueError(
            f"{name}: this loss has negatives of more than one kind; mask what it is made of, symmetric({name}(loss)), "
            "or, if it is one sum as joint_info_nce, pass it an `ignore` of documents"
        )
    return with_form(
        masked,
        form._replace(
            matrices=form.matrices | set(matrices),
            documents=form.documents | set(documents),
            partners=(*form.partners, *partners),
        ),
    )


def weighted(loss: Loss) -> Loss:
    """Weigh every row: the result takes `weight` `[b]`, 0 or more, and is `weight * loss`.

    Raises: ValueError, when it is called, for weights of another length, or that are below 0 or not finite.
    """

    def weighed(
        query: Float[Array, "b d"], document: Float[Array, "n e"], *, weight: Float[Array, " b"], **kwargs: Any
    ) -> Float[Array, " b"]:
        one_a_row("weighted", query.shape[0], weight=weight)
        all_values("weighted", "weight", weight, "0 or more and finite", lambda given: (given >= 0) & (given < np.inf))
        each = loss(query, document, **kwargs)
        return each * weight.astype(each.dtype)

    return with_form(weighed, form_for("weighted", loss))
