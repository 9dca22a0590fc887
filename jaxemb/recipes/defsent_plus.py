"""A dictionary as the only training data: the vector of a definition has to select its entry.

Papers: DefSent, Tsukagoshi et al. 2021, arXiv:2105.04339; DefSent+, arXiv:2405.16153.

What is composed: any encoder; vectors of entries, which are its word vectors in DefSent (`data.word_ids`, entries of
one token alone) and means over their definitions in DefSent+ (`encode.entry_matrix`, any entry), made isotropic by
`adapt.fast_ica` or whitening where a stage asks for it; `losses.entry_cross_entropy`; `train.fit`.  Stages are
separate: each builds its entries with the encoder of the stage before, and trains the original encoder anew.
Differences: logits are scaled so that they begin with the standard deviation `spread`, where the authors' code
multiplies components by 100, which gives logits of a thousand.  The projection `P` begins as the identity; of BERT,
put its own pooler in its place.
Unsure: which layer is `P` of encoders that have no pooler; it is a dense layer of their size here.
Figures: the papers' and ours stand on the page of claims, for `jaxemb claim defsent_plus`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jaxemb import data, encode, losses, train
from jaxemb.similarity import cosine
from jaxemb.train.placement import Layout
from jaxemb.types import Batch, Embedder, Encoder, Objective, Params, Tokens, VectorMap

ENTRIES = "entries"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the papers vary.

    activation: of the projection that the loss reads and inference does not: `Tanh`, or `GELU` of RoBERTa.
    spread: the standard deviation of the logits at the start.
    frozen: leaves of the encoder that do not move; DefSent freezes the embeddings, DefSent+ nothing.
    sampled: entries drawn each step that stand for all; None for all.
    clip: the largest norm of a gradient.
    """

    activation: str = "Tanh"
    spread: float = 2.0
    frozen: tuple[str, ...] = ()
    sampled: int | None = None
    steps: int = 500
    batch_size: int = 96
    learning_rate: float = 2e-3
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        if not self.spread > 0:
            raise ValueError(f"defsent_plus: spread must be above 0, got {self.spread}")
        if self.sampled is not None and self.sampled < 1:
            raise ValueError(f"defsent_plus: sampled must be 1 or more, or None for all, got {self.sampled}")


class Learnt(NamedTuple):
    """What a stage ends with.

    params: of the encoder, and of its projection.
    entries: the vectors that definitions had to select.
    scale: of their logits.
    """

    params: Params
    entries: Float[Array, "e d"]
    scale: float


def projected(cfg: Config, encoder: Encoder, size: int) -> Encoder:
    """The encoder with the projection that its loss reads; without it, the same params make the encoder itself."""
    dense = encode.DenseConfig(in_features=size, out_features=size, activation=cfg.activation)
    return encode.followed(encoder, dense, name="projection")


def started(params: Params, size: int) -> Params:
    """An encoder's params with a projection that begins as the identity."""
    return {**params, "projection": {"linear": {"kernel": jnp.eye(size), "bias": jnp.zeros(size)}}}


def checked(entries: Float[Array, "e d"], entry: Int[np.ndarray, " m"], size: int) -> Float[Array, "e d"]:
    """The entries themselves.

    Raises: ValueError for fewer than two, another size, NaN, a column without variance, or a definition of none.
    """
    if entries.ndim != 2 or len(entries) < 2 or entries.shape[1] != size:
        raise ValueError(f"defsent_plus: wanted vectors of two entries or more, of {size} numbers, got {entries.shape}")
    if not bool(jnp.isfinite(entries).all()):
        raise ValueError("defsent_plus: vectors of entries hold NaN or infinity")
    if (flat := np.flatnonzero(np.asarray(entries.std(axis=0)) == 0)).size:
        raise ValueError(f"defsent_plus: {flat.size} columns of the entries have no variance, the first is {flat[0]}")
    if entry.size and not (entry.min() >= 0 and entry.max() < len(entries)):
        raise ValueError(f"defsent_plus: entries are 0 to {len(entries) - 1}, definitions have up to {entry.max()}")
    return entries


