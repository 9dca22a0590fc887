"""Encoders x compressors x indexes on one task: every row measured in one run, BM25 among them."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemb import index, model, progress
from jaxemb.data.task import Task
from jaxemb.evaluate import neighbours
from jaxemb.harness import bm25
from jaxemb.harness.measure import Encoded, Settings, System, encode_queries, measure
from jaxemb.harness.record import Record
from jaxemb.harness.systems import of_index
from jaxemb.model import Model
from jaxemb.types import Compressor


class Embedded(NamedTuple):
    """A model, by the name that tables give it, with its vectors of a task's queries and documents."""

    name: str
    model: Model
    query: Float[np.ndarray, "q d"]
    document: Float[np.ndarray, "n d"]


def embed(name: str, one: Model, task: Task) -> Embedded:
    """Embed both sides of a task."""
    query, document = (
        model.encode(one, texts, prompt=side, what=f"{name}: {len(texts)} {side} texts")
        for side, texts in (("query", task.queries), ("document", task.documents))
    )
    return Embedded(name, one, query, document)


class Variant(NamedTuple):
    """One way to keep vectors.

    kind, compressor: of the index.
    leaves: the share of its leaves that ScaNN searches, above 0 and at most 1; None leaves it to ScaNN's defaults.
    """

    kind: str
    compressor: Compressor
    leaves: float | None = None

    def settings(self, n: int) -> dict[str, Any]:
        """What the index of `n` vectors is built with, beside its compressor."""
        if self.leaves is None:
            return {}
        leaves = max(1, round(n**0.5))
        return {"leaves": leaves, "leaves_to_search": max(1, round(self.leaves * leaves))}

    def built(self, vectors: Float[np.ndarray, "n d"]) -> index.Index:
        """The index of these vectors."""
        return index.build(self.kind, vectors, compressor=self.compressor, **self.settings(len(vectors)))


def described(one: Embedded) -> dict[str, Any]:
    """What made the vectors: how much of a text was read, and in which precision."""
    return {"encoder": one.name, "dtype": one.model.dtype.name, "max_length": one.model.spec.max_length}


def row(one: Embedded, variant: Variant, config: Mapping[str, Any]) -> System:
    """An index of a model's document vectors as a row, named for what it differs in from exact float32 search."""
    start = time.perf_counter()
    built = variant.built(one.document)
    took = time.perf_counter() - start
    parts = [one.name]
    parts += [] if variant.compressor.name == "float32" else [variant.compressor.name]
    parts += [] if variant.kind == "exact" else [variant.kind]
    return of_index(" / ".join(parts), built, {**described(one), **config}, build_s=(took,))


def suite(
    encoders: Sequence[tuple[Embedded, Sequence[Variant]]],
    task: Task,
    *,
    settings: Settings | None = None,
    config: Mapping[str, Any] | None = None,
) -> list[Record]:
    """Measure BM25 and every variant of every encoder.

    Fidelity is to the exact neighbours of the encoder's own float32 vectors.

    Args:
      config: what else made these rows, for their records.
    """
    settings, config = settings or Settings(), config or {}
    total = 1 + sum(len(variants) for _, variants in encoders)
    with progress.bar(f"measure {total} rows", total) as advance:
        records = measure(bm25.system(task), task, Encoded(task.queries), settings=settings)
        advance(1, "BM25")
        for one, variants in encoders:
            reading = partial(model.encode, one.model, prompt="query", report=lambda _: None)
            encoded = encode_queries(reading, task.queries, settings)
            truth = neighbours(one.query, one.document, min(max(settings.fidelity_at), len(task.documents)))
            for variant in variants:
                system = row(one, variant, config)
                records += measure(system, task, encoded, truth, settings)
                advance(1, system.name)
    return records
