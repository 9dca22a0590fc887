import faiss
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from jaxemb import compress
from jaxemb.compress.linear import mixed
from jaxemb.packed import pack, packed_bytes, unpack


@pytest.mark.parametrize("bits", [1, 3, 4, 6, 8])
def test_packed_and_unpacked(bits):
    levels = np.random.default_rng(bits).integers(0, 1 << bits, (5, 7))
    codes = pack(jnp.asarray(levels), bits)
    assert codes.shape == (5, packed_bytes(7, bits))
    assert codes.dtype == jnp.uint8
    np.testing.assert_array_equal(unpack(codes, 7, bits), levels)
    written = "".join(f"{level:0{bits}b}" for level in levels[0]).ljust(8 * codes.shape[1], "0")
    assert "".join(f"{byte:08b}" for byte in np.asarray(codes[0])) == written


def test_pca_is_the_nearest_of_its_rank():
    draw = np.random.default_rng(0)
    vectors = (draw.normal(size=(50, 3)) @ draw.normal(size=(3, 8)) + 0.1 * draw.normal(size=(50, 8))).astype(
        np.float32
    )
    short = compress.pca(3)
    state = short.fit(jnp.asarray(vectors))
    near = np.asarray(short.decode(state, short.apply(state, jnp.asarray(vectors))))
    left, values, right = np.linalg.svd(vectors, full_matrices=False)
    np.testing.assert_allclose(near, left[:, :3] * values[:3] @ right[:3], atol=1e-4)


def test_pca_is_that_of_scikit_learn_where_the_mean_is_zero():
    decomposition = pytest.importorskip("sklearn.decomposition")
    vectors = np.random.default_rng(1).normal(size=(60, 6)) * [5, 4, 3, 2, 1, 0.5]
    vectors = np.concatenate([vectors, -vectors]).astype(np.float32)
    theirs = decomposition.PCA(4, svd_solver="full").fit(vectors)
    state = compress.pca(4).fit(jnp.asarray(vectors))
    np.testing.assert_allclose(np.abs(state["matrix"].T), np.abs(theirs.components_), atol=1e-4)


@pytest.mark.parametrize("make", [compress.rotate, compress.hadamard])
def test_turned_vectors_have_the_same_products_and_every_dimension_says_alike(make):
    vectors = jnp.zeros((3, 48)).at[jnp.arange(3), jnp.array([0, 7, 40])].set(1.0)
    turn = make(5)
    codes = turn.apply(turn.fit(vectors), vectors)
    np.testing.assert_allclose(codes @ codes.T, vectors @ vectors.T, atol=1e-6)
    assert float(jnp.abs(codes).max()) < 0.75  # one number was all of the vector
    other = make(6)
    assert float(jnp.abs(other.apply(other.fit(vectors), vectors) - codes).max()) > 0.1


def test_itq_leaves_less_between_vectors_and_corners_as_faiss_does(clustered):
    vectors = clustered(500, 16)
    vectors -= vectors.mean(axis=0)

    def left(turned):
        return np.square(np.abs(turned) - np.abs(turned).mean()).mean() / np.square(turned).mean()

    short = compress.itq(8)
    ours = left(np.asarray(short.apply(short.fit(jnp.asarray(vectors)), jnp.asarray(vectors))))
    peer = faiss.ITQTransform(16, 8, True)
    peer.train(vectors)
    plain = compress.pca(8)
    before = left(np.asarray(plain.apply(plain.fit(jnp.asarray(vectors)), jnp.asarray(vectors))))
    # FAISS scales vectors to length one first; both are measured by how unlike the sizes of the numbers are.
    assert ours <= left(peer.apply(vectors)) + 0.02
    assert ours < before - 0.05


def test_rotations_are_even():
    # Of an even rotation the first number of a turned unit vector has mean 0 and square 1 / d.
    first = np.array([compress.rotate(seed).fit(jnp.ones((1, 6)))["matrix"][0, 0] for seed in range(60)])
    assert abs(first.mean()) < 4 * np.sqrt(1 / 6 / 60)
    assert 0.5 / 6 < np.square(first).mean() < 1.7 / 6


@pytest.mark.parametrize("dim", [2, 3, 12])
def test_hadamard_is_the_product_of_its_matrices(dim):
    vectors = np.random.default_rng(dim).normal(size=(4, dim)).astype(np.float32)
    flipped = np.random.default_rng(9).integers(0, 2, (4, dim)).astype(bool)
    power = 1 << dim.bit_length() - 1
    expected = vectors.astype(np.float64)
    for turn in range(4):
        matrix = np.eye(dim)
        start = 0 if turn % 2 == 0 else dim - power
        matrix[start : start + power, start : start + power] = linalg.hadamard(power) / np.sqrt(power)
        expected = np.where(flipped[turn], -expected, expected) @ matrix
    np.testing.assert_allclose(mixed(jnp.asarray(flipped), jnp.asarray(vectors)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: compress.pca(0), "pca: wanted a size of 1 or more, got 0"),
        (lambda: compress.itq(0), "itq: wanted a size of 1 or more, got 0"),
        (lambda: compress.itq(5).fit(jnp.ones((2, 4))), "itq-5: wanted vectors of 5 dimensions or more, got 4"),
        (lambda: compress.rotate(-1), "rotate: wanted a seed of 0 or more, got -1"),
        (lambda: compress.hadamard(-2), "hadamard: wanted a seed of 0 or more, got -2"),
        (lambda: compress.pca(5).fit(jnp.ones((2, 4))), "pca-5: wanted vectors of 5 dimensions or more, got 4"),
        (lambda: compress.int4(1.0), r"int4: wanted a share outside the range in \[0, 1\), got 1.0"),
    ],
)
def test_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_few_bits_by_hand():
    small = compress.int4()
    # Steps of 2 from 0 to 30, and none.
    state = small.fit(jnp.array([[0.0, 7.0], [30.0, 7.0]]))
    codes = small.apply(state, jnp.array([[0.0, 7.0], [30.0, 7.0], [12.9, 1.0]]))
    np.testing.assert_array_equal(codes, [[0x08], [0xF8], [0x68]])  # 6.45 steps, rounded
    np.testing.assert_allclose(small.decode(state, codes), [[0, 7], [30, 7], [12, 7]], atol=1e-5)
    np.testing.assert_allclose(small.asymmetric(state, jnp.array([[2.0, 1.0]]), codes), [[7, 67, 31]], atol=1e-4)


def test_each_bit_halves_the_error():
    vectors = jax.random.normal(jax.random.key(0), (500, 16))
    errors = []
    for name in ("int4", "int6", "int8"):
        made = compress.by_name(name)
        state = made.fit(vectors)
        errors.append(float(jnp.abs(made.decode(state, made.apply(state, vectors)) - vectors).mean()))
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], [63 / 15, 255 / 63], rtol=0.05)
