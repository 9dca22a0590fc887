"""Distilled Sentence Embedding: a siamese encoder and a small head that give the scores of a cross-encoder.

What is composed: the teacher is a `CrossModel`, one that is ready or one that `model.cross_training` trains; its
logits of every pair are kept with the pairs' ids (`data.judged`).  The student joins the states of its last layers
(`encode.side_by_side`), pools them without the first token, and asks `encode.feature_head` what two vectors are to each
other; it learns by `losses.logit_distillation`, and by a label's loss where there is a label.  Vectors of documents,
and what the head needs of them alone, are computed once.

Source: Barkan et al. 2020, arXiv:1908.05161; 4.6 % below BERT on average over five pair tasks of GLUE (abstract).  Ours
stand on the page of claims, by the name of this recipe.
Differences: no dropout; a pair without a label counts by its teacher's scores alone; logits are not standardised, but
gradients are clipped.
Left open by the paper, and chosen here: the head reads a pair in one order; `encode.both_ways` makes it symmetric.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array

from jaxemb import data, encode, losses, model, train
from jaxemb.data.judged import Judged, Scores, check_judged, check_tokens
from jaxemb.data.tokenize import Tokenizer, pad
from jaxemb.encode import PairHead, Pooling
from jaxemb.model.cross import CrossModel
from jaxemb.types import Backbone, Batch, Embedder, Encoder, Loss, Objective, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the paper varies.

    alpha: share of the teacher's scores in the loss, in [0, 1]; the rest is the label's.
    layers: how many of the last layers are joined.
    hidden: of the head.
    classes: logits of a pair; 1 for numbers, or for yes and no.
    tokens: of one text, in training.
    """

    alpha: float = 0.5
    layers: int = 4
    hidden: int = 512
    classes: int = 1
    tokens: int = 128
    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 2e-5
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")
        if self.classes < 1:
            raise ValueError(f"classes must be 1 or more, got {self.classes}")


class Student(NamedTuple):
    """An encoder of single texts, and what says of two vectors what the texts are to each other."""

    encoder: Encoder
    head: PairHead

    def init(self, key: Array) -> Params:
        """Params of both."""
        one, other = jax.random.split(key)
        return {"encoder": self.encoder.init(one), "head": self.head.init(other)}


NO_FIRST = encode.without_first(encode.mean)
"""The paper's pooling: the mean without `[CLS]`."""


def student(cfg: Config, backbone: Backbone, size: int, *, pooling: Pooling = NO_FIRST) -> Student:
    """The paper's student from a backbone of `size` dimensions; another `Student` is as good to `run`.

    Raises: ValueError for more layers than there are.
    """
    there = encode.depth(jax.eval_shape(backbone.init, jax.random.key(0)))
    if not 1 <= cfg.layers <= there:
        raise ValueError(f"student: wanted the last {cfg.layers} layers, the backbone has {there}")
    joined = encode.side_by_side(backbone, cfg.layers)
    return Student(encode.pooled(joined, pooling), encode.feature_head(cfg.layers * size, cfg.hidden, cfg.classes))


def scores(teacher: CrossModel, pairs: Sequence[Judged], *, what: str | None = "teacher's scores") -> Scores:
    """The teacher's logits of all pairs, in their order."""
    numbers = model.logits(teacher, [(pair.first, pair.second) for pair in pairs], what=what)
    return Scores(tuple(pair.id for pair in pairs), numbers)


def batch(cfg: Config, tokenizer: Tokenizer, pairs: Sequence[Judged]) -> Batch:
    """Tokens of both sides in one shape; labels, and whether there is one; the teacher's scores, where alpha asks."""
    found: dict[str, object] = {
        side: pad(tokenizer.ids([getattr(pair, name) for pair in pairs]).rows, cfg.tokens)
        for side, name in (("query", "first"), ("document", "second"))
    }
    if cfg.alpha < 1:
        kind = np.float32 if cfg.classes == 1 else np.int32
        found["label"] = np.array([pair.label or 0 for pair in pairs], kind)
        found["weight"] = np.array([pair.label is not None for pair in pairs], np.float32)
    if cfg.alpha > 0:
        found["teacher"] = np.array([pair.scores for pair in pairs], np.float32)
    return found


def objective(cfg: Config, made: Student, label: Loss = losses.logit_regression) -> Objective:
    """The teacher's scores by alpha, the labels by the rest; what has no share is left out.

    Args:
      label: of two sets of vectors, a `label` and a `classifier`; `binary_classification` for yes and no,
        `softmax_classification` for classes.
    """
    terms = {
        "label": train.Term(losses.weighted(label), "query", "document", 1 - cfg.alpha, passed=("label", "weight")),
        "teacher": train.Term(losses.logit_distillation, "query", "document", cfg.alpha, passed=("teacher",)),
    }
    return train.headed(made.encoder, made.head.apply, {name: term for name, term in terms.items() if term.weight})


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam with decay, and a rate that rises and falls."""
    rate = train.warmup_cosine(cfg.learning_rate, cfg.steps)
    return optax.adamw(rate, weight_decay=cfg.weight_decay, mask=train.decayed)


def check(cfg: Config, tokenizer: Tokenizer, pairs: Sequence[Judged]) -> None:
    """Raises: ValueError that names the first pair that no student can learn from: without a token in one of its texts,
    with a label of no class, with another number of scores than there are classes, or with one that is not finite."""
    check_judged(pairs, classes=cfg.classes if cfg.classes > 1 else None)
    check_tokens(pairs, tokenizer)
    for pair in pairs:
        if cfg.alpha > 0 and len(pair.scores) != cfg.classes:
            raise ValueError(f"pair {pair.id!r}: {len(pair.scores)} scores of the teacher, the head has {cfg.classes}")
        if cfg.alpha > 0 and not np.isfinite(pair.scores).all():
            raise ValueError(f"pair {pair.id!r}: wanted finite scores of the teacher, got {pair.scores}")


def run(
    cfg: Config,
    made: Student,
    params: Params,
    pairs: Sequence[Judged],
    tokenizer: Tokenizer,
    *,
    seed: int,
    label: Loss = losses.logit_regression,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
) -> Embedder:
    """A student from `params`; its `score` is the head's logit, of the last class where there are several.

    Args:
      tokenizer: cut to `cfg.tokens` here, unless it is already, as one that remembers its texts.
    """
    ready = tokenizer.max_length == cfg.tokens and tokenizer.add_special
    limited = tokenizer if ready else tokenizer.limited(cfg.tokens, add_special=True)
    check(cfg, limited, pairs)
    learnt = train.fit(
        objective(cfg, made, label),
        optimizer(cfg),
        data.stream(pairs, batch_size=cfg.batch_size, seed=seed, make=partial(batch, cfg, limited)),
        params,
        steps=cfg.steps,
        checkpoints=checkpoints,
        log=log,
        what=f"student {seed}",
    )

    def score(query: Array, document: Array) -> Array:
        return made.head.against(learnt["head"], query, made.head.store(learnt["head"], document))[:, :, -1]

    def vectors(params: Params, tokens: Tokens) -> Array:
        return made.encoder.apply(params["encoder"], tokens)

    return Embedder(learnt, query=vectors, document=vectors, score=score)
