"""BM25, the row that every table has: what words alone find, without any training."""

import logging
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxemb import extras
from jaxemb.data.task import Task
from jaxemb.harness.measure import System

K1, B = 1.2, 0.75  # Lucene's defaults
RUNS = re.compile(r"[^\W_]+")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W_]")


def words(text: str) -> list[str]:
    """Lower-case words of letters or digits; an identifier gives its parts, and a part of several its whole as well.

    No stop words and no stemming: the inverse frequency already makes `the`
    nearly worthless, and a stemmer would tie the baseline to one language.

    >>> words("Read_csv: parseHTTPResponse of UTF8")
    ['read', 'csv', 'parsehttpresponse', 'parse', 'http', 'response', 'of', 'utf8', 'utf', '8']
    """
    found = []
    for run in RUNS.findall(text):
        parts = PARTS.findall(run)
        found += [run.lower(), *(part.lower() for part in parts)] if len(parts) > 1 else [run.lower()]
    return found


def system(
    task: Task, *, k1: float = K1, b: float = B, tokenize: Callable[[str], list[str]] = words, name: str = "BM25"
) -> System:
    """BM25 over a task's documents, with Lucene's formula and defaults, by the library bm25s.

    Its search reads the queries' texts, and gives -1 for what matches no word of the query.

    Returns: a `System` to measure with `Encoded(task.queries)`; one document's
      bytes are its share of the whole index.
    Raises: ValueError when no document has a word.
    Source: Robertson & Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond"; Lù 2024, "BM25S".
    """
    library = extras.load("bm25s")
    logging.getLogger("bm25s").setLevel(logging.INFO)  # it asks for DEBUG, and others make that visible
    start = time.perf_counter()
    tokens = [tokenize(text) for text in task.documents]
    if not any(tokens):
        raise ValueError(f"{task.name}: BM25 needs a word in some document, found none in {len(tokens)}")
    index = library.BM25(method="lucene", k1=k1, b=b)
    index.index(tokens, show_progress=False)
    build_s = time.perf_counter() - start

    def search(queries: Sequence[str], k: int) -> tuple[Int[np.ndarray, "b k"], Float[np.ndarray, "b k"]]:
        known = [[word for word in tokenize(query) if word in index.vocab_dict] for query in queries]
        rows = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for place, query in enumerate(known):
            if query:
                rows[place], scores[place] = _best(index.get_scores(query), k)
        return rows, scores

    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    resident = sum(array.nbytes for array in index.scores.values() if isinstance(array, np.ndarray))
    resident += sum(len(word.encode()) for word in index.vocab_dict)
    config: dict[str, Any] = {
        "encoder": "BM25",
        "index": "bm25s",
        "method": "lucene",
        "k1": k1,
        "b": b,
        "tokens": f"{tokenize.__module__}.{tokenize.__qualname__}",
    }
    return System(
        name=name,
        config=config,
        search=search,
        bytes_per_vector=resident / len(tokens),
        disk_bytes=disk,
        resident_bytes=resident,
        build_s=(build_s,),
    )


def _best(scores: Float[np.ndarray, " n"], k: int) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The `k` best above zero, best first, equal ones by row; -1 where there are fewer."""
    threshold = max(np.partition(scores, -k)[-k], np.finfo(np.float32).tiny)
    candidates = np.flatnonzero(scores >= threshold)
    first = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    rows, best = np.full(k, -1, np.int64), np.full(k, -np.inf, np.float32)
    rows[: first.size], best[: first.size] = first, scores[first]
    return rows, best
