"""Query Drift Compensation: a model goes on learning, and what it indexed before stays searchable.

What is composed: an update is `losses.info_nce` on the new task's pairs, and, where it is asked for,
`losses.embedding_distillation` towards the model before it, of both sides; `adapt.seen` and `adapt.mean_drift` over the
new task's training queries alone say how far queries moved; `adapt.compensate` takes that from a query before it
searches an older index.  Drifts are kept by (version before, version after), so that `adapt.chained` can never take one
for another.

Source: Goswami et al. 2025, arXiv:2506.00037.  Difference: the loss is a mean over all queries, where the published
code sums the means of its devices, because gradients are averaged afterwards there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxemb import adapt, losses, train
from jaxemb.adapt import Seen
from jaxemb.train import Batches
from jaxemb.types import Batch, Encoder, Objective, Params

CHECKED = ("query", "document")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the recipe varies.

    scale: that cosines are multiplied by, one over the temperature.
    query_distillation, document_distillation: how much either side holds to the model before; 0 for none.
    """

    steps: int = 1000
    learning_rate: float = 2e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    scale: float = 50.0
    query_distillation: float = 0.0
    document_distillation: float = 0.0

    @property
    def distils(self) -> bool:
        """Whether the model before is asked at all."""
        return self.query_distillation > 0 or self.document_distillation > 0


def objective(cfg: Config, encoder: Encoder, *, negatives: int = 0) -> Objective:
    """Contrast and distillation; params are `{"new": ...}`, with `"old": ...` where it distils.

    A batch has `query` and `document`: first the queries' own, then negatives in blocks.

    Raises: ValueError for a scale that is not above 0 or weights below 0; when it is called, for distillation without
      model before, and for documents that are not so many negatives a query.
    """
    weights = (cfg.query_distillation, cfg.document_distillation)
    if not (math.isfinite(cfg.scale) and cfg.scale > 0) or min(weights) < 0:
        raise ValueError(f"query_drift: wanted a scale above 0 and weights of 0 or more, got {cfg.scale} and {weights}")

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        if cfg.distils and "old" not in params:
            raise ValueError("query_drift: distillation wants the model before as params `old`, got none")
        new = {side: encoder.apply(params["new"], batch[side]) for side in CHECKED}
        count = len(new["query"])
        if len(new["document"]) != count * (1 + negatives):
            raise ValueError(
                f"query_drift: wanted {negatives} negatives for each of {count} queries, got {len(new['document'])} "
                "documents in all"
            )
        losses_of = losses.info_nce(new["query"], new["document"], temperature=1 / cfg.scale)
        shown: dict[str, Array] = {}
        for side, weight in zip(CHECKED, weights, strict=True):
            if weight:
                apart = losses.embedding_distillation(new[side], encoder.apply(params["old"], batch[side]))
                shown[f"{side}_distillation"] = apart.mean()
                # Blocks of negatives count as their query's, so that the mean over queries is that over all documents.
                losses_of = losses_of + weight * apart.reshape(-1, count).mean(axis=0)
        return losses_of, shown

    return weighed


def update(
    cfg: Config,
    encoder: Encoder,
    params: Params,
    batches: Batches,
    *,
    negatives: int = 0,
    frozen: Sequence[str] = (),
    what: str | None = "update",
) -> Params:
    """The model after one more task; `params` are those before it, and stay as they are.

    Args:
      batches: of the new task.
      frozen: patterns of leaves that do not move.
    """
    given = {"new": params, "old": params} if cfg.distils else {"new": params}
    still = [f"new.{pattern}" for pattern in frozen] + (["old.*"] if cfg.distils else [])
    rate = train.warmup_cosine(cfg.learning_rate, cfg.steps, warmup=cfg.warmup)
    optimizer = optax.adamw(rate, weight_decay=cfg.weight_decay)
    aim = objective(cfg, encoder, negatives=negatives)
    return train.fit(aim, optimizer, batches, given, steps=cfg.steps, frozen=still, what=what)["new"]


def drifted(encoder: Encoder, old: Params, new: Params, queries: Sequence[Batch]) -> Seen:
    """How far queries moved, as `adapt.told` and `adapt.mean_drift` read it.

    Args:
      queries: batches with `query`, of the new task's training queries.
    Raises: ValueError for no batch.
    """
    apply = jax.jit(partial(_moved, encoder))
    state: Seen | None = None
    for batch in queries:
        more = apply(old, new, batch["query"])
        state = more if state is None else jax.tree.map(jnp.add, state, more)
    if state is None:
        raise ValueError("query_drift: wanted one batch of queries or more, got none")
    return state


def _moved(encoder: Encoder, old: Params, new: Params, tokens: object) -> Seen:
    before, after = encoder.apply(old, tokens), encoder.apply(new, tokens)
    return adapt.seen(adapt.unseen(before.shape[1]), before, after)
