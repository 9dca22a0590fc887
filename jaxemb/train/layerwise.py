"""Objectives of encoders that are read after several layers."""

from collections.abc import Callable, Sequence

from jaxtyping import Array, Float

from jaxemb.train.objective import Term, check_entries
from jaxemb.types import Batch, Loss, Objective, Params, Tokens


def layerwise(
    vectors: Callable[[Params, Tokens], Float[Array, "l b d"]], loss: Loss, *, passed: Sequence[str] = ()
) -> Objective:
    """Queries against documents, layer by layer: a batch has `query` and `document` tokens, as for `pairwise`.

    Args:
      vectors: one set a layer, as `encode.exits` gives them.
      loss: of vectors `[l, b, d]` and `[l, n, d]`, as `losses.layers` or `losses.random_exit`.
      passed: entries of the batch that go to the loss by name; `key` for losses that draw, which `fit` gives when it
        has one: the same on every device, and another each step.
    """

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        check_entries("layerwise", {"loss": Term(loss, "query", "document", passed=passed)}, batch)
        query, document = vectors(params, batch["query"]), vectors(params, batch["document"])
        return loss(query, document, **{name: batch[name] for name in passed}), {}

    return weighed
