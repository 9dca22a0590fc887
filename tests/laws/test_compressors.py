"""What holds of every compressor; a new one joins `CASES` and meets every law."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxemb import compress, similarity
from jaxemb.compress.recurrent import before_signs
from jaxemb.types import Compressor

DIM = 12  # no multiple of 8

pytestmark = pytest.mark.usefixtures("compiled_quickly")


class Case(NamedTuple):
    """A compressor, and how far it promises to stay from the vectors it was given.

    target: (state, sample) -> what decoding comes close to `[n, e]`; also maps a float query to the decoded space.
    bound: sample -> the greatest distance in each dimension `[e]`, for vectors of the sample.
    dots: whether `symmetric` is the inner product of the decoded vectors, which keep magnitudes.
    weighs: whether `asymmetric` is the inner product of the query with the decoded vectors, and no count of bits.
    numbers: how many bytes at the end of a code are a floating-point number, whose last bit may differ.
    own_space: whether codes decode to a space of their own, so that no vector comes back.
    rounding: how far what is learnt may differ where sums were rounded in another order.
    steady: whether it cannot differ more than that; if it can, the errors are compared.
    """

    compressor: Compressor
    target: Callable[[dict, jax.Array], jax.Array]
    bound: Callable[[jax.Array], jax.Array]
    dots: bool = True
    weighs: bool = True
    numbers: int = 0
    own_space: bool = False
    rounding: float = 1e-5
    steady: bool = True


def compiled(made):
    """The same compressor, compiled once a shape: most laws look at this one, `test_jit_changes_nothing` at both."""
    functions = ("fit", "apply", "decode", "asymmetric", "symmetric")
    return made._replace(**{name: jax.jit(getattr(made, name)) for name in functions})


def whole(state, sample):
    return sample


def about(state, sample):
    """Of compressors that turn or cut, so that not even a constant comes back to the last bit."""
    return sample


def projected(state, sample):
    return sample @ state["matrix"] @ state["matrix"].T


def beginning(size):
    return lambda state, sample: similarity.unit(sample[:, :size])


def lengths(times):
    """So many times the greatest length: sure of whatever comes near the vectors at all."""

    def bound(sample):
        largest = jnp.abs(sample).max()
        return jnp.full(sample.shape[1], times * largest * jnp.linalg.norm(sample / largest, axis=1).max())

    return bound


def extent(sample):
    return sample.max(axis=0) - sample.min(axis=0)


def reach(sample):
    """A bit keeps no magnitude: all that is sure of what it decodes to is the length of the vector."""
    return (
        jnp.abs(sample).max(axis=0)
        + jnp.linalg.norm(sample / jnp.abs(sample).max(), axis=1).mean() * jnp.abs(sample).max()
    )


CASES = [
    Case(compress.identity(), whole, lambda sample: 0 * extent(sample)),
    Case(compress.truncate(5), beginning(5), lambda sample: 0 * extent(sample[:, :5])),
    Case(compress.int8(), whole, lambda sample: extent(sample) / 510),
    Case(compress.int8(0.2), whole, extent),
    Case(compress.bits(), whole, reach, dots=False),
    Case(compress.bits(0.0), whole, reach, dots=False),
    Case(compress.hamming(), whole, reach, dots=False, weighs=False),
    Case(
        compress.chain(compress.truncate(5), compress.int8()),
        beginning(5),
        lambda sample: extent(beginning(5)({}, sample)) / 510,
    ),
    Case(
        compress.chain(compress.truncate(9), compress.bits()),
        beginning(9),
        lambda sample: reach(beginning(9)({}, sample)),
        dots=False,
    ),
    Case(compress.int6(), whole, lambda sample: extent(sample) / 126),
    Case(compress.int4(), whole, lambda sample: extent(sample) / 30),
    Case(compress.int4(0.1), whole, extent),
    Case(compress.pca(5), projected, lengths(1e-6), rounding=1e-4),
    Case(compress.itq(12), about, lengths(1e-6), rounding=1e-4, steady=False),
    Case(compress.rotate(3), about, lengths(1e-6)),
    Case(compress.hadamard(3), about, lengths(1e-6)),
    Case(compress.chain(compress.hadamard(), compress.int8()), about, lengths(0.02)),
    Case(compress.rabitq(1), about, lengths(2), numbers=8),
    Case(compress.rabitq(4), about, lengths(0.2), numbers=8),
    Case(compress.pq(4, 4), about, lengths(1)),
    Case(compress.opq(4, 4), about, lengths(1), rounding=1e-3, steady=False),
    Case(compress.anisotropic(4, 4), about, lengths(1), rounding=1e-4),
    Case(compress.rq(3, 4), about, lengths(1), rounding=1e-3),
    Case(compress.recurrent(16, 1), before_signs, lengths(2), own_space=True),
    Case(compress.recurrent(16, 2), before_signs, lengths(2), numbers=2, own_space=True),
]
OFTEN = (*(case.compressor.name for case in CASES[:9]), "pq-4x4")
"""What every run asks; all of them are asked by `-m grid`."""


def asked(cases):
    return [
        pytest.param(case, id=case.compressor.name, marks=[] if case.compressor.name in OFTEN else pytest.mark.grid)
        for case in cases
    ]


each_plain = pytest.mark.parametrize("case", asked(CASES))
each = pytest.mark.parametrize("case", asked([c._replace(compressor=compiled(c.compressor)) for c in CASES]))


def draws(law):
    """Over samples of a few sizes; the first of each size compiles, so there is no deadline."""
    return settings(deadline=None, max_examples=4)(given(seed=st.integers(0, 999), n=st.sampled_from([1, 40]))(law))


ROUNDING = 4 * float(jnp.finfo(jnp.float32).eps)


def vectors(seed, n, scale=1.0):
    draw = np.random.default_rng(seed)
    values = draw.normal(loc=draw.normal(size=DIM), scale=draw.gamma(2.0, size=DIM), size=(n, DIM))
    return jnp.asarray(values * scale, jnp.float32)


def alike(case, state, got, wanted):
    """Codes are the same, but for the last bit of numbers among them."""
    end = got.shape[1] - case.numbers
    np.testing.assert_allclose(got[:, :end].astype(jnp.float32), wanted[:, :end].astype(jnp.float32), 1e-6, 1e-7)
    decoded = [case.compressor.decode(state, codes) for codes in (got, wanted)]
    np.testing.assert_allclose(*decoded, rtol=1e-5, atol=1e-6)


def same_learnt(case, got, wanted, sample):
    """What is learnt is the same, or where rounding can lead elsewhere, as good."""
    if case.steady:
        for key in wanted:
            np.testing.assert_allclose(got[key], wanted[key], rtol=case.rounding, atol=case.rounding)
        return
    made = case.compressor
    errors = [float(jnp.square(made.decode(s, made.apply(s, sample)) - sample).sum()) for s in (got, wanted)]
    assert errors[0] == pytest.approx(errors[1], rel=0.3, abs=1e-6)


def within(got, wanted, bound, slack=ROUNDING):
    got, wanted, bound = (np.asarray(array, np.float64) for array in (got, wanted, bound))
    assert (np.abs(got - wanted) <= bound * (1 + slack) + slack * np.abs(wanted).max(axis=0)).all()


@each
@draws
def test_decoding_stays_within_the_promised_bound(case, seed, n):
    sample = vectors(seed, n)
    state = case.compressor.fit(sample)
    decoded = case.compressor.decode(state, case.compressor.apply(state, sample))
    if not case.own_space:
        within(decoded, case.target(state, sample), case.bound(sample))


@each
@draws
def test_asymmetric_is_what_it_promises(case, seed, n):
    sample, query = vectors(seed, n), vectors(seed + 1, 5)
    state = case.compressor.fit(sample)
    codes = case.compressor.apply(state, sample)
    if not case.weighs:
        expected = case.compressor.symmetric(state, case.compressor.apply(state, query), codes)
        np.testing.assert_array_equal(case.compressor.asymmetric(state, query, codes), expected)
        return
    expected = similarity.dot(case.target(state, query), case.compressor.decode(state, codes))
    size = float(jnp.abs(case.target(state, query)).max() * jnp.abs(case.target(state, sample)).max())
    np.testing.assert_allclose(
        case.compressor.asymmetric(state, query, codes), expected, rtol=2e-5, atol=2e-6 * DIM * size
    )


@each
@draws
def test_symmetric_is_what_it_promises(case, seed, n):
    sample = vectors(seed, n)
    state = case.compressor.fit(sample)
    codes = case.compressor.apply(state, sample)
    got = case.compressor.symmetric(state, codes[:3], codes)
    decoded = case.compressor.decode(state, codes)
    if case.dots:
        size = float(jnp.square(decoded).max())
        np.testing.assert_allclose(got, similarity.dot(decoded[:3], decoded), rtol=2e-5, atol=2e-6 * DIM * size)
    else:
        both = np.unpackbits(np.asarray(codes), axis=-1)
        np.testing.assert_array_equal(got, -(both[:3, None, :] != both[None, :, :]).sum(axis=-1))


@each
@pytest.mark.parametrize("n", [1, 40])
def test_bytes_are_exact(case, n):
    sample = vectors(0, n)
    codes = case.compressor.apply(case.compressor.fit(sample), sample)
    assert codes.nbytes == n * case.compressor.bytes_per_vector(DIM)
    assert np.asarray(codes).nbytes == codes.nbytes


@each_plain
def test_jit_changes_nothing(case):
    sample, query, made = vectors(0, 40), vectors(1, 5), case.compressor
    fast = compiled(made)
    state, jitted = made.fit(sample), fast.fit(sample)
    for key in state:
        np.testing.assert_allclose(jitted[key], state[key], rtol=case.rounding, atol=case.rounding / 10)
    codes, jitted_codes = made.apply(state, sample), fast.apply(state, sample)
    alike(case, state, jitted_codes, codes)
    for function, arguments in [
        (made.decode, (codes,)),
        (made.asymmetric, (query, codes)),
        (made.symmetric, (codes[:3], codes)),
    ]:
        np.testing.assert_allclose(
            jax.jit(function)(state, *arguments), function(state, *arguments), rtol=1e-5, atol=1e-5
        )


@each_plain
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_rows_on_four_devices_equal_one(case, kind):
    made, sample, query = case.compressor, vectors(0, 40), vectors(1, 5)
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(kind,), devices=jax.devices()[:4])
    state = made.fit(sample)
    codes = made.apply(state, sample)
    with jax.set_mesh(mesh):
        rows = jax.device_put(sample, NamedSharding(mesh, PartitionSpec("rows")))
        spread_codes = jax.jit(made.apply)(jax.device_put(state, NamedSharding(mesh, PartitionSpec())), rows)
        assert len(spread_codes.sharding.device_set) == 4
        spread = jax.jit(made.asymmetric)(state, query, spread_codes)
    alike(case, state, jnp.asarray(np.asarray(spread_codes)), codes)
    np.testing.assert_allclose(spread, made.asymmetric(state, query, codes), rtol=1e-5, atol=1e-5)


@each_plain
def test_fit_on_rows_of_four_devices_equals_one(case):
    sample = vectors(0, 40)
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    rows = jax.device_put(sample, NamedSharding(mesh, PartitionSpec("rows")))
    learnt, state = jax.jit(case.compressor.fit)(rows), case.compressor.fit(sample)
    same_learnt(case, learnt, state, sample)


@each
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_extreme_values(case, scale):
    sample = vectors(0, 40, scale)
    state = case.compressor.fit(sample)
    codes = case.compressor.apply(state, sample)
    decoded = case.compressor.decode(state, codes)
    if not case.own_space:
        within(decoded, case.target(state, sample), case.bound(sample))
    query = similarity.unit(vectors(1, 5))
    got = case.compressor.asymmetric(state, query, codes)
    expected = similarity.dot(case.target(state, query), decoded) if case.weighs else got
    assert jnp.isfinite(got).all()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * float(jnp.abs(expected).max()))


@each
@pytest.mark.parametrize("value", [0.1, -3.7])
def test_a_constant_dimension_decodes_exactly(case, value):
    sample = vectors(0, 40).at[:, 1].set(value)
    state = case.compressor.fit(sample)
    codes = case.compressor.apply(state, sample)
    decoded = case.compressor.decode(state, codes)
    if case.target is whole and case.dots:
        np.testing.assert_array_equal(decoded[:, 1], sample[:, 1])
    assert jnp.isfinite(decoded).all()
    # A value never seen there is no reason to fail.
    assert jnp.isfinite(case.compressor.decode(state, case.compressor.apply(state, sample.at[:, 1].add(9.0)))).all()


@each
def test_a_sample_of_one_row_decodes_to_that_row(case):
    sample = vectors(0, 1)
    state = case.compressor.fit(sample)
    decoded = case.compressor.decode(state, case.compressor.apply(state, sample))
    if not case.own_space:
        np.testing.assert_allclose(decoded, case.target(state, sample), rtol=2e-6, atol=1e-6 * np.abs(sample).max())


@each
@draws
def test_order_of_rows_is_irrelevant(case, seed, n):
    sample = vectors(seed, n)
    state, reversed_state = case.compressor.fit(sample), case.compressor.fit(sample[::-1])
    same_learnt(case, reversed_state, state, sample)
    alike(case, state, case.compressor.apply(state, sample[::-1]), case.compressor.apply(state, sample)[::-1])


@each_plain
def test_no_rows_give_no_codes_and_no_scores(case):
    state = case.compressor.fit(vectors(0, 40))
    codes = case.compressor.apply(state, jnp.zeros((0, DIM)))
    assert codes.shape[0] == 0
    assert case.compressor.asymmetric(state, vectors(1, 5), codes).shape == (5, 0)


@each_plain
def test_saved_and_loaded_it_is_the_same(case, tmp_path):
    sample, query = vectors(0, 40), vectors(1, 5)
    state = case.compressor.fit(sample)
    assert all(isinstance(value, jax.Array) for value in state.values())
    compress.save(tmp_path / "kept", case.compressor, state)
    made, loaded = compress.load(tmp_path / "kept")
    assert made.name == case.compressor.name
    assert {key: (v.dtype, v.shape) for key, v in loaded.items()} == {k: (v.dtype, v.shape) for k, v in state.items()}
    codes = made.apply(loaded, sample)
    np.testing.assert_array_equal(codes, case.compressor.apply(state, sample))
    np.testing.assert_array_equal(
        made.asymmetric(loaded, query, codes), case.compressor.asymmetric(state, query, codes)
    )


@each_plain
def test_bad_input_is_named(case):
    made, sample = case.compressor, vectors(0, 40)
    state = made.fit(sample)
    with pytest.raises(ValueError, match=r"wanted a sample of 1 vector or more, got \[0, 12\]"):
        made.fit(jnp.zeros((0, DIM)))
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        with pytest.raises(ValueError, match="NaN or inf in 1 rows, first 3"):
            made.fit(sample.at[3, 2].set(bad))
        with pytest.raises(ValueError, match="NaN or inf in 1 rows, first 3"):
            made.apply(state, sample.at[3, 2].set(bad))
        with pytest.raises(ValueError, match="NaN or inf in 1 rows, first 3"):
            made.asymmetric(state, sample.at[3, 2].set(bad), made.apply(state, sample))
    with pytest.raises(ValueError, match=r"wanted float vectors \[n, 12\], got float32 \[40, 13\]"):
        made.apply(state, jnp.concatenate([sample, sample[:, :1]], axis=1))
    with pytest.raises(ValueError, match=r"wanted (codes|float vectors).*, got .* \[40, \d+\]"):
        made.decode(state, jnp.concatenate([made.apply(state, sample)] * 2, axis=1))
