import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from jaxemb import compress
from jaxemb.index import exact, scann


@pytest.fixture(scope="module")
def built(clustered):
    return scann.build(clustered[0])


def recall(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.rows, wanted.rows, strict=True)])


def test_defaults_follow_the_size(built):
    assert built.settings == {
        "leaves": 45,
        "leaves_to_search": 23,
        "reorder": 100,
        "dims_per_block": 2,
        "anisotropic": 0.2,
        "training_sample": 100_000,
        "soar": 0.0,
        "stored": "float32",
    }
    assert scann.build(np.eye(8, dtype=np.float32)).settings["leaves"] == 0


def test_nearly_exact_by_default(built, clustered):
    wanted = exact.build(clustered[0]).search(clustered[1], 10)
    assert recall(built.search(clustered[1], 10), wanted) >= 0.95
    everywhere = built.search(clustered[1], 10, leaves_to_search=45, reorder=2000)
    np.testing.assert_array_equal(everywhere.rows, wanted.rows)
    np.testing.assert_allclose(everywhere.scores, wanted.scores, rtol=1e-5)


def test_settings_of_a_search_matter(built, clustered):
    wanted = exact.build(clustered[0]).search(clustered[1], 10)
    few = recall(built.search(clustered[1], 10, leaves_to_search=1), wanted)
    assert few < recall(built.search(clustered[1], 10, leaves_to_search=10), wanted)
    rough = recall(built.search(clustered[1], 10, leaves_to_search=45, reorder=10), wanted)
    assert rough < recall(built.search(clustered[1], 10, leaves_to_search=45, reorder=100), wanted)


@pytest.mark.parametrize("n", [1, 2, 17, 999])
def test_a_small_index_is_exact(clustered, n):
    vectors, query = clustered[0][:n], clustered[1]
    wanted = exact.build(vectors).search(query, min(n, 10))
    found = scann.build(vectors).search(query, min(n, 10))
    np.testing.assert_array_equal(found.rows, wanted.rows)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5, atol=1e-6)


def test_larger_is_closer_and_best_comes_first(built, clustered):
    found = built.search(clustered[0][:50], 10)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(50))
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert (found.rows.dtype, found.scores.dtype) == (np.int64, np.float32)


def test_of_equals_the_lower_row_first(clustered):
    copies = np.tile(clustered[0][:400], (3, 1))
    found = scann.build(copies).search(clustered[0][:400], 3)
    np.testing.assert_array_equal(found.rows, np.arange(400)[:, None] + [[0, 400, 800]])


def test_hits_are_put_in_order(built, clustered):
    class Unordered:
        def search(self, *settings):  # of one query it tells what it found, and no more
            return np.array([7, 3, 5, 2], np.uint32), np.array([0.5, 0.5, 0.9, 0.5], np.float32)

        def search_batched(self, *settings):
            nan = np.float32("nan")
            rows, scores = self.search()
            return np.insert(rows, 1, 0)[None].repeat(2, 0), np.insert(scores, 1, nan)[None].repeat(2, 0)

    for b in (1, 2):
        found = dataclasses.replace(built, searcher=Unordered()).search(clustered[1][:b], 5)
        np.testing.assert_array_equal(found.rows, [[5, 2, 3, 7, -1]] * b)
        np.testing.assert_array_equal(found.scores, np.array([[0.9, 0.5, 0.5, 0.5, -np.inf]] * b, np.float32))


def test_all_vectors_alike(clustered):
    copies = np.tile(clustered[0][:1], (1200, 1))
    found = scann.build(copies).search(clustered[0][:1], 5)
    np.testing.assert_allclose(found.scores, 1, rtol=1e-6)
    assert len(set(found.rows[0])) == 5


def test_what_was_not_looked_at_is_row_minus_one(built, clustered):
    found = built.search(clustered[1], 500, leaves_to_search=1)
    missing = found.rows == -1
    assert missing.any(axis=1).all()
    np.testing.assert_array_equal(missing, found.scores == -np.inf)
    assert (np.diff(missing.astype(int), axis=1) >= 0).all()  # at the end
    for rows, absent in zip(found.rows, missing, strict=True):
        assert len(set(rows[~absent])) == (~absent).sum()


def test_more_than_is_reordered(built, clustered):
    found = built.search(clustered[1], 300, leaves_to_search=45)
    assert (found.rows >= 0).all()


def test_threads_change_nothing(built, clustered):
    alone = built.search(clustered[1], 10)
    for threads in (2, 3):
        shared = built.search(clustered[1], 10, threads=threads)
        np.testing.assert_array_equal(shared.rows, alone.rows)
        np.testing.assert_array_equal(shared.scores, alone.scores)


def test_one_query_or_many(built, clustered):
    many = built.search(clustered[1], 10)
    for i in range(5):
        np.testing.assert_array_equal(built.search(clustered[1][i : i + 1], 10).rows, many.rows[i : i + 1])


