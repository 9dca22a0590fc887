"""DupMAE: what pre-training to write a text from its vector gives over masked language modelling."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxemb import data, encode, losses, model, progress, train
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.debian_index import debian_in
from jaxemb.claims.described import at, mrr, ranks, read
from jaxemb.claims.rows import row
from jaxemb.data import debian, masking
from jaxemb.harness.record import Record
from jaxemb.recipes import dupmae as recipe
from jaxemb.similarity import cosine
from jaxemb.train import Plan
from jaxemb.types import Batch, Objective, Params, Tokens

LENGTHS, VOCABULARY, SIZE = (16, 28), 3000, 64
LONG, PAIRS, CHOSEN, ASKED = 12_000, 1000, 1000, 2000
STEPS, BATCH, RATE = 500, 32, 2e-3
TUNED, TUNED_BATCH, TUNED_RATE, TEMPERATURE = 150, 64, 1e-3, 0.05
SHAPE = encode.BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=SIZE,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    max_position_embeddings=LENGTHS[1],
    type_vocab_size=0,
)
CONFIG = recipe.Config(dense=SIZE, sparse=SIZE, positions=4)
NONE, MLM, RETRO, DUP = "no pre-training", "masked LM", "RetroMAE", "DupMAE"
VARIANTS: dict[str, recipe.Config | None] = {
    NONE: None,
    MLM: replace(CONFIG, decoder_weight=0.0, bow_weight=0.0),
    RETRO: replace(CONFIG, bow_weight=0.0),
    DUP: CONFIG,
}
WEIGHTS = (0.0, 0.1, 0.3, 1.0)
BEFORE, AFTER = "mrr@10 before tuning", "mrr@10"
SHARE = "share of its words in the top 20"
MODEL = recipe.duplex(CONFIG, SHAPE)


class Side(NamedTuple):
    """Texts of some pairs, as ids."""

    query: Tokens
    document: Tokens


class Texts(NamedTuple):
    """What is trained and measured on."""

    revision: str
    table: Float[np.ndarray, "v d"]
    long: Tokens
    tuning: Side
    validation: Side
    test: Side


def texts(where: Where) -> Texts:
    """Descriptions of Debian packages as ids between `[CLS]` and `[SEP]`."""
    folder = debian_in(where.data)
    train_pairs = list(debian.pairs(folder, "train", LONG))
    words = data.word_tokenizer((pair.document for pair in train_pairs), VOCABULARY, add_special=True)
    vectors = model.word_vectors(model.load(model.demo_folder()), words, kept=where.data / "words", what="word vectors")

    def side(pairs: Sequence[data.Pair]) -> Side:
        texts = ([pair.query for pair in pairs], [pair.document for pair in pairs])
        limited = (words.limited(length, add_special=True) for length in LENGTHS)
        return Side(*(read(one, side, length) for one, side, length in zip(limited, texts, LENGTHS, strict=True)))

    held_out = {
        name: list(debian.pairs(folder, name, count)) for name, count in (("validation", CHOSEN), ("test", ASKED))
    }
    tuning = side(train_pairs[:PAIRS])
    return Texts(
        folder.name,
        model.word_table(vectors, SIZE, words),
        side(train_pairs).document,
        tuning,
        side(held_out["validation"]),
        side(held_out["test"]),
    )


def pretrained(cfg: recipe.Config | None, made: Texts, seed: int) -> Params:
    """Params after pre-training, or before any."""
    start = recipe.init(CONFIG, MODEL, jax.random.key(seed))
    start["encoder"]["embeddings"]["tokens"]["table"] = jnp.asarray(made.table)
    if cfg is None:
        return start
    special = np.arange(VOCABULARY) < cfg.special
    numbers = masking.word_numbers(made.long, special)

    def batch(rows: Sequence[int]) -> Batch:
        chosen = np.asarray(rows, np.int64)
        return {"text": at(made.long, chosen), "words": numbers[chosen]}

    return train.fit(
        recipe.objective(cfg, MODEL),
        optax.adamw(train.warmup_cosine(RATE, STEPS)),
        data.stream(range(len(numbers)), batch_size=BATCH, seed=seed, make=batch),
        start,
        steps=STEPS,
        key=jax.random.key(seed + 1),
        what=None,
    )


def contrast(lexical: bool) -> Objective:
    """InfoNCE between the vectors of both sides, and if wanted between their words, too."""
    loss = partial(losses.info_nce, temperature=TEMPERATURE)

    def tuned(params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
        query, document = (recipe.vectors(MODEL, params, batch[side]) for side in ("query", "document"))
        each = loss(query[0], document[0])
        return each + loss(query[1], document[1]) if lexical else each, {}

    return tuned


def tuned(params: Params, made: Texts, seed: int, *, lexical: bool = False) -> Params:
    """Params after contrastive fine-tuning on few pairs, of vectors alone or of words, too."""

    def batch(rows: Sequence[int]) -> Batch:
        chosen = np.asarray(rows, np.int64)
        return {"query": at(made.tuning.query, chosen), "document": at(made.tuning.document, chosen)}

    return train.fit(
        contrast(lexical),
        optax.adamw(train.warmup_cosine(TUNED_RATE, TUNED)),
        data.stream(range(PAIRS), batch_size=TUNED_BATCH, seed=seed, make=batch),
        params,
        steps=TUNED,
        what=None,
    )


_vectors = jax.jit(lambda params, text: recipe.vectors(MODEL, params, text)[0])
_words = jax.jit(lambda params, text: recipe.vectors(MODEL, params, text)[1])


def of_many(made: Callable[[Params, Tokens], Array], params: Params, side: Tokens) -> np.ndarray:
    """What is made of many texts, some at a time."""
    starts = range(0, len(side.ids), 500)
    return np.concatenate([made(params, at(side, np.arange(one, min(one + 500, len(side.ids))))) for one in starts])


def by_vectors(params: Params, side: Side) -> np.ndarray:
    """How alike each query and document are by their vectors."""
    query, document = (jnp.asarray(of_many(_vectors, params, texts)) for texts in side)
    return np.asarray(cosine(query, document))


def by_words(params: Params, side: Side) -> np.ndarray:
    """How alike they are by the words that the documents keep."""
    asked, words = (of_many(_words, params, texts) for texts in side)
    kept = encode.largest(jnp.asarray(words), CONFIG.sparse)
    lengths = np.linalg.norm(asked, axis=1)[:, None] * np.asarray(jnp.linalg.norm(kept.values, axis=1))[None, :]
    parts = [encode.sparse_dot(jnp.asarray(asked[at : at + 100]), kept) for at in range(0, len(asked), 100)]
    return np.concatenate(parts) / lengths


def found(scored: np.ndarray) -> float:
    """Mean reciprocal rank among ten, where query `i` asks for document `i`."""
    own = np.arange(len(scored))
    return mrr(ranks(scored, np.eye(len(scored), dtype=scored.dtype), own), 10)


def share(params: Params, text: Tokens) -> float:
    """How many of the distinct words of a text are among its 20 largest, on average over texts."""
    top = np.asarray(encode.largest(jnp.asarray(of_many(_words, params, text)), 20).ids)
    shares = []
    for ids, mask, best in zip(np.asarray(text.ids), np.asarray(text.mask), top, strict=True):
        there = {int(one) for one in ids[mask > 0] if one >= CONFIG.special}
        shares.append(len(there & set(best.tolist())) / len(there))
    return float(np.mean(shares))


def measured(made: Texts, seed: int, name: str) -> list[tuple[str, str, float]]:
    """Row, metric and value of what is trained in one way with one seed."""
    params = pretrained(VARIANTS[name], made, seed)
    after = tuned(params, made, seed)
    values = [
        (name, BEFORE, found(by_vectors(params, made.test))),
        (name, SHARE, share(params, at(made.test.document, np.arange(500)))),
        (name, AFTER, found(by_vectors(after, made.test))),
    ]
    if name == DUP:
        values += of_both(tuned(params, made, seed, lexical=True), made, seed)
    progress.say("; ".join(f"seed {seed}, {name}: {metric} {value:.3f}" for name, metric, value in values))
    return values


def of_both(params: Params, made: Texts, seed: int) -> list[tuple[str, str, float]]:
    """The same for a vector and words that were tuned together, apart and joined."""
    dense, lexical = by_vectors(params, made.validation), by_words(params, made.validation)
    weight = max(WEIGHTS, key=lambda one: found(dense + one * lexical))
    progress.say(f"seed {seed}: weight of the words by validation: {weight}")
    dense, lexical = by_vectors(params, made.test), by_words(params, made.test)
    return [
        (f"{DUP}, vector of both", AFTER, found(dense)),
        (f"{DUP}, words of both", AFTER, found(lexical)),
        (f"{DUP}, both", AFTER, found(dense + weight * lexical)),
    ]


def measure(where: Where) -> Iterator[Record]:
    """All variants, every seed.

    Steps of encoders this small keep little more than one core busy, so that two are trained at a time.  The programs
    of the first seed serve the others: a quarter of the time would go into compiling them again.
    """
    model.cached(where.data / "compiled")
    made = texts(where)
    runs = [(seed, name) for seed in range(where.seeds) for name in (DUP, RETRO, MLM, NONE)]
    values: dict[tuple[str, str], list[float]] = {}
    with ThreadPoolExecutor(2) as pool, progress.bar("dupmae", len(runs)) as advance:
        for each in pool.map(lambda run: measured(made, *run), runs):
            advance(1)
            for name, metric, value in each:
                values.setdefault((name, metric), []).append(value)
    task = f"{made.revision}/test[{ASKED}]"
    for (name, metric), reached in values.items():
        yield row(name, settings(name), task, metric, reached)


def settings(name: str) -> dict[str, Any]:
    """What a row was trained with."""
    cfg = VARIANTS[name.partition(",")[0]]
    tuning = {
        "steps": TUNED,
        "of": "vectors and words" if "both" in name else "vectors",
        "batch_size": TUNED_BATCH,
        "learning_rate": TUNED_RATE,
        "temperature": TEMPERATURE,
    }
    pretraining = None if cfg is None else {**asdict(cfg), "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE}
    return {"shape": asdict(SHAPE), "pretraining": pretraining, "tuning": tuning}


def plan() -> dict[str, Plan]:
    """BERT-base as the paper adapts it to MS MARCO: 128 texts of 150 tokens a device, in half precision."""
    shape, cfg = encode.BertConfig(), recipe.Config()
    made = recipe.duplex(cfg, shape, dtype=jnp.bfloat16)
    texts: Any = jax.ShapeDtypeStruct((1024, 150), jnp.int32)
    shapes = jax.eval_shape(partial(recipe.init, cfg, made), jax.random.key(0))
    inner = recipe.objective(cfg, made)

    def objective(params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
        return inner(params, {**batch, "key": jax.random.key(0)})  # which `fit` draws anew each step

    batch = {"text": Tokens(texts, texts), "words": texts}
    return {"BERT-base, 1,024 texts of 150 tokens": train.planned(objective, optax.adamw(1e-4), shapes, batch)}


CLAIM = Claim(
    paper="RetroMAE v2: Duplex Masked Auto-Encoder (DupMAE), arXiv:2211.08769",
    says="To write a text again from its vector, and its words from its tokens, prepares an encoder for retrieval "
    "better than masked language modelling.",
    published="MS MARCO passages, MRR@10, distilled: SimLM .411, RetroMAE .416, DupMAE .426; BEIR, 18 sets, mean "
    "nDCG@10: BERT .371, BM25 .423, RetroMAE .452, DupMAE .477 (from a third party's digest of the paper)",
    scale="12,000 Debian descriptions of 28 tokens, a BERT of 2 layers of 64 dimensions and 3,000 words that begins "
    "with word vectors, 500 steps of 32; then 150 steps of 64 on 1,000 pairs; 2,000 test queries against their 2,000 "
    "documents",
    differs="a small encoder trained here for BERT-base, and no hard negatives or teacher; vectors and words are "
    "compared by the cosine, at temperature 0.05, where the authors' code takes inner products; with word vectors to "
    "begin with, no pre-training is strong at this size, and DupMAE against it or RetroMAE is shown without a margin",
    minutes=5,
    margins=(
        Margin(AFTER, RETRO, MLM, least=0.05, every=0.0),
        Margin(AFTER, DUP, MLM, least=0.05, every=0.0),
        Margin(BEFORE, RETRO, MLM, every=0.0),
        Margin(BEFORE, DUP, MLM, every=0.0),
        Margin(AFTER, f"{DUP}, both", DUP, least=-0.003),
        Margin(SHARE, DUP, MLM, every=0.0),
    ),
    measure=measure,
    plan=plan,
    legend={
        DUP: "only vectors are tuned, as in the other rows of one name",
        f"{DUP}, both": "vectors and words are tuned together, in as many steps; the score is the sum of both cosines, "
        "the words' times a weight out of 0, 0.1, 0.3 and 1 that validation chose",
    },
)
