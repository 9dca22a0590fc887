"""Vectors of documents and queries, and which document answers which query: what sweeps and `tune` are given."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from jaxemb import atomic
from jaxemb.data.task import Task
from jaxemb.evaluate import Neighbours, neighbours
from jaxemb.harness.suite import Embedded
from jaxemb.index import interface

FILE, FORMAT = "vectors.json", 1

Judgements = Mapping[str, Mapping[str, int]]


def _numbers(count: int) -> list[str]:
    return [str(row) for row in range(count)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Vectors:
    """One encoder's vectors of a task, as plain arrays.

    name: of the task with the revision of its data, as `debian@1f0c2a9b73de`.
    split: as `test`.
    encoder: what made the vectors.
    query, document: float32 `[q, d]` and `[n, d]`; scores are inner products, so of length one for the cosine.
    judgements: query id -> document id -> grade; empty where the exact neighbours are all that is known.
    query_ids, document_ids: row numbers by default.

    Raises: ValueError for no vector, another shape or dtype, NaN or infinity, ids that are not one for each vector,
      and what `Task` refuses.
    """

    name: str
    split: str
    encoder: str
    query: Float32[np.ndarray, "q d"]
    document: Float32[np.ndarray, "n d"]
    judgements: Judgements = field(default_factory=dict)
    query_ids: Sequence[str] | None = None
    document_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        what = f"{self.name}/{self.split}"
        for side in ("query", "document"):
            interface.documents(f"{what}, {side}", getattr(self, side))
            if getattr(self, f"{side}_ids") is None:
                object.__setattr__(self, f"{side}_ids", _numbers(len(getattr(self, side))))
            ids, rows = getattr(self, f"{side}_ids"), len(getattr(self, side))
            if len(ids) != rows:
                raise ValueError(f"{what}: wanted one {side} id for each of {rows} vectors, got {len(ids)}")
        interface.vectors(f"{what}, query", self.query, self.document.shape[1])
        if self.judgements:
            _ = self.task  # which refuses judgements of what is not there

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.document.shape[1]

    @cached_property
    def task(self) -> Task:
        """What retrieval is judged by; ids stand for the texts, which are not here."""
        queries, documents = list(self.query_ids or ()), list(self.document_ids or ())
        return Task(
            name=self.name,
            split=self.split,
            document_ids=documents,
            documents=documents,
            query_ids=queries,
            queries=queries,
            judgements={query: dict(judged) for query, judged in self.judgements.items()},
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with any number, id or judgement."""
        found = hashlib.sha256(json.dumps(_said(self), sort_keys=True).encode())
        for rows in (self.query, self.document):
            found.update(np.ascontiguousarray(rows).data)
        return found.hexdigest()[:12]

    def truth(self, k: int) -> Neighbours:
        """The exact nearest `k` documents of every query, or all where there are fewer."""
        return neighbours(self.query, self.document, min(k, len(self.document)))


def vectors_of(one: Embedded, task: Task) -> Vectors:
    """What a model made of a task."""
    return Vectors(
        name=task.name,
        split=task.split,
        encoder=one.name,
        query=one.query,
        document=one.document,
        judgements=task.judgements,
        query_ids=task.query_ids,
        document_ids=task.document_ids,
    )


def _said(given: Vectors) -> dict[str, object]:
    return {
        "format": FORMAT,
        "name": given.name,
        "split": given.split,
        "encoder": given.encoder,
        "query_ids": list(given.query_ids or ()),
        "document_ids": list(given.document_ids or ()),
        "judgements": {query: dict(judged) for query, judged in given.judgements.items()},
    }


def save_vectors(folder: Path | str, given: Vectors) -> None:
    """Write `vectors.json`, `query.npy` and `document.npy`, whole or not at all."""
    with atomic.folder(folder, replaces=FILE) as partial:
        (partial / FILE).write_text(json.dumps(_said(given)) + "\n", encoding="utf-8")
        for side in ("query", "document"):
            np.save(partial / f"{side}.npy", getattr(given, side), allow_pickle=False)


def load_vectors(folder: Path | str) -> Vectors:
    """Read what `save_vectors` wrote; the arrays stay on disk until they are read.

    Raises: FileNotFoundError where there is none; ValueError for another format, and what `Vectors` refuses.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{folder}: no vectors there, for it has no {FILE}")
    said = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if said.pop("format", None) != FORMAT:
        raise ValueError(f"{folder / FILE}: wanted vectors in format {FORMAT}")
    arrays = {
        side: np.load(folder / f"{side}.npy", mmap_mode="r", allow_pickle=False) for side in ("query", "document")
    }
    return Vectors(**said, **arrays)


def held_out(
    rows: Float32[np.ndarray, "n d"], *, queries: int, name: str, encoder: str, split: str = "test", seed: int = 0
) -> Vectors:
    """Some of the vectors as queries and all others as documents: for vectors without queries of their own.

    >>> made = held_out(np.eye(5, dtype=np.float32), queries=2, name="toy@1", encoder="none")
    >>> print(made.query.shape, made.document.shape)
    (2, 5) (3, 5)

    Raises: ValueError when no document would be left.
    """
    if not 1 <= queries < len(rows):
        raise ValueError(f"held_out: wanted from 1 to {len(rows) - 1} queries, got {queries}")
    order = np.random.default_rng(seed).permutation(len(rows))
    asked, kept = np.sort(order[:queries]), np.sort(order[queries:])
    return Vectors(
        name=name,
        split=split,
        encoder=encoder,
        query=rows[asked],
        document=rows[kept],
        query_ids=[str(row) for row in asked],
        document_ids=[str(row) for row in kept],
    )


def sample(given: Vectors, *, queries: int, documents: int, seed: int) -> Vectors:
    """So many queries and documents at most; a sample of the same seed with more of either holds this one's queries.

    Documents that are judged for a sampled query are always among them, even where they are more than `documents`.
    Queries that have a judgement are taken first, for the others say nothing of quality.
    """
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(given.query))
    ids = list(given.query_ids or ())
    unjudged = np.array([not given.judgements.get(ids[row]) for row in order])
    asked = np.sort(order[np.argsort(unjudged, kind="stable")][:queries])
    kept = np.arange(len(given.document))
    if documents < len(given.document):
        wanted = {one for row in asked for one in given.judgements.get(ids[row], ())}
        judged = np.array([one in wanted for one in given.document_ids or ()])
        drawn = chance.permutation(len(given.document))
        kept = np.sort(drawn[np.argsort(~judged[drawn], kind="stable")][: max(documents, int(judged.sum()))])
    document_ids = [list(given.document_ids or ())[row] for row in kept] if len(kept) < len(given.document) else None
    there = set(document_ids) if document_ids is not None else None
    judgements = {
        ids[row]: {one: grade for one, grade in found.items() if there is None or one in there}
        for row in asked
        if (found := given.judgements.get(ids[row]))
    }
    return replace(
        given,
        query=np.asarray(given.query[asked]),
        query_ids=[ids[row] for row in asked],
        document=np.asarray(given.document[kept]) if document_ids is not None else given.document,
        document_ids=given.document_ids if document_ids is None else document_ids,
        judgements=judgements,
    )
