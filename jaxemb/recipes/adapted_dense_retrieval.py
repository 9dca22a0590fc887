"""Adapted Dense Retrieval (ADDER): a few kilobytes beside a closed model, so that it ranks by a task's own notion.

What is composed: `adapt.dictionary`, or any other residual, is added to vectors that are finished; it learns by a
margin (`losses.triplet`) or by `losses.info_nce` from pairs of query and relevant item, with negatives from the whole
corpus as the adapted vectors of the moment see it.  Only the queries move (ADDER), so that an index stays as it is, or
both sides (ADDER2).

Source: arXiv:2310.05380.  Its equations and tables were not to be read: the hinge is inferred from what its reviewers
say, and softmax scale, start and refreshing are ours.  Differences: the best params by nDCG@3 of development queries
are kept, which the paper does not state; where they do not beat the vectors as they are, nothing is added and it is
said, for the paper itself has tasks that adapting hurts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxemb import adapt, evaluate, losses, progress, train
from jaxemb.adapt import Asked, Residual
from jaxemb.types import Batch, Objective, Params

NEAREST = 3  # documents that development queries are judged by


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the recipe varies.

    both: whether documents are adapted, too, by params of their own (ADDER2); their index has to be made again then.
    margin: of the hinge, in units of the cosine, in (0, 2).
    temperature: of InfoNCE among the own item and its negatives, in place of the hinge; None for the hinge.
    mined: where negatives come from: the nearest of the whole corpus, the batch, or chance.
    negatives, depth: how many of the nearest so many a query meets.
    refresh: epochs between two searches for negatives, after each of which the development queries are judged.
    """

    both: bool = False
    margin: float = 0.1
    temperature: float | None = None
    mined: Literal["nearest", "batch", "random"] = "nearest"
    negatives: int = 8
    depth: int = 32
    refresh: int = 3
    epochs: int = 30
    batch_size: int = 250
    learning_rate: float = 3e-3


class Adapted(NamedTuple):
    """What was learnt.

    query, document: params of the residual of each side; None where vectors stay as they are.
    before, after: nDCG@3 of the development queries without it, and with what is returned.
    """

    query: Params | None
    document: Params | None
    before: float
    after: float


def run(
    cfg: Config,
    residual: Residual,
    corpus: Float[np.ndarray, "n d"],
    asked: Asked,
    development: Asked,
    *,
    seed: int,
    unseen: Float[np.ndarray, "m d"] | None = None,
    frozen_index: bool = False,
) -> Adapted:
    """Train on `asked`, choose by `development`.

    Args:
      corpus: of length one; no two alike, for one of them would be the other's false negative.
      unseen: the items that development queries search, where new ones will come; the corpus where it stays as it is.
      frozen_index: says that the corpus is in an index that cannot be made again; then `both` is refused.
    Raises: ValueError for settings out of range, and for what `check` refuses; FloatingPointError for a loss that is
      not finite.
    """
    check(cfg, corpus, asked, development, unseen, frozen_index=frozen_index)
    searched = corpus if unseen is None else unseen
    keys = jax.random.split(jax.random.key(seed), 2)
    names = ("query", "document") if cfg.both else ("query",)
    params: Params = {name: residual.init(key, corpus.shape[1]) for name, key in zip(names, keys, strict=False)}
    optimizer = optax.adam(cfg.learning_rate)
    step, state = train.make_step(objective(cfg, residual), optimizer), optimizer.init(params)
    before = quality(residual, {}, searched, development)
    best, after, draw = None, before, np.random.default_rng(seed)
    for start in range(0, cfg.epochs, cfg.refresh):
        candidates = mined(cfg, residual, params, corpus, asked, draw)
        for _ in range(min(cfg.refresh, cfg.epochs - start)):
            for batch in batches(cfg, corpus, asked, candidates, draw):
                stepped = step(params, state, batch)
                params, state = stepped.params, stepped.state
        if not np.isfinite(float(stepped.loss)):
            raise FloatingPointError(f"adapted_dense_retrieval: the loss is {float(stepped.loss)} in epoch {start + 1}")
        value = quality(residual, params, searched, development)
        if value > after:
            best, after = jax.tree.map(jnp.copy, params), value
    if best is None:
        progress.say(f"adapted_dense_retrieval: no gain on development queries (nDCG@3 {before:.4f}): nothing is added")
        return Adapted(None, None, before, before)
    return Adapted(best["query"], best.get("document"), before, after)


def quality(residual: Residual, params: Params, corpus: Float[np.ndarray, "n d"], asked: Asked) -> float:
    """Mean nDCG@3 of queries that search the whole corpus."""
    found = search(residual, params, corpus, asked.query, NEAREST)
    return float(evaluate.row_ndcg(found, asked.relevant).mean())


