"""Our codes in FAISS's registers: the scan's scores are the compressor's, whatever the compressor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress, index
from jaxemb.index import fast_scan, tables

NAMES = ("bebr-24x1", "bebr-24x2", "bebr-8x3", "bebr-24x4", "pq-6x4", "int4", "bits", "hamming")
SLOW = ("opq-6x4", "aniso-6x4x0.2", "rq-6x4", "int4-0.01", "pca-16+pq-8x4")


def scores_of(built, query, symmetric):
    code, query, codes = built.compressor, jnp.asarray(query), jnp.asarray(built.codes)
    if symmetric:
        return np.asarray(jax.jit(code.symmetric)(built.state, code.apply(built.state, query), codes))
    return np.asarray(jax.jit(code.asymmetric)(built.state, query, codes))


def best(scores, k):
    return np.sort(scores, axis=1)[:, ::-1][:, :k]


def check_law(vectors, query, name, lists):
    code = compress.by_name(name)
    for symmetric in (False, True) if name != "bits" else (False,):
        built = fast_scan.build(vectors, compressor=code, lists=lists, probes=lists or None, symmetric=symmetric)
        wanted = scores_of(built, query, symmetric)
        found = built.search(query, 5, fetch=len(vectors))
        np.testing.assert_allclose(found.scores, best(wanted, 5), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(np.take_along_axis(wanted, found.rows, 1), found.scores, rtol=1e-5, atol=1e-5)
        # FAISS rounds the tables alone, and the factor is put back.
        rough = built.search(query, 5, fetch=0)
        told = np.take_along_axis(wanted, rough.rows, 1)
        spread = wanted.max() - wanted.min()
        assert np.abs(rough.scores - told).max() < 0.02 * spread


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_the_compressor(clustered, name, compiled_quickly):
    check_law(clustered[0][:300], clustered[1][:8], name, 7 if name in ("bebr-24x2", "int4") else 0)


@pytest.mark.grid
@pytest.mark.parametrize("name", SLOW)
def test_scores_are_those_of_other_compressors(clustered, name, compiled_quickly):
    for lists in (0, 7):
        check_law(clustered[0][:300], clustered[1][:8], name, lists)


def test_tables_by_hand():
    """Card: of two levels of two bits the row for the nibble of (-3, -3) is 18, 15, 12, 9, 15, ... when halved."""
    state = {"write": np.zeros((2, 2, 4), np.float32), "write_bias": np.zeros((2, 4), np.float32)}
    found = tables.FORMS["bebr"]("4x2", state)
    levels = 2 * found.centres[0]
    table = (levels @ np.array([-3, -3], np.float32) + 18) / 2
    assert table.tolist() == [18, 15, 12, 9, 15, 12, 9, 6, 12, 9, 6, 3, 9, 6, 3, 0]
    code = np.array([[0x1B, 0, 60]], np.uint8)
    assert found.nibbles(code).tolist() == [[1, 11]]
    assert found.factor(code, found.nibbles(code)).tolist() == [1.0]  # 0x3c00 as float16


def test_symmetric_distance_equals_bit_planes(clustered):
    """SDC through tables is the sum over planes of bits, in whole numbers."""
    built = fast_scan.build(clustered[0][:200], compressor=compress.recurrent(24, 2), symmetric=True)
    nibbles = built.tables.nibbles(np.asarray(built.codes)).astype(int)
    plane = [np.stack([nibbles >> 3 & 1, nibbles >> 1 & 1], 2), np.stack([nibbles >> 2 & 1, nibbles & 1], 2)]
    planes = [one.reshape(200, 24) for one in plane]  # of the first bit of each dimension, then of the second
    levels = 2 * built.tables.centres[np.arange(12), nibbles].reshape(200, 24)
    counted = sum(
        2 ** (2 - i - j) * (24 - 2 * (planes[i][:, None] ^ planes[j][None]).sum(axis=2)) for i in (0, 1) for j in (0, 1)
    )
    np.testing.assert_array_equal(levels @ levels.T, counted)


@pytest.mark.parametrize("lists", [0, 7])
def test_fetching_more_brings_the_exact_order(clustered, lists):
    """The decoded codes' own ten best: nearly all as FAISS scans, all once ten times as many are scored again."""
    built = fast_scan.build(clustered[0], compressor=compress.int4(), lists=lists, probes=lists or None)
    wanted = best(scores_of(built, clustered[1], False), 10)
    rough, exact = (
        (np.take_along_axis(scores_of(built, clustered[1], False), built.search(clustered[1], 10, fetch=f).rows, 1))
        for f in (0, 100)
    )
    assert (rough >= wanted[:, 9:] - 1e-6).mean() >= 0.95
    assert (exact >= wanted[:, 9:] - 1e-6).mean() == 1


