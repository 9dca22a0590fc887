"""2-D matryoshka: after any layer, at any size, against models trained for less."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxemb import encode, losses, model, progress, train
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.described import Described, at, batches, described, ranks
from jaxemb.claims.rows import row
from jaxemb.harness import exit_grid
from jaxemb.harness.record import Record
from jaxemb.recipes import matryoshka_2d as recipe
from jaxemb.train import Plan
from jaxemb.types import Batch, Loss, Params, Tokens

LAYERS, SIZE, SIZES = 4, 64, (8, 16, 32, 64)
COUNTS, LENGTHS, BATCH = (8000, 2000, 2000), (12, 24), 64
CELLS = [(layer, size) for layer in range(1, LAYERS + 1) for size in SIZES]
SHAPE = encode.BertConfig(
    vocab_size=6000,
    hidden_size=SIZE,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    intermediate_size=128,
    max_position_embeddings=24,
    type_vocab_size=0,
)
CONFIG = recipe.Config(
    sizes=SIZES,
    softness=0.3,
    alignment=0.5,
    steps=500,
    learning_rate=2e-3,
)
SHARED = ("temperature", "steps", "learning_rate")
BACKBONE = encode.bert(SHAPE)
INNER = partial(losses.info_nce, temperature=CONFIG.temperature)
FULL, NESTED, OURS, APART = "full size only", "matryoshka", "2DMSE", "trained apart"
SMALL = ((1, 16), (1, 64))
EXIT = "after layer {}"
SHOWN = ((1, 8), (1, 16), (1, 64), (4, 8), (4, 16), (4, 64))


ALL: dict[str, Loss] = {
    FULL: losses.layer_sizes(INNER, [(-1, SIZE)]),
    NESTED: losses.layer_sizes(INNER, [(-1, size) for size in SIZES]),
}
"""Losses of all layers that do not ask for lower ones, by the names of their rows."""
WAYS: list[tuple[str, list[tuple[int, int]]]] = [
    (OURS, CELLS), (FULL, CELLS), (NESTED, CELLS), *((APART, [cell]) for cell in SMALL),
]  # fmt: skip
"""Ways of training, and where each is read."""


def measure(where: Where) -> Iterator[Record]:
    """Recall of every layer at every size, for each way of training; times of encoding; a plot of the grids.

    Steps of encoders this small keep little more than one core busy, so that two are trained at a time; the programs of
    the first seed serve the others.
    """
    model.cached(where.data / "compiled")
    data = described(where.data, COUNTS, words=SHAPE.vocab_size, dimensions=SIZE, lengths=LENGTHS, siblings=False)
    task = f"{data.revision}/test[{COUNTS[2]}]"
    found: dict[str, dict[tuple[int, int], list[float]]] = {}
    runs = [(seed, name, cells) for seed in range(where.seeds) for name, cells in WAYS]
    with ThreadPoolExecutor(2) as pool, progress.bar("matryoshka_2d", len(runs)) as advance:
        for (_, name, cells), grid in zip(runs, pool.map(lambda run: measured(data, *run), runs), strict=True):
            advance(1)
            for cell in cells:
                found.setdefault(name, {}).setdefault(cell, []).append(grid[cell])
    records = [
        row(name, settings(name), task, f"recall@1 {cell}", values)
        for name, cells in found.items()
        for cell, values in cells.items()
    ]
    exit_grid.png(records, where.data / "matryoshka_2d.png", metric="recall@1")
    progress.say(f"the grid as a plot: {where.data / 'matryoshka_2d.png'}")
    yield from records
    yield from timed(data, task)


def measured(data: Described, seed: int, name: str, cells: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Recall after one way of training, at every exit that it has."""
    grid = recall(trained(data, seed, name, cells), data.test.query, data.test.document)
    shown = (f"{cell} {grid[cell]:.3f}" for cell in cells if cell in SHOWN)
    progress.say(f"seed {seed}, {name}: " + ", ".join(shown))
    return grid


def trained(data: Described, seed: int, name: str, cells: Sequence[tuple[int, int]]) -> Params:
    """Params after one way of training; all of a seed start from the same ones and see the same batches."""
    init, chance = jax.random.split(jax.random.key(seed))
    start = BACKBONE.init(init)
    start["embeddings"]["tokens"]["table"] = jnp.asarray(data.table)
    stream = batches(data.train.query, data.train.document, batch_size=BATCH, seed=seed)
    if name == OURS:
        return recipe.run(CONFIG, BACKBONE, encode.mean, start, stream, key=chance, what=None)
    if name == APART:
        ((layer, size),) = cells
        loss, start = losses.layer_sizes(INNER, [(-1, size)]), encode.first_layers(start, layer)
    else:
        loss = ALL[name]
    objective = train.layerwise(encode.exits(BACKBONE, encode.mean), loss)
    optimizer = optax.adamw(train.warmup_cosine(CONFIG.learning_rate, CONFIG.steps))
    return train.fit(objective, optimizer, stream, start, steps=CONFIG.steps, what=None)


