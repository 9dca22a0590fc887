"""Objectives of pairs: a head learnt beside the encoder of both texts, and a cross-encoder that reads them together."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from jaxtyping import Array, Float

from jaxemb.train.objective import NEGATIVES, Term, check_terms, objective
from jaxemb.types import Batch, Encoder, Loss, Objective, Params


def headed(
    encoder: Encoder,
    head: Callable[[Params, Array, Array], Float[Array, "b c"]],
    terms: Mapping[str, Term],
) -> Objective:
    """`objective` of losses that read logits of pairs, as `softmax_classification` or `logit_distillation`.

    Params are `{"encoder": ..., "head": ...}`.

    Args:
      head: (its params, vectors of the left texts, of the right ones) -> logits, as `PairHead.apply`; every loss gets
        it as `classifier`.
    Raises: as `objective`.
    """
    check_terms("headed", terms)

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        asked = partial(head, params["head"])
        bound = {name: term._replace(loss=partial(term.loss, classifier=asked)) for name, term in terms.items()}
        each, shown = objective(encoder, bound)(params["encoder"], batch)
        # A pair is told by itself: it meets no other text.
        return each, {name: value for name, value in shown.items() if name != NEGATIVES}

    return weighed


def cross_encoded(cross: Encoder, loss: Loss, *, passed: Sequence[str] = ("label",)) -> Objective:
    """A cross-encoder's own training: a batch has `pair`, tokens of two joined texts, and what `passed` names.

    Args:
      cross: its vectors are logits, as `encode.classified` makes one.
      loss: of two sets of vectors and a `classifier` of them, as `softmax_classification`, `binary_classification` or
        `logit_regression`; what it is given as vectors and as classified are the logits.
      passed: entries of the batch that go to the loss by name.
    """

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        logits = cross.apply(params, batch["pair"])
        extra = {name: batch[name] for name in passed}
        return loss(logits, logits, classifier=lambda left, right: left, **extra), {}

    return weighed
