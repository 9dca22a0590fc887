"""BEBR: finished vectors to multi-level binary codes, learnt from pairs, and codes that search an older index.

What is composed: `compress.multilevel` (recurrent binarization) as an encoder of vectors, `losses.hard_info_nce` both
ways between codes of queries and documents with keys of duplicates masked, a queue of earlier codes if wanted
(`train.queued`), and for backward compatibility the same loss between new codes, cut to the old size, and old ones
(`losses.backward_compatible`).  What is learnt is the state of `compress.recurrent`.

Sources: Gan et al. 2023, arXiv:2302.08714; released code TencentARC/BEBR.
Differences: linear maps that begin as a scalar quantizer in a random rotation (`compress.recurrent_start`), where the
released configs have one hidden layer with batch normalization and random weights, which want far more data; Adam for
SGD; the queue holds codes of the params as they move, not of their running mean.  The card leaves the asymmetric score
open: a query is the input of its first signs.
Where the numbers stand: the released figures in the claim's text (`jaxemb claim bebr`), ours in its records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optax
from jaxtyping import Array, Float

from jaxemb import compress, data, losses, train
from jaxemb.types import Batch, Compressor, Encoder, Loss, Objective, Params


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the paper varies.

    size: dimensions of a code; as many as the vectors have, or more.
    bits: of each.
    hardest: negatives a query that count, the closest.
    queue: documents of earlier steps that are negatives, too; 0 for none.
    epochs: over the pairs.
    """

    size: int = 384
    bits: int = 2
    hardest: int = 5
    temperature: float = 0.05
    queue: int = 0
    epochs: int = 6
    batch_size: int = 512
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        compress.recurrent(self.size, self.bits)  # which checks the two
        if self.hardest < 1 or self.epochs < 1 or self.queue < 0:
            raise ValueError(
                f"bebr: wanted 1 hardest negative and 1 epoch or more, and a queue of 0 or more, "
                f"got {self.hardest}, {self.epochs} and {self.queue}"
            )
        if self.batch_size <= self.hardest:
            raise ValueError(f"bebr: the {self.hardest} hardest negatives need a larger batch than {self.batch_size}")


@dataclass(frozen=True)
class Pair:
    """A query's vector and that of the document that answers it.

    key: what the document is; rows of one key are no negatives of each other.
    old_query, old_document: codes of an older model, decoded, where new codes have to be found by them.
    """

    query: Float[np.ndarray, " n"]
    document: Float[np.ndarray, " n"]
    key: int
    old_query: Float[np.ndarray, " m"] | None = None
    old_document: Float[np.ndarray, " m"] | None = None


def objective(cfg: Config, *, compatible: bool = False) -> Objective:
    """Codes of both sides against each other; with `compatible` against those of an older model as well, 1 to 1."""
    hard = losses.mask_duplicates(partial(losses.hard_info_nce, hardest=cfg.hardest, temperature=cfg.temperature))
    terms = _both_ways(hard, "new", "query", "document")
    if compatible:
        old = losses.backward_compatible(hard)
        terms |= {
            "new_to_old": train.Term(old, "query", "old_document", passed=("document_key",)),
            "old_to_new": train.Term(old, "document", "old_query", passed=("document_key",)),
        }
    inner = (train.queued if cfg.queue else train.objective)(CODES, terms)

    def coded(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        codes = {side: compress.multilevel(params, batch[side]) for side in ("query", "document")}
        each, shown = inner(params, {**batch, **codes})
        return each, shown

    return coded


def _both_ways(loss: Loss, name: str, one: str, other: str) -> dict[str, train.Term]:
    return {
        f"{name}_{one}": train.Term(loss, one, other, passed=("document_key",)),
        f"{name}_{other}": train.Term(loss, other, one, passed=("document_key",)),
    }


CODES = Encoder(init=lambda key: {}, apply=compress.multilevel)


def batch(pairs: Sequence[Pair]) -> Batch:
    """Vectors of some pairs, and their keys."""
    found: dict[str, np.ndarray] = {
        "query": np.stack([pair.query for pair in pairs]),
        "document": np.stack([pair.document for pair in pairs]),
        "document_key": np.array([pair.key for pair in pairs], np.int32),
    }
    for name in ("old_query", "old_document"):
        if (old := [getattr(pair, name) for pair in pairs])[0] is not None:
            found[name] = np.stack(old)
    return found


def run(
    cfg: Config,
    params: Params,
    pairs: Sequence[Pair],
    *,
    seed: int,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
    what: str | None = "binarizer",
) -> tuple[Compressor, Params]:
    """A compressor and its state, learnt upon `params`, as `compress.recurrent_start` or `compatible_start` makes them.

    Raises: ValueError for fewer pairs than a batch has, or pairs of which some alone have an older model's codes.
    """
    if len(pairs) < cfg.batch_size:
        raise ValueError(f"bebr: wanted {cfg.batch_size} pairs or more, one batch, got {len(pairs)}")
    compatible = pairs[0].old_query is not None
    if any(
        (pair.old_query is not None) != compatible or (pair.old_document is not None) != compatible for pair in pairs
    ):
        raise ValueError("bebr: either all pairs have codes of the older model, on both sides, or none")
    steps = cfg.epochs * (len(pairs) // cfg.batch_size)
    carried: Mapping[str, object] = {}
    if cfg.queue:
        carried = {train.CARRIED: {"document": train.empty_queue(cfg.queue, cfg.size)}}
    learnt = train.fit(
        objective(cfg, compatible=compatible),
        optax.adam(train.warmup_cosine(cfg.learning_rate, steps)),
        data.stream(pairs, batch_size=cfg.batch_size, seed=seed, make=batch),
        params,
        steps=steps,
        carried=carried or None,
        checkpoints=checkpoints,
        log=log,
        what=what,
    )
    return compress.recurrent(cfg.size, cfg.bits), learnt
