from itertools import product

import faiss
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress
from jaxemb.compress.least import least
from jaxemb.compress.product import _along, _joined


def error(made, sample, vectors):
    state = made.fit(jnp.asarray(sample))
    return float(
        np.square(np.asarray(made.decode(state, made.apply(state, jnp.asarray(vectors)))) - vectors).sum(1).mean()
    )


def test_by_hand():
    code = compress.pq(2, 1)
    # The first part is near (0, 1) or (4, 5), the second near (-1, 0) or (9, 9).
    sample = jnp.array([[0.0, 1.0, -1.0, 0.0], [4.0, 5.0, 9.0, 9.0], [0.0, 1.0, 9.0, 9.0], [4.0, 5.0, -1.0, 0.0]])
    state = code.fit(sample)
    codes = code.apply(state, sample)
    np.testing.assert_allclose(code.decode(state, codes), sample, atol=1e-6)
    assert codes.shape == (4, 1)
    assert len(np.unique(codes)) == 4
    np.testing.assert_allclose(
        code.asymmetric(state, jnp.array([[1.0, 0.0, 0.0, 2.0]]), codes), [[0, 22, 18, 4]], atol=1e-5
    )


def test_centres_are_as_good_as_those_of_faiss(clustered):
    points = clustered(2000, 8)
    ours = np.asarray(compress.kmeans(jnp.asarray(points), 32))
    peer = faiss.Kmeans(8, 32, niter=25, seed=1, nredo=3)
    peer.train(points)

    def apart(centres):
        return np.square(points[:, None] - centres[None]).sum(axis=2).min(axis=1).mean()

    assert apart(ours) <= 1.05 * apart(peer.centroids)


def test_no_centre_is_wasted():
    # All but a few points lie together, so that an even start leaves centres without any.
    points = jnp.concatenate([jnp.zeros((50, 2)), jnp.eye(2) * 5, jnp.array([[9.0, 9.0]])])
    centres = np.asarray(compress.kmeans(points, 4))
    assert {tuple(row) for row in centres.round(4).tolist()} == {(0.0, 0.0), (5.0, 0.0), (0.0, 5.0), (9.0, 9.0)}


@pytest.mark.grid
def test_fewer_vectors_than_centres_and_copies_of_one(clustered):
    for sample in (clustered(60, 8)[:7], np.repeat(clustered(60, 8)[:1], 7, axis=0)):
        for made in (compress.pq(2, 5), compress.rq(2, 5)):
            assert error(made, sample, sample) < 1e-5, made.name


@pytest.mark.parametrize(
    ("made", "factory"),
    [
        pytest.param(compress.pq(4, 4), "PQ4x4", id="pq"),
        pytest.param(compress.opq(4, 4), "OPQ4_16,PQ4x4", id="opq"),
        pytest.param(compress.rq(3, 4), "RQ3x4", id="rq", marks=pytest.mark.grid),
    ],
)
def test_errors_are_those_of_faiss(made, factory, clustered):
    vectors = clustered(600, 16)
    peer = faiss.index_factory(16, factory)
    peer.train(vectors)
    theirs = np.square(peer.sa_decode(peer.sa_encode(vectors)) - vectors).sum(axis=1).mean()
    assert error(made, vectors, vectors) <= 1.05 * theirs


@pytest.mark.grid
def test_opq_shares_out_what_dimensions_say(clustered):
    vectors = clustered(600, 16) * np.geomspace(4, 0.05, 16).astype(np.float32)
    assert error(compress.opq(4, 4), vectors, vectors) < 0.8 * error(compress.pq(4, 4), vectors, vectors)


def test_codes_of_the_least_anisotropic_loss():
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(3, 4, 2)).astype(np.float32)
    vectors = draw.normal(size=(100, 6)).astype(np.float32)
    every = np.array(list(product(range(4), repeat=3)))

    def lost(codes, x):
        apart = x - np.asarray(_joined(jnp.asarray(centres), jnp.asarray(codes)))
        along = (apart * x).sum(axis=-1) / np.linalg.norm(x, axis=-1)
        return np.square(apart).sum(axis=-1) + 5.0 * np.square(along)

    best = np.array([lost(every, row[None]).min() for row in vectors])
    got = lost(np.asarray(_along(jnp.asarray(centres), jnp.asarray(vectors), 5.0)), vectors)
    assert (got >= best - 1e-4).all()
    assert (got <= best + 1e-4).mean() > 0.75  # part after part need not find the best of all
    nearest = lost(np.asarray(_along(jnp.asarray(centres), jnp.asarray(vectors), 0.0)), vectors)
    assert got.mean() < nearest.mean()


@pytest.mark.grid
def test_anisotropic_errors_lie_across(clustered):
    vectors = clustered(600, 16)
    along = {}
    for made in (compress.pq(4, 4), compress.anisotropic(4, 4, 0.5)):
        state = made.fit(jnp.asarray(vectors))
        apart = vectors - np.asarray(made.decode(state, made.apply(state, jnp.asarray(vectors))))
        along[made.name] = np.square((apart * vectors).sum(axis=1)).mean()
    assert along["aniso-4x4x0.5"] < 0.6 * along["pq-4x4"]


def test_the_least_of_a_quadratic():
    matrix = jnp.array([[3.0, 1.0], [1.0, 2.0]])
    got = least(lambda x: 0.5 * x @ matrix @ x - x @ jnp.array([5.0, 5.0]), jnp.ones(2), 2)
    np.testing.assert_allclose(got, [1.0, 2.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: compress.pq(0, 4), "pq: wanted 1 part or more of 1 to 8 bits, got 0 of 4"),
        (lambda: compress.opq(4, 9), "opq: wanted 1 part or more of 1 to 8 bits, got 4 of 9"),
        (lambda: compress.rq(0), "rq: wanted 1 book or more of 1 to 8 bits, got 0 of 8"),
        (lambda: compress.anisotropic(4, 4, 1.0), "aniso: wanted a threshold between 0 and 1, got 1.0"),
        (lambda: compress.pq(5).fit(jnp.ones((2, 12))), "pq-5x8: wanted a dimension that 5 parts divide, got 12"),
        (lambda: compress.by_name("pq-5"), "compressor 'pq-5': wanted the form pq-<parts>x<bits>: wanted 2 numbers"),
    ],
)
def test_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
