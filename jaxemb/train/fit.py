"""One training loop: objective, optimizer, batches and params in; params out."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxemb import atomic, progress
from jaxemb.checkpoint import Checkpoints
from jaxemb.types import Batch, Objective, Params

AXIS = "data"


@runtime_checkable
class Batches(Protocol):
    """An iterator whose place can be saved and found again."""

    def __next__(self) -> Batch: ...
    def get_state(self) -> Any: ...
    def set_state(self, state: Any) -> None: ...


class Step(NamedTuple):
    """What is known after a step: its number from 1, the mean loss, and the objective's and optimizer's numbers."""

    number: int
    loss: float
    metrics: dict[str, float]


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh with one axis, `data`, over all devices or the first few."""
    chosen = jax.devices()[:devices]
    return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def warmup_cosine(peak: float, steps: int, *, warmup: float = 0.1, end: float = 0.0) -> optax.Schedule:
    """A learning rate that rises to `peak` over the first `warmup` share of `steps`, then falls to `end` by a cosine.

    >>> rate = warmup_cosine(1.0, 100)
    >>> [round(float(rate(step)), 2) for step in (0, 10, 55, 100)]
    [0.0, 1.0, 0.5, 0.0]
    """
    return optax.warmup_cosine_decay_schedule(0.0, peak, max(1, round(warmup * steps)), max(2, steps), end)


def placed(batch: Batch, mesh: Mesh) -> dict[str, Any]:
    """A host batch as arrays sharded by rows; each process of several brings its own rows.

    Raises: ValueError that names the entry whose rows do not divide among the devices; and with several processes, when
      entries differ in rows: each process's share stays together, so rows beyond the pairs would shift those of others.
    """
    if jax.process_count() > 1:
        counts = {
            jax.tree_util.keystr(path, simple=True, separator="."): np.shape(leaf)[0]
            for path, leaf in jax.tree_util.tree_leaves_with_path(dict(batch))
        }
        if len(set(counts.values())) > 1:
            raise ValueError(f"batch: with several processes all entries need the same rows, got {counts}")
    rows = NamedSharding(mesh, PartitionSpec(AXIS))
    here = len(mesh.local_devices)

    def put(path: Any, value: Any) -> Array:
        if np.shape(value)[0] % here:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ValueError(f"batch: {name} has {np.shape(value)[0]} rows, wanted a multiple of {here} devices")
        return jax.make_array_from_process_local_data(rows, np.asarray(value))

    return jax.tree_util.tree_map_with_path(put, {name: value for name, value in batch.items() if value is not None})


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[Params, Any, Mapping[str, Any]], tuple[Params, Any, Array, dict[str, Array]]]:
    """The compiled step: `(params, optimizer state, batch)` -> the next of both, the mean loss, what to show."""

    def step(params: Params, state: Any, batch: Mapping[str, Any]) -> tuple[Params, Any, Array, dict[str, Array]]:
        def mean(p: Params) -> tuple[Array, dict[str, Array]]:
            each, metrics = objective(p, batch)
            return each.mean(), metrics

        (loss, metrics), gradient = jax.value_and_grad(mean, has_aux=True)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes; strictness is for our own maths
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params, state, loss, {**metrics, "gradient_norm": optax.tree.norm(gradient)}

    return jax.jit(step, donate_argnums=(0, 1))


class _Log:
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


def _jsonable(state: Any) -> dict[str, Any]:
    return {"bytes": state.hex()} if isinstance(state, bytes) else {"json": state}


def _from_jsonable(saved: Mapping[str, Any]) -> Any:
    return bytes.fromhex(saved["bytes"]) if "bytes" in saved else saved["json"]


