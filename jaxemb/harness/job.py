"""One row of a sweep: an index is built and saved, opened again and searched; here, or in a process of its own.

Quality and fidelity at `k` are of a search for `k` documents: an approximate index that is asked for more looks
further.  Latency is of a search for `depth`.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxemb import compress, index
from jaxemb.evaluate import METRICS, Metric, Neighbours, fidelity, retrieval
from jaxemb.harness import machine
from jaxemb.harness.measure import CALLS, REPEATS, Settings, time_queries
from jaxemb.harness.pipeline import Pipeline
from jaxemb.harness.record import Each
from jaxemb.harness.vectors import Vectors, load_vectors

Number = tuple[str, Each, tuple[float, ...]]

Found = dict[str, Any]
"""What was measured of a row, as JSON: `numbers`, and the index's `settings`."""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """How every row is measured; it becomes part of each record's config.

    depth: documents that a timed search asks for.
    fidelity_at: every `k` of recall of the exact neighbours.
    threads: of the processes that are timed, each on as many cores.
    calls, repeats, batch: one-query calls that are timed, batches that are, and their size.
    metrics: names of `evaluate.METRICS`, of vectors with judgements.
    """

    depth: int = 10
    fidelity_at: tuple[int, ...] = (1, 10, 100)
    threads: tuple[int, ...] = (1, 2)
    calls: int = CALLS
    repeats: int = REPEATS
    batch: int = 256
    metrics: tuple[str, ...] = tuple(METRICS)

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        low = [k for k in (self.depth, *self.fidelity_at, *self.threads) if k < 1]
        if unknown or low or not self.threads:
            raise ValueError(f"sweep: wanted metrics of {sorted(METRICS)} and counts of 1 or more, got {self}")


def build(given: Vectors, pipeline: Pipeline, kept: Path) -> Found:
    """Build an index and save it with its compressor; what it took, and what it takes."""
    start = time.perf_counter()
    made = pipeline.built(np.asarray(given.document))
    seconds = time.perf_counter() - start
    made.save(kept / "index")
    compress.save(kept / "compressor", made.compressor, made.state)
    disk = index.bytes_on_disk(kept)
    numbers: list[Number] = [
        ("documents", "once", (float(made.size),)),
        ("bytes_per_vector", "once", (float(made.bytes_per_vector),)),
        ("index_bytes_disk", "once", (float(disk),)),
        ("index_bytes_resident", "once", (float(made.resident_bytes),)),
        ("build_s", "once", (seconds,)),
    ]
    return {"numbers": numbers, "settings": _plain(made.settings)}


def search(
    given: Vectors, truth: Neighbours, pipeline: Pipeline, kept: Path, settings: Swept, *, threads: int, judged: bool
) -> Found:
    """Open a saved index, time it, and judge what it finds."""
    compressor, state = compress.load(kept / "compressor")
    opened = pipeline.tuned(index.load(kept / "index", compressor=compressor, state=state))
    ask: Callable[..., Any] = opened.search
    if "threads" in inspect.signature(opened.search).parameters:
        ask = partial(ask, threads=threads)
    query = np.asarray(given.query)
    numbers = list(judge(given, truth, lambda k: batched(ask, query, k), settings)) if judged else []
    depth = min(settings.depth, opened.size)
    how = Settings(
        depth=depth, batch=settings.batch, calls=settings.calls, repeats=settings.repeats, metrics={}, fidelity_at=()
    )
    timed = time_queries(lambda some: ask(some, depth), query, how)
    end = f"_{threads}t"
    numbers += [(f"search_ms{end}", "query", timed.one_ms), (f"search_queries_per_s{end}", "repeat", timed.per_s)]
    numbers += [(f"search_compile_s{end}", "once", (timed.compile_s,))] if timed.compile_s else []
    return {"numbers": numbers, "settings": _plain(opened.settings)}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(settings), default=str))


def batched(ask: Callable[..., Any], query: np.ndarray, k: int, batch: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of a search for `k`, some queries at a time."""
    parts = [ask(query[at : at + batch], k) for at in range(0, len(query), batch)]
    rows, scores = (np.concatenate([np.asarray(part[side]) for part in parts]) for side in (0, 1))
    return rows.astype(np.int64), scores


def judge(
    given: Vectors, truth: Neighbours, hits: Callable[[int], tuple[np.ndarray, np.ndarray]], settings: Swept
) -> Iterator[Number]:
    """Quality and fidelity, each at `k` of a search for `k`; `hits` is that search."""
    n = len(given.document)
    metrics: dict[int, dict[str, Metric]] = {}
    if any(given.judgements.values()):
        for name in settings.metrics:
            metrics.setdefault(min(int(name.rpartition("@")[2]), n), {})[name] = METRICS[name]
    exact = dict.fromkeys(min(k, n) for k in settings.fidelity_at)
    for k in sorted({*metrics, *exact}):
        found = hits(k)
        if k in metrics:
            told = retrieval(given.task, found, metrics[k])
            yield from ((name, "query", tuple(values.tolist())) for name, values in told.values.items())
        if k in exact:
            yield f"fidelity@{k}", "query", tuple(fidelity(found[0], truth, k=k).tolist())


def here(job: Mapping[str, Any], threads: int | None, judged: bool = False) -> Found:
    """A job in this process."""
    scratch, kept = Path(job["scratch"]), Path(job["kept"])
    given, pipeline = load_vectors(scratch / "vectors"), Pipeline(**job["pipeline"])
    if job["do"] == "build":
        return build(given, pipeline, kept)
    with np.load(scratch / "truth.npz", allow_pickle=False) as known:
        truth = Neighbours(np.asarray(given.query), np.asarray(given.document), known["rows"], known["scores"])
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in job["settings"].items()
    }
    return search(given, truth, pipeline, kept, Swept(**said), threads=threads or 1, judged=judged)


# The cores are set before anything that counts them is imported.
_CHILD = """
import json, os, sys
job = json.load(open(sys.argv[1]))
if job["cores"] and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, job["cores"])
from jaxemb.harness.job import child
child(job, sys.argv[2])
"""


def child(job: Mapping[str, Any], answer: str) -> None:
    """What a process of its own does: the job, and the answer into a file."""
    Path(answer).write_text(json.dumps(here(job, job["threads"], job["judged"])))


def apart(job: Mapping[str, Any], threads: int | None, judged: bool = False) -> Found:
    """A job in a process of its own, pinned to as many cores as it has threads.

    Raises: RuntimeError with the last lines of what it said, where it failed; ValueError for fewer cores than threads.
    """
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if threads is not None and usable and threads > len(usable):
        raise ValueError(f"wanted {threads} cores, got {len(usable)}")
    count = str(threads or machine.usable())
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps({**job, "threads": threads, "judged": judged, "cores": usable[:threads]}))
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(asked), str(answer)],
            env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode or not answer.is_file():
            said = " | ".join(line.strip() for line in done.stderr.splitlines()[-3:])
            raise RuntimeError(f"ended with {done.returncode}: {said}")
        return json.loads(answer.read_text())
