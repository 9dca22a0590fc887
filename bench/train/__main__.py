"""Measure all systems on real pairs; records go to `bench/results/train.jsonl`, tables to the terminal."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from bench.train import tiling
from bench.train.systems import CHUNK, SYSTEMS, TOKENS
from bench.train.table import table
from bench.worker import Worker
from jaxemb import data, evaluate, model, progress
from jaxemb.data import python_code
from jaxemb.harness import Record, machine, record

MODULE = "bench.train.worker"
Batch = tuple[list[str], list[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How fast encoders learn, and in how much memory.

    out: where `train.jsonl` goes; that of an earlier run is replaced.
    work: where data is kept between runs.
    steps: of training, by every system in turns; programs are compiled before.
    batch: pairs a step.
    cached_batch, cached_steps: of the comparison with cached gradients.
    memory: pairs of one step whose memory is measured, with cached gradients.
    rows: of the losses that are tiled; `naive` up to the first number.
    naive: most rows that the loss is computed for at once.
    sizes: dimensions of the vectors that are tiled.
    repeats: of each of these.
    queries, documents: of the split that is reported.
    parts: what to measure; what another run measured is kept.
    """

    out: Path = Path("bench/results")
    work: Path = Path("build/bench-train")
    steps: int = 30
    batch: int = 64
    cached_batch: int = 128
    cached_steps: int = 4
    memory: tuple[int, ...] = (64, 256, 1024)
    rows: tuple[int, ...] = (1024, 4096, 8192, 16384, 80000)
    naive: int = 16384
    sizes: tuple[int, ...] = (256, 768)
    repeats: int = 5
    queries: int = 1000
    documents: int = 3000
    parts: tuple[str, ...] = ("step", "cached", "memory", "tiled")


def batches(pairs: Sequence[data.Pair], size: int, count: int, seed: int = 0) -> list[Batch]:
    """Pairs drawn at random, each once."""
    if len(pairs) < size * count:
        raise ValueError(f"wanted {size * count} pairs, there are {len(pairs)}")
    order = np.random.default_rng(seed).permutation(len(pairs))[: size * count]
    groups = [[pairs[i] for i in group] for group in order.reshape(count, size)]
    return [([one.query for one in group], [one.document for one in group]) for group in groups]


def kept(name: str, task: str, metric: str, each: Any, values: Sequence[float], **config: Any) -> Record:
    """A record of this machine."""
    packages = ("torch", "transformers", "sentence-transformers")
    versions = {**machine.versions(), **{package: metadata.version(package) for package in packages}}
    return Record(
        recipe=name,
        config=config,
        task=task,
        metric=metric,
        values=tuple(values),
        each=each,
        device=machine.device(),
        versions=versions,
    )


def taking_turns(
    names: Sequence[str], given: Sequence[Batch]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Worker]]:
    """Every system makes the same steps, each step in turn, forwards and backwards; the workers are still there."""
    workers = {name: Worker(MODULE, name, {"model": str(model.demo_folder())}, 2) for name in names}
    for worker in workers.values():
        worker.ready()
        worker(warm=list(given))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with progress.bar("steps", len(given) * len(names)) as advance:
        for turn, (queries, documents) in enumerate(given):
            for name in list(names)[:: -1 if turn % 2 else 1]:
                found[name].append(workers[name](queries=queries, documents=documents))
                advance(1, name)
    return found, workers


def reciprocal_ranks(task: data.Task, vectors: dict[str, np.ndarray]) -> np.ndarray:
    """The reciprocal rank of the first right document among ten, a query."""
    found = evaluate.neighbours(vectors["queries"], vectors["documents"], 10)
    return evaluate.retrieval(task, (found.rows, found.scores)).values["mrr@10"]