def fit(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    batches: Batches,
    params: Params,
    *,
    steps: int,
    mesh: Mesh | None = None,
    clip: float | None = 1.0,
    key: Array | None = None,
    checkpoints: Path | str | None = None,
    run: str = "",
    every: int = 100,
    log: Path | str | None = None,
    watch: Callable[[Step], None] | None = None,
    what: str | None = "train",
) -> Params:
    """Train, and return the params.

    Killed at any instant and called again with the same arguments, a run goes on from its newest checkpoint and gives
    the losses that it would have given, bit for bit on the same devices (on GPUs as far as XLA's operations repeat
    themselves there: `--xla_gpu_deterministic_ops=true`).

    Args:
      objective: params and a batch to one loss an example; their mean is minimised.
      optimizer: any optax transformation; its schedule counts steps.
      batches: host batches, rows first; `data.stream` makes one.  Its place is part of a checkpoint.
      params: where to start; left as they are.
      steps: how many in all, those of an earlier run included.
      mesh: whose axis `data` shares the rows; by default over all devices.
      clip: the largest norm of a gradient; a longer one is scaled to it.  None for no limit.
      key: when given, every batch has an entry `key`, another each step and the same when a step is run again.
      checkpoints: a folder for them; None keeps none.
      run: names all that the run was made from, as a hash of settings and data; checkpoints of another are refused.
      every: steps between checkpoints.  The last step always has one.
      log: a file of JSON lines, one a step.
      watch: called after every step.
      what: the name of the progress bar; None shows none.
    Raises: FloatingPointError that names the step whose loss or gradient is not finite; ValueError for batches whose
      rows do not divide among the devices, or when the checkpoint is of another `run` or beyond `steps`.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"fit: steps and every must be 1 or more, got {steps} and {every}")
    mesh = data_mesh() if mesh is None else mesh
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    everywhere = NamedSharding(mesh, PartitionSpec())
    # A copy, because the step gives its inputs' memory to its outputs.
    params = jax.device_put(jax.tree.map(jnp.copy, params), everywhere)
    state = jax.jit(optimizer.init, out_shardings=everywhere)(params)
    saved = Checkpoints(checkpoints) if checkpoints is not None else None
    start = 0
    if saved is not None and saved.latest() is not None:
        restored = saved.restore({"params": params, "optimizer": state})
        start, params, state = restored.step, restored.tree["params"], restored.tree["optimizer"]
        if restored.notes["run"] != run:
            raise ValueError(
                f"fit: {checkpoints} holds checkpoints of another run ({restored.notes['run']!r}, wanted {run!r}); "
                "remove them, or write elsewhere"
            )
        batches.set_state(_from_jsonable(restored.notes["batches"]))
        progress.say(f"{what or 'train'}: going on from step {start} of {steps}")
        if start > steps:
            raise ValueError(f"fit: the checkpoint has {start} steps behind it, more than the {steps} wanted")
    note = _Log(None if log is None else Path(log), start)
    step = make_step(objective, optimizer)
    begun, pairs = time.perf_counter(), 0
    try:
        shown = what is not None and start < steps and jax.process_index() == 0
        with progress.bar(what or "", steps - start, shown=shown) as advance:
            for number in range(start + 1, steps + 1):
                batch = placed(next(batches), mesh)
                pairs += min(leaf.shape[0] for leaf in jax.tree.leaves(batch))
                if key is not None:
                    batch["key"] = jax.random.fold_in(key, number)
                params, state, loss, metrics = step(params, state, batch)
                done = Step(number, float(loss), {name: float(value) for name, value in metrics.items()})
                # Before anything of it is logged or saved: the last checkpoint stays a sound one.
                if not np.isfinite([done.loss, done.metrics["gradient_norm"]]).all():
                    raise FloatingPointError(f"fit: the loss of step {number} is {done.loss}; {done.metrics}")
                note(done)
                if watch is not None:
                    watch(done)
                rate = pairs / (time.perf_counter() - begun)
                negatives = f", {done.metrics['negatives']:.0f} negatives" if "negatives" in done.metrics else ""
                advance(1, f"loss {done.loss:.4f}, {rate:.0f} pairs/s{negatives}")
                if saved is not None and (number % every == 0 or number == steps):
                    place = {"batches": _jsonable(batches.get_state()), "run": run}
                    saved.save(number, {"params": params, "optimizer": state}, place)
    finally:
        if saved is not None:
            saved.close()
    return params
