"""What a run writes down: a JSON line a step, numbers for TensorBoard, and the batch of a step that broke."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb import atomic, extras
from jaxemb.checkpoint import leaves
from jaxemb.train.step import Stepped
from jaxemb.types import Batch, Params


class Step(NamedTuple):
    """What is known after a step: its number from 1, the mean loss, and the objective's and optimizer's numbers."""

    number: int
    loss: float
    metrics: dict[str, float]


class Log:
    """A JSON line a step; on resume, lines after the checkpoint are dropped, since those steps run again."""

    def __init__(self, file: Path | None, start: int) -> None:
        # One writer: with several processes the first tells what all of them know.
        self.file = file = file if jax.process_index() == 0 else None
        if file is None:
            return
        kept = [line for line in _lines(file) if json.loads(line)["step"] <= start]
        with atomic.file(file) as partial:
            partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def __call__(self, done: Step) -> None:
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"step": done.number, "loss": done.loss, **done.metrics}) + "\n")


def _lines(file: Path) -> Iterator[str]:
    """The whole lines of a log: the last may have been torn by a kill."""
    if file.is_file():
        yield from (
            line[:-1] for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"
        )


@contextlib.contextmanager
def tensorboard(folder: Path | str) -> Iterator[Callable[[Step], None]]:
    """Yield a `watch` for `fit` that writes every number of a step where TensorBoard reads it.

    A run that goes on from a checkpoint hides what an earlier one wrote after that step.  What a killed run has not
    written yet, up to ten seconds of steps, is lost; the JSON lines of `log` have it.

    Raises: ImportError that names the extra to install, when tensorboardX is not there.
    """
    library = extras.load("tensorboardX")
    with contextlib.ExitStack() as opened:
        writers: list[Any] = []

        def watch(done: Step) -> None:
            if jax.process_index() != 0:
                return
            if not writers:
                # Named by more than the second: a run that was killed may be back within it.
                name = f".{os.getpid()}-{done.number}"
                one = library.SummaryWriter(str(folder), purge_step=done.number, flush_secs=10, filename_suffix=name)
                writers.append(opened.enter_context(one))
            for label, value in {"loss": done.loss, **done.metrics}.items():
                writers[0].add_scalar(label, value, done.number)

        yield watch


def check_finite(number: int, stepped: Stepped, done: Step, batch: Batch, params: Params, log: Path | None) -> None:
    """Raises: FloatingPointError for a loss or gradient that is not finite.

    It names the step, the rows with such losses or the leaves with such gradients, and the file beside the log that
    holds the batch.
    """
    if np.isfinite([done.loss, done.metrics["gradient_norm"]]).all():
        return
    said = [f"fit: the loss of step {number} is {done.loss}; {done.metrics}", _where(stepped, params)]
    said += [f"its entries {odd} are not finite either"] if (odd := _odd(batch)) else []
    if log is not None:
        said.append(f"the batch is in {_written(number, batch, log)}")
    raise FloatingPointError("; ".join(said))


def _where(stepped: Stepped, params: Params) -> str:
    losses = _here(stepped.losses)
    rows = np.flatnonzero(~np.isfinite(losses)).tolist()
    if rows:
        return f"rows of the batch whose losses are not finite: {_few(rows)} of {len(losses)}"
    if not np.isfinite(float(stepped.loss)):
        return "the losses of all rows here are finite, the mean over the whole batch is not"
    names = [name for name, sound in zip(leaves(params), np.asarray(stepped.sound), strict=True) if not sound]
    if names:
        return f"all losses are finite, the gradients of {_few(names)} are not"
    return "all losses and all gradients are finite, the norm of the gradients is too large for a number"


def _here(losses: jax.Array) -> np.ndarray:
    """The losses of this process's rows, which are those of its batch."""
    if losses.is_fully_addressable:
        return np.asarray(losses)
    shards = {shard.index[0].start or 0: shard.data for shard in losses.addressable_shards}
    return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])


def _few(found: list[Any]) -> str:
    more = f" and {len(found) - 12} more" if len(found) > 12 else ""
    return f"{found[:12]}{more}"


def _entries(batch: Batch) -> dict[str, np.ndarray]:
    """The leaves of a batch by dotted names; keys as the numbers that they are."""

    def plain(leaf: Any) -> np.ndarray:
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    flat = jax.tree_util.tree_leaves_with_path(dict(batch))
    return {jax.tree_util.keystr(path, simple=True, separator="."): plain(leaf) for path, leaf in flat}


def _odd(batch: Batch) -> list[str]:
    """Entries that were not finite before anything was computed."""
    return [
        name
        for name, leaf in _entries(batch).items()
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.isfinite(leaf.astype(np.float32)).all()
    ]


def _written(number: int, batch: Batch, log: Path) -> Path:
    process = f".process-{jax.process_index()}" if jax.process_count() > 1 else ""
    file = log.with_name(f"{log.name}.step-{number}{process}.npz")
    entries: dict[str, Any] = _entries(batch)
    with atomic.file(file) as partial, partial.open("wb") as out:
        np.savez(out, **entries)  # numbers alone, of which none is pickled
    return file
