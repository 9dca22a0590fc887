"""Progressively learned embeddings: very many negatives, five hard ones a query, and weights that move.

Paper: Wu et al. 2023, arXiv:2311.11691 (PEG).  What is composed: InfoNCE over all documents of the batch without
duplicates (`losses.mask_duplicates`), some rows at a time (`losses.tiled`), each row weighed by how hard its negatives
are (`losses.progressive`) with a strength that goes from easy to hard (`train.scheduled`), over an encoder that keeps
no more states than `rows` texts need (`train.gradient_cache`).  The paper's 80,000 negatives a query are 13,336 pairs
with five hard negatives each.
Data steps stand beside it: `data.above_quantile` (noise), `data.negatives.mine` (hard negatives), `data.mixture` with
`data.tempered` (batches of one source).

Differences: none of the paper's code or formula is published; only the idea of the weights is its own.
Unsure: the weights' formula, of which `weighing` offers two levels (`rows`, `negatives`), a published comparator
(`focal`) and none; temperature, optimizer and steps, which are usual ones.
Figures: the paper's and ours stand on the page of claims, for `jaxemb claim peg`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxemb import data, losses, train
from jaxemb.data import Pair, Tokenizer
from jaxemb.data.tokenize import pad
from jaxemb.losses.checks import all_values
from jaxemb.losses.form import form_of, with_form
from jaxemb.similarity import cosine
from jaxemb.train.placement import Layout
from jaxemb.train.schedule import Shape
from jaxemb.types import Batch, Embedder, Encoder, Loss, Objective, Params, Tokens

Weighing = Literal["rows", "negatives", "focal", "none"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the recipe varies.

    negatives: hard ones of each query.
    weighing: of what; `focal` follows the loss and not the step.
    start, end, shape: of the strength; equal ends are a fixed one, below 0 for the easy and above 0 for the hard.
    gamma: of `focal`.
    rows: texts whose states are kept at a time; None for all.
    tile: queries that are compared at a time; None chooses.
    learning_rate: the highest; it falls to 0 in a straight line.
    warmup: the share of steps in which it rises.  It takes them from those that prefer what is easy.
    """

    negatives: int = 5
    weighing: Weighing = "rows"
    start: float = -0.5
    end: float = 0.5
    shape: Shape = "linear"
    gamma: float = 0.5
    temperature: float = 0.01
    rows: int | None = None
    tile: int | None = None
    steps: int = 300
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup: float = 0.0
    query_tokens: int = 512
    document_tokens: int = 512

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not math.isfinite(self.temperature):
            raise ValueError(f"peg: temperature must be above 0 and finite, got {self.temperature}")
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"peg: strengths must be finite, got start={self.start} and end={self.end}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"peg: the share of warm-up must be at least 0 and below 1, got {self.warmup}")


def loss(cfg: Config) -> Loss:
    """The loss of a batch, which takes `document_key` and, where its weights move, `strength`."""
    each = losses.mask_duplicates(partial(losses.info_nce, temperature=cfg.temperature))
    ways = {
        "rows": lambda: losses.progressive(losses.tiled(each, cfg.tile), cfg.negatives),
        "negatives": lambda: losses.tiled(losses.weighted_negatives(each, cfg.temperature), cfg.tile),
        "focal": lambda: losses.focal(losses.tiled(each, cfg.tile), cfg.gamma),
        "none": lambda: losses.tiled(each, cfg.tile),
    }
    if cfg.weighing not in ways:
        raise ValueError(f"weighing must be one of {', '.join(ways)}, got {cfg.weighing!r}")
    return _between_directions(ways[cfg.weighing]())


def _between_directions(loss: Loss) -> Loss:
    """The same loss, which refuses vectors of zeros: they have no cosine, and none that a weight could follow."""

    def checked(query: Float[Array, "b d"], document: Float[Array, "n d"], **kwargs: Any) -> Float[Array, " b"]:
        for what, side in (("query", query), ("document", document)):
            largest = jnp.abs(side).max(axis=1)
            all_values("peg", f"the largest entry of {what} vectors", largest, "above 0", lambda found: found > 0)
        return loss(query, document, **kwargs)

    return with_form(checked, form_of(loss))


def objective(cfg: Config, encoder: Encoder) -> Objective:
    """Of batches as `batch` makes them, with how many steps are done where weights move."""
    reading = encoder if cfg.rows is None else train.gradient_cache(encoder, cfg.rows)
    if cfg.weighing in ("focal", "none"):
        return train.pairwise(reading, loss(cfg), passed=("document_key",))
    weighed = train.pairwise(reading, loss(cfg), passed=("document_key", "strength"))
    return train.scheduled(weighed, {"strength": train.moving(cfg.start, cfg.end, cfg.steps, cfg.shape)})


def batch(cfg: Config, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> Batch:
    """Tokens of both sides in one shape, documents in blocks, and what the documents are.

    Raises: ValueError for fewer than two pairs, another number of negatives, an own document among them, a text without
      tokens, whose vector would be zero, or a query that all documents answer, so that it has no negative.
    """
    if len(pairs) < 2:
        raise ValueError(f"batch: queries are compared with each other's documents, wanted 2 or more, got {len(pairs)}")
    data.check_negatives(pairs, cfg.negatives)

    def tokens(texts: list[str], length: int) -> Tokens:
        rows = [row[:length] for row in tokenizer.ids(texts).rows]
        if empty := [text for text, row in zip(texts, rows, strict=True) if not len(row)]:
            raise ValueError(f"batch: wanted texts with a token, got {empty[0]!r}")
        return pad(rows, length)

    keys = data.document_keys(pairs, cfg.negatives)
    listed = keys.tolist()
    if lonely := [pair.query for pair, own in zip(pairs, listed, strict=False) if not _has_negative(own, listed)]:
        raise ValueError(f"batch: wanted a negative for each query, got all documents as answers of {lonely[0]!r}")
    return {
        "query": tokens([pair.query for pair in pairs], cfg.query_tokens),
        "document": tokens(data.documents_of(pairs, cfg.negatives), cfg.document_tokens),
        "document_key": keys,
    }


def _has_negative(own: Sequence[int], keys: Sequence[Sequence[int]]) -> bool:
    """Whether any document shares no key with a query's own; nearly always the last one already does not."""
    mine = set(own) - {-1}
    return any(mine.isdisjoint(one) for one in reversed(keys))


def rate(cfg: Config) -> optax.Schedule:
    """The learning rate by the step."""
    rising = round(cfg.warmup * cfg.steps)
    fall = optax.linear_schedule(cfg.learning_rate, 0.0, cfg.steps - rising)
    return optax.join_schedules([optax.linear_schedule(0.0, cfg.learning_rate, rising), fall], [rising])


def run(
    cfg: Config,
    encoder: Encoder,
    params: Params,
    batches: train.Batches,
    *,
    mesh: Mesh | None = None,
    layout: Layout = train.replicated,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
    what: str | None = "peg",
) -> Embedder:
    """Train on batches as `batch` makes them, from `data.stream` or a mixture of sources."""
    learnt = train.fit(
        objective(cfg, encoder),
        optax.adam(rate(cfg)),
        batches,
        params,
        steps=cfg.steps,
        carried=None if cfg.weighing in ("focal", "none") else train.counted(),
        mesh=mesh,
        layout=layout,
        checkpoints=checkpoints,
        run=f"peg {cfg}",
        log=log,
        what=what,
    )
    return Embedder(learnt, encoder.apply, encoder.apply, cosine)
