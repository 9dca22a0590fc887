from itertools import product

import faiss
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress
from jaxemb.compress.linear import flips
from jaxemb.compress.rabitq import nearest_levels


def test_one_bit_by_hand():
    code = compress.rabitq(1)
    # No sign is flipped, and of two dimensions four Hadamard rounds are none.
    state = {"along": jnp.zeros(2), "scale": jnp.float32(1), "flipped": jnp.zeros((4, 2), bool)}
    codes = code.apply(state, jnp.array([[3.0, 4.0], [-1.0, 2.0]]))
    np.testing.assert_array_equal(codes[:, 0], [0b11000000, 0b01000000])
    # f = 25 / 3.5 and 5 / 1.5 for y = (1/2, 1/2) and (-1/2, 1/2).
    np.testing.assert_allclose(code.decode(state, codes), [[25 / 7, 25 / 7], [-5 / 3, 5 / 3]], rtol=1e-6)
    np.testing.assert_allclose(code.asymmetric(state, jnp.array([[1.0, 2.0]]), codes), [[75 / 7, 5 / 3]], rtol=1e-6)


def test_what_lies_along_the_mean_is_kept_as_it_is():
    code = compress.rabitq(1)
    state = {"along": jnp.array([0.6, 0.8]), "scale": jnp.float32(2), "flipped": jnp.zeros((4, 2), bool)}
    # (5, 0) is 3 along (0.6, 0.8), and 4 across, along (0.8, -0.6): in both the code is (1, -1) / 2 and comes back.
    codes = code.apply(state, jnp.array([[5.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(code.decode(state, codes), [[5.0, 0.0], [3.0, 4.0]], atol=1e-5)
    np.testing.assert_allclose(code.asymmetric(state, jnp.array([[1.0, 2.0]]), codes), [[5.0, 11.0]], rtol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_over_rotations_the_estimate_has_no_bias_and_further_bits_halve_its_spread(bits):
    draw = np.random.default_rng(0)
    vector, query = (jnp.asarray(draw.normal(size=(1, 24)), jnp.float32) for _ in range(2))
    code = compress.rabitq(bits)
    state = {"along": jnp.zeros(24), "scale": jnp.float32(1)}

    @jax.jit
    @jax.vmap
    def estimated(flipped):
        turned = state | {"flipped": flipped}
        return code.asymmetric(turned, query, code.apply(turned, vector))[0, 0]

    found = np.asarray(estimated(jax.vmap(lambda seed: flips_of(seed))(jnp.arange(2000))))
    exact = float(query[0] @ vector[0])
    assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(2000)
    size = float(jnp.linalg.norm(query) * jnp.linalg.norm(vector))
    assert found.std() < size / np.sqrt(24) / 2 ** (bits - 1)


def flips_of(seed):
    return jax.random.bernoulli(jax.random.key(seed), shape=(4, 24))


def test_the_seed_is_what_is_saved():
    np.testing.assert_array_equal(flips(7, 24), flips_of(7))


def test_levels_are_nearly_those_of_the_smallest_angle():
    vectors = np.random.default_rng(1).normal(size=(200, 4))
    grid = np.array(list(product(range(4), repeat=4)))
    odd = grid - 1.5
    angles = vectors @ odd.T / np.linalg.norm(odd, axis=1) / np.linalg.norm(vectors, axis=1)[:, None]
    levels = np.asarray(nearest_levels(jnp.asarray(vectors, jnp.float32), 2))
    place = (levels * 4 ** np.arange(3, -1, -1)).sum(axis=1)
    got = angles[np.arange(200), place]
    assert (angles.max(axis=1) - got).mean() < 0.002
    assert (got == angles.max(axis=1)).mean() > 0.8


def test_neighbours_are_found_as_by_faiss(clustered):
    vectors = clustered(1100, 96)
    document, query = vectors[:1000], vectors[1000:]
    exact = np.argsort(-(query @ document.T), axis=1)[:, :10]

    def recall(found):
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])

    reached = {}
    for bits in (1, 4):
        code = compress.rabitq(bits)
        state = code.fit(jnp.asarray(document))
        scores = code.asymmetric(state, jnp.asarray(query), code.apply(state, jnp.asarray(document)))
        reached[bits] = recall(np.argsort(-np.asarray(scores), axis=1)[:, :10])
    peer = faiss.index_factory(96, "RR96,RaBitQ", faiss.METRIC_INNER_PRODUCT)
    peer.train(document)
    peer.add(document)
    theirs = recall(peer.search(query, 10)[1])
    assert reached[1] >= theirs - 0.01
    assert reached[4] > 0.9 > reached[1] > 0.4


def test_bits_from_one_to_eight():
    for bits in (0, 9):
        with pytest.raises(ValueError, match=f"rabitq: wanted 1 to 8 bits a dimension, got {bits}"):
            compress.rabitq(bits)
