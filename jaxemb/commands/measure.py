"""Models to records, and records to a leaderboard."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from jaxemb.commands.command import show

if TYPE_CHECKING:
    from jaxemb.data import Task


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure models and compressors on a retrieval task, beside BM25, and write a leaderboard."""

    out: tyro.conf.Positional[Path]
    """The folder to write."""
    models: tyro.conf.Positional[tuple[str, ...]]
    """Sentence-transformers folders, or ids on the hub."""
    task: str = "python-code"
    """A BEIR folder, or the task that is built from the code on this machine."""
    split: str = "test"
    compressors: tuple[str, ...] = ("float32", "int8", "bits")
    kinds: tuple[Literal["exact", "scann"], ...] = ("exact",)
    """Kinds of index; scann is measured with float32 only."""
    documents: int | None = None
    """At most so many documents of the task."""
    queries: int | None = None
    """At most so many queries of the task."""

    def run(self) -> None:
        """Read the task, measure every combination, write."""
        from jaxemb import compress, harness, model

        task = self._task()
        chosen = [compress.by_name(name) for name in self.compressors]
        variants = [harness.Variant(kind, one) for kind in self.kinds for one in chosen]
        variants = [one for one in variants if one.kind != "scann" or one.compressor.name == "float32"]
        if not variants:
            raise ValueError(f"scann is measured with float32 only, got --compressors {' '.join(self.compressors)}")
        names = [Path(name).name for name in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"rows are named for the models' folders, which must differ, got {names}")
        loaded = [model.searchable(model.load(source)) for source in self.models]
        embedded = [harness.embed(name, one, task) for name, one in zip(names, loaded, strict=True)]
        records = harness.suite([(one, variants) for one in embedded], task)
        show(harness.terminal(harness.leaderboard.write(records, self.out)))
        show(f"{self.out / 'leaderboard.html'}")

    def _task(self) -> "Task":
        from jaxemb import data

        if self.task == "python-code":
            task = data.python_code.task(data.python_code.prepare(self.out / "data"), self.split)
        else:
            task = data.read_beir(self.task, self.split)
        if self.documents is None and self.queries is None:
            return task
        return data.cap(
            task,
            documents=len(task.documents) if self.documents is None else min(self.documents, len(task.documents)),
            queries=len(task.queries) if self.queries is None else min(self.queries, len(task.queries)),
        )


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Make tables, plots and the page again from records."""

    records: tyro.conf.Positional[Path]
    """A file of JSON lines."""
    out: tyro.conf.Positional[Path]
    """The folder to write."""
    ranked_by: str = "ndcg@10"

    def run(self) -> None:
        """Read, summarise, write."""
        from jaxemb import harness

        board = harness.leaderboard.write(harness.record.read(self.records), self.out, ranked_by=self.ranked_by)
        show(harness.terminal(board))
        show(f"{self.out / 'leaderboard.html'}")
