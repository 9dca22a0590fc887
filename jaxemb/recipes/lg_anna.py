"""One encoder for many tasks, told by its prompt what is asked: soft labels, and negatives that a moving margin keeps.

Report: "LG-ANNA-Embedding technical report", arXiv:2506.07438, later "LGAI-Embedding-Preview Technical Report".

What is composed: prompts with an instruction and some examples, which end in the token that the vector is read at
(`data.instructed`, `encode.last`); candidates of several searches (`negatives.hybrid`), of which a teacher's scores and
a margin that moves with the own document's leave the hard negatives (`mined`); InfoNCE over the batch
(`losses.mask_duplicates`, and `losses.mask_by_guide` with a teacher's vectors) and the teacher's distribution over each
query's own list (`losses.list_distillation`); `losses.cosent` for graded pairs; batches of one task each
(`data.mixture`, `train.by_task`), in which classes have no one else's documents as negatives.
`decoder` is a decoder-only backbone with LoRA, as the report's Mistral-7B; any encoder is as good to `run`.

Differences: no training code is published, and the report's formula of the loss, its temperature, margin and rate could
not be confirmed: what stands here is a reading of its three ideas.
Chosen where the report is silent: the template; the number of examples is drawn once a batch and the examples once a
query; both texts of graded pairs are asked as queries are; Adam.
Figures: the report's and ours stand on the page of claims, for `jaxemb claim lg_anna`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Float

from jaxemb import data, encode, losses, train
from jaxemb.data import Listed, Pair, Tokenizer, negatives
from jaxemb.data.instructed import Counted
from jaxemb.data.judged import Judged
from jaxemb.data.negatives import Mined, Pick, Rule, Search, Teacher
from jaxemb.similarity import cosine
from jaxemb.train import Adapter
from jaxemb.train.placement import Layout
from jaxemb.types import Backbone, Batch, Embedder, Encoder, Loss, Objective, Params, Tokens

Margin = Literal["relative", "absolute", "fixed", "none"]
Kind = Literal["retrieval", "classes", "graded"]
Guide = Callable[[Sequence[str]], Float[np.ndarray, "n g"]]
"""Texts to a teacher's vectors, which say what of a batch answers a query, too."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the recipe varies.

    negatives: hard ones of each query.
    candidates, deeper: how many of a search may become negatives, and how many where the margin leaves too few of them.
    margin, least: which candidates are far enough from the own document's score `t`: at most `least * t` (`relative`),
      `t - least` (`absolute`), or `least` whatever `t` is (`fixed`); all of them (`none`).
    guide: of a teacher's cosine with the own document, the share above which a document of the batch is no negative;
      None asks no guide.
    hard, soft: weights of InfoNCE and of the teacher's distribution.
    temperature: of InfoNCE, and of graded pairs.
    student_temperature, teacher_temperature: of both distributions; the teacher's divides its scores as they are, 1 for
      logits and about 0.05 for cosines.
    shots: examples of a query at most, of which 0 to all are drawn.
    counted: the tokens of a query that pooling counts; a decoder reads the last of `all`.
    rank, alpha, adapts: of LoRA.
    rows: texts whose states are kept at a time; None for all.
    """

    negatives: int = 7
    candidates: int = 100
    deeper: int = 200
    margin: Margin = "relative"
    least: float = 0.95
    guide: float | None = None
    hard: float = 1.0
    soft: float = 1.0
    temperature: float = 0.02
    student_temperature: float = 0.05
    teacher_temperature: float = 1.0
    shots: int = 5
    counted: Counted = "all"
    query_tokens: int = 512
    document_tokens: int = 512
    rank: int = 16
    alpha: float = 32.0
    adapts: tuple[str, ...] = ("blocks.attention.*.kernel", "blocks.gated.*.kernel")
    rows: int | None = None
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.margin not in get_args(Margin):
            raise ValueError(f"lg_anna: margin must be one of {', '.join(get_args(Margin))}, got {self.margin!r}")
        for name in ("temperature", "student_temperature", "teacher_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"lg_anna: {name} must be above 0, got {getattr(self, name)}")
        for name in ("hard", "soft"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"lg_anna: {name} must be 0 or more, got {getattr(self, name)}")
        if not self.hard and not self.soft:
            raise ValueError("lg_anna: neither hard labels nor soft ones, so that nothing is learnt")
        if self.guide is not None and not 0 < self.guide <= 1:
            raise ValueError(f"lg_anna: guide must be above 0 and at most 1, got {self.guide}")
        if self.shots < 0 or self.negatives < 1:
            raise ValueError(
                f"lg_anna: wanted 0 shots or more and 1 negative or more, got {self.shots} and {self.negatives}"
            )
        if self.candidates < self.negatives:
            raise ValueError(
                f"lg_anna: wanted as many candidates as negatives or more, got {self.candidates} for {self.negatives}"
            )


class Source(NamedTuple):
    """A task's data.

    kind: `retrieval`; `classes`, whose lists are of `data.of_labels`; or `graded`, pairs with a label from 0 to 1.
    rows: lists, or graded pairs.
    instruction: what is asked for; None for no prompt at all, nor examples.
    pool: pairs of the same task that may be shown as examples, some hundred.
    """

    kind: Kind
    rows: Sequence[Listed] | Sequence[Judged]
    instruction: str | None = None
    pool: Sequence[Pair] = ()


# --- negatives -------------------------------------------------------------------------------------------------------


def rules(cfg: Config) -> list[Rule]:
    """Which candidates may be negatives."""
    ways = {
        "relative": negatives.relative_margin,
        "absolute": negatives.absolute_margin,
        "fixed": negatives.at_most,
    }
    return [] if cfg.margin == "none" else [ways[cfg.margin](cfg.least)]


def mined(
    cfg: Config,
    pairs: Sequence[Pair],
    documents: Sequence[str],
    search: Search,
    teacher: Teacher,
    path: Path | str,
    *,
    pick: Pick = negatives.top,
    seed: int = 0,
    what: str | None = "mine",
) -> tuple[list[Listed], Mined]:
    """Lists with a teacher's scores, and what was looked at, dropped, and filled with random documents.

    Args:
      search: reads texts of queries, as `negatives.hybrid` of one by words and one by vectors.
      teacher: of pairs of texts, as `model.score` of a cross-encoder.
      path, pick, seed, what: as `negatives.mine` has them.
    """
    report = negatives.mine(
        pairs,
        documents,
        search,
        path,
        negatives=cfg.negatives,
        ranks=(0, cfg.candidates),
        deeper=cfg.deeper,
        rules=rules(cfg),
        pick=pick,
        teacher=teacher,
        seed=seed,
        what=what,
    )
    return data.listed(data.read_pairs(path), teacher), report


# --- batches ---------------------------------------------------------------------------------------------------------


def asked(
    cfg: Config,
    tokenizer: Tokenizer,
    instruction: str | None,
    queries: Sequence[str],
    examples: Sequence[Sequence[Pair]] = (),
) -> Tokens:
    """Queries as the encoder reads them; documents, and queries without an instruction, are `data.ended`.

    Raises: ValueError as both, and for a query of which no token is counted.
    """
    if instruction is None:
        return data.ended(tokenizer, queries, length=cfg.query_tokens)
    tokens = data.instructed(
        tokenizer, instruction, queries, examples, length=cfg.query_tokens, cut=True, counted=cfg.counted
    )
    counts = np.asarray(tokens.mask if tokens.counted is None else tokens.counted).sum(axis=1)
    if (bare := np.flatnonzero(counts == 0)).size:
        raise ValueError(f"lg_anna: wanted queries with a token, query {bare[0]} has none: {queries[bare[0]][:60]!r}")
    return tokens


def batch(
    cfg: Config, tokenizer: Tokenizer, source: Source, guide: Guide | None, rows: Sequence[Listed] | Sequence[Judged]
) -> Batch:
    """Tokens of both sides, and what the losses of the task read.  The same rows are asked in the same way again.

    Raises: ValueError as `data.check_listed`, `data.shots`, `data.instructed` and `data.ended`; for a label that is not
      in [0, 1]; for a guide that is missing.
    """
    if source.kind == "graded":
        return _graded(cfg, tokenizer, source, [row for row in rows if isinstance(row, Judged)])
    return _listed(cfg, tokenizer, source, guide, [row for row in rows if isinstance(row, Listed)])


def _listed(
    cfg: Config, tokenizer: Tokenizer, source: Source, guide: Guide | None, lists: Sequence[Listed]
) -> dict[str, Any]:
    taught = source.kind == "retrieval" and cfg.soft > 0
    data.check_listed(lists, cfg.negatives, scored=taught)
    pairs = [one.pair for one in lists]
    queries, documents = [pair.query for pair in pairs], data.documents_of(pairs, cfg.negatives)
    found: dict[str, Any] = {
        "query": asked(cfg, tokenizer, source.instruction, queries, _shown(cfg, source, pairs)),
        "document": data.ended(tokenizer, documents, length=cfg.document_tokens),
        "document_key": data.document_keys(pairs, cfg.negatives),
    }
    if taught:
        found["teacher"] = np.array([one.scores for one in lists], np.float32)
    if source.kind == "classes":  # others of the batch may be of the same class
        found["ignore"] = np.tile(~np.eye(len(pairs), dtype=bool), 1 + cfg.negatives)
    elif cfg.guide is not None:
        if guide is None:
            raise ValueError(f"lg_anna: guide={cfg.guide} wants a teacher's vectors of texts, got no guide")
        found["guide_query"], found["guide_document"] = guide(queries), guide(documents)
    return found


def _graded(cfg: Config, tokenizer: Tokenizer, source: Source, pairs: Sequence[Judged]) -> dict[str, Any]:
    for pair in pairs:
        if pair.label is None or not 0 <= pair.label <= 1:
            raise ValueError(f"lg_anna: pair {pair.id!r}: wanted a label from 0 to 1, got {pair.label}")
    sides = {"query": [pair.first for pair in pairs], "document": [pair.second for pair in pairs]}
    read = {side: asked(cfg, tokenizer, source.instruction, texts) for side, texts in sides.items()}
    return {**read, "label": np.array([pair.label for pair in pairs], np.float32)}


def _shown(cfg: Config, source: Source, pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Examples of each query, drawn by the texts of the batch."""
    if source.instruction is None or not cfg.shots:
        return []
    told = hashlib.blake2b("\n".join(pair.query for pair in pairs).encode(), digest_size=8).digest()
    draw = np.random.default_rng(int.from_bytes(told, "big"))
    count = int(draw.integers(cfg.shots + 1))
    return [data.shots(source.pool, pair, count, draw) for pair in pairs]


