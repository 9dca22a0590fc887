"""Lookups, gradients and sizes of trained tables by hand; what holds of all is in tests/laws/test_table_laws.py."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb.encode import click_models, tables
from jaxemb.encode.tables import Fields, hashing
from jaxemb.encode.tables.quantized import _learnt
from jaxemb.encode.tables.tensor_train import digits

pytestmark = pytest.mark.usefixtures("compiled_quickly")

TWO = Fields((5, 3), 2)


def made(method, fields, ratio, **params):
    """A table, and its params with some of them as given."""
    table = method(fields, ratio)
    return table, {**table.init(jax.random.key(0)), **{name: jnp.asarray(value) for name, value in params.items()}}


def nothing(vectors):
    """The loss of a batch that nobody looks at."""
    return jnp.float32(0)


def slope(table, params, ids, entry):
    """The gradient of the sum of the vectors by one entry."""
    return jax.grad(lambda value: table.lookup({**params, entry: value}, np.array(ids, np.int32)).sum())(params[entry])


def test_hashing_is_exact_in_32_bits():
    one, other = (np.random.default_rng(seed).integers(0, hashing.PRIME, 2000, dtype=np.uint32) for seed in (0, 1))
    one[:3], other[:3] = (0, hashing.PRIME - 1, 1), (hashing.PRIME - 1, hashing.PRIME - 1, hashing.PRIME - 1)
    wide = one.astype(object), other.astype(object)
    np.testing.assert_array_equal(
        hashing.multiplied(jnp.asarray(one), jnp.asarray(other)), wide[0] * wide[1] % hashing.PRIME
    )
    np.testing.assert_array_equal(
        hashing.added(jnp.asarray(one), jnp.asarray(other)), (wide[0] + wide[1]) % hashing.PRIME
    )
    assert int(hashing.reduced(jnp.uint32(2**32 - 1))) == (2**32 - 1) % hashing.PRIME


def test_hash_by_hand():
    rows = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    table, params = made(tables.hash_rows(), TWO, 0.5, rows=rows)
    assert table.decided == {"rows": (2, 2)}
    np.testing.assert_array_equal(table.lookup(params, np.array([[4, 2]], np.int32)), rows[None, [0, 2]])
    np.testing.assert_array_equal(slope(table, params, [[4, 2], [1, 0]], "rows"), [[1, 1], [1, 1], [2, 2], [0, 0]])


def test_compositional_by_hand():
    quotient = np.arange(1.0, 13.0, dtype=np.float32).reshape(6, 2)
    remainder = np.array([[1, 10], [2, 20], [3, 30]], np.float32)
    table, params = made(tables.compositional(), Fields((9, 3), 2), 0.8, quotient=quotient, remainder=remainder)
    assert table.decided == {"divisor": 3, "rows": 9}  # 3 + 3 of the first field, and the second as it is
    got = table.lookup(params, np.array([[5, 2]], np.int32))  # 5 = 1 * 3 + 2
    np.testing.assert_array_equal(got[0], [[3 * 3, 4 * 30], [11, 12]])
    np.testing.assert_array_equal(slope(table, params, [[5, 2]], "remainder"), [[0, 0], [0, 0], [3, 4]])
    table, params = made(tables.compositional_sum(), Fields((9, 3), 2), 0.8, quotient=quotient, remainder=remainder)
    np.testing.assert_array_equal(table.lookup(params, np.array([[5, 2]], np.int32))[0], [[6, 34], [11, 12]])


def test_tensor_train_by_hand():
    fields = Fields((30, 4), 8)
    table, params = made(tables.tensor_train(), fields, 0.55)
    rank, shape = table.decided["rank"], digits(30)
    assert (shape, table.decided["whole"]) == ((3, 3, 4), (1,))
    assert shape == (3, 3, 4)
    first = np.asarray(params["first"]).reshape(3, 2, rank)
    second = np.asarray(params["second"]).reshape(3, rank, 2, rank)
    third = np.asarray(params["third"]).reshape(4, rank, 2)
    for x in (0, 7, 29):
        i, j, k = x % 3, x // 3 % 3, x // 9
        wanted = np.einsum("ar,rbs,sc->abc", first[i], second[j], third[k]).reshape(-1)
        got = table.lookup(params, np.array([[x, 3]], np.int32))
        np.testing.assert_allclose(got[0, 0], wanted, rtol=1e-4, atol=1e-8)
        np.testing.assert_array_equal(got[0, 1], params["whole"][3])
    assert (np.asarray(slope(table, params, [[7, 0]], "third")) != 0).any(axis=1).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_tensor_train_starts_as_long_as_a_full_table():
    fields = Fields((4000,), 8)
    table = tables.tensor_train()(fields, 0.1)
    ids = np.arange(4000, dtype=np.int32)[:, None]
    spread = float(table.lookup(table.init(jax.random.key(0)), ids).std())
    assert spread == pytest.approx(math.sqrt(1 / 4000 / 3), rel=0.3)


def test_robe_by_hand():
    fields = Fields((6, 6), 4)
    table, params = made(tables.robe(blocks=2, seed=3), fields, 0.9)
    c1, c2, c3, c0, s1, s2, s3, s0 = (int(value) for value in hashing.constants(3, 8))
    array, numbers, prime = np.asarray(params["array"]), table.decided["numbers"], hashing.PRIME
    for x, field in ((0, 0), (5, 1)):
        wanted = []
        for i in range(4):
            place = (c1 * x + c2 * (i // 2) + c3 * field + c0 + i % 2) % prime % numbers
            odd = (s1 * x + s2 * i + s3 * field + s0) % prime % 2
            wanted.append(array[place] * (1 if odd else -1))
        got = table.lookup(params, np.array([[x, x]], np.int32))
        np.testing.assert_allclose(got[0, field], wanted, rtol=1e-6)
    every = np.stack([np.arange(6), np.arange(6)], axis=1).astype(np.int32)
    assert np.abs(np.asarray(slope(table, params, every, "array"))).max() > 1  # of all that share a number


def test_deep_hash_folds_its_normalization():
    fields = Fields((50, 9), 4)
    table = tables.deep_hash(5)(fields, 1.0)
    draw = np.random.default_rng(0)
    params = table.init(jax.random.key(0))
    width = table.decided["width"]
    for name in ("scale", "shift", "mean"):
        params[name] = jnp.asarray(draw.normal(size=(5, width)), jnp.float32)
    params["variance"] = jnp.asarray(draw.random((5, width)) + 0.5, jnp.float32)
    fixed = hashing.constants(0, 10).astype(object).reshape(2, 5)
    code = [2 * int((fixed[0, j] * 57 + fixed[1, j]) % hashing.PRIME % 1_000_000) / 999_999 - 1 for j in range(5)]
    rows = np.array(code)  # of id 7 in the second field, the 57th of all
    for at in range(5):
        weight = params["inside"] if at == 0 else params["inner"][at - 1]
        rows = (rows @ np.asarray(weight) - np.asarray(params["mean"][at])) / np.sqrt(
            np.asarray(params["variance"][at]) + 1e-5
        )
        rows = rows * np.asarray(params["scale"][at]) + np.asarray(params["shift"][at])
        rows = rows * np.tanh(np.log1p(np.exp(rows)))
    wanted = rows @ np.asarray(params["outside"])
    got = table.compact(table.finalize(params), np.array([[0, 7]], np.int32))
    np.testing.assert_allclose(got[0, 1], wanted, rtol=1e-3, atol=1e-4)


def test_mixed_dimensions_by_hand():
    table, params = made(tables.mixed_dimensions(), Fields((64, 4), 4), 0.6)
    assert table.decided == {"dims": (2, 4)}
    assert table.bytes == 4 * (64 * 2 + 2 * 4 + 4 * 4)
    assert table.larger == 4 * (64 * 4 + 4 * 4)
    got = table.lookup(params, np.array([[63, 3]], np.int32))[0]
    np.testing.assert_allclose(got[0], params["rows_2"][63] @ params["project_2"][0], rtol=1e-5)
    np.testing.assert_array_equal(got[1], params["rows_4"][3])


def test_rounding_by_chance_keeps_the_mean_and_to_the_nearest_does_not():
    drawn = jax.random.uniform(jax.random.key(0), (20_000,))
    values = jnp.full(20_000, 2.3)
    assert float(tables.stochastic(drawn, values).mean()) == pytest.approx(2.3, abs=0.02)
    np.testing.assert_array_equal(tables.nearest(drawn, values), 2.0)


@pytest.mark.parametrize("bits", [8, 16])
def test_quantized_rows_of_a_batch_are_rounded_back_and_no_others_move(bits):
    table, params = made(tables.quantized(bits, 0.5), Fields((4, 2), 2), 1.0)
    levels = np.array([[0, 1], [2, 3], [-4, 5], [6, 7], [1, 1], [2, 2]])
    params["levels"] = jnp.asarray(levels, params["levels"].dtype)
    ids = np.array([[2, 1], [2, 0]], np.int32)
    np.testing.assert_array_equal(table.lookup(params, ids)[0], [[-2, 2.5], [1, 1]])
    opened = table.training.opened(params)
    moved = {**opened, "weight": opened["weight"].at[2].add(0.125).at[0].add(9.0)}
    seen = []
    for seed in range(40):
        now = tables.Now(jnp.int32(0), 1, jax.random.key(seed), jnp.asarray(ids))
        after = table.training.settle(params, moved, now, nothing)["levels"]
        assert after.dtype == params["levels"].dtype
        np.testing.assert_array_equal(after[jnp.array([0, 1, 3, 4, 5])], levels[[0, 1, 3, 4, 5]])
        seen.append(np.asarray(after[2]) - levels[2])
    assert set(np.unique(seen)) == {0, 1}
    assert np.mean(seen) == pytest.approx(0.25, abs=0.15)
    wide = table.training.settle(params, {**moved, "weight": opened["weight"] + 1e6}, now, nothing)["levels"]
    assert int(wide[2, 0]) == (1 << bits - 1) - 1


def test_learnt_steps_follow_the_slope_of_rounding():
    weight, steps = jnp.array([[0.26, -0.9, 90.0, -90.0]]), jnp.array([[0.5]])
    got, by_step = jax.jvp(jax.jit(partial(_learnt, 8, weight)), (steps,), (jnp.ones((1, 1)),))
    np.testing.assert_allclose(got, [[0.5, -1.0, 63.5, -64.0]], atol=1e-6)
    np.testing.assert_allclose(by_step, [[1 - 0.52, -2 + 1.8, 127, -128]], atol=1e-5)
    by_weight = jax.jit(jax.grad(lambda w: _learnt(8, w, steps).sum()))(weight)
    np.testing.assert_array_equal(by_weight, [[1, 1, 0, 0]])
    table, params = made(tables.learnt_steps(8, 0.5), Fields((3,), 2), 1.0)
    params["levels"] = jnp.asarray([[1, 2], [3, 4], [5, 6]], jnp.int8)
    moved = table.training.opened(params)
    moved["weight"] = moved["weight"] + 0.2  # a smaller step would stand for it worse
    now = tables.Now(jnp.int32(0), 1, jax.random.key(0), jnp.array([[1]], jnp.int32))
    after = jax.jit(partial(table.training.settle, loss=lambda look: look(now.ids).sum()))(params, moved, now)
    np.testing.assert_allclose(after["steps"][:, 0], [0.5, 0.5 * (1 + 2e-3), 0.5], rtol=1e-6)
    np.testing.assert_array_equal(after["levels"][jnp.array([0, 2])], [[1, 2], [5, 6]])


BAD = [
    (lambda: tables.robe(3)(TWO, 1.0), "blocks that divide 2 dimensions, got 3"),
    (lambda: tables.tensor_train()(Fields((9,), 6), 1.0), "three factors above 1, as 8, 12 or 16, got 6"),
    (lambda: tables.tensor_train()(Fields((9,), 22), 1.0), "three factors above 1"),
    (lambda: tables.quantized(4), "wanted 8 or 16 bits, got 4"),
    (lambda: tables.quantized(8, 0.0), "wanted a step above 0, got 0.0"),
    (lambda: tables.learnt_steps(12), "wanted 8 or 16 bits, got 12"),
    (lambda: tables.deep_hash(0), "wanted 1 hash or more, got 0"),
    (lambda: tables.given_dimensions((2,))(TWO, 1.0), r"wanted 2 numbers in \[1, 2\], got \(2,\)"),
    (lambda: tables.hash_rows()(Fields((5, 0), 2), 1.0), "wanted fields with 1 id and 1 dimension or more"),
    (lambda: tables.hash_rows()(Fields((5,), 2, (np.arange(4),)), 1.0), "wanted one count an id"),
    (lambda: tables.hash_rows()(Fields((5,), 2, (np.arange(5.0),)), 1.0), "wanted counts as whole numbers"),
    (lambda: tables.hash_rows()(Fields((2**30,), 4), 0.5), "need 64-bit indices"),
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_settings_are_refused(as_users_call, call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_table_with_other_hash_constants_is_refused(tmp_path):
    fields = Fields((20, 7), 4)
    table, params = made(tables.robe(seed=1), fields, 0.8)
    tables.save(tmp_path / "table", table, params)
    with pytest.raises(ValueError, match="every id would get another's vector"):
        tables.load(tmp_path / "table", tables.robe(seed=2)(fields, 0.8))
    with pytest.raises(ValueError, match="planned with other decided"):
        tables.load(tmp_path / "table", tables.robe(seed=1)(fields, 0.6))
    with pytest.raises(ValueError, match="planned with other sizes"):
        tables.load(tmp_path / "table", tables.robe(seed=1)(Fields((19, 8), 4), 0.8))


def test_untrained_forms_are_not_saved(tmp_path):
    table = tables.deep_hash(5)(Fields((50, 9), 4), 1.0)
    with pytest.raises(ValueError, match="finalized first"):
        tables.save(tmp_path / "table", table, table.init(jax.random.key(0)))


MODELS = [
    click_models.dlrm((3,), (5,)),
    click_models.wide_and_deep((5, 4)),
    click_models.deep_cross(2, (5,)),
    click_models.deep_factorization((5,)),
]


@pytest.mark.parametrize("model", MODELS, ids=["dlrm", "wide_and_deep", "deep_cross", "deep_factorization"])
def test_click_models_read_every_number(model):
    dense = 2
    vectors, plain = (jax.random.normal(jax.random.key(at), shape) for at, shape in enumerate([(6, 3, 4), (6, dense)]))
    params = jax.jit(model.init, static_argnums=(1, 2, 3))(jax.random.key(2), 3, 4, dense)
    logits, back = jax.vjp(jax.jit(partial(model.apply, params)), vectors, plain)
    assert logits.shape == (6,)
    slopes = back(jnp.ones(6))
    assert (np.abs(slopes[0]).sum(axis=0) > 0).all()
    assert (np.abs(slopes[1]).sum(axis=0) > 0).all()


def test_pairs_by_hand():
    vectors = jnp.array([[[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]]])
    none = jnp.zeros((1, 0))
    linear = {"0": {"kernel": jnp.array([[1.0], [10.0], [100.0]]), "bias": jnp.array([0.5])}}
    # <2,1> = 11, <3,1> = -7, <3,2> = -9
    assert float(click_models.dlrm(top=()).apply({"top": linear}, vectors, none)[0]) == 11 - 70 - 900 + 0.5
    deep = {"deep": {"0": {"kernel": jnp.zeros((3, 1)), "bias": jnp.zeros(1)}}}
    # weights 1 + 3 + 5, products 2*4 + 2*(-6) + 4*(-6)
    assert float(click_models.deep_factorization(()).apply(deep, vectors, none)[0]) == 9 - 28