def objective(cfg: Config, encoder: Encoder, scale: float) -> Objective:
    """Definitions `text` against all entries, of which `entry` is each one's own; params `{"encoder", "entries"}`.

    Args:
      encoder: with its projection.
    """

    def weighed(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Any]]:
        candidates = None
        if cfg.sampled is not None:
            candidates = jax.random.randint(batch["key"], (cfg.sampled,), 0, len(params[ENTRIES]))
        select = partial(losses.entry_cross_entropy, label=batch["entry"], scale=scale, candidates=candidates)
        return select(encoder.apply(params["encoder"], batch["text"]), params[ENTRIES]), {}

    return weighed


def batches(cfg: Config, texts: Tokens, entry: Int[np.ndarray, " m"], *, seed: int) -> train.Batches:
    """Definitions and their entries."""

    def rows(chosen: Sequence[int]) -> Batch:
        return jax.tree.map(lambda leaf: leaf[np.asarray(chosen)], {"text": texts, "entry": entry})

    return data.stream(range(len(entry)), batch_size=cfg.batch_size, seed=seed, make=rows)


def stage(
    cfg: Config,
    encoder: Encoder,
    params: Params,
    texts: Tokens,
    entry: Int[np.ndarray, " m"],
    entries: Float[Array, "e d"],
    *,
    seed: int,
    mesh: Mesh | None = None,
    layout: Layout = train.replicated,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
    what: str | None = "definitions",
) -> Learnt:
    """Train an encoder to select given entries, which do not move; DefSent is this with its word vectors.

    Args:
      params: of the original encoder, and of its projection.
      texts, entry: definitions, and which entry each is of.
    Raises: as `checked`.
    """
    reader = projected(cfg, encoder, entries.shape[1])
    some = jax.tree.map(lambda part: part[: 4 * cfg.batch_size], texts)
    begun = reader.apply(params, some)
    scale = float(losses.entry_scale(begun, checked(entries, entry, begun.shape[1]), cfg.spread))
    learnt = train.fit(
        objective(cfg, reader, 1.0),
        optax.adamw(optax.linear_schedule(cfg.learning_rate, 0.0, cfg.steps), eps=1e-6, weight_decay=0.0),
        batches(cfg, texts, entry, seed=seed),
        {"encoder": params, ENTRIES: scale * entries},  # as an input, so that one program serves all stages
        steps=cfg.steps,
        frozen=(ENTRIES, *(f"encoder.{pattern}" for pattern in cfg.frozen)),
        clip=cfg.clip,
        key=None if cfg.sampled is None else jax.random.key(seed),
        mesh=mesh,
        layout=layout,
        checkpoints=checkpoints,
        run=f"defsent_plus {cfg} {scale}",
        log=log,
        what=what,
    )
    return Learnt(learnt["encoder"], entries, scale)


def progressive(
    stages: Sequence[tuple[Config, VectorMap | None]],
    encoder: Encoder,
    params: Params,
    texts: Tokens,
    entry: Int[np.ndarray, " m"],
    *,
    seed: int,
    checkpoints: Path | str | None = None,
    what: str | None = "stage",
) -> list[Learnt]:
    """DefSent+: stages one after another, each with entries that the encoder of the one before has built.

    Args:
      stages: of each its settings, and a map that makes its entries isotropic, as `adapt.fast_ica()`, or None.
      params: of the original encoder, and of its projection: every stage starts here.
    Raises: ValueError for no stage, and as `stage`.
    """
    if not stages:
        raise ValueError("progressive: wanted one stage or more, got none")
    builder, learnt = params, []
    for number, (cfg, even) in enumerate(stages, 1):
        entries = encode.entry_matrix(encoder, builder, texts, entry, int(entry.max()) + 1)
        entries = entries if even is None else even.apply(even.fit(entries), entries)
        folder = None if checkpoints is None else Path(checkpoints) / str(number)
        name = None if what is None else f"{what} {number}"
        learnt.append(stage(cfg, encoder, params, texts, entry, entries, seed=seed, checkpoints=folder, what=name))
        builder = learnt[-1].params
    return learnt


def embedder(encoder: Encoder, learnt: Learnt) -> Embedder:
    """Vectors from before the projection; the cosine is their score."""
    return Embedder(learnt.params, encoder.apply, encoder.apply, cosine)
