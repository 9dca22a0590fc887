"""Tables under a budget of bytes: every method inside one click model, and finished vectors by every compressor."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxemb import evaluate, progress, train
from jaxemb.claims import matrix_rows
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.matrix_rows import APART, RECALL, named
from jaxemb.claims.rows import row
from jaxemb.data import clicks
from jaxemb.encode import click_models, tables
from jaxemb.encode.tables import BelowFloor, Fields, Method
from jaxemb.harness.record import Record
from jaxemb.recipes import table_compression as recipe
from jaxemb.recipes.table_compression import Trained
from jaxemb.train import Plan

SIZES = tuple(int(size) for size in np.geomspace(10, 40_000, 10).round())
ROWS, VALIDATION, TEST, EPOCHS, BATCH, RATE = 252_000, 12 / 252, 40 / 252, 2, 2048, 3e-3
MODEL = click_models.dlrm(top=(64,))
BUDGETS = (0.5, 0.1, 0.01)
AUC, LOSS, SHARE, SPENT, TRAINING, SECONDS = (
    "roc_auc", "log_loss", "share of the full table", "bytes by budget", "training_bytes", "training_s",
)  # fmt: skip
FLOOR, SPARSITY = "least share of the full table", "sparsity beside the plan"
BEST, SHARING, EVERY = "best at {}", "best of those that share rows at {}", "all methods and budgets"
SHARED = ("compositional", "tensor-train", "robe", "mgqe", "mixed-dimensions", "adaptive")
PRUNED = ("deep-light", "auto-srh")
NEAREST = "int8, rounded to nearest"

METHODS: Mapping[str, Callable[[], Method]] = {
    **tables.METHODS,
    "deep-hash": lambda: tables.deep_hash(64),  # 1,024 hashes take minutes
    "mgqe": lambda: tables.mgqe(6, rare_bits=4),
    "opt-embed": lambda: tables.opt_embed(generations=2),
    NEAREST: lambda: tables.quantized(8, rounding=tables.nearest),
}
"""All methods, three of them smaller than by default."""


class Cell(NamedTuple):
    """A method and its budget."""

    method: str
    ratio: float

    @property
    def name(self) -> str:
        """What its row is called."""
        return self.method if self.ratio == 1 else f"{self.method} at {self.ratio:g}"


CELLS = (
    Cell("full", 1.0),
    *(Cell("hash", ratio) for ratio in BUDGETS),
    *(Cell("robe", ratio) for ratio in BUDGETS),
    *(Cell(method, ratio) for method in ("compositional", "mixed-dimensions") for ratio in BUDGETS[:2]),
    *(Cell(method, 0.5) for method in ("int8", NEAREST, "int16", "auto-dim", "opt-embed")),
    Cell("alpt16", 0.5625),
    *(
        Cell(method, 0.1)
        for method in ("tensor-train", "dpq", "mgqe", "adaptive", "deep-light", "pep", "auto-srh", "dedup")
    ),
)
"""What is trained: every method but DHE, three runs of which would take half as long as all of these."""


class Given(NamedTuple):
    """A drawn log, cut by time, and the best score that its test rows allow."""

    log: clicks.Log
    best: float


def given(seed: int) -> Given:
    """Ten fields of 10 to 40,000 ids; few pairs of fields decide."""
    drawn = clicks.drawn(SIZES, ROWS, seed=seed)
    log = clicks.by_time(drawn.clicks, validation=VALIDATION, test=TEST)
    return Given(log, evaluate.roc_auc(log.test.clicked, drawn.logits[-len(log.test.ids) :]))


def config(cell: Cell) -> recipe.Config:
    """How a cell is trained."""
    return recipe.Config(ratio=cell.ratio, epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE)


def measure(where: Where) -> Iterator[Record]:
    """All cells, then what they say together, then finished vectors."""
    made = given(0)
    task = f"drawn-clicks@{ROWS}x{len(SIZES)}/test"
    yield row("best possible", {}, task, AUC, [made.best], each="once")
    scores: dict[Cell, list[float]] = {}
    spent = []
    for record, cell in trained(CELLS, made, where.seeds, task):
        spent += list(record.values) if record.metric == SPENT else []
        if record.metric == AUC and cell.method != "full":
            scores[cell] = list(record.values)
        yield record
    for name, some in (
        (BEST.format(0.5), [values for cell, values in scores.items() if cell.ratio == 0.5]),
        (SHARING.format(0.1), [v for cell, v in scores.items() if cell.ratio == 0.1 and cell.method in SHARED]),
    ):
        yield row(name, {}, task, AUC, np.max(some, axis=0).tolist())
    yield from floors(recipe.fields(config(CELLS[0]), made.log), task, max(spent))
    yield from matrix_rows.measure(where)


def trained(cells: Iterable[Cell], made: Given, seeds: int, task: str) -> Iterator[tuple[Record, Cell]]:
    """Every cell's numbers, one a seed."""
    for cell in cells:
        cfg = config(cell)
        runs = recipe.run(cfg, METHODS[cell.method](), MODEL, made.log, seeds=range(seeds), what=None)
        settings = {**asdict(cfg), "method": cell.method, "decided": dict(runs[-1].table.decided)}
        values = {
            AUC: [one.auc for one in runs],
            LOSS: [one.log_loss for one in runs],
            SHARE: [one.bytes / one.table.fields.bytes for one in runs],
            SPENT: [one.bytes / (cell.ratio * one.table.fields.bytes) for one in runs],
            TRAINING: [float(one.training_bytes) for one in runs],
            SECONDS: [one.seconds for one in runs],
        }
        if cell.method in PRUNED:
            values[SPARSITY] = [besides_the_plan(one) for one in runs]
        mean = {metric: float(np.mean(values[metric])) for metric in (AUC, SHARE, SECONDS)}
        progress.say(f"{cell.name}: AUC {mean[AUC]:.4f} in {mean[SHARE]:.4f} of the bytes, {mean[SECONDS]:.1f} s")
        for metric, each in values.items():
            yield row(cell.name, settings, task, metric, each), cell


