"""A static student of a contextual teacher: its vectors distilled into one weighted token table, and seeds merged.

What is composed: the student is `encode.static`, begun from the teacher's own token table (the undistilled token
average, its baseline).  It learns by `losses.embedding_distillation` towards the teacher's vectors of both sides, and
by `losses.info_nce` between them.  Runs that differ only in the order of the data stay in one basin, so their params
are merged; the operator is the caller's to choose, on validation data.

Sources: Reimers & Gurevych 2020, arXiv:2004.09813 (vectors of a teacher as targets); Tulkens & van Dongen 2024,
Model2Vec (a static table from a sentence encoder); Wortsman et al. 2022, arXiv:2203.05482 (averaging runs).
Differences: all tokens are trained on real pairs, not read off the teacher one by one, and no principal components are
taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optax
from jaxtyping import Array, Float

from jaxemb import data, encode, losses, train
from jaxemb.data.tokenize import Tokenizer, pad
from jaxemb.similarity import cosine
from jaxemb.types import Batch, Embedder, Encoder, Objective, Params, Tokens


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the recipe varies.

    temperature: of the contrast, which has `contrast` times the weight of the distillation of one side.
    query_tokens, document_tokens: how much of a text the student sees in training; it reads texts whole in use.
    """

    steps: int = 200
    batch_size: int = 128
    learning_rate: float = 3e-3
    temperature: float = 0.05
    contrast: float = 1.0
    query_tokens: int = 32
    document_tokens: int = 96


@dataclass(frozen=True)
class Taught:
    """A pair of texts, and the teacher's vectors of them."""

    query: str
    document: str
    query_vector: Float[np.ndarray, " d"]
    document_vector: Float[np.ndarray, " d"]


def student(table: Float[Array | np.ndarray, "v d"]) -> tuple[Encoder, Params]:
    """A static encoder with vectors of length one, and its params before any training: the plain token average."""
    config = encode.StaticConfig(vocab_size=table.shape[0], hidden_size=table.shape[1])
    return encode.normalized(encode.static(config)), encode.from_table(table)


def batch(cfg: Config, tokenizer: Tokenizer, pairs: Sequence[Taught]) -> Batch:
    """Tokens of both sides, in one shape whatever the texts are, and the teacher's vectors of them."""

    def tokens(texts: list[str], length: int) -> Tokens:
        return pad([row[:length] for row in tokenizer.ids(texts).rows], length)

    return {
        "query": tokens([pair.query for pair in pairs], cfg.query_tokens),
        "document": tokens([pair.document for pair in pairs], cfg.document_tokens),
        "query_vector": np.stack([pair.query_vector for pair in pairs]),
        "document_vector": np.stack([pair.document_vector for pair in pairs]),
    }


def objective(cfg: Config, encoder: Encoder) -> Objective:
    """Distillation of both sides, and contrast between them."""
    distil = losses.embedding_distillation
    contrast = partial(losses.info_nce, temperature=cfg.temperature)
    return train.objective(
        encoder,
        {
            "query_distillation": train.Term(distil, "query", "query_vector"),
            "document_distillation": train.Term(distil, "document", "document_vector"),
            "contrast": train.Term(contrast, "query", "document", weight=cfg.contrast),
        },
    )


def run(
    cfg: Config,
    encoder: Encoder,
    params: Params,
    pairs: Sequence[Taught],
    tokenizer: Tokenizer,
    *,
    seed: int,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
) -> Embedder:
    """One student from `params`, with the data in the order of `seed`."""
    plain = tokenizer.limited(None, add_special=False)
    learnt = train.fit(
        objective(cfg, encoder),
        optax.adam(train.warmup_cosine(cfg.learning_rate, cfg.steps)),
        data.stream(pairs, batch_size=cfg.batch_size, seed=seed, make=partial(batch, cfg, plain)),
        params,
        steps=cfg.steps,
        checkpoints=checkpoints,
        log=log,
        what=f"student {seed}",
    )
    return Embedder(learnt, query=encoder.apply, document=encoder.apply, score=cosine)
