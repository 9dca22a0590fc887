"""One training loop: objective, optimizer, batches and params in; params out."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from jaxemb import progress
from jaxemb.checkpoint import Checkpoints
from jaxemb.train import validation as validating
from jaxemb.train.leaves import joined, split
from jaxemb.train.log import Log, Step, check_finite
from jaxemb.train.placement import Layout, data_mesh, placed, replicated
from jaxemb.train.step import Stepped, make_step
from jaxemb.train.validation import Best, Validation
from jaxemb.types import Batch, Objective, Params


@runtime_checkable
class Batches(Protocol):
    """An iterator whose place can be saved and found again."""

    def __next__(self) -> Batch: ...
    def get_state(self) -> Any: ...
    def set_state(self, state: Any) -> None: ...


def warmup_cosine(peak: float, steps: int, *, warmup: float = 0.1, end: float = 0.0) -> optax.Schedule:
    """A learning rate that rises to `peak` over the first `warmup` share of `steps`, then falls to `end` by a cosine.

    >>> rate = warmup_cosine(1.0, 100)
    >>> [round(float(rate(step)), 2) for step in (0, 10, 55, 100)]
    [0.0, 1.0, 0.5, 0.0]

    Raises: ValueError for a peak that is not above 0, an end below 0, no steps, or a share outside [0, 1).
    """
    if not (math.isfinite(peak) and peak > 0 and math.isfinite(end) and end >= 0):
        raise ValueError(f"warmup_cosine: wanted a peak above 0 and an end of 0 or more, got {peak} and {end}")
    if steps < 1 or not 0 <= warmup < 1:
        raise ValueError(f"warmup_cosine: wanted 1 step or more and a share in [0, 1), got {steps} and {warmup}")
    return optax.warmup_cosine_decay_schedule(0.0, peak, max(1, round(warmup * steps)), max(2, steps), end)


def last(params: Params, state: Any) -> Params:
    """The params as the last step left them."""
    return params


class _Run(NamedTuple):
    """What changes from step to step.

    step: how many are done.
    params: the leaves that move.
    state: the optimizer's.
    best: so far, where there is a validation.
    carried: entries of the next batch.
    """

    step: int
    params: Params
    state: Any
    best: Best | None
    carried: dict[str, Any]


def fit(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    batches: Batches,
    params: Params,
    *,
    steps: int,
    mesh: Mesh | None = None,
    layout: Layout = replicated,
    frozen: Sequence[str] = (),
    clip: float | None = 1.0,
    key: Array | None = None,
    carried: Mapping[str, Any] | None = None,
    checkpoints: Path | str | None = None,
    run: str = "",
    every: int = 100,
    log: Path | str | None = None,
    watch: Callable[[Step], None] | None = None,
    validation: Validation | None = None,
    result: Callable[[Params, Any], Params] = last,
    what: str | None = "train",
) -> Params:
    """Train, and return the params.

    Killed at any instant and called again with the same arguments, a run goes on from its newest checkpoint and gives
    the losses that it would have given, bit for bit on the same devices (on GPUs as far as XLA's operations repeat
    themselves there: `--xla_gpu_deterministic_ops=true`).  On other devices, or in another layout, it goes on up to
    rounding.

    Args:
      objective: params and a batch to one loss an example; their mean is minimised.
      optimizer: any optax transformation; its schedule counts steps.
      batches: host batches, rows first; `data.stream` makes one.  Its place is part of a checkpoint.
      params: where to start; left as they are.
      steps: how many in all, those of an earlier run included; one a batch, so that an epoch of `data.stream` over `n`
        records is `n // batch_size` of them.
      mesh: whose axis `data` shares the rows; by default over all devices.
      layout: where params and optimizer state lie: `replicated`, or `fully_sharded` over the same axis.
      frozen: patterns of dotted paths, as `embeddings.*`, of the leaves that do not move.  They have no gradient and no
        optimizer state, do not count in its norm, and are not in checkpoints: they come from `params` again.
      clip: the largest norm of a gradient, above 0; a longer one is scaled to it.  None for no limit.
      key: when given, every batch has an entry `key`, another each step and the same when a step is run again.
      carried: entries that every batch has from the step before it, as queues: these are the first, and the objective
        gives the next among its metrics, by the same names.  All devices have all of them; checkpoints have them, too.
      checkpoints: a folder for them; None keeps none.
      run: names all that the run was made from, as a hash of settings and data; checkpoints of another are refused.
      every: steps between checkpoints.  The last step always has one.
      log: a file of JSON lines, one a step.
      watch: called after every step.
      validation: a metric of the params; the best are returned, and the run ends when none better come.  Its value is
        `validation` in the log, the best so far is `best`.
      result: (params that move, optimizer state) -> those that are validated and returned, as `averaged`.
      what: the name of the progress bar; None shows none.
    Returns: all params, in `layout`.
    Raises: FloatingPointError that names the step whose loss or gradient is not finite, the rows or leaves where, and
      the file beside the log that holds the batch; ValueError for batches whose rows do not divide among the devices, a
      pattern that no leaf fits, or a checkpoint of another `run` or optimizer or beyond `steps`, and when the batches
      end before `steps`, once those so far are saved; TypeError for batches that are no iterator, or, with checkpoints,
      one whose place cannot be saved.
    """
    _check(steps, every, clip, validation)
    _check_batches(batches, saved=checkpoints is not None)
    mesh = data_mesh() if mesh is None else mesh
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    moving, still = _parts(params, frozen)
    still = jax.device_put(still, layout(still, mesh))
    now, shardings = _begin(optimizer, moving, carried or {}, layout, mesh, validation)
    saved = Checkpoints(checkpoints) if checkpoints is not None else None
    try:
        if saved is not None and saved.latest() is not None:
            now = _resumed(saved, now, batches, run)
            progress.say(f"{what or 'train'}: going on from step {now.step} of {steps}")
            if now.step > steps:
                raise ValueError(f"fit: the checkpoint has {now.step} steps behind it, more than the {steps} wanted")
        log = None if log is None else Path(log)
        note = Log(log, now.step)
        step = make_step(objective, optimizer, shardings=shardings)
        begun, pairs = time.perf_counter(), 0
        shown = what is not None and now.step < steps and jax.process_index() == 0
        with progress.bar(what or "", steps - now.step, shown=shown) as advance:
            while now.step < steps and not validating.over(validation, now.best):
                number, host = now.step + 1, next(batches, None)
                if host is None:
                    raise ValueError(_ended(saved, now, batches, run, steps))
                batch = _given(host, mesh, key, number)
                stepped = step(now.params, now.state, batch.placed, still, now.carried)
                done = _done(number, stepped)
                # Before anything of it is logged or saved: the last checkpoint stays a sound one.
                check_finite(number, stepped, done, batch.host, now.params, log)
                now = _Run(number, stepped.params, stepped.state, now.best, stepped.carried)
                if validation is not None and validating.due(validation, number, steps):
                    now, done = _validated(validation, now, done, still, result)
                note(done)
                if watch is not None:
                    watch(done)
                pairs += batch.rows
                advance(1, _shown(done, pairs / (time.perf_counter() - begun)))
                ends = number == steps or validating.over(validation, now.best)
                if saved is not None and (number % every == 0 or ends):
                    _save(saved, now, batches, run)
    finally:
        if saved is not None:
            saved.close()
    return joined(now.best.params if now.best is not None else result(now.params, now.state), still)


def _check(steps: int, every: int, clip: float | None, validation: Validation | None) -> None:
    if steps < 1 or every < 1:
        raise ValueError(f"fit: steps and every must be 1 or more, got {steps} and {every}")
    if clip is not None and not clip > 0:
        raise ValueError(f"fit: clip must be above 0, or None for no limit, got {clip}")
    if validation is not None:
        validating.check(validation)


def _check_batches(batches: Any, *, saved: bool) -> None:
    """Now, and not at the first checkpoint, which may be hours away."""
    wanted = ("__next__", "get_state", "set_state") if saved else ("__next__",)
    if lacking := [name for name in wanted if not hasattr(batches, name)]:
        raise TypeError(f"fit: wanted batches as data.stream makes, got {type(batches).__name__} without {lacking}")


def _parts(params: Params, frozen: Sequence[str]) -> tuple[Params, Params]:
    """The leaves that move, and those that do not."""
    if not frozen:
        return params, {}
    moving, still = split(params, frozen)
    if not jax.tree.leaves(moving):
        raise ValueError(f"fit: {list(frozen)} freeze every leaf, so nothing is left to train")
    return moving, still


def _begin(
    optimizer: optax.GradientTransformation,
    params: Params,
    carried: Mapping[str, Any],
    layout: Layout,
    mesh: Mesh,
    validation: Validation | None,
) -> tuple[_Run, tuple[Any, Any, Any]]:
    """The state before the first step, and where params, optimizer state and carried entries lie."""
    where = layout(params, mesh)
    # Copies, because the step gives its inputs' memory to its outputs; of a dtype that is not weak, since the outputs'
    # is not, and the second step would be compiled anew.
    params = jax.device_put(jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(leaf)), params), where)
    shapes = jax.eval_shape(optimizer.init, params)
    state_where = layout(shapes, mesh)
    state = jax.jit(optimizer.init, out_shardings=state_where)(params)
    best = None if validation is None else Best(jax.tree.map(jnp.copy, params))
    carried_where = replicated(dict(carried), mesh)
    first = jax.device_put(jax.tree.map(jnp.copy, dict(carried)), carried_where)
    return _Run(0, params, state, best, first), (where, state_where, carried_where)


class _Given(NamedTuple):
    """A batch on the host and on the devices, and how many pairs it has."""

    host: Batch
    placed: Mapping[str, Any]
    rows: int


def _given(host: Batch, mesh: Mesh, key: Array | None, number: int) -> _Given:
    on_devices = placed(host, mesh)
    rows = min(len(leaves[-1]) for entry in on_devices.values() if (leaves := jax.tree.leaves(entry)))
    if key is not None:
        if "key" in on_devices:
            raise ValueError("fit: the batch has an entry 'key' already; leave it out, or call fit without a key")
        on_devices["key"] = jax.random.fold_in(key, number)
    return _Given(host, on_devices, rows)


def _done(number: int, stepped: Stepped) -> Step:
    return Step(number, float(stepped.loss), {name: float(value) for name, value in stepped.metrics.items()})


def _validated(
    validation: Validation, now: _Run, done: Step, still: Params, result: Callable[[Params, Any], Params]
) -> tuple[_Run, Step]:
    """After a check: the best so far, and the step with its value."""
    reached = result(now.params, now.state)
    value = float(validation.metric(joined(reached, still)))
    assert now.best is not None
    best = validating.better(now.best, reached, value, now.step)
    shown = {"validation": value, "best": value if best.value is None else best.value}
    return now._replace(best=best), done._replace(metrics={**done.metrics, **shown})


def _shown(done: Step, rate: float) -> str:
    negatives = f", up to {done.metrics['negatives']:.0f} negatives" if "negatives" in done.metrics else ""
    best = f", best {done.metrics['best']:.4f}" if "best" in done.metrics else ""
    return f"loss {done.loss:.4f}, {rate:.0f} pairs/s{negatives}{best}"


def _tree(now: _Run) -> dict[str, Any]:
    best = {} if now.best is None else {"best": now.best.params}
    carried = {"carried": now.carried} if now.carried else {}
    return {"params": now.params, "optimizer": now.state, **best, **carried}


def _save(saved: Checkpoints, now: _Run, batches: Batches, run: str) -> None:
    notes = {"batches": jsonable(batches.get_state()), "run": run, "best": validating.told(now.best)}
    saved.save(now.step, _tree(now), notes)


def _ended(saved: Checkpoints | None, now: _Run, batches: Batches, run: str, steps: int) -> str:
    """What is to say when there are no more batches; the steps so far are saved."""
    said = f"fit: the batches ended after {now.step} steps, {steps} were wanted"
    if saved is None or not now.step:
        return said
    if now.step != saved.latest():
        _save(saved, now, batches, run)
    return f"{said}; {saved.folder} has them: with steps={now.step} the same call gives their params"


def _resumed(saved: Checkpoints, now: _Run, batches: Batches, run: str) -> _Run:
    """The newest checkpoint's state, in the layout of `now`, with the batches at its place.

    Raises: ValueError for a checkpoint of another run, or that does not fit this one.
    """
    notes = saved.notes()
    if notes["run"] != run:
        raise ValueError(
            f"fit: {saved.folder} holds checkpoints of another run ({notes['run']!r}, wanted {run!r}); "
            "remove them, or write elsewhere"
        )
    if (notes.get("best") is None) != (now.best is None):
        there, here = ("without", "with") if now.best is not None else ("with", "without")
        raise ValueError(f"fit: {saved.folder} holds checkpoints of a run {there} validation, this one is {here}")
    try:
        restored = saved.restore(_tree(now))
    except ValueError as error:
        raise ValueError(
            f"fit: the checkpoint of step {saved.latest()} in {saved.folder} does not fit this run: it was made with "
            "another optimizer, clip, carried, frozen or model; give those again, or write elsewhere"
        ) from error
    best = None if now.best is None else now.best._replace(params=restored.tree["best"], **notes["best"])
    batches.set_state(from_jsonable(notes["batches"]))
    carried = restored.tree.get("carried", {})
    return _Run(restored.step, restored.tree["params"], restored.tree["optimizer"], best, carried)


def jsonable(state: Any) -> dict[str, Any]:
    """The place of batches, bytes or what JSON can hold, as a dict that JSON can hold."""
    return {"bytes": state.hex()} if isinstance(state, bytes) else {"json": state}


def from_jsonable(saved: Mapping[str, Any]) -> Any:
    """The inverse of `jsonable`."""
    return bytes.fromhex(saved["bytes"]) if "bytes" in saved else saved["json"]
