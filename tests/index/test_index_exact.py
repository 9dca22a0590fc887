import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress
from jaxemb.index import exact, interface

NAMES = ["float32", "int8", "bits", "truncate-16+int8"]


def tied(n, d, seed=0):
    """Small whole numbers, so that scores are exact and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, size=(n, d)).astype(np.float32)


def reference(scores, k):
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return rows, np.take_along_axis(scores, rows, axis=1)


def test_by_hand():
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]], np.float32)
    found = exact.build(vectors).search(np.array([[0.0, 2.0], [1.0, 0.5]], np.float32), 2)
    np.testing.assert_array_equal(found.rows, [[1, 0], [0, 1]])
    np.testing.assert_allclose(found.scores, [[1.6, 0.0], [1.0, 1.0]], rtol=1e-6)
    assert (found.rows.dtype, found.scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("block", [1, 9])
def test_minus_zero_ties_with_zero(block):
    # Scores are the vectors themselves, for a product rarely ends in -0.0.
    as_it_is = compress.identity()._replace(
        asymmetric=lambda state, query, codes: jnp.broadcast_to(codes.T, (len(query), len(codes)))
    )
    vectors = np.array([[-0.0], [0.0], [-1.0], [-0.0], [0.0]], np.float32)
    found = exact.build(vectors, compressor=as_it_is, block=block).search(np.ones((1, 1), np.float32), 5)
    np.testing.assert_array_equal(found.rows, [[0, 1, 3, 4, 2]])


@pytest.mark.parametrize(("block", "devices"), [(1, 1), (7, 1), (50, 1), (1000, 1), (7, 3), (1000, 4)])
def test_blocks_and_devices_change_nothing(block, devices):
    vectors, query = tied(50, 6), tied(9, 6, seed=1)
    rows, scores = reference(query @ vectors.T, 13)
    built = exact.build(
        vectors, block=block, mesh=jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    )
    assert len(built.codes.sharding.device_set) == devices
    found = built.search(query, 13)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)


def test_more_devices_than_documents():
    built = exact.build(tied(3, 4), mesh=jax.make_mesh((8,), ("data",)))
    rows, scores = reference(tied(2, 4, seed=1) @ tied(3, 4).T, 3)
    found = built.search(tied(2, 4, seed=1), 3)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)
    assert built.resident_bytes == 8 * 4 * 4 + 4  # five rows of padding, and the length


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_the_compressor(clustered, name):
    vectors, query = clustered
    built = exact.build(vectors, compressor=compress.by_name(name), block=300)
    codes = jax.jit(built.compressor.apply)(built.state, jnp.asarray(vectors))
    np.testing.assert_allclose(built.codes.astype(jnp.float32), codes.astype(jnp.float32), rtol=1e-6)
    rows, scores = reference(np.asarray(jax.jit(built.compressor.asymmetric)(built.state, query, codes)), 10)
    found = built.search(query, 10)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-6)
    assert (found.rows == rows).mean() > 0.99  # two scores that rounding makes equal may change places
    assert built.resident_bytes == codes.nbytes + interface.state_bytes(built.state)
    assert codes.nbytes == 2000 * built.compressor.bytes_per_vector(24)


def test_many_queries_go_in_turns(clustered):
    vectors, _ = clustered
    found = exact.build(vectors).search(vectors[:600], 1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(600))


def test_no_queries_no_hits(clustered):
    found = exact.build(clustered[0]).search(np.zeros((0, 24), np.float32), 5)
    assert (found.rows.shape, found.scores.shape) == ((0, 5), (0, 5))


def test_scores_of_all_documents_never_exist_at_once():
    score, k, n, b = compress.identity().asymmetric, 3, 4096, 16
    built = exact.build(tied(n, 8), block=128)
    traced = jax.make_jaxpr(
        lambda query: exact._nearest(score, 128, k, n, built.mesh, built.state, query, built.codes)
    )(jnp.zeros((b, 8)))

    def inside(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval for v in equation.outvars)
            for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from inside(inner)

    shapes = [aval.shape for aval in inside(traced.jaxpr)]
    assert (b, 128) in shapes  # what is looked for would be found
    assert max(int(np.prod(shape)) for shape in shapes if shape[:1] == (b,)) <= b * 256


def test_few_batch_sizes_are_compiled(clustered):
    built = exact.build(clustered[0][:77])
    before = exact._nearest._cache_size()
    for b in range(1, 17):
        built.search(clustered[1][:b], 4)
    assert exact._nearest._cache_size() - before == 5  # 1, 2, 4, 8, 16


def test_the_callers_array_can_change_afterwards():
    vectors = np.eye(3, dtype=np.float32)
    built = exact.build(vectors)
    vectors[:] = 0
    assert built.search(np.eye(3, dtype=np.float32), 1).rows[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_answers_alike(clustered, name, tmp_path):
    vectors, query = clustered
    mesh = jax.make_mesh((3,), ("data",), devices=jax.devices()[:3])
    built = exact.build(vectors, compressor=compress.by_name(name), block=300, mesh=mesh)
    built.save(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    loaded = exact.load(tmp_path / "there", compressor=built.compressor, state=built.state, mesh=mesh)
    assert (loaded.size, loaded.dim, loaded.block) == (2000, 24, 300)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["codes.npy", "index.json"]
    np.testing.assert_array_equal(loaded.search(query, 10).rows, built.search(query, 10).rows)


def test_opened_with_what_it_was_not_made_with(clustered, tmp_path):
    small = compress.int8()
    built = exact.build(clustered[0], compressor=small)
    built.save(tmp_path / "index")
    with pytest.raises(ValueError, match="made with the compressor int8, opened with float32"):
        exact.load(tmp_path / "index")
    with pytest.raises(ValueError, match="made with the compressor int8, opened without its state"):
        exact.load(tmp_path / "index", compressor=small)
    with pytest.raises(FileNotFoundError, match=r"no index there, for it has no index\.json"):
        exact.load(tmp_path)
    np.save(tmp_path / "index" / "codes.npy", np.zeros((2000, 23), np.int8))
    with pytest.raises(ValueError, match=r"codes.npy: wanted int8 \[2000, 24\], got int8 \[2000, 23\]"):
        exact.load(tmp_path / "index", compressor=small, state=built.state)


def test_codes_are_never_unpickled(tmp_path):
    built = exact.build(np.eye(2, dtype=np.float32))
    built.save(tmp_path / "index")
    np.save(tmp_path / "index" / "codes.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        exact.load(tmp_path / "index")


def test_bad_input(clustered):
    built = exact.build(clustered[0])
    query = clustered[1][:3].copy()
    for wrong in (query[0], query[:, :23], query.astype(np.float64)):
        with pytest.raises(ValueError, match=r"search: wanted float32 \[n, 24\], got"):
            built.search(wrong, 1)
    query[2, 5] = np.nan
    with pytest.raises(ValueError, match="search: wanted finite numbers, got NaN or inf in 1 rows, first 2"):
        built.search(query, 1)
    for k in (0, -1, 2001):
        with pytest.raises(ValueError, match=f"wanted k from 1 to the index's 2000 rows, got {k}"):
            built.search(clustered[1], k)
    with pytest.raises(ValueError, match=r"exact: wanted 1 vector or more, got \[0, 24\]"):
        exact.build(clustered[0][:0])
    with pytest.raises(ValueError, match="exact: wanted finite numbers"):
        exact.build(query)
    with pytest.raises(ValueError, match="wanted a block of 1 document or more, got 0"):
        exact.build(clustered[0], block=0)


def test_scores_beyond_float32_are_refused():
    vectors = np.full((2, 2), 1e20, np.float32)
    with pytest.raises(ValueError, match="scores are beyond float32"):
        exact.build(vectors).search(vectors, 1)
    assert exact.build(vectors).search(vectors / np.float32(1e20), 2).rows.tolist() == [[0, 1], [0, 1]]
