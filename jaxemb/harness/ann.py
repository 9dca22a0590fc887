"""Data sets and results in the files of ann-benchmarks: its vectors into our searches, our searches into its plots.

A data set is one HDF5 file with `train`, `test`, `neighbors` and `distances`, and says its `distance`.  A result is one
file a run in `results/<data set>/<count>/<algorithm>/`.  Source: Aumüller et al. 2020, doi:10.1016/j.is.2019.02.006.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from jaxemb import atomic, extras
from jaxemb.evaluate import neighbours

DISTANCES = ("angular", "euclidean", "dot")


class Ann(NamedTuple):
    """A data set.

    train, test: what is searched, and the queries.
    neighbors: rows of `train`, nearest first.
    distances: of these; `1 - cosine`, the length of the difference, or minus the inner product.
    distance: `angular`, `euclidean` or `dot`.
    """

    train: Float32[np.ndarray, "n d"]
    test: Float32[np.ndarray, "q d"]
    neighbors: Int[np.ndarray, "q k"]
    distances: Float[np.ndarray, "q k"]
    distance: str


def as_products(data: Ann) -> tuple[Float32[np.ndarray, "n e"], Float32[np.ndarray, "q e"]]:
    """Vectors to search and queries whose inner products rank as the distance does, for any of our indexes.

    angular: both scaled to length one.  dot: as they are.  euclidean: with `c` the mean of what is searched,

        (x - c, -|x - c|^2 / 2) and (q - c, 1),   whose product is (|q - c|^2 - |q - x|^2) / 2

    Raises: ValueError for a vector of zeros where the distance is angular.
    """
    if data.distance == "dot":
        return data.train, data.test
    if data.distance == "angular":
        return _unit("train", data.train), _unit("test", data.test)
    centre = data.train.mean(axis=0, dtype=np.float64).astype(np.float32)[None, :]
    train, test = data.train - centre, data.test - centre
    half = -0.5 * np.square(train).sum(axis=1, keepdims=True)
    return np.concatenate([train, half], axis=1), np.concatenate([test, np.ones((len(test), 1), np.float32)], axis=1)


def _unit(what: str, rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    zeros = np.flatnonzero(length == 0)
    if len(zeros):
        raise ValueError(
            f"ann: wanted vectors with a direction, got zeros in {len(zeros)} rows of {what}, first {zeros[0]}"
        )
    return rows / length


def distances(
    queries: Float32[np.ndarray, "q d"], documents: Float32[np.ndarray, "n d"], rows: Int[np.ndarray, "q k"], kind: str
) -> Float[np.ndarray, "q k"]:
    """The distance of every query to its rows; infinity to row -1."""
    _known(kind)
    found = np.empty(rows.shape, np.float64)
    for at, (query, some) in enumerate(zip(queries.astype(np.float64), rows, strict=True)):
        near = documents[some].astype(np.float64)
        if kind == "euclidean":
            found[at] = np.linalg.norm(near - query[None, :], axis=1)
        elif kind == "dot":
            found[at] = -(near @ query)
        else:
            length = np.linalg.norm(near, axis=1) * np.linalg.norm(query)
            found[at] = 1 - near @ query / np.where(length > 0, length, 1)
    return np.where(rows >= 0, found, np.inf)


def make(
    train: Float32[np.ndarray, "n d"], test: Float32[np.ndarray, "q d"], *, distance: str = "angular", k: int = 100
) -> Ann:
    """A data set of vectors and queries, with its exact neighbours.

    Args:
      k: neighbours a query; ann-benchmarks has 100.
    Raises: ValueError for an unknown distance, `k` beyond the vectors, and what is not finite.
    """
    none = np.zeros((len(test), 0), np.int64)
    given = Ann(train, test, none, none.astype(np.float64), _known(distance))
    documents, queries = as_products(given)
    rows = neighbours(queries, documents, k).rows
    return given._replace(neighbors=rows, distances=distances(test, train, rows, distance))


def write(path: Path | str, data: Ann) -> None:
    """Write a data set as ann-benchmarks reads it, whole or not at all."""
    h5py = extras.load("h5py")
    with atomic.file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update({"type": "dense", "distance": data.distance, "dimension": data.train.shape[1]})
        file.attrs["point_type"] = "float"
        for name in ("train", "test"):
            file.create_dataset(name, data=getattr(data, name))
        file.create_dataset("neighbors", data=data.neighbors.astype(np.int32))
        file.create_dataset("distances", data=data.distances.astype(np.float32))


def read(path: Path | str) -> Ann:
    """Read a data set of ann-benchmarks.

    Raises: FileNotFoundError; ValueError for a file that is no such data set, sets of bits, an unknown distance, arrays
      that do not belong together, neighbours that are not there, and vectors that are not finite.
    """
    h5py = extras.load("h5py")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: wanted an HDF5 file")
    with h5py.File(path) as file:
        missing = [name for name in ("train", "test", "neighbors", "distances") if name not in file]
        if missing or "distance" not in file.attrs:
            raise ValueError(f"{path}: wanted a data set of ann-benchmarks, it lacks {missing or 'its distance'}")
        if file.attrs.get("type", "dense") != "dense" or file.attrs.get("point_type", "float") != "float":
            raise ValueError(f"{path}: wanted dense vectors of floats, got {dict(file.attrs)}")
        kind = str(file.attrs["distance"])
        train, test = (np.asarray(file[name], np.float32) for name in ("train", "test"))
        found = Ann(
            train, test, np.asarray(file["neighbors"], np.int64), np.asarray(file["distances"], np.float64), kind
        )
    return _checked(path, found)


def _checked(path: Path, data: Ann) -> Ann:
    if data.distance not in DISTANCES:
        raise ValueError(f"{path}: wanted a distance of {', '.join(DISTANCES)}, got {data.distance!r}")
    for name, rows in (("train", data.train), ("test", data.test)):
        if rows.ndim != 2 or rows.shape[1] != data.train.shape[-1]:
            raise ValueError(f"{path}: wanted vectors [n, d] of one length, got {name} {list(rows.shape)}")
        if not np.isfinite(rows).all():
            raise ValueError(f"{path}: wanted finite vectors, got NaN or inf in {name}")
    wanted = (len(data.test), *data.neighbors.shape[1:])
    if data.neighbors.shape != wanted or data.distances.shape != wanted or data.neighbors.ndim != 2:
        raise ValueError(
            f"{path}: wanted neighbours and distances of each of {len(data.test)} queries, got "
            f"{list(data.neighbors.shape)} and {list(data.distances.shape)}"
        )
    if data.neighbors.size and not 0 <= data.neighbors.min() <= data.neighbors.max() < len(data.train):
        raise ValueError(f"{path}: wanted neighbours among {len(data.train)} rows, got {data.neighbors.max()}")
    return data


def write_result(
    folder: Path | str,
    data: Ann,
    rows: Int[np.ndarray, "q k"],
    seconds: Float[np.ndarray, " q"],
    *,
    dataset: str,
    algorithm: str,
    name: str,
    settings: Mapping[str, Any],
    build_s: float = 0.0,
    index_bytes: int = 0,
    batch: bool = False,
) -> Path:
    """Write what was found as a run that ann-benchmarks' own plots read.

    Distances are computed here, from the vectors.

    Args:
      folder: its `results` folder.
      rows: what a search of `k` found for each of the data set's queries, row -1 where nothing.
      seconds: of each query.
      dataset: the name of the data set there, as `glove-100-angular`.
      algorithm, name: whose line of the plot it is, and the run's own name.
      settings: which become the file's name.
      batch: all queries were asked at once.
    Returns: the file.
    Raises: ValueError when rows or seconds are not those of the queries.
    """
    h5py = extras.load("h5py")
    if rows.shape[:1] != (len(data.test),) or rows.ndim != 2 or seconds.shape != (len(data.test),):
        raise ValueError(
            f"ann: wanted rows and seconds of each of {len(data.test)} queries, got {list(rows.shape)} and "
            f"{list(seconds.shape)}"
        )
    count = rows.shape[1]
    stem = re.sub(r"\W+", "_", json.dumps(dict(settings), sort_keys=True)).strip("_")[:200] or "default"
    path = Path(folder) / dataset / str(count) / (algorithm + ("-batch" if batch else "")) / f"{stem}.hdf5"
    attributes = {
        "batch_mode": batch,
        "best_search_time": float(seconds.mean()),
        "build_time": build_s,
        "candidates": float((rows >= 0).sum(axis=1).mean()),
        "count": count,
        "dataset": dataset,
        "distance": data.distance,
        "expect_extra": False,
        "index_size": index_bytes / 1024,  # it counts in KiB
        "algo": algorithm,
        "name": name,
        "run_count": 1,
    }
    with atomic.file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(attributes)
        file.create_dataset("times", data=seconds.astype(np.float32))
        file.create_dataset("neighbors", data=rows.astype(np.int32))
        found = distances(data.test, data.train, rows, data.distance)
        file.create_dataset("distances", data=found.astype(np.float32))
    return path


def _known(distance: str) -> str:
    if distance not in DISTANCES:
        raise ValueError(f"ann: wanted a distance of {', '.join(DISTANCES)}, got {distance!r}")
    return distance
