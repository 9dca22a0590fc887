"""BEBR against one-bit hashes, learnt and not: vectors of Debian descriptions, and an index that a newer model asks."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxemb import compress, model, progress, train
from jaxemb.claims import latent
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.debian_index import debian_in
from jaxemb.claims.described import pairs_of
from jaxemb.claims.rows import row
from jaxemb.harness.record import Record
from jaxemb.recipes import bebr as recipe
from jaxemb.similarity import unit
from jaxemb.train import Plan
from jaxemb.types import Compressor, Params

PAIRS, TEST, K = 11_000, 3000, 10
SIZE, OLD_SIZE, OLD_PAIRS = 256, 96, 3000
CONFIG = recipe.Config(size=SIZE)
OLD, COMPATIBLE = replace(CONFIG, size=OLD_SIZE), replace(CONFIG, epochs=12)
RECALL, NDCG, OVERLAP = "recall@10", "ndcg@10", "overlap@10 with float32"
BYTES, SMALLER = "bytes", "times smaller than float32"
FLOAT = "float32"
Nearest = Int[np.ndarray, "b k"]
FIXED = (
    "int8", "hamming", f"itq-{SIZE}+hamming", "rabitq-1", "pq-64x8", "rabitq-2", "int4-0.01", "rabitq-4",
)  # fmt: skip
"""Compressors that learn from no pairs, as users of the library would take them: a float query against codes where
they are not Hamming codes.  Like all others they are fitted to vectors of both sides."""
ROTATED = "rotate+hamming"
SHORT = f"BEBR, {SIZE // 2} dimensions of 2 bits"
OURS, HASH = "BEBR, {} bits a dimension", "learnt 1-bit hash of {} dimensions"
BEGUN, ASKED = ", untrained", ", float query"
OLD_OLD, CROSS, PLAIN = "old query, old index", "new query, old index", "new query, old index, not made compatible"
NEW_NEW = "new query, new index, compatible"


class Side(NamedTuple):
    """Vectors of both sides of some pairs: row `i` of both belong together."""

    query: Float[np.ndarray, "n d"]
    document: Float[np.ndarray, "n d"]


class Given(NamedTuple):
    """What is compressed: the vectors of one model, and of an older one."""

    revision: str
    train: Side
    test: Side
    old_train: Side
    old_test: Side


def given(where: Where, split: str = "test") -> Given:
    """Descriptions by latent semantic analysis, and, as an older model's, by a smaller one of fewer texts."""
    index = debian_in(where.data)
    pairs = {name: pairs_of(index, name, count, False) for name, count in (("train", PAIRS), (split, TEST))}
    sides = {name: ([p.query for p in some], [p.document for p in some]) for name, some in pairs.items()}
    new = latent.latent([text for side in sides["train"] for text in side], SIZE)
    old = latent.latent([text for side in sides["train"] for text in side[:OLD_PAIRS]], OLD_SIZE)

    def by(made: latent.Latent, name: str) -> Side:
        return Side(*(latent.vectors(made, side) for side in sides[name]))

    return Given(index.name, by(new, "train"), by(new, split), by(old, "train"), by(old, split))


def measure(where: Where) -> Iterator[Record]:
    """How well every code finds, and how much of float32's neighbours it keeps; then over two models."""
    model.cached(where.data / "compiled")  # the second seed's programs are those of the first
    made = given(where)
    task = f"{made.revision}/test[{TEST}]"
    exact = nearest(made.test.query @ made.test.document.T)
    for name, scores, size in fixed(made):
        for metric, value in told(name, qualities(scores, exact, size)).items():
            yield row(name, {"name": name}, task, metric, [value], each="once")
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(where.seeds):
        for name, scores, size in seeded(made, seed):
            for metric, value in told(f"seed {seed}, {name}", qualities(scores, exact, size)).items():
                found.setdefault((name, metric), []).append(value)
        for name, scores in models(made, seed):
            for metric, value in told(f"seed {seed}, {name}", finding(scores)).items():
                found.setdefault((name, metric), []).append(value)
    for (name, metric), each in found.items():
        yield row(name, settings(name), task, metric, each)


def told(name: str, values: dict[str, float]) -> dict[str, float]:
    """The values, once they are said."""
    progress.say(f"{name}: " + ", ".join(f"{metric} {value:.3f}" for metric, value in values.items()))
    return values


def fixed(made: Given) -> Iterator[tuple[str, Float[np.ndarray, "b n"], int]]:
    """Name, scores of all test pairs, and bytes of a vector, of what no seed changes."""
    yield FLOAT, made.test.query @ made.test.document.T, 4 * SIZE
    for name in FIXED:
        yield name, *compressed(name, made)