def objective(cfg: Config, residual: Residual) -> Objective:
    """Own item against its negatives: of the batch `query`, and `document` in blocks: own ones, first negatives, ..."""

    def compared(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        query, document = adapted(residual, params, batch["query"], batch["document"])
        return loss(cfg)(query, document), {}

    return compared


def loss(cfg: Config) -> Callable[[Array, Array], Array]:
    """The hinge, or InfoNCE, between each query's own item and its own negatives; with `batch` those of the others."""
    if cfg.mined == "batch":
        if cfg.temperature is None:
            return partial(losses.hinge_ranking, margin=cfg.margin)
        return partial(losses.info_nce, temperature=cfg.temperature)
    if (temperature := cfg.temperature) is None:
        return partial(losses.triplet, negatives=cfg.negatives, margin=cfg.margin)

    def own(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, " b"]:
        lists = document.reshape(1 + cfg.negatives, *query.shape).swapaxes(0, 1)
        one = lambda q, d: losses.info_nce(q[None], d, temperature=temperature)[0]
        return jax.vmap(one)(query, lists)

    return own


def adapted(residual: Residual, params: Params, query: Array, document: Array) -> tuple[Array, Array]:
    """Both sides with what is added to them; a side without params stays as it is."""
    sides = (("query", query), ("document", document))
    left, right = (adapt.adapted(residual, params[name], rows) if name in params else rows for name, rows in sides)
    return left, right


def mined(
    cfg: Config,
    residual: Residual,
    params: Params,
    corpus: Float[np.ndarray, "n d"],
    asked: Asked,
    draw: np.random.Generator,
) -> Int[np.ndarray, "q c"]:
    """Rows that do not answer each query: the nearest `depth` as it is adapted now, or any."""
    if cfg.mined != "nearest":
        rows = draw.integers(0, len(corpus), (len(asked.query), 4 * cfg.depth))
        wrong = ~(rows[:, :, None] == asked.relevant[:, None, :]).any(axis=2)
        # A stable sort puts those that do not answer first, in the order in which they were drawn.
        return np.take_along_axis(rows, np.argsort(~wrong, axis=1, kind="stable")[:, : cfg.depth], axis=1)
    return search(residual, params, corpus, asked.query, cfg.depth, without=asked.relevant)


def batches(
    cfg: Config,
    corpus: Float[np.ndarray, "n d"],
    asked: Asked,
    candidates: Int[np.ndarray, "q c"],
    draw: np.random.Generator,
) -> Sequence[Batch]:
    """One epoch: each query with one of its items and some of its candidates; what fills no batch is dropped."""
    size = min(cfg.batch_size, len(asked.query))
    order = draw.permutation(len(asked.query))
    made = []
    for rows in (order[start : start + size] for start in range(0, len(order) - size + 1, size)):
        count = (asked.relevant[rows] >= 0).sum(axis=1)
        own = np.take_along_axis(asked.relevant[rows], draw.integers(0, count)[:, None], axis=1)
        places = draw.permuted(np.tile(np.arange(candidates.shape[1]), (size, 1)), axis=1)[:, : cfg.negatives]
        wrong = np.take_along_axis(candidates[rows], places, axis=1)
        chosen = own if cfg.mined == "batch" else np.concatenate([own, wrong], axis=1)
        made.append({"query": asked.query[rows], "document": corpus[chosen.T.ravel()]})
    return made


def search(
    residual: Residual,
    params: Params,
    items: Float[Array | np.ndarray, "n d"],
    query: Float[np.ndarray, "q d"],
    k: int,
    *,
    without: Int[np.ndarray, "q r"] | None = None,
) -> Int[np.ndarray, "q k"]:
    """Rows of the nearest items, both sides adapted as far as they have params."""
    left, right = adapted(residual, params, jnp.asarray(query), jnp.asarray(items))
    return adapt.nearest(left, right, k, without=without)


def check(
    cfg: Config,
    corpus: Float[np.ndarray, "n d"],
    asked: Asked,
    development: Asked,
    unseen: Float[np.ndarray, "m d"] | None = None,
    *,
    frozen_index: bool = False,
) -> None:
    """Raises: ValueError that names what of the settings, the vectors or the pairs cannot be trained on."""
    what = "adapted_dense_retrieval"
    if cfg.both and frozen_index:
        raise ValueError(f"{what}: both sides are to move, but the index of the documents is frozen")
    if cfg.temperature is None and not 0 < cfg.margin < 2:
        raise ValueError(f"{what}: wanted a margin above 0 and below 2, got {cfg.margin}")
    if cfg.temperature is not None and not cfg.temperature > 0:
        raise ValueError(f"{what}: wanted a temperature above 0, got {cfg.temperature}")
    if min(cfg.negatives, cfg.refresh, cfg.epochs, cfg.batch_size) < 1 or cfg.depth < cfg.negatives:
        raise ValueError(f"{what}: wanted counts of 1 or more, and depth >= negatives, got {cfg}")
    if not len(development.query):
        raise ValueError(f"{what}: wanted development queries to choose by, got none")
    adapt.check_corpus(what, corpus)
    adapt.check_asked(what, "asked", asked, corpus, negatives=cfg.depth)
    adapt.check_asked(what, "development", development, corpus if unseen is None else unseen, negatives=0)