def besides_the_plan(one: Trained) -> float:
    """By how much the share of zeros, of all vectors of the compact form, differs from that planned."""
    fields = one.table.fields
    ids = np.minimum(np.arange(max(fields.sizes))[:, None], np.array(fields.sizes)[None, :] - 1).astype(np.int32)
    there = np.arange(max(fields.sizes))[:, None] < np.array(fields.sizes)[None, :]
    filled = np.count_nonzero(np.asarray(one.table.compact(one.form, ids))[there])
    return abs(filled - one.table.decided["kept"]) / (fields.ids * fields.dim)


def floors(fields: Fields, task: str, largest: float) -> Iterator[Record]:
    """The least share that each method can take, and the most that any takes of a budget, trained or only planned."""
    for method, make in METHODS.items():
        for ratio in BUDGETS:
            try:
                table = make()(fields, ratio)
            except BelowFloor as refused:
                yield row(method, {"refused": ratio}, task, FLOOR, [refused.floor], each="once")
                break
            if table.bytes is not None:
                largest = max(largest, table.bytes / (ratio * fields.bytes))
    yield row(EVERY, {"budgets": BUDGETS}, task, SPENT, [largest], each="once")


def plan() -> Mapping[str, Plan]:
    """Criteo's 26 fields, 33,762,577 ids, at a hundredth of their bytes, 13 plain numbers and the whole DLRM.

    How the ids lie in the fields does not change what a step takes: they are dealt out evenly.
    """
    fields = Fields((33_762_577 // 26,) * 26, 16)
    model, batch_size = click_models.dlrm(), 2048
    shapes = {
        "ids": jax.ShapeDtypeStruct((batch_size, 26), jnp.int32),
        "clicked": jax.ShapeDtypeStruct((batch_size,), jnp.float32),
        "dense": jax.ShapeDtypeStruct((batch_size, 13), jnp.float32),
    }
    made = {}
    for name, method in (("hash", tables.hash_rows()), ("compositional", tables.compositional())):
        table = method(fields, 0.01)
        params = jax.eval_shape(
            lambda key, table=table: {"table": table.init(key), "model": model.init(key, 26, 16, 13)},
            jax.random.key(0),
        )
        made[f"{name}, 0.01 of Criteo"] = train.planned(
            recipe.objective(table, model), optax.adam(1e-3), params, shapes
        )
    return made


def _at(method: str, ratio: float) -> str:
    return Cell(method, ratio).name


CLAIM = Claim(
    paper="Experimental Analysis of Large-scale Learnable Vector Storage Compression, arXiv:2311.15578",
    says="At half of the bytes quantization loses nothing; at a tenth and below only tables that share rows are left, "
    "and they keep most of what a full table has.",
    published="Criteo, one method, AUC at 1e-5, 1e-3, 0.01, 0.1 and 0.5 of the full table: .8022, .8033, .8073, .8082 "
    "and .8083 (README of the released code); the paper's tables could not be read",
    scale="a drawn log of 252,000 rows and 10 fields with 66,000 ids in all, 16 dimensions, a small DLRM, 2 epochs of "
    "Adam; 20,000 Debian descriptions, 300 characters of each, by "
    "all-MiniLM-L6-v2 for finished vectors",
    differs="the params of the last step are measured; numbers without a gradient do not move in a step; pruning "
    "schedules as long as the run; codes of 6 bits for MGQE and 2 generations for "
    "OptEmbed",
    minutes=6,
    margins=(
        Margin(SPENT, EVERY, most=1.02),
        Margin(FLOOR, "compositional", least=0.01),
        Margin(AUC, BEST.format(0.5), "full", least=-0.003),
        Margin(AUC, _at("int16", 0.5), "full", least=-0.003, most=0.003),
        Margin(AUC, _at("alpt16", 0.5625), "full", least=-0.003, most=0.003),
        Margin(AUC, _at("int8", 0.5), "full", least=-0.01),
        Margin(AUC, _at("int8", 0.5), _at(NEAREST, 0.5), least=0.02),
        Margin(AUC, _at("robe", 0.1), _at("hash", 0.1), least=0.02),
        Margin(AUC, _at("compositional", 0.1), _at("hash", 0.1), least=0.02),
        Margin(AUC, SHARING.format(0.1), _at("hash", 0.1), least=0.04),
        Margin(AUC, _at("hash", 0.5), _at("hash", 0.1), every=0.0),
        Margin(AUC, _at("hash", 0.1), _at("hash", 0.01), every=0.0),
        *(Margin(APART, named(name, 1 / 4), most=1e-8) for name in ("quantized-8", "pq-8", "svd", "tt")),
        *(Margin(SPARSITY, _at(method, 0.1), most=1e-3) for method in PRUNED),
        Margin(RECALL, named("quantized-8", 1 / 4), least=0.95),
        Margin(RECALL, named("pq-8", 1 / 16), named("svd", 1 / 16), least=0.0),
    ),
    measure=measure,
    plan=plan,
)
