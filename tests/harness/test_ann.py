"""Files of ann-benchmarks: a data set out and in again, and runs as its plots read them."""

import json

import h5py
import numpy as np
import pytest

from jaxemb.harness import ann


def rows(n, seed, d=6):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def distance_of(kind, a, b):
    if kind == "euclidean":
        return np.linalg.norm(a - b)
    return -a @ b if kind == "dot" else 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("kind", ann.DISTANCES)
def test_neighbours_are_the_nearest_by_that_distance(kind):
    train, test = rows(40, 0), rows(5, 1)
    made = ann.make(train, test, distance=kind, k=7)
    wanted = np.array([[distance_of(kind, one, other) for other in train] for one in test])
    np.testing.assert_array_equal(made.neighbors, np.argsort(wanted, axis=1)[:, :7])
    np.testing.assert_allclose(made.distances, np.sort(wanted, axis=1)[:, :7], rtol=1e-5, atol=1e-6)
    documents, queries = ann.as_products(made)
    np.testing.assert_array_equal(np.argsort(-queries @ documents.T, axis=1)[:, :7], made.neighbors)


@pytest.mark.parametrize("kind", ann.DISTANCES)
def test_written_and_read(kind, tmp_path):
    made = ann.make(rows(40, 0), rows(5, 1), distance=kind, k=7)
    ann.write(tmp_path / "toy.hdf5", made)
    found = ann.read(tmp_path / "toy.hdf5")
    for name in ("train", "test", "neighbors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    np.testing.assert_allclose(found.distances, made.distances, rtol=1e-6)
    assert found.distance == kind
    with h5py.File(tmp_path / "toy.hdf5") as file:
        assert {name: str(file[name].dtype) for name in file} == {
            "train": "float32",
            "test": "float32",
            "neighbors": "int32",
            "distances": "float32",
        }
        assert dict(file.attrs) == {"type": "dense", "distance": kind, "dimension": 6, "point_type": "float"}


def test_a_run_is_where_its_plots_look(tmp_path):
    made = ann.make(rows(40, 0), rows(5, 1), k=7)
    found = made.neighbors[:, :3].copy()
    found[2, 2] = -1
    path = ann.write_result(
        tmp_path,
        made,
        found,
        np.full(5, 0.002),
        dataset="toy-6-angular",
        algorithm="jaxemb",
        name="fast_scan(probes=4)",
        settings={"probes": 4, "kind": "fast_scan"},
        build_s=1.5,
        index_bytes=2048,
    )
    assert path == tmp_path / "toy-6-angular" / "3" / "jaxemb" / "kind_fast_scan_probes_4.hdf5"
    with h5py.File(path) as file:
        told = dict(file.attrs)
        assert (told["dataset"], told["distance"], told["count"], told["algo"]) == (
            "toy-6-angular",
            "angular",
            3,
            "jaxemb",
        )
        assert (told["build_time"], told["index_size"], told["candidates"]) == (1.5, 2.0, 14 / 5)
        assert told["best_search_time"] == pytest.approx(0.002)
        np.testing.assert_array_equal(file["neighbors"], found)
        np.testing.assert_allclose(file["distances"][:2], made.distances[:2, :3], rtol=1e-6)
        assert np.isinf(file["distances"][2, 2])
        # Its recall: of the run's distances, how many reach the last of the true ones.
        reached = np.asarray(file["distances"]) <= made.distances[:, 2:3] + 1e-3
        assert reached.sum() == 14


def test_a_run_is_of_all_queries(tmp_path, as_users_call):
    made = ann.make(rows(40, 0), rows(5, 1), k=7)
    with pytest.raises(ValueError, match=r"rows and seconds of each of 5 queries, got \[4, 3\] and \[5\]"):
        ann.write_result(
            tmp_path, made, made.neighbors[:4, :3], np.ones(5), dataset="d", algorithm="a", name="n", settings={}
        )
    assert not list(tmp_path.iterdir())


def broken(path, **changes):
    made = ann.make(rows(12, 0), rows(3, 1), k=4)
    ann.write(path, made)
    with h5py.File(path, "a") as file:
        for name, value in changes.items():
            if name in file:
                del file[name]
                if value is not None:
                    file[name] = value
            else:
                file.attrs[name] = value


def test_what_is_no_data_set(tmp_path):
    path = tmp_path / "toy.hdf5"
    with pytest.raises(FileNotFoundError, match="not there"):
        ann.read(path)
    path.write_text(json.dumps({}))
    with pytest.raises(ValueError, match="wanted an HDF5 file"):
        ann.read(path)
    holes = rows(12, 0)
    holes[3] = np.nan
    for changes, message in [
        ({"neighbors": None}, r"lacks \['neighbors'\]"),
        ({"distance": "hamming"}, "angular, euclidean, dot, got 'hamming'"),
        ({"point_type": "bit"}, "wanted dense vectors of floats"),
        ({"type": "sparse"}, "wanted dense vectors of floats"),
        ({"train": holes}, "NaN or inf in train"),
        ({"test": rows(3, 1, d=5)}, r"of one length, got test \[3, 5\]"),
        ({"neighbors": np.full((3, 4), 12)}, "among 12 rows, got 12"),
        ({"distances": np.zeros((3, 5))}, r"got \[3, 4\] and \[3, 5\]"),
    ]:
        broken(path, **changes)
        with pytest.raises(ValueError, match=message):
            ann.read(path)
        path.unlink()
    with pytest.raises(ValueError, match="got 'manhattan'"):
        ann.make(rows(4, 0), rows(2, 1), distance="manhattan", k=1)
    with pytest.raises(ValueError, match="zeros in 1 rows of train, first 0"):
        ann.make(np.zeros((1, 6), np.float32), rows(2, 1), k=1)
