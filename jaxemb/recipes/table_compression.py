"""Tables trained inside a click model under a budget of bytes: one protocol for every method of `encode.tables`.

What is composed: a `tables.Method`, which decides all sizes from the fields and the budget; a click model above it
(`encode.dlrm` and others); binary cross-entropy and Adam; the stages that a method asks for, one table after another;
then the compact form, on which everything is measured.

Source: Zhang et al. 2023, arXiv:2311.15578; released code HugoZHL/Hetu, branch embedmem.
Differences: the params of the last step are what is measured, where the paper keeps the best of many tests a epoch, so
that schedules of pruning have reached their end.  Numbers of a table that a batch has no gradient for do not move, as
with the sparse optimizers that large tables are trained by; Adam's means of them fade all the same.
Where the numbers stand: those of the repository in the claim's text (`jaxemb claim table_compression`), ours in its
records.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxemb import evaluate, progress
from jaxemb.data import clicks as logs
from jaxemb.data.clicks import Log
from jaxemb.encode.click_models import ClickModel
from jaxemb.encode.tables import Fields, Method, Table, Training, size
from jaxemb.recipes import table_steps
from jaxemb.recipes.table_steps import Parts, Rows, State, Steps
from jaxemb.types import Batch, Objective, Params


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the paper varies.

    ratio: the budget, as a share of the full table's bytes.
    dim: numbers of a vector.
    epochs: over the training rows, of all of a method's tables together.
    """

    ratio: float
    dim: int = 16
    epochs: int = 1
    batch_size: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not self.learning_rate > 0:
            raise ValueError(
                f"table_compression: wanted 1 epoch, 2 rows a batch or more and a learning rate above 0, "
                f"got {self.epochs}, {self.batch_size} and {self.learning_rate}"
            )


class Trained(NamedTuple):
    """A table after training, and the model above it.

    table: the last one that the method planned.
    form: its compact form.
    model: params of the click model.
    bytes: of the compact form.
    auc: on the test rows, read from the compact form.
    log_loss: likewise, in nats.
    training_bytes: of table and optimizer while it was trained, the most of all its tables.
    seconds: that training took, compilation included.
    """

    table: Table
    form: Params
    model: Params
    bytes: int
    auc: float
    log_loss: float
    training_bytes: int
    seconds: float


def fields(cfg: Config, log: Log) -> Fields:
    """The log's fields, with the counts of its training rows."""
    return Fields(log.train.sizes, cfg.dim, logs.counts(log.train))


def run(
    cfg: Config, method: Method, model: ClickModel, log: Log, *, seeds: Sequence[int] = (0,), what: str | None = "table"
) -> list[Trained]:
    """Train a method's table once a seed.

    Raises: ValueError for a log that is not sound or has fewer training rows than a batch; what `method` raises;
      ValueError for a method that needs validation rows where there are none.
    """
    for part in log:
        if len(part.ids):
            logs.check(part)
    if len(log.train.ids) < cfg.batch_size:
        raise ValueError(f"table_compression: wanted {cfg.batch_size} training rows or more, got {len(log.train.ids)}")
    planned = method(fields(cfg, log), cfg.ratio)
    sides = Parts(*(table_steps.rows(part) for part in log))
    total = cfg.epochs * (len(log.train.ids) // cfg.batch_size)
    first = _stage(cfg, planned, model, log, _share(planned, total, total))
    return [_trained(cfg, planned, first, model, log, sides, total, seed, what) for seed in seeds]


def objective(table: Table, model: ClickModel) -> Objective:
    """For `train.fit`, over several devices: tables that ask nothing of training beside a gradient step.

    Params have `table` and `model`, a batch has `ids`, `clicked` and `dense`; integers of the table are to be frozen.

    Raises: ValueError for a table that asks for more, as rounding or pruning; `run` does that.
    """
    if table.training != Training():
        raise ValueError(f"{table.name}: training it takes more than a gradient step; `run` does what it asks for")

    def cost(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        logits = model.apply(params["model"], table.lookup(params["table"], batch["ids"]), batch["dense"])
        return optax.sigmoid_binary_cross_entropy(logits, batch["clicked"]), {}

    return cost


def _share(table: Table, left: int, total: int) -> int:
    return left if table.training.then is None else min(left, max(1, round(table.training.share * total)))


def _stage(cfg: Config, table: Table, model: ClickModel, log: Log, steps: int) -> Steps:
    if (table.training.validated or table.training.then) and not len(log.validation.ids):
        raise ValueError(f"{table.name}: wanted validation rows, by which its stages choose, got none")
    return table_steps.steps(table, model, optax.adam(cfg.learning_rate), log.train.dense.shape[1], steps)


def _trained(
    cfg: Config,
    table: Table,
    stage: Steps,
    model: ClickModel,
    log: Log,
    sides: Parts,
    total: int,
    seed: int,
    what: str | None,
) -> Trained:
    begun = time.perf_counter()
    train, validation, test = sides
    batches = _batches(len(log.train.ids), cfg.batch_size, seed)
    judged = _batches(len(log.validation.ids), min(cfg.batch_size, len(log.validation.ids)), seed + 1)
    key, done, most = jax.random.key(seed), 0, 0
    state = stage.start(key, None, None)
    with progress.bar(what or "", total, shown=what is not None) as advance:
        while True:
            steps = _share(table, total - done, total)
            most = max(most, size(state.table) + size(state.optimizer) + size(state.others))
            of_steps, of_choice, key = jax.random.split(key, 3)
            for at in range(steps):
                beside = table_steps.take(validation, next(judged)) if table.training.validated else None
                batch = table_steps.take(train, next(batches))
                state, _ = stage.step(state, batch, beside, np.int32(at), of_steps)
                advance(1)
            done += steps
            if table.training.then is None:
                break
            score = partial(_score, stage, state, validation)
            table, params, restart = table.training.then(state.table, of_choice, score)
            stage = _stage(cfg, table, model, log, _share(table, total - done, total))
            state = stage.start(key, params, None if restart else state.model)
    form = table.finalize(state.table)
    logits = stage.chances(partial(table.compact, form), state, test)
    took = time.perf_counter() - begun
    return Trained(table, form, state.model, size(form), auc(logits, test), log_loss(logits, test), most, took)


def _score(stage: Steps, state: State, rows: Rows, lookup: Callable[[Array], Array]) -> float:
    return auc(stage.chances(lookup, state, rows), rows)


def _batches(count: int, batch_size: int, seed: int) -> Iterator[Int[np.ndarray, " b"]]:
    """Rows of one batch after another; each pass in an order of its own, its last rows left out."""
    draw = np.random.default_rng(seed)
    while count:
        order = draw.permutation(count)
        for at in range(0, count - batch_size + 1, batch_size):
            yield order[at : at + batch_size].astype(np.int32)


def auc(logits: Float[np.ndarray, " n"], rows: Rows) -> float:
    """How often a clicked row scores higher than one that is not."""
    return evaluate.roc_auc(table_steps.positive(rows), logits)


def log_loss(logits: Float[np.ndarray, " n"], rows: Rows) -> float:
    """The mean surprise of the clicks, in nats."""
    sign = np.where(table_steps.positive(rows), -1.0, 1.0)
    return float(np.logaddexp(0.0, sign * logits.astype(np.float64)).mean())
