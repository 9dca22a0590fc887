"""What every kind of index promises, on the same vectors."""

import importlib.util
import json
import math

import numpy as np
import pytest

from jaxemb import compress, index
from jaxemb.index import interface

CASES = {
    "exact": ("exact", {"compressor": "truncate-12"}),
    "scann": ("scann", {"leaves": 30, "leaves_to_search": 15, "stored": "int8"}),
    "scann soar": ("scann", {"leaves": 30, "leaves_to_search": 10, "soar": 1.5, "stored": "bfloat16"}),
    "faiss flat": ("faiss", {"compressor": "truncate-12"}),
    "faiss SQ8": ("faiss", {"factory": "SQ8"}),
    "faiss HNSW": ("faiss", {"factory": "HNSW16", "parameters": "efSearch=64"}),
    "faiss IVF-PQ": ("faiss", {"factory": "IVF30,PQ12x4fs,RFlat", "parameters": "nprobe=15,k_factor_rf=10"}),
    "faiss RaBitQ": ("faiss", {"factory": "RaBitQ"}),
    "faiss binary": ("faiss", {"factory": "BFlat", "compressor": "hamming"}),
    "faiss binary HNSW": ("faiss", {"factory": "BHNSW16", "parameters": "efSearch=64", "compressor": "hamming"}),
    "fast_scan": ("fast_scan", {"compressor": "int4"}),
    "fast_scan lists": ("fast_scan", {"compressor": "bebr-32x2", "lists": 30, "probes": 15, "on_disk": True}),
    "usearch f32": ("usearch", {}),
    "usearch i8": ("usearch", {"dtype": "i8"}),
    "usearch b1": ("usearch", {"dtype": "b1", "compressor": "hamming"}),
    "hnswlib": ("hnswlib", {}),
    "rescored": ("rescored", {"first": {"kind": "fast_scan", "compressor": "int4", "fetch": 0}, "on_disk": True}),
}
ROUGH = {"exact", "faiss flat", "faiss RaBitQ", "faiss binary", "faiss binary HNSW", "fast_scan lists", "usearch b1"}
"""Which keep too little of a vector for its neighbours to be found."""
IN_PARTS = {"scann", "scann soar", "faiss IVF-PQ", "fast_scan lists"}
"""Which look into some parts, so that all rows are not found."""


def build(name, vectors, **more):
    kind, settings = CASES[name]
    if kind == "hnswlib" and importlib.util.find_spec("hnswlib") is None:
        pytest.skip("hnswlib is not installed")
    settings = {**settings, **more}
    if kind in ("faiss", "fast_scan", "usearch", "hnswlib"):
        settings["threads"] = 1  # the same graph each time, and no waiting for each other
    if "compressor" in settings:
        settings["compressor"] = compress.by_name(settings["compressor"])
    return index.build(kind, vectors, **settings)


@pytest.fixture(scope="module")
def made(clustered):
    found = {}

    def once(name):
        if name not in found:
            found[name] = build(name, clustered[0][:900])
        return found[name]

    return once


@pytest.fixture(scope="module")
def nearest(clustered):
    return index.build("exact", clustered[0][:900]).search(clustered[1], 10)


def recall(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.rows, wanted.rows, strict=True)])


@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_an_index(made, nearest, clustered, name):
    built = made(name)
    assert isinstance(built, index.Index)
    assert (built.kind, built.size, built.dim) == (CASES[name][0], 900, 24)
    assert json.loads(json.dumps(built.settings)) == built.settings
    given = {key: value for key, value in CASES[name][1].items() if key not in ("compressor", "first")}
    assert given.items() <= built.settings.items()
    found = built.search(clustered[1], 10)
    assert (found.rows.shape, found.rows.dtype, found.scores.dtype) == ((100, 10), np.int64, np.float32)
    assert recall(found, nearest) > (0.35 if name in ROUGH else 0.85)


@pytest.mark.parametrize("name", CASES)
def test_hits_are_in_order_and_distinct(made, clustered, name):
    found = made(name).search(clustered[1], 40)
    assert ((found.rows == -1) == (found.scores == -np.inf)).all()
    assert (np.diff(np.where(found.rows < 0, -1e9, found.scores), axis=1) <= 0).all()
    tied = found.scores[:, 1:] == found.scores[:, :-1]
    assert (np.diff(found.rows, axis=1)[tied & (found.rows[:, 1:] >= 0)] > 0).all()
    for rows in found.rows:
        assert len(set(rows[rows >= 0])) == (rows >= 0).sum()
    assert found.rows.max() < 900


@pytest.mark.parametrize("name", CASES)
def test_moved_it_answers_alike(made, clustered, name, tmp_path):
    built = made(name)
    index.build("exact", clustered[0][:50]).save(tmp_path / "here")  # which is replaced
    built.save(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not [path for path in (tmp_path / "there").rglob("*") if path.suffix in (".pkl", ".pickle")]
    loaded = index.load(tmp_path / "there", compressor=built.compressor, state=built.state)
    assert (loaded.kind, loaded.size, loaded.dim) == (built.kind, 900, 24)
    assert (loaded.settings, loaded.bytes_per_vector) == (built.settings, built.bytes_per_vector)
    before, after = built.search(clustered[1], 5), loaded.search(clustered[1], 5)
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-6)
    if built.compressor.name != "int8":
        with pytest.raises(ValueError, match=f"made with the compressor {built.compressor.name}, opened with int8"):
            index.load(tmp_path / "there", compressor=compress.int8(), state={})


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_counted(made, name):
    built = made(name)
    held = built.resident_bytes + getattr(built, "mapped_bytes", 0)
    assert held >= 900 * built.bytes_per_vector * 0.9  # a part that is rounded up, and lists that are read from disk
    if CASES[name][0] not in ("usearch", "exact"):  # one takes room ahead, the other tells its devices' own
        assert held <= 900 * built.bytes_per_vector * 1.3 + 40_000


