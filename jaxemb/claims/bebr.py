"""BEBR against one-bit hashes, learnt and not: vectors of Debian descriptions, and an index that a newer model asks."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from jaxemb import compress, encode, model, progress, train
from jaxemb.claims import latent
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.debian_index import debian_in
from jaxemb.claims.described import pairs_of, read
from jaxemb.claims.rows import row
from jaxemb.data.words import word_tokenizer
from jaxemb.harness.record import Record
from jaxemb.recipes import bebr as recipe
from jaxemb.similarity import unit
from jaxemb.train import Plan
from jaxemb.types import Compressor, Params

PAIRS, TEST, K = 11_000, 3000, 10
SIZE, OLD_SIZE, WORDS, LENGTH = 256, 96, 8192, 64
CONFIG = recipe.Config(size=SIZE)
OLD = replace(CONFIG, size=OLD_SIZE)
RECALL, OVERLAP, BYTES, SMALLER = "recall@10", "overlap@10 with float32", "bytes", "times smaller than float32"
FLOAT = "float32"
FIXED = (
    "int8", "hamming", "rotate-0+hamming", f"itq-{SIZE}+hamming", "pq-32x8", "rabitq-1",
    "pq-64x8", "rabitq-2", "pq-128x8", "int4-0.01", "rabitq-4",
)  # fmt: skip
"""Compressors that learn from no pairs, as users of the library would take them: a float query against codes where
they are not Hamming codes."""
OURS, HASH = "BEBR, {} bits a dimension", "learnt 1-bit hash of {} dimensions"
BEGUN = ", untrained"
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
    """Descriptions by latent semantic analysis, and, as an older model's, by the mean of their words' vectors."""
    index = debian_in(where.data)
    pairs = {name: pairs_of(index, name, count, False) for name, count in (("train", PAIRS), (split, TEST))}
    sides = {name: ([p.query for p in some], [p.document for p in some]) for name, some in pairs.items()}
    analysis = latent.latent([text for side in sides["train"] for text in side], SIZE)
    words = word_tokenizer((text for side in sides["train"] for text in side), WORDS)
    kept = model.word_vectors(
        model.load(model.demo_folder()), words, kept=where.data / "words", what="word vectors of the older model"
    )
    table = model.word_table(kept, OLD_SIZE, words)
    static = encode.normalized(encode.static(encode.StaticConfig(vocab_size=len(table), hidden_size=OLD_SIZE)))

    def new(name: str) -> Side:
        return Side(*(latent.vectors(analysis, side) for side in sides[name]))

    def old(name: str) -> Side:
        return Side(
            *(np.asarray(static.apply(encode.from_table(table), read(words, side, LENGTH))) for side in sides[name])
        )

    return Given(index.name, new("train"), new(split), old("train"), old(split))


def measure(where: Where) -> Iterator[Record]:
    """Recall of the own document and overlap with float32's neighbours, of every code; then over two models."""
    made = given(where)
    task = f"{made.revision}/test[{TEST}]"
    exact = made.test.query @ made.test.document.T
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(where.seeds):
        for name, scores, size in rows(made, seed):
            values = {RECALL: recalled(scores), OVERLAP: overlap(scores, exact), BYTES: float(size)}
            values[SMALLER] = 4 * SIZE / size
            for metric, value in values.items():
                found.setdefault((name, metric), []).append(value)
            progress.say(f"seed {seed}, {name}: {RECALL} {values[RECALL]:.3f}, {OVERLAP} {values[OVERLAP]:.3f}")
        for name, scores in models(made, seed):
            found.setdefault((name, RECALL), []).append(recalled(scores))
            progress.say(f"seed {seed}, {name}: {RECALL} {found[name, RECALL][-1]:.3f}")
    for (name, metric), each in found.items():
        yield row(name, settings(name), task, metric, each)


def rows(made: Given, seed: int) -> Iterator[tuple[str, Float[np.ndarray, "b n"], int]]:
    """Name, scores of all test pairs, and bytes of a vector."""
    yield FLOAT, made.test.query @ made.test.document.T, 4 * SIZE
    for name in FIXED:
        code = compress.by_name(name.replace("rotate-0", f"rotate-{seed}"))
        state = code.fit(jnp.asarray(made.train.document))
        yield name, asked(code, state, made.test), code.bytes_per_vector(SIZE)
    for cfg, name in trained_rows():
        params = compress.recurrent_start(jnp.asarray(made.train.document), cfg.size, cfg.bits, seed)
        code = compress.recurrent(cfg.size, cfg.bits)
        yield name + BEGUN, codes(code, params, made.test), code.bytes_per_vector(SIZE)
        code, learnt = recipe.run(cfg, params, pairs(made.train), seed=seed, what=f"seed {seed}, {name}")
        yield name, codes(code, learnt, made.test), code.bytes_per_vector(SIZE)
        if cfg.bits > 1:
            yield f"{name}, float query", asked(code, learnt, made.test), code.bytes_per_vector(SIZE)