def test_fewer_probes_find_less(clustered):
    built = fast_scan.build(clustered[0], compressor=compress.int4(), lists=40, probes=40)
    wanted = built.search(clustered[1], 10).rows
    shares = [
        np.mean(
            [
                len(set(a) & set(b)) / 10
                for a, b in zip(built.search(clustered[1], 10, probes=p).rows, wanted, strict=True)
            ]
        )
        for p in (1, 10, 400)
    ]
    assert shares[0] < shares[1] < shares[2] == 1


def test_where_the_lists_hold_too_few_hits_end(clustered):
    found = fast_scan.build(clustered[0][:300], compressor=compress.int4(), lists=100, probes=1).search(
        clustered[1], 50
    )
    missing = found.rows == -1
    assert missing.any(axis=1).all()
    np.testing.assert_array_equal(missing, found.scores == -np.inf)


def test_codes_on_disk_are_not_in_memory(clustered, tmp_path):
    vectors = clustered[0][:320]
    here = fast_scan.build(vectors, compressor=compress.int4())
    there = fast_scan.build(vectors, compressor=compress.int4(), on_disk=True, state=here.state)
    assert (here.mapped_bytes, there.mapped_bytes) == (0, 320 * 12)
    assert here.resident_bytes - there.resident_bytes == 320 * 12
    assert (here.bytes_per_vector, there.bytes_per_vector) == (24, 24)  # packed, and once more to be read
    alone = fast_scan.build(vectors, compressor=compress.int4(), on_disk=True, fetch=0, state=here.state)
    assert alone.bytes_per_vector == 12
    there.save(tmp_path / "index")
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["codes.npy", "index.json"]
    loaded = fast_scan.load(tmp_path / "index", compressor=compress.int4(), state=here.state)
    assert (loaded.mapped_bytes, loaded.resident_bytes) == (320 * 12, there.resident_bytes)
    np.testing.assert_array_equal(loaded.search(clustered[1], 5).rows, here.search(clustered[1], 5).rows)


def test_what_is_refused(clustered, tmp_path):
    vectors = clustered[0][:50]
    for name in ("int8", "pq-6x8", "float32", "rabitq-1", "truncate-8+int8"):
        with pytest.raises(ValueError, match=rf"{name.replace('+', '.')}: wanted codes that are looked up four bits"):
            fast_scan.build(vectors, compressor=compress.by_name(name))
    with pytest.raises(ValueError, match="its symmetric score is Hamming's"):
        fast_scan.build(vectors, compressor=compress.bits(), symmetric=True)
    for settings, message in [
        ({"lists": 51}, "as many lists as the 50 rows, got 51"),
        ({"lists": -1}, "as many lists as the 50 rows, got -1"),
        ({"probes": 0}, "wanted probes of 1 or more, got 0"),
        ({"fetch": -1}, "wanted fetch of 0 or more, got -1"),
        ({"training_sample": 0}, "wanted training_sample of 1 or more, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            fast_scan.build(vectors, compressor=compress.int4(), **settings)
    built = fast_scan.build(vectors, compressor=compress.int4(), lists=5)
    for settings in ({"probes": 0}, {"fetch": -1}, {"threads": 0}):
        with pytest.raises(ValueError, match=r"wanted (probes|fetch|threads) of"):
            built.search(clustered[1], 1, **settings)
    built.save(tmp_path / "index")
    for name, array, message in [
        ("lists.npy", np.full(50, 5, np.int32), "lists below 5, got up to 5"),
        ("centres.npy", np.zeros((5, 23), np.float32), r"wanted float32 \[5, 24\], got float32 \[5, 23\]"),
        ("codes.npy", np.zeros((49, 12), np.uint8), r"wanted uint8 \[50, 12\], got uint8 \[49, 12\]"),
    ]:
        kept = np.load(tmp_path / "index" / name)
        np.save(tmp_path / "index" / name, array)
        with pytest.raises(ValueError, match=message):
            index.load(tmp_path / "index", compressor=built.compressor, state=built.state)
        np.save(tmp_path / "index" / name, kept)
    with pytest.raises(ValueError, match="opened without its state"):
        index.load(tmp_path / "index", compressor=built.compressor)


def test_a_query_of_zeros_is_equally_near_to_all(clustered):
    built = fast_scan.build(clustered[0][:60], compressor=compress.pq(6, 4))
    for fetch in (0, 20):
        found = built.search(np.zeros((1, 24), np.float32), 4, fetch=fetch)
        assert found.rows.tolist() == [[0, 1, 2, 3]]
        np.testing.assert_array_equal(found.scores, 0)
