"""Training of cross-encoders: pairs of texts with labels."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import optax

from jaxemb import losses, train
from jaxemb.data.judged import Judged, check_judged
from jaxemb.data.streams import stream
from jaxemb.data.tokenize import pad
from jaxemb.model.cross import CrossModel
from jaxemb.types import Batch, Loss


def pair_batch(cross: CrossModel, pairs: Sequence[Judged]) -> Batch:
    """Tokens of the joined texts, in one shape whatever they are, and their labels, whole numbers of several."""
    ids = cross.tokenizer.pairs([(pair.first, pair.second) for pair in pairs])
    kind = np.float32 if len(cross.labels) == 1 else np.int32
    return {
        "pair": pad(ids.rows, cross.spec.max_length, ids.segments if cross.spec.segments else None),
        "label": np.array([pair.label for pair in pairs], kind),
    }


def teach_cross(
    cross: CrossModel,
    pairs: Sequence[Judged],
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    loss: Loss = losses.logit_regression,
    what: str | None = "cross-encoder",
) -> CrossModel:
    """A cross-encoder that learns labels of pairs, from the params that it has.

    Args:
      pairs: that all have a label: a number, or where the model has several labels the place of one.
      loss: of logits and labels: `binary_classification` for yes and no, `softmax_classification` for classes.
    Raises: ValueError that names the first pair without a label, or with one that is none of the model's.
    """
    check_judged(pairs, classes=len(cross.labels) if len(cross.labels) > 1 else None)
    for pair in pairs:
        if pair.label is None:
            raise ValueError(f"teach_cross: pair {pair.id!r} has no label")
    learnt = train.fit(
        train.cross_encoded(cross.encoder, loss),
        optimizer,
        stream(pairs, batch_size=batch_size, seed=seed, make=partial(pair_batch, cross)),
        cross.params,
        steps=steps,
        what=what,
    )
    return cross._replace(params=learnt)