_exits = jax.jit(encode.exits(BACKBONE, encode.mean))


def recall(params: Params, query: Tokens, document: Tokens) -> dict[tuple[int, int], float]:
    """How often the nearest document is a query's own, for every layer and size that the params have."""
    sides = [np.asarray(_exits(params, side)) for side in (query, document)]
    own = np.arange(len(query.ids))

    def one(layer: int, size: int) -> float:
        near = [np.asarray(encode.prefix(jnp.asarray(side[layer - 1]), size)) for side in sides]
        return float((ranks(near[0], near[1], own) == 1).mean())

    return {(layer, size): one(layer, size) for layer, size in CELLS if layer <= len(sides[0])}


def timed(data: Described, task: str, repeats: int = 15) -> Iterator[Record]:
    """Time a text of the encoder after one layer, and after all: whole calls, warmed up, the two in turns."""
    start = BACKBONE.init(jax.random.key(0))
    texts = jax.tree.map(jnp.asarray, at(data.test.document, np.arange(min(1000, COUNTS[2]))))
    made = {layer: recipe.at(BACKBONE, encode.mean, start, layer, SIZE) for layer in (1, LAYERS)}
    calls = {layer: partial(jax.jit(one.document), one.params, texts) for layer, one in made.items()}
    spent: dict[int, list[float]] = {layer: [] for layer in calls}
    for turn in range(repeats + 2):
        for layer, call in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(call())
            if turn >= 2:
                spent[layer].append((time.perf_counter() - begun) / len(texts.ids) * 1e6)
    for layer, values in spent.items():
        yield row(EXIT.format(layer), {"layer": layer, "size": SIZE}, task, "encode_us_per_text", values, each="repeat")


def settings(name: str) -> dict[str, Any]:
    """What a row was trained with."""
    shared = {"batch_size": BATCH, "tokens": LENGTHS, "pairs": COUNTS[0], "shape": asdict(SHAPE)}
    own = asdict(CONFIG) if name == OURS else {name: getattr(CONFIG, name) for name in SHARED}
    return {**shared, **own}


def plan() -> dict[str, Plan]:
    """BERT-base as the reproduction trains it: 128 pairs, 128 tokens, half precision."""
    shape = encode.BertConfig()
    backbone = encode.bert(shape, dtype=jnp.bfloat16)
    cfg = recipe.Config()
    drawing = recipe.objective(cfg, backbone, encode.cls)

    def objective(params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
        return drawing(params, {**batch, "key": jax.random.key(0)})  # which `fit` draws anew each step

    text = jnp.zeros((128, 128), jnp.int32)
    side = jax.eval_shape(lambda: Tokens(text, text))
    shapes = jax.eval_shape(backbone.init, jax.random.key(0))
    optimizer = optax.adamw(train.warmup_cosine(cfg.learning_rate, cfg.steps))
    return {
        "BERT-base, 128 pairs of 128 tokens": train.planned(
            objective, optimizer, shapes, {"query": side, "document": side}
        )
    }


def _margin(cell: tuple[int, int], over: str, least: float) -> Margin:
    return Margin(f"recall@1 {cell}", OURS, over, least=least)


CLAIM = Claim(
    paper="2D Matryoshka Sentence Embeddings, arXiv:2402.14776",
    says="One encoder serves after every layer and at every size: better than one trained at full size, or for sizes "
    "alone, where layers are left out, and about as good where none are.",
    published="mean of seven STS sets, Pearson, by the independent reproduction arXiv:2411.17299, at (layer, size) "
    "(2, 16), (6, 128), (12, 768): full size only .522, .565, .816; matryoshka .520, .572, .809; 2DMSE .621, .690, "
    ".795; separately trained small models .630, .756, .816.  The paper's own table is not confirmed here.",
    scale="8,000 Debian short -> long descriptions, one package a source, 2,000 test queries against their documents; "
    "a BERT of 4 layers of 64 dimensions that begins with word vectors; 500 steps of 64 pairs",
    differs="InfoNCE for AnglE's mix of losses; a small encoder trained here for BERT-base; retrieval for STS; the "
    "alignment's factor is 0.5 for log(2 + n)",
    minutes=5,
    margins=(
        _margin((1, 16), FULL, 0.10),
        _margin((4, 16), FULL, 0.08),
        _margin((1, 16), NESTED, 0.04),
        _margin((1, 8), NESTED, 0.02),
        _margin((4, 64), FULL, -0.03),
        Margin("encode_us_per_text", EXIT.format(1), EXIT.format(LAYERS), most=0.5, ratio=True),
    ),
    measure=measure,
    plan=plan,
)
