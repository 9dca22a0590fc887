"""One number of threads: start every system, let them take turns, and keep what was measured as records."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench.encode.systems import MAX_LENGTH, REFERENCE, Folders, System
from bench.encode.texts import Workload
from bench.worker import Worker
from jaxemb import harness, progress
from jaxemb.harness import Record, machine

PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "onnxruntime", "model2vec")
TUNED_ON = 48  # texts that batch sizes are tried on, spread over the corpus


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    threads: how many, pinned to as many cores.
    repeats: times that every system reads the corpus, in turns.
    tokens: of the corpus as cut, special ones counted.
    """

    threads: int
    repeats: int
    tokens: int


class Turns:
    """Systems that wait in processes of their own, and the files that they are given to read."""

    def __init__(self, systems: Mapping[str, System], folders: Folders, settings: Settings, work: Path) -> None:
        self.systems, self.settings, self.work = systems, settings, work
        self._stack = ExitStack()
        where = {key: str(value) for key, value in folders._asdict().items()}
        self._workers = {name: Worker("bench.encode.worker", name, where, settings.threads) for name in systems}
        for worker in self._workers.values():
            self._stack.callback(worker.end)

    def __enter__(self) -> "Turns":
        for worker in self._workers.values():
            worker.ready()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def seconds(self, name: str, texts: Sequence[str], batch: int, **job: Any) -> list[float]:
        """Let one of them encode; how long it took, a text if singly, else all."""
        file = self.work / "texts.json"
        file.write_text(json.dumps(list(texts)), encoding="utf-8")
        return self._workers[name](texts=str(file), batch=batch, **job)["seconds"]

    def order(self, turn: int) -> list[str]:
        """Forwards and backwards by turns: what drifts falls on all alike."""
        return list(self.systems)[:: -1 if turn % 2 else 1]


def measure(
    systems: Mapping[str, System], folders: Folders, load: Workload, settings: Settings, work: Path
) -> list[Record]:
    """Tune, warm up, then let all take turns at the corpus and at single queries."""
    with Turns(systems, folders, settings, work) as turns:
        progress.say(f"{settings.threads} threads, {len(systems)} systems: trying batch sizes, warming up")
        rates = {name: _tuned(turns, name, load) for name in systems}
        batches = {
            name: max(found, key=found.__getitem__, default=systems[name].batches[0]) for name, found in rates.items()
        }
        first = {name: _warm(turns, name, load, batches[name]) for name in systems}
        corpus = _corpus(turns, load, batches)
        single = _single(turns, load, batches)
    vectors = {name: np.load(work / f"{name}.npy") for name in systems}
    (reference,) = (name for name in REFERENCE if name in systems)
    records: list[Record] = []
    for name, system in systems.items():
        config = {
            "precision": system.precision,
            "peer": system.peer,
            "threads": settings.threads,
            "batch": batches[name],
            "texts": len(load.corpus),
            "tokens": settings.tokens,
            "max_length": MAX_LENGTH if reference.startswith("sentence") else None,
        }
        numbers = [
            *_numbers(load, settings, first[name], corpus[name], single[name], compiled=not system.peer),
            *_alike(vectors[name], vectors[reference]),
            *((f"tuning_texts_per_s_batch_{size}", "once", (rate,)) for size, rate in rates[name].items()),
        ]
        records += [
            Record(
                recipe=name,
                config=config,
                task=load.task,
                metric=metric,
                values=values,
                each=each,
                device=machine.device(),
                versions=versions(),
            )
            for metric, each, values in numbers
        ]
    return records


def versions() -> dict[str, str]:
    """Of jaxemb, JAX and all that it is compared with."""
    return {**harness.machine.versions(), **{package: metadata.version(package) for package in PACKAGES}}


def _tuned(turns: Turns, name: str, load: Workload) -> dict[int, float]:
    """Texts a second by texts a batch; nothing is tried where there is no choice."""
    sizes = turns.systems[name].batches
    if len(sizes) == 1:
        return {}
    some = load.corpus[:: max(1, len(load.corpus) // TUNED_ON)]
    turns.seconds(name, some[:8], sizes[0])
    return {size: len(some) / sum(turns.seconds(name, some, size)) for size in sizes}


def _warm(turns: Turns, name: str, load: Workload, batch: int) -> tuple[float, float]:
    """Seconds of the first corpus and of all first queries; peers, which compile nothing, read only some."""
    some = 16 if turns.systems[name].peer else None
    (corpus,) = turns.seconds(name, load.corpus[:some], batch)
    return corpus, sum(turns.seconds(name, load.queries[:some], batch, singly=True))


def _corpus(turns: Turns, load: Workload, batches: Mapping[str, int]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in turns.systems}
    with progress.bar("corpus", turns.settings.repeats * len(found)) as advance:
        for turn in range(turns.settings.repeats):
            for name in turns.order(turn):
                save = None if turn else str(turns.work / f"{name}.npy")
                found[name] += turns.seconds(name, load.corpus, batches[name], save=save)
                advance(1, name)
    return found


def _single(turns: Turns, load: Workload, batches: Mapping[str, int]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in turns.systems}
    for turn in range(2):
        for name in turns.order(turn):
            found[name] += turns.seconds(name, load.queries, batches[name], singly=True)
    return found


Number = tuple[str, Any, tuple[float, ...]]


def _numbers(
    load: Workload,
    settings: Settings,
    first: tuple[float, float],
    corpus: Sequence[float],
    single: Sequence[float],
    *,
    compiled: bool,
) -> Iterator[Number]:
    yield "encode_texts_per_s", "repeat", tuple(len(load.corpus) / seconds for seconds in corpus)
    yield "encode_tokens_per_s", "repeat", tuple(settings.tokens / seconds for seconds in corpus)
    yield "encode_ms", "query", tuple(1e3 * seconds for seconds in single)
    if compiled:
        yield "encode_compile_s", "once", (max(0.0, first[0] - float(np.median(corpus))),)
        yield "query_compile_s", "once", (max(0.0, first[1] - len(load.queries) * float(np.median(single))),)


def _alike(vectors: np.ndarray, reference: np.ndarray) -> Iterator[Number]:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = (vectors.astype(np.float64) * reference).sum(axis=1) / np.maximum(lengths, 1e-30)
    yield "cosine_mean", "once", (float(cosine.mean()),)
    yield "cosine_min", "once", (float(cosine.min()),)