def steps(run: Run, prepared: Path, task: str) -> Iterator[Record]:
    """Seconds and losses of steps, and what was learnt by them."""
    names = [name for name, system in SYSTEMS.items() if not system.cached]
    given = batches(python_code.pairs(prepared, "train"), run.batch, run.steps)
    found, workers = taking_turns(names, given)
    test = data.cap(python_code.task(prepared, "test"), documents=run.documents, queries=run.queries)
    for name in names:
        system, told = SYSTEMS[name], found[name]
        config = {"batch": run.batch, "tokens": TOKENS, "precision": system.precision, "peer": system.peer}
        yield kept(name, task, "step_s", "repeat", [one["seconds"] for one in told], **config)
        yield kept(name, task, "loss", "repeat", [one["loss"] for one in told], **config)
        ranks = reciprocal_ranks(test, encoded(workers[name], test, run.work))
        yield kept(name, task, "mrr@10", "query", ranks, **config)
        workers[name].end()
    fresh = Worker(MODULE, names[0], {"model": str(model.demo_folder())}, 2)
    fresh.ready()
    yield kept("before", task, "mrr@10", "query", reciprocal_ranks(test, encoded(fresh, test, run.work)))
    fresh.end()


def encoded(worker: Worker, task: data.Task, work: Path) -> dict[str, np.ndarray]:
    """The vectors of both sides, by what the worker has learnt."""
    found = {}
    for side, texts in (("queries", task.queries), ("documents", task.documents)):
        file = work / f"{side}.npy"
        worker(texts=list(texts), save=str(file.resolve()))
        found[side] = np.load(file)
    return found


def cached(run: Run, prepared: Path, task: str) -> Iterator[Record]:
    """Seconds of steps with and without cached gradients."""
    names = [name for name, system in SYSTEMS.items() if system.precision == "float32"]
    given = batches(python_code.pairs(prepared, "train"), run.cached_batch, run.cached_steps)
    found, workers = taking_turns(names, given)
    for name in names:
        config = {"batch": run.cached_batch, "tokens": TOKENS, "cached": SYSTEMS[name].cached, "chunk": CHUNK}
        config |= {"peer": SYSTEMS[name].peer, "precision": "float32"}
        yield kept(name, task, "cached_step_s", "repeat", [one["seconds"] for one in found[name]], **config)
        workers[name].end()


def memory(run: Run, prepared: Path, task: str) -> Iterator[Record]:
    """The most memory of two steps, by pairs a step, each in a fresh process."""
    for name in [name for name, system in SYSTEMS.items() if system.cached and system.precision == "float32"]:
        for size in run.memory:
            found, workers = taking_turns([name], batches(python_code.pairs(prepared, "train"), size, 2))
            workers[name].end()
            config = {"batch": size, "tokens": TOKENS, "chunk": CHUNK, "peer": SYSTEMS[name].peer}
            yield kept(name, task, "cached_peak_bytes", "once", [found[name][-1]["peak"]], **config)


def tiled(run: Run) -> Iterator[Record]:
    """Seconds and memory of a loss and its gradients, in tiles and at once."""
    for size in run.sizes:
        for rows in run.rows:
            repeats = run.repeats if rows <= run.naive else 0
            for way in ("tiled", "naive") if rows <= run.naive else ("tiled",):
                progress.say(f"{way}, {rows} x {rows}, {size} dimensions")
                got = tiling.measured(way, rows, size, repeats)
                config = {"rows": rows, "dimensions": size}
                yield kept(way, "normal vectors", "loss_s", "repeat", got["seconds"], **config)
                yield kept(way, "normal vectors", "loss_peak_bytes", "once", [got["bytes"]], **config)


def main() -> None:
    """Run from the repository's root."""
    run = tyro.cli(Run, description=__doc__)
    run.work.mkdir(parents=True, exist_ok=True)
    prepared = python_code.prepare(run.work / "data")
    task = python_code.task(prepared, "test").name
    file = run.out / "train.jsonl"
    made = {
        "step": lambda: steps(run, prepared, task),
        "cached": lambda: cached(run, prepared, task),
        "memory": lambda: memory(run, prepared, task),
        "tiled": lambda: tiled(run),
    }
    metrics = {
        "step": {"step_s", "loss", "mrr@10"},
        "cached": {"cached_step_s"},
        "memory": {"cached_peak_bytes"},
        "tiled": {"loss_s", "loss_peak_bytes"},
    }
    for part in run.parts:
        records = list(made[part]())
        others = [one for one in record.read(file) if one.metric not in metrics[part]] if file.is_file() else []
        record.write(file, others + records)
    sys.stdout.write(table(record.read(file)))
    progress.say(f"records in {file}")


if __name__ == "__main__":
    main()
