"""Search in two steps: candidates of a first index, scored again."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress, index
from jaxemb.index import bundle, exact, rescored

NAMES = ["float32", "int8", "truncate-12", "int4", "bits", "bebr-24x2", "hamming", "rabitq-2", "rabitq-8"]
NAMES += ["truncate-12+int8"]


@pytest.fixture(scope="module")
def rough(clustered):
    return exact.build(clustered[0][:300], compressor=compress.hamming())


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_the_second_step(clustered, rough, name, compiled_quickly):
    vectors, query = clustered[0][:300], clustered[1][:9]
    code = compress.by_name(name)
    whole = rescored.over(rough, vectors, compressor=code, fetch=300)
    wanted = np.asarray(code.asymmetric(whole.state, jnp.asarray(query), code.apply(whole.state, jnp.asarray(vectors))))
    found = whole.search(query, 7)
    np.testing.assert_allclose(found.scores, np.sort(wanted, axis=1)[:, ::-1][:, :7], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(wanted, found.rows, 1), found.scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(whole.search(query[:1], 7).rows, found.rows[:1])


def test_candidates_by_hand():
    """The first step sees signs alone; the second puts what it names in order, and nothing else."""
    vectors = np.array([[0.1, 0.8], [0.9, 0.1], [-0.5, 0.9], [0.7, 0.7]], np.float32)
    first = exact.build(vectors, compressor=compress.hamming(0.0))
    two = rescored.over(first, vectors, fetch=3)
    found = two.search(np.array([[0.0, 1.0]], np.float32), 2)  # -, +: from 0, 1 and 3 by a sign, from 2 by none
    assert found.rows.tolist() == [[2, 0]]
    np.testing.assert_allclose(found.scores, [[0.9, 0.8]])
    assert two.search(np.array([[0.0, 1.0]], np.float32), 2, fetch=1).rows.shape == (1, 2)  # k at least


def test_more_candidates_find_more(clustered, rough):
    vectors, query = clustered[0][:300], clustered[1]
    wanted = exact.build(vectors).search(query, 10).rows
    two = rescored.over(rough, vectors, fetch=10)
    shares = [
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(two.search(query, 10, fetch=f).rows, wanted, strict=True)])
        for f in (10, 60, 300)
    ]
    assert shares[0] < shares[1] < shares[2] == 1


def test_codes_on_disk_are_not_in_memory(clustered, rough, tmp_path):
    vectors = clustered[0][:300]
    here, there = (rescored.over(rough, vectors, fetch=40, on_disk=on_disk) for on_disk in (False, True))
    assert (here.mapped_bytes, there.mapped_bytes) == (0, 300 * 96)
    assert here.resident_bytes - there.resident_bytes == 300 * 96
    assert here.bytes_per_vector == there.bytes_per_vector == 3 + 96
    there.save(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    loaded = index.load(tmp_path / "there")
    assert (loaded.mapped_bytes, loaded.settings) == (300 * 96, there.settings)
    np.testing.assert_array_equal(loaded.search(clustered[1], 5).rows, here.search(clustered[1], 5).rows)
    np.save(tmp_path / "there" / "codes.npy", vectors[:-1])
    with pytest.raises(ValueError, match=r"codes.npy: wanted float32 \[300, 24\], got float32 \[299, 24\]"):
        index.load(tmp_path / "there")


def test_in_a_bundle(tiny_model, texts, tmp_path):
    settings = {"first": {"kind": "exact", "compressor": "hamming"}, "fetch": 30, "on_disk": True}
    ids = [f"doc-{i}" for i in range(len(texts))]
    bundle.write(
        tmp_path / "here", tiny_model, ids, texts, index="rescored", compressor=compress.int8(), settings=settings
    )
    (tmp_path / "here").rename(tmp_path / "there")
    opened = bundle.load(tmp_path / "there")
    assert bundle.search(opened, ["fish red"], 1)[0][0].text == "fish red"
    assert opened.index.mapped_bytes == len(texts) * 16
    assert opened.manifest["settings"]["first"]["compressor"] == "hamming"


def test_what_is_refused(clustered, rough):
    vectors = clustered[0][:300]
    with pytest.raises(ValueError, match=r"the vectors of the first index, \[300, 24\], got \[299, 24\]"):
        rescored.over(rough, vectors[:299])
    with pytest.raises(ValueError, match="wanted fetch of 1 or more, got 0"):
        rescored.over(rough, vectors, fetch=0)
    with pytest.raises(ValueError, match="wanted fetch of 1 or more, got 0"):
        rescored.over(rough, vectors).search(clustered[1], 1, fetch=0)
    for first in ({}, {"kind": "rescored"}):
        with pytest.raises(ValueError, match="wanted a first step with a kind, other than rescored"):
            rescored.build(vectors, first=first)
    with pytest.raises(ValueError, match="no index of kind 'hnsw'"):
        rescored.build(vectors, first={"kind": "hnsw"})
