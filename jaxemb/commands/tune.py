"""The smallest or fastest way to keep a model's vectors, chosen on validation queries and exported."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from jaxemb.commands.command import ClaimError, show

if TYPE_CHECKING:
    from jaxemb.data import Task
    from jaxemb.harness import Vectors
    from jaxemb.model import Model


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Find the smallest or fastest pipeline that keeps a share of the quality, and write its bundle.

    It is chosen on the validation split; the bundle holds the documents of the test split, on which it is reported.
    Ends with 1 when no pipeline keeps the share.
    """

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    out: tyro.conf.Positional[Path]
    """The folder to write: `bundle/`, and `tune.md`, `.jsonl` and `.svg`, which tell what was chosen and from what."""
    task: str = "python-code"
    """A BEIR folder, or the task that is built from the code on this machine."""
    validation: str = "validation"
    """The split to choose on."""
    split: str = "test"
    """The split to report on."""
    quality: float = 0.98
    """The share of the reference's quality to keep, with confidence."""
    of: str = "float32"
    """The reference: a compressor's name, searched exactly."""
    max_bytes: int | None = None
    """Of a vector, all that the index keeps for it."""
    least: Literal["bytes", "ms"] = "bytes"
    """What is to be as little as can be."""
    metric: str | None = None
    """nDCG@10 by default; or `mrr@10`, `recall@10`, `fidelity@10` and so on."""
    level: float = 0.95
    """Of the confidence."""
    documents: int | None = None
    """At most so many documents of each split."""
    queries: int | None = None
    """At most so many queries of each split."""
    rounds: int = 4
    """Of successive halving."""
    seed: int = 0

    def run(self) -> None:
        """Embed, choose, explain, export."""
        from jaxemb import compress, harness, index, model

        if self.split == self.validation:
            raise ValueError(f"tune: wanted a split to report on that is not the one to choose on, got {self.split}")
        wanted = harness.Wanted(
            quality=self.quality,
            of=self.of,
            metric=self.metric,
            max_bytes=self.max_bytes,
            least=self.least,
            level=self.level,
        )
        compress.by_name(self.of)  # before the minutes of encoding
        loaded = model.searchable(model.load(self.model))
        tasks = [self._task(split) for split in (self.validation, self.split)]
        given, test = (self._vectors(loaded, task) for task in tasks)
        try:
            tuned = harness.tune(given, wanted, test=test, rounds=self.rounds, seed=self.seed)
        except harness.Unmet as none:
            harness.explain(none.tuned, given, self.out)
            raise ClaimError(f"{none}; {self.out / 'tune.md'} tells all that was seen") from none
        harness.explain(tuned, given, self.out)
        report = tuned.tested
        assert report is not None  # test vectors were given
        chosen = report.pipeline  # at the size of the test split
        index.bundle.write(
            self.out / "bundle",
            loaded,
            tasks[1].document_ids,
            tasks[1].documents,
            vectors=test.document,
            compressor=compress.by_name(chosen.compressor),
            index=chosen.kind,
            settings=chosen.whole,
            made={"tune": asdict(wanted), "pipeline": chosen.plain, "task": tasks[1].name},
        )
        share = f"{report.share.estimate:.3f} [{report.share.low:.3f}, {report.share.high:.3f}]"
        show(f"{chosen.label}: {report.bytes_per_vector} bytes a vector, {report.ms:.2g} ms a search")
        show(f"{share} of {self.of}'s {tuned.metric} on {self.split}; why: {self.out / 'tune.md'}")
        show(f'{self.out / "bundle"}: ask it: jaxemb search {self.out / "bundle"} "your question"')

    def _task(self, split: str) -> "Task":
        from jaxemb import data

        if self.task == "python-code":
            task = data.python_code.task(data.python_code.prepare(self.out / "data"), split)
        else:
            task = data.read_beir(self.task, split)
        if self.documents is None and self.queries is None:
            return task
        return data.cap(
            task,
            documents=min(self.documents or len(task.documents), len(task.documents)),
            queries=min(self.queries or len(task.queries), len(task.queries)),
        )

    def _vectors(self, loaded: "Model", task: "Task") -> "Vectors":
        """The model's vectors of a task, kept in the output folder for the next run."""
        from jaxemb import harness, model

        name = Path(self.model).name
        key = harness.Pipeline().key(model.fingerprint(loaded), str(loaded.dtype), task.name, task.split)
        folder = self.out / "vectors" / key
        if not folder.is_dir():
            harness.save_vectors(folder, harness.vectors_of(harness.embed(name, loaded, task), task))
        return harness.load_vectors(folder)