def test_built_again_it_is_the_same_byte_for_byte(clustered, tmp_path):
    for name, threads in (("one", 1), ("two", 0)):
        scann.build(clustered[0], threads=threads).save(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_moved_it_answers_alike(built, clustered, tmp_path):
    built.save(tmp_path / "here" / "index")
    (tmp_path / "here").rename(tmp_path / "there")
    loaded = scann.load(tmp_path / "there" / "index")
    assert (loaded.size, loaded.dim, loaded.settings) == (2000, 24, built.settings)
    before, after = built.search(clustered[1], 10), loaded.search(clustered[1], 10)
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_truncated_vectors(clustered, tmp_path):
    cut = compress.truncate(8)
    built = scann.build(clustered[0], compressor=cut, leaves=0)
    wanted = exact.build(clustered[0], compressor=cut).search(clustered[1], 10)
    np.testing.assert_array_equal(built.search(clustered[1], 10).rows, wanted.rows)
    built.save(tmp_path / "index")
    loaded = scann.load(tmp_path / "index", compressor=cut, state=built.state)
    np.testing.assert_array_equal(loaded.search(clustered[1], 10).rows, wanted.rows)
    with pytest.raises(ValueError, match="made with the compressor truncate-8, opened with float32"):
        scann.load(tmp_path / "index")


@pytest.mark.parametrize(("name", "dtype"), [("int8", "int8"), ("bits", "uint8"), ("truncate-8+int8", "int8")])
def test_codes_cannot_be_put_into_it(clustered, name, dtype):
    with pytest.raises(ValueError, match=rf"stores float32 vectors.*stores {dtype}, which kind 'exact' can search"):
        scann.build(clustered[0], compressor=compress.by_name(name))


def test_bytes_are_those_of_the_arrays(built, tmp_path):
    built.save(tmp_path / "index")
    size = {path.name: path.stat().st_size for path in (tmp_path / "index" / "assets").iterdir()}
    arrays = sum(size.values()) - size["hashed_dataset.npy"] / 2  # a byte a code on disk, half of one in memory
    assert built.resident_bytes == pytest.approx(arrays, rel=0.03)
    flat = scann.build(np.eye(9, dtype=np.float32))
    assert flat.resident_bytes == 9 * 9 * 4 + 4


def test_a_pickle_is_refused(built, tmp_path):
    built.save(tmp_path / "index")
    (tmp_path / "index" / "assets" / "scann_docids.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"scann_docids\.pkl: pickles are never loaded"):
        scann.load(tmp_path / "index")


@pytest.mark.parametrize("name", ["/etc/hostname", "../dataset.npy", "missing.npy"])
def test_assets_elsewhere_are_refused(built, tmp_path, name):
    built.save(tmp_path / "index")
    listing = tmp_path / "index" / "assets" / "scann_assets.pbtxt"
    listing.write_text(listing.read_text().replace("dataset.npy", name))
    with pytest.raises(ValueError, match=f"wanted the name of a file beside it, got .*{name}"):
        scann.load(tmp_path / "index")


def test_nothing_there(built, tmp_path):
    with pytest.raises(FileNotFoundError, match="no index there"):
        scann.load(tmp_path)
    built.save(tmp_path / "index")
    (tmp_path / "index" / "assets" / "scann_assets.pbtxt").unlink()
    with pytest.raises(FileNotFoundError, match=r"scann_assets\.pbtxt: not there"):
        scann.load(tmp_path / "index")
    exact.build(np.eye(2, dtype=np.float32)).save(tmp_path / "other")
    with pytest.raises(ValueError, match="wanted an index of kind scann, got exact"):
        scann.load(tmp_path / "other")


def test_bad_input(built, clustered):
    vectors, query = clustered[0], clustered[1].copy()
    assert built.search(query[:0], 5).rows.shape == (0, 5)
    for wrong in (query[0], query[:, :23], query.astype(np.float64)):
        with pytest.raises(ValueError, match=r"search: wanted float32 \[n, 24\], got"):
            built.search(wrong, 1)
    for k in (0, 2001):
        with pytest.raises(ValueError, match=f"wanted k from 1 to the index's 2000 rows, got {k}"):
            built.search(query, k)
    for setting in ("leaves_to_search", "reorder", "threads"):
        with pytest.raises(ValueError, match=f"scann: wanted {setting} of 1 or more, got 0"):
            built.search(query, 1, **{setting: 0})
    query[3, 0] = np.inf
    with pytest.raises(ValueError, match="search: wanted finite numbers, got NaN or inf in 1 rows, first 3"):
        built.search(query, 1)
    with pytest.raises(ValueError, match="scann: wanted finite numbers, got NaN or inf in 1 rows, first 3"):
        scann.build(query)
    with pytest.raises(ValueError, match=r"scann: wanted 1 vector or more, got \[0, 24\]"):
        scann.build(vectors[:0])
    with pytest.raises(ValueError, match="as many leaves as the 20 rows, got 21"):
        scann.build(vectors[:20], leaves=21)
    for setting in ("leaves_to_search", "reorder", "dims_per_block", "training_sample"):
        with pytest.raises(ValueError, match=f"scann: wanted {setting} of 1 or more, got 0"):
            scann.build(vectors, **{setting: 0})


def test_it_says_nothing(clustered, tmp_path, capfd):
    scann.build(clustered[0]).save(tmp_path / "index")
    scann.load(tmp_path / "index")
    assert capfd.readouterr() == ("", "")


def test_what_others_say_gets_through(capfd):
    def fail():
        with scann._quiet():
            os.write(2, b"I0000 00:00:1 2 file.cc:58] Size of sampled dataset\nsomething else\n")
            os.write(2, b"E0000 00:00:1 2 file.cc:58] an error")
            raise RuntimeError("ScaNN failed")

    with pytest.raises(RuntimeError, match="ScaNN failed"):
        fail()
    assert capfd.readouterr().err == "something else\nE0000 00:00:1 2 file.cc:58] an error"


def test_without_scann_exact_works_and_the_error_names_the_command():
    program = """
import sys
import numpy as np
from jaxemb import index
assert "scann" not in sys.modules  # importing jaxemb.index does not need it
sys.modules["scann"] = None  # as if it were not installed
vectors = np.eye(3, dtype=np.float32)
assert index.build("exact", vectors).search(vectors, 1).rows[:, 0].tolist() == [0, 1, 2]
for call in (lambda: index.build("scann", vectors), lambda: index.scann.load("anywhere")):
    try:
        call()
    except ImportError as missing:
        assert "pip install 'jaxemb[index]'" in str(missing), missing
    else:
        raise AssertionError("no error")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
