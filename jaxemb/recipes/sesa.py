"""Two texts matched in a space whose every dimension is a named concept, with the concepts that made the score.

Paper: Bogdanova & Yazdani 2017, "SESA: Supervised Explicit Semantic Analysis", arXiv:1708.03246.  Its abstract alone
could be confirmed, so that all below is a testable reading of it, and no detail is the authors'.

What is composed: any encoder (recurrent in the paper: `encode.lstm`), a head of concepts (`encode.concept_logits`), a
loss of relevance on the sigmoid of its logits, and `losses.concept_classification` on all texts whose concepts are
known.  `model.explain` tells why a pair scores as it does.
Chosen where the paper is silent: the score is the cosine, or a sum with a weight a concept that is never negative;
ranking by InfoNCE or yes and no by a learnt scale; a head of one hidden layer whose last bias knows how rare concepts
are.
Baselines by configuration: `explicit=False, tags=0` is the latent twin, whose dimensions have no names; `tags=0` has
names without meaning; `relevance="none"` learns tags alone.
Figures: there are none of the paper to quote; ours stand on the page of claims, for `jaxemb claim sesa`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from jaxemb import data, encode, losses, train
from jaxemb.data.tokenize import Tokenizer, pad
from jaxemb.similarity import cosine, dot
from jaxemb.train.placement import Layout
from jaxemb.types import Batch, Embedder, Encoder, Objective, Params, Tokens

Relevance = Literal["ranking", "binary", "none"]
Score = Literal["cosine", "weighted"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the recipe varies.

    relevance: `ranking` against the other documents of a batch, `binary` of pairs with a label, or `none`.
    score: `cosine`, or `weighted`, a sum with a learnt weight a concept.
    temperature: of the ranking; what the learnt scale of `binary` begins at one by.
    tags: weight of the concepts' own loss, a sum over them.
    sparsity: weight of the sum of all activations.
    unlabelled: how far a concept that nobody named counts as absent, from 0 to 1.
    explicit: whether vectors are sigmoids of the logits, one a concept, or the logits themselves.
    """

    relevance: Relevance = "ranking"
    score: Score = "cosine"
    temperature: float = 0.05
    tags: float = 0.3
    sparsity: float = 0.0
    unlabelled: float = 1.0
    explicit: bool = True
    steps: int = 250
    batch_size: int = 128
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        for name, kinds in (("relevance", Relevance), ("score", Score)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"sesa: {name} must be one of {get_args(kinds)}, got {getattr(self, name)!r}")
        for name in ("tags", "sparsity"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"sesa: {name} must be 0 or more, got {getattr(self, name)}")
        if self.relevance == "none" and not self.tags:
            raise ValueError("sesa: neither relevance nor tags, so that nothing is learnt")
        if not self.explicit and (self.tags or self.score == "weighted"):
            raise ValueError("sesa: without explicit=True dimensions are no concepts: wanted tags=0 and score='cosine'")


class Judged(NamedTuple):
    """Pairs: row `i` of both sides belongs together, or as `label` says, 1 or 0, for `relevance="binary"`."""

    query: Tokens
    document: Tokens
    label: Int[np.ndarray, " n"] | None = None


class Tagged(NamedTuple):
    """Texts and which concepts each has."""

    item: Tokens
    known: Bool[np.ndarray, "m c"]