def compressed(name: str, made: Given) -> tuple[Float[np.ndarray, "b n"], int]:
    """Scores and bytes of a compressor that is fitted to the training vectors."""
    code = compress.by_name(name)
    state = code.fit(both(made.train))
    return asked(code, state, made.test), code.bytes_per_vector(SIZE)


def seeded(made: Given, seed: int) -> Iterator[tuple[str, Float[np.ndarray, "b n"], int]]:
    """The same of what draws or learns, before it has learnt and after."""
    yield ROTATED, *compressed(f"rotate-{seed}+hamming", made)
    for cfg, name in trained_rows():
        params = compress.recurrent_start(both(made.train), cfg.size, cfg.bits, seed)
        code = compress.recurrent(cfg.size, cfg.bits)
        size = code.bytes_per_vector(SIZE)
        yield name + BEGUN, codes(code, params, made.test), size
        code, learnt = recipe.run(cfg, params, pairs(made.train), seed=seed, what=None)
        yield name, codes(code, learnt, made.test), size
        if cfg.bits > 1:
            yield name + BEGUN + ASKED, asked(code, params, made.test), size
            yield name + ASKED, asked(code, learnt, made.test), size


def trained_rows() -> list[tuple[recipe.Config, str]]:
    """What learns from pairs, and what its rows are called."""
    hashes = [(replace(CONFIG, size=bits * SIZE, bits=1), HASH.format(bits * SIZE)) for bits in (1, 2, 4)]
    shorter = (replace(CONFIG, size=SIZE // 2, bits=2), SHORT)
    return [*hashes, shorter, *((replace(CONFIG, bits=bits), OURS.format(bits)) for bits in (2, 4))]


def models(made: Given, seed: int) -> Iterator[tuple[str, Float[np.ndarray, "b n"]]]:
    """Codes of a new model that ask the index of an old one, and how well the old one does."""
    start = compress.recurrent_start(both(made.old_train), OLD.size, OLD.bits, seed)
    old_code, old = recipe.run(OLD, start, pairs(made.old_train), seed=seed, what=None)
    query, document = (decoded(old_code, old, side) for side in made.old_train)
    known = [
        replace(pair, old_query=one, old_document=other)
        for pair, one, other in zip(pairs(made.train), query, document, strict=True)
    ]
    old_codes = jnp.asarray(np.concatenate([query, document]))
    begin = compress.compatible_start(both(made.train), old_codes, SIZE, CONFIG.bits, seed)
    code, learnt = recipe.run(COMPATIBLE, begin, known, seed=seed, what=None)
    plain = compress.recurrent_start(both(made.train), SIZE, CONFIG.bits, seed)
    _, apart = recipe.run(CONFIG, plain, pairs(made.train), seed=seed, what=None)
    index = decoded(old_code, old, made.old_test.document)
    yield OLD_OLD, decoded(old_code, old, made.old_test.query) @ index.T
    for name, params in ((CROSS, learnt), (PLAIN, apart)):
        yield name, cut(decoded(code, params, made.test.query)) @ index.T
    yield NEW_NEW, codes(code, learnt, made.test)


def both(side: Side) -> Float[Array, "n d"]:
    """Vectors of queries and of documents: both are written as codes, and their means differ."""
    return jnp.concatenate([jnp.asarray(rows) for rows in side])


def cut(rows: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n k"]:
    """Codes as short as old ones, of length one again."""
    return np.asarray(unit(jnp.asarray(rows[:, :OLD_SIZE])))


def pairs(side: Side) -> list[recipe.Pair]:
    """Pairs as the recipe reads them, each a key of its own."""
    return [recipe.Pair(one, other, key) for key, (one, other) in enumerate(zip(*side, strict=True))]


def decoded(code: Compressor, state: Params, rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
    """Codes as vectors of length one."""
    return np.asarray(code.decode(state, code.apply(state, jnp.asarray(rows))))


def codes(code: Compressor, state: Params, side: Side) -> Float[np.ndarray, "b n"]:
    """Scores of codes with codes."""
    query, document = (code.apply(state, jnp.asarray(rows)) for rows in side)
    return np.asarray(code.symmetric(state, query, document))


def asked(code: Compressor, state: Params, side: Side) -> Float[np.ndarray, "b n"]:
    """Scores of float queries with codes."""
    return np.asarray(code.asymmetric(state, jnp.asarray(side.query), code.apply(state, jnp.asarray(side.document))))


def qualities(scores: Float[np.ndarray, "b n"], exact: Nearest, size: int) -> dict[str, float]:
    """All that is told of a code."""
    return {**finding(scores), OVERLAP: overlap(nearest(scores), exact), BYTES: float(size), SMALLER: 4 * SIZE / size}


def finding(scores: Float[np.ndarray, "b n"]) -> dict[str, float]:
    """Recall and nDCG of the own document among the ten nearest; it stands behind all that tie with it."""
    place = (scores >= np.diagonal(scores)[:, None]).sum(axis=1)
    return {
        RECALL: float((place <= K).mean()),
        NDCG: float(np.where(place <= K, 1 / np.log2(place + 1), 0.0).mean()),
    }


def nearest(scores: Float[np.ndarray, "b n"]) -> Nearest:
    """The ten with the highest scores; of equals the first."""
    return np.asarray(jax.lax.top_k(scores, K)[1])


def overlap(near: Nearest, wanted: Nearest) -> float:
    """How many of the ones wanted are there, on average."""
    return float((near[:, :, None] == wanted[:, None, :]).any(axis=1).mean())


def settings(name: str) -> dict[str, Any]:
    """What a row was made with."""
    for cfg, trained in trained_rows():
        if name.startswith(trained):
            return asdict(cfg)
    pairs = {OLD_OLD: OLD, CROSS: COMPATIBLE, NEW_NEW: COMPATIBLE, PLAIN: CONFIG}
    return asdict(pairs[name]) if name in pairs else {"name": name}


def plan() -> Mapping[str, Plan]:
    """The released configuration's sizes: 2,048 pairs of 512 dimensions to as many of two bits."""
    cfg = recipe.Config(size=512, bits=2, batch_size=2048)
    start = partial(compress.recurrent_start, size=512, bits=2)
    params = jax.eval_shape(start, jax.ShapeDtypeStruct((4096, 512), jnp.float32))
    rows: Any = jax.ShapeDtypeStruct((2048, 512), jnp.float32)
    batch = {"query": rows, "document": rows, "document_key": jax.ShapeDtypeStruct((2048,), jnp.int32)}
    return {"512 x 2 bits, 2,048 pairs": train.planned(recipe.objective(cfg), optax.adam(1e-3), params, batch)}


CLAIM = Claim(
    paper="Binary Embedding-based Retrieval at Tencent (BEBR), arXiv:2302.08714",
    says="Several bits a dimension, each of what the ones before it left, keep more than as many one-bit dimensions; "
    "and a new model's codes can search an old one's index.",
    published="COCO, image to text, recall@1/5/10 (README of the released code): hash of 1,024 bits .348/.632/.730, "
    "BEBR of 1,024 bits .360/.646/.751, float of 16,384 bits .361/.649/.744; the industrial tables are not confirmed",
    scale="11,000 short and long descriptions of Debian packages, one a source, as 256 dimensions of latent semantic "
    "analysis; 3,000 test queries against their documents; 6 epochs of 512 pairs; an older model of 96 "
    "dimensions that saw 3,000 pairs, and 12 epochs to be compatible with it",
    differs="linear maps that begin as a scalar quantizer in a rotation for layers with batch normalization; text for "
    "images; Adam for SGD.  Training moves codes to where answers are found, away from float32's neighbours: RaBitQ, "
    "asked by a float query, keeps more of those",
    minutes=4,
    margins=(
        Margin(RECALL, OURS.format(2), HASH.format(2 * SIZE), least=0.03),
        Margin(RECALL, OURS.format(4), HASH.format(4 * SIZE), least=0.03),
        Margin(OVERLAP, OURS.format(2) + BEGUN, HASH.format(2 * SIZE) + BEGUN, least=0.08),
        Margin(OVERLAP, OURS.format(4) + BEGUN, HASH.format(4 * SIZE) + BEGUN, least=0.08),
        Margin(RECALL, OURS.format(4), FLOAT, least=-0.01),
        Margin(NDCG, OURS.format(2), FLOAT, least=-0.01),
        Margin(NDCG, OURS.format(2), "rabitq-2", every=0.0),
        Margin(NDCG, OURS.format(4), "rabitq-4", every=0.0),
        Margin(SMALLER, OURS.format(2), least=15.5),
        Margin(RECALL, CROSS, PLAIN, least=10, ratio=True),
        Margin(RECALL, CROSS, OLD_OLD, least=0.9, ratio=True),
    ),
    measure=measure,
    plan=plan,
    legend={
        OURS.format(2): "codes ask codes, as in the rows of hashes",
        OURS.format(2) + ASKED: "the query is not cut to signs, as in the rows of RaBitQ, PQ, int8 and int4",
        OURS.format(2) + BEGUN: "the start, a scalar quantizer in a random rotation",
    },
)