def trained_rows() -> list[tuple[recipe.Config, str]]:
    """What learns from pairs, and what its rows are called."""
    hashes = [(replace(CONFIG, size=bits * SIZE, bits=1), HASH.format(bits * SIZE)) for bits in (1, 2, 4)]
    return hashes + [(replace(CONFIG, bits=bits), OURS.format(bits)) for bits in (2, 4)]


def models(made: Given, seed: int) -> Iterator[tuple[str, Float[np.ndarray, "b n"]]]:
    """Codes of a new model that ask the index of an old one, and how well the old one does."""
    start = compress.recurrent_start(jnp.asarray(made.old_train.document), OLD.size, OLD.bits, seed)
    old_code, old = recipe.run(OLD, start, pairs(made.old_train), seed=seed, what=f"seed {seed}, old model")
    query, document = (decoded(old_code, old, side) for side in made.old_train)
    known = [
        replace(pair, old_query=one, old_document=other)
        for pair, one, other in zip(pairs(made.train), query, document, strict=True)
    ]
    begin = compress.compatible_start(
        jnp.concatenate([jnp.asarray(side) for side in made.train]), jnp.asarray(np.concatenate([query, document])),
        SIZE, CONFIG.bits, seed,
    )  # fmt: skip
    code, learnt = recipe.run(CONFIG, begin, known, seed=seed, what=f"seed {seed}, compatible")
    plain = compress.recurrent_start(jnp.asarray(made.train.document), SIZE, CONFIG.bits, seed)
    _, apart = recipe.run(CONFIG, plain, pairs(made.train), seed=seed, what=f"seed {seed}, new model")
    index = decoded(old_code, old, made.old_test.document)
    yield OLD_OLD, decoded(old_code, old, made.old_test.query) @ index.T
    for name, params in ((CROSS, learnt), (PLAIN, apart)):
        yield name, cut(decoded(code, params, made.test.query)) @ index.T
    yield NEW_NEW, codes(code, learnt, made.test)


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


def recalled(scores: Float[np.ndarray, "b n"]) -> float:
    """How often the own document is among the ten nearest, behind all that tie with it."""
    return float(((scores >= np.diagonal(scores)[:, None]).sum(axis=1) <= K).mean())


def overlap(scores: Float[np.ndarray, "b n"], exact: Float[np.ndarray, "b n"]) -> float:
    """How many of the ten nearest by float32 are among the ten nearest."""
    near, wanted = (np.argsort(-each, axis=1, kind="stable")[:, :K] for each in (scores, exact))
    return float(
        np.mean([len(set(one) & set(other)) / K for one, other in zip(near.tolist(), wanted.tolist(), strict=True)])
    )


def settings(name: str) -> dict[str, Any]:
    """What a row was made with."""
    for cfg, trained in trained_rows():
        if name.startswith(trained):
            return asdict(cfg)
    return asdict(OLD if name == OLD_OLD else CONFIG) if name in (OLD_OLD, CROSS, PLAIN, NEW_NEW) else {"name": name}


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
    "analysis; 3,000 test queries against their documents; 6 epochs of 512 pairs; an older model of words' mean "
    "vectors, 96 dimensions",
    differs="linear maps that begin as a scalar quantizer in a rotation for layers with batch normalization; text for "
    "images; Adam for SGD",
    minutes=4,
    margins=(
        Margin(RECALL, OURS.format(2), HASH.format(2 * SIZE), least=0.03),
        Margin(RECALL, OURS.format(4), HASH.format(4 * SIZE), least=0.03),
        Margin(OVERLAP, OURS.format(2) + BEGUN, HASH.format(2 * SIZE) + BEGUN, least=0.08),
        Margin(OVERLAP, OURS.format(4) + BEGUN, HASH.format(4 * SIZE) + BEGUN, least=0.08),
        Margin(RECALL, OURS.format(4), FLOAT, least=-0.01),
        Margin(SMALLER, OURS.format(2), least=15.5),
        Margin(RECALL, CROSS, PLAIN, least=10, ratio=True),
        Margin(RECALL, CROSS, OLD_OLD, least=0.9, ratio=True),
    ),
    measure=measure,
    plan=plan,
)