def tokens(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Tokens:
    """Ids in one shape, whatever the texts are.  Raises: ValueError that names the first text without a token."""
    rows = tokenizer.ids(texts).rows
    for i, row in enumerate(rows):
        if not len(row):
            raise ValueError(f"sesa: text {i} has no token: {texts[i]!r}")
    return pad([row[:length] for row in rows], length)


def batches(cfg: Config, pairs: Judged, items: Tagged, *, seed: int) -> train.Batches:
    """Pairs and tagged texts, drawn by themselves.

    Raises: ValueError for labels that are missing for `binary` or given else, not 0 or 1, or all alike; for concepts
      that are not 0 or 1, or of another number of texts.
    """
    if (cfg.relevance == "binary") != (pairs.label is not None):
        raise ValueError(f"sesa: labels are for relevance 'binary', which this is {cfg.relevance!r}")
    if pairs.label is not None and set(np.unique(pairs.label).tolist()) != {0, 1}:
        raise ValueError(f"sesa: wanted labels of both 0 and 1, and no other, got {np.unique(pairs.label)[:5]}")
    if items.known.ndim != 2 or len(items.known) != len(items.item.ids) or not set(np.unique(items.known)) <= {0, 1}:
        raise ValueError(
            f"sesa: wanted concepts of {len(items.item.ids)} texts as 0 and 1, got {list(items.known.shape)} of "
            f"{np.unique(items.known)[:5]}"
        )

    def rows(given: Judged | Tagged, chosen: Sequence[int]) -> Batch:
        there = {name: value for name, value in given._asdict().items() if value is not None}
        return jax.tree.map(lambda leaf: leaf[np.asarray(chosen)], there)

    streams = [
        data.stream(range(count), batch_size=cfg.batch_size, seed=seed, make=partial(rows, given))
        for given, count in ((pairs, len(pairs.query.ids)), (items, len(items.known)))
    ]
    return data.together(*streams)


def started(encoder: Encoder, key: Array, share: Float[np.ndarray, " c"] | None = None) -> Params:
    """Params of an encoder of concept logits and of the score: weights and scale of one, a bias of zero.

    Args:
      share: of the texts that have each concept.
    """
    params = encoder.init(key)
    count = params["concepts"]["linear"]["bias"].shape[0]
    one = jnp.log(jnp.expm1(1.0))  # where softplus is one
    score = {"weight": jnp.full(count, one), "scale": one, "bias": jnp.zeros(())}
    return {"encoder": params if share is None else encode.with_shares(params, share), "score": score}


def vectors(cfg: Config, encoder: Encoder, params: Params, texts: Tokens) -> Float[Array, "n c"]:
    """Activations of the concepts; of the latent twin its plain vectors."""
    logits = encoder.apply(params["encoder"], texts)
    return encode.activation(logits) if cfg.explicit else logits


def weights(cfg: Config, params: Params) -> Float[Array, " c"] | None:
    """Of each concept in the score; None where it is the cosine."""
    return jax.nn.softplus(params["score"]["weight"]) if cfg.score == "weighted" else None


def objective(cfg: Config, encoder: Encoder, positive_weight: Float[np.ndarray, " c"] | None = None) -> Objective:
    """Relevance of pairs, and concepts of tagged texts; a batch has `query`, `document`, `item` and `known`."""
    tags = partial(losses.concept_classification, positive_weight=positive_weight, unlabelled=cfg.unlabelled)
    space = encode.activation if cfg.explicit else lambda logits: logits

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Any]]:
        weight = weights(cfg, params)
        terms = {}
        if cfg.relevance == "ranking":
            close = cosine if weight is None else encode.weighted_dot(weight)
            ranking = partial(losses.info_nce, temperature=cfg.temperature, similarity=_of(space, close))
            terms["relevance"] = train.Term(ranking, "query", "document")
        if cfg.relevance == "binary":
            told = partial(
                losses.binary_classification, classifier=_of(space, partial(_logit, cfg, params["score"], weight))
            )
            terms["relevance"] = train.Term(told, "query", "document", passed=("label",))
        if cfg.tags:
            terms["tags"] = train.Term(tags, "item", "known", weight=cfg.tags)
        if cfg.sparsity:
            terms["activations"] = train.Term(losses.activation_sum, "item", "item", weight=cfg.sparsity)
        known = jnp.asarray(batch["known"], jnp.float32)  # on the devices: a quarter of it travels
        return train.objective(encoder, terms)(params["encoder"], {**batch, "known": known})

    return weighed


def _of(space: Callable[[Array], Array], close: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda query, document: close(space(query), space(document))


def _logit(cfg: Config, score: Params, weight: Array | None, left: Array, right: Array) -> Float[Array, " b"]:
    if weight is None:
        close = losses.row_cosine(left, right)
    else:
        close = losses.row_dot(encode.weighed(left, weight), encode.weighed(right, weight))
    return jax.nn.softplus(score["scale"]) / cfg.temperature * close + score["bias"]


def run(
    cfg: Config,
    encoder: Encoder,
    params: Params,
    stream: train.Batches,
    *,
    positive_weight: Float[np.ndarray, " c"] | None = None,
    mesh: Mesh | None = None,
    layout: Layout = train.replicated,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
    what: str | None = "sesa",
) -> Embedder:
    """Train an encoder of concept logits from `started`; all else as `train.fit` has it."""
    learnt = train.fit(
        objective(cfg, encoder, positive_weight),
        optax.adam(train.warmup_cosine(cfg.learning_rate, cfg.steps)),
        stream,
        params,
        steps=cfg.steps,
        mesh=mesh,
        layout=layout,
        checkpoints=checkpoints,
        run=f"sesa {cfg}",
        log=log,
        what=what,
    )
    return embedder(cfg, encoder, learnt)


def embedder(cfg: Config, encoder: Encoder, params: Params) -> Embedder:
    """Rows whose cosine, or inner product where concepts are weighted, is the score: any index finds by them."""

    def rows(learnt: Params, texts: Tokens) -> Float[Array, "n c"]:
        weight, plain = weights(cfg, learnt), vectors(cfg, encoder, learnt, texts)
        return plain if weight is None else encode.weighed(plain, weight)

    return Embedder(params, rows, rows, cosine if cfg.score == "cosine" else dot)
