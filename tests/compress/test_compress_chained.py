import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress


def test_by_hand():
    short = compress.chain(compress.truncate(2), compress.int8())
    sample = jnp.array([[3.0, 4.0, 9.0], [4.0, -3.0, 1.0], [0.8, 0.6, 0.0]])
    state = short.fit(sample)
    assert set(state) == {"0.dim", "1.step", "1.offset"}
    codes = short.apply(state, sample)
    assert (short.name, short.bytes_per_vector(3), codes.dtype) == ("truncate-2+int8", 2, jnp.int8)
    # The range is 0.6 to 0.8 and -0.6 to 0.8.
    np.testing.assert_array_equal(codes, [[-128, 127], [127, -128], [127, 91]])
    np.testing.assert_allclose(short.decode(state, codes)[:2], [[0.6, 0.8], [0.8, -0.6]], atol=1e-6)
    query = jnp.array([[0.0, 5.0, 100.0]])  # cut and scaled: (0, 1)
    np.testing.assert_allclose(short.asymmetric(state, query, codes)[:, :2], [[0.8, -0.6]], atol=1e-6)


def test_three_stages():
    stages = compress.truncate(12), compress.truncate(5), compress.bits()
    short = compress.chain(*stages)
    sample = jnp.asarray(np.random.default_rng(0).normal(size=(40, 16)), jnp.float32)
    state = short.fit(sample)
    cut = compress.truncate(5)
    plain = cut.apply(cut.fit(sample), sample)  # a beginning of a beginning is a beginning
    sign = compress.bits()
    np.testing.assert_array_equal(short.apply(state, sample), sign.apply(sign.fit(plain), plain))
    assert short.bytes_per_vector(16) == 1


def test_codes_cannot_be_compressed_again():
    with pytest.raises(ValueError, match=r"int8\+bits: wanted float vectors from int8, got int8 codes"):
        compress.chain(compress.int8(), compress.bits()).fit(jnp.ones((2, 8)))


@pytest.mark.parametrize(
    "stages",
    [(), (compress.int8(),), (compress.truncate(2), compress.chain(compress.truncate(2), compress.int8()))],
)
def test_wants_stages(stages):
    with pytest.raises(ValueError, match="two or more stages"):
        compress.chain(*stages)