def batches(
    cfg: Config,
    tokenizer: Tokenizer,
    sources: Mapping[str, Source],
    *,
    seed: int,
    weights: Mapping[str, float] | None = None,
    guide: Guide | None = None,
) -> train.Batches:
    """Batches of one task each, for ever.

    Args:
      sources: by the names of their tasks.
      weights: how often each comes; by default all alike.
    """
    free = tokenizer.max_length is None
    plain = tokenizer if free else tokenizer.limited(None, add_special=tokenizer.add_special)
    streams = {
        name: data.stream(
            source.rows, batch_size=cfg.batch_size, seed=seed, make=partial(batch, cfg, plain, source, guide)
        )
        for name, source in sources.items()
    }
    return data.mixture(streams, weights, seed=seed)


# --- training --------------------------------------------------------------------------------------------------------


def terms(cfg: Config, kind: Kind) -> dict[str, train.Term]:
    """The losses of a kind of task; what has no weight is left out."""
    if kind not in get_args(Kind):
        raise ValueError(f"lg_anna: kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if kind == "graded":
        ordered = partial(losses.cosent, temperature=cfg.temperature)
        return {"order": train.Term(ordered, "query", "document", passed=("label",))}
    contrast: Loss = losses.mask_duplicates(partial(losses.info_nce, temperature=cfg.temperature))
    if kind == "classes":
        return {"contrast": train.Term(contrast, "query", "document", passed=("document_key", "ignore"))}
    passed = ["document_key"]
    if cfg.guide is not None:
        contrast = losses.mask_by_guide(contrast, margin=1 - cfg.guide, rule="relative")
        passed += ["guide_query", "guide_document"]
    soft = partial(
        losses.list_distillation,
        negatives=cfg.negatives,
        temperature=cfg.student_temperature,
        teacher_temperature=cfg.teacher_temperature,
    )
    both = {
        "contrast": train.Term(contrast, "query", "document", cfg.hard, passed),
        "soft": train.Term(soft, "query", "document", cfg.soft, ["teacher"]),
    }
    return {name: term for name, term in both.items() if term.weight}


def objective(cfg: Config, encoder: Encoder, kinds: Mapping[str, Kind]) -> Objective:
    """Of batches as `batches` makes them.

    Args:
      kinds: of every task.
    """
    reading = encoder if cfg.rows is None else train.gradient_cache(encoder, cfg.rows)
    return train.by_task({name: train.objective(reading, terms(cfg, kind)) for name, kind in kinds.items()})


def adapter(cfg: Config) -> Adapter:
    """LoRA on the products of attention and of the feed-forward layers."""
    return train.lora(cfg.adapts, rank=cfg.rank, alpha=cfg.alpha)


def decoder(cfg: Config, backbone: Backbone) -> Encoder:
    """A decoder that is read at its last token, with adapters; `run` it with `frozen=train.BASE`.

    `train.started(adapter(cfg), base, key)` are its params from those of the backbone.
    """
    return train.adapted(encode.normalized(encode.pooled(backbone, encode.last)), adapter(cfg))


def optimizer(cfg: Config) -> optax.GradientTransformation:
    """Adam, with a rate that rises and falls."""
    return optax.adam(train.warmup_cosine(cfg.learning_rate, cfg.steps))


def run(
    cfg: Config,
    encoder: Encoder,
    params: Params,
    batches: train.Batches,
    kinds: Mapping[str, Kind],
    *,
    frozen: Sequence[str] = (),
    mesh: Mesh | None = None,
    layout: Layout = train.replicated,
    checkpoints: Path | str | None = None,
    log: Path | str | None = None,
    what: str | None = "lg_anna",
) -> Embedder:
    """Train on batches as `batches` makes them; the embedder reads tokens as `asked` and `data.ended` make them."""
    learnt = train.fit(
        objective(cfg, encoder, kinds),
        optimizer(cfg),
        batches,
        params,
        steps=cfg.steps,
        frozen=frozen,
        mesh=mesh,
        layout=layout,
        checkpoints=checkpoints,
        run=f"lg_anna {cfg}",
        log=log,
        what=what,
    )
    return Embedder(learnt, encoder.apply, encoder.apply, cosine)