@pytest.mark.parametrize("name", CASES)
def test_one_query_or_many_or_none(made, clustered, name):
    built = made(name)
    many = built.search(clustered[1], 5)
    for i in range(3):
        np.testing.assert_array_equal(built.search(clustered[1][i : i + 1], 5).rows, many.rows[i : i + 1])
    none = built.search(clustered[1][:0], 5)
    assert (none.rows.shape, none.scores.shape, none.rows.dtype) == ((0, 5), (0, 5), np.int64)


@pytest.mark.parametrize("name", CASES)
def test_bad_queries(made, clustered, name):
    built, query = made(name), clustered[1][:4].copy()
    for wrong in (query[0], query[:, :23], query.astype(np.float64)):
        with pytest.raises(ValueError, match=r"search: wanted float32 \[n, 24\], got"):
            built.search(wrong, 1)
    for k in (0, -1, 901):
        with pytest.raises(ValueError, match=f"wanted k from 1 to the index's 900 rows, got {k}"):
            built.search(query, k)
    for value in (np.inf, np.nan):
        query[2, 0] = value
        with pytest.raises(ValueError, match="search: wanted finite numbers, got NaN or inf in 1 rows, first 2"):
            built.search(query, 1)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("faiss RaBitQ", "faiss IVF-PQ")])
def test_a_query_of_zeros_finds_some_rows(made, name):
    """FAISS's own two find nothing then, and say so by row -1."""
    found = made(name).search(np.zeros((1, 24), np.float32), 5)
    assert len(set(found.rows[0].tolist())) == 5
    assert found.rows.min() >= 0


@pytest.mark.parametrize("name", CASES)
def test_bad_vectors(clustered, name):
    vectors = clustered[0][:40].copy()
    with pytest.raises(ValueError, match=r"wanted 1 vector or more, got \[0, 24\]"):
        build(name, vectors[:0])
    with pytest.raises(ValueError, match=r"wanted float32 \[n, d\], got float64"):
        build(name, vectors.astype(np.float64))
    vectors[3, 1] = np.inf
    with pytest.raises(ValueError, match="wanted finite numbers, got NaN or inf in 1 rows, first 3"):
        build(name, vectors)


@pytest.mark.parametrize("name", CASES)
def test_duplicates_and_a_dimension_without_variance(clustered, name):
    rows = clustered[0][:200].copy()
    rows[:, 7] = 0.25
    copies = np.concatenate([rows, rows])
    found = build(name, copies).search(rows[:20], 4)
    assert all(len(set(found_rows)) == 4 for found_rows in found.rows.tolist())
    if name not in ROUGH:
        both = (found.rows[:, :2] % 200 == np.arange(20)[:, None]).all(axis=1)
        assert both.mean() >= 0.8
        np.testing.assert_allclose(found.scores[both, 0], found.scores[both, 1], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name not in IN_PARTS])
@pytest.mark.parametrize("n", [1, 17])
def test_all_of_a_few_rows_are_found(clustered, name, n):
    found = build(name, clustered[0][:n]).search(clustered[1][:3], n)
    np.testing.assert_array_equal(np.sort(found.rows, axis=1), np.tile(np.arange(n), (3, 1)))


@pytest.mark.parametrize("name", sorted(IN_PARTS))
def test_fewer_rows_than_parts_are_refused(clustered, name):
    with pytest.raises(ValueError, match=r"(as many (leaves|lists) as the 20 rows, got 30|IVF30.* of \[20, 24\])"):
        build(name, clustered[0][:20])


@pytest.mark.parametrize("name", CASES)
def test_tuned(made, clustered, name):
    built = made(name)
    with pytest.raises(ValueError, match=f"{built.kind}: wanted settings of its search, .* got \\['size'\\]"):
        index.tuned(built, size=3)
    assert index.tuned(built) is built
    changes = {"leaves_to_search": 1, "probes": 1, "expansion_search": 200, "fetch": 300}
    changes["parameters"] = "nprobe=1" if "IVF" in name else ""
    change = {key: changes[key] for key in getattr(type(built), "searching", ()) if key in changes}
    before = built.search(clustered[1], 10)
    other = index.tuned(built, **change)
    assert change.items() <= other.settings.items()
    now = other.search(clustered[1], 10)
    if name in IN_PARTS:
        assert (now.rows != before.rows).any()
    np.testing.assert_array_equal(built.search(clustered[1], 10).rows, before.rows)  # which is as it was


def test_best_orders_and_fills_up():
    found = interface.best(np.array([[4, -1, 2, 9]]), np.array([[1.0, 7.0, 1.0, 3.0]], np.float32), 5)
    assert found.rows.tolist() == [[9, 2, 4, -1, -1]]
    assert found.scores.tolist() == [[3.0, 1.0, 1.0, -math.inf, -math.inf]]


def test_unknown_kind(tmp_path):
    with pytest.raises(ValueError, match="no index of kind 'hnsw'; there are exact, scann, faiss, fast_scan"):
        index.build("hnsw", np.eye(2, dtype=np.float32))
    index.build("exact", np.eye(2, dtype=np.float32)).save(tmp_path / "index")
    said = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps({**said, "kind": "hnsw"}))
    with pytest.raises(ValueError, match="no index of kind 'hnsw'; there are exact, scann, faiss"):
        index.load(tmp_path / "index")
    (tmp_path / "index" / "index.json").write_text(json.dumps({**said, "format": 9}))
    with pytest.raises(ValueError, match="wanted index format 1, got 9"):
        index.load(tmp_path / "index")
