import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.compress import matrix
from jaxemb.compress.matrix import low_rank
from jaxemb.compress.matrix.magnitude import by_length
from jaxemb.compress.matrix.tensor_train import in_three
from jaxemb.encode.tables import blocks, sparse
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

N, D = 60, 12
METHODS = {
    "quantized-8": 0.3,
    "quantized-16": 0.6,
    "pruned": 0.5,
    "pq-3": 0.5,
    "magpq-3x2": 0.5,
    "svd": 0.5,
    "magsvd-2": 0.7,
    "tt": 0.5,
    "dedup-1": 0.5,
    "dedup-7x5": 0.8,
    "coded-int8": 0.3,
}
"""Name -> ratio."""


def vectors(n=N, d=D, seed=0):
    draw = np.random.default_rng(seed)
    length = np.geomspace(4, 0.5, n)[:, None]
    return (length * draw.normal(size=(n, 4)) @ draw.normal(size=(4, d)) + 0.1 * draw.normal(size=(n, d))).astype("f4")


def by_hand_rows(method, budget, rows):
    kept = method.compress(np.array(rows, np.float32), budget)
    return kept, np.asarray(method.decompress(kept))


# Of two that are alike in all but a number, and of those that are made of others, one meets the laws in CI.
REPEATS = ("quantized-16", "magpq-3x2", "magsvd-2", "dedup-1", "coded-int8")
each = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.grid) if name in REPEATS else name for name in METHODS]
)


@cache
def kept(name):
    """A method, what it keeps of one matrix, and the matrix again."""
    method = matrix.by_name(name)
    form = method.compress(vectors(), int(METHODS[name] * N * D * 4))
    return method, form, np.asarray(method.decompress(form))


@each
def test_any_rows_are_those_of_the_whole(name):
    method, form, whole = kept(name)
    assert whole.shape == (N, D)
    ids = np.array([[5, 59, 0], [5, 7, 31]])
    got = np.asarray(method.decompress_rows(form, ids))
    np.testing.assert_allclose(got, whole[ids], rtol=1e-8 if name in ("svd", "magsvd-2", "tt") else 0)


@pytest.mark.parametrize("name", ["pruned", pytest.param("magpq-3x2", marks=pytest.mark.grid), "svd"])
def test_rows_inside_a_compiled_function(name):
    method, form, whole = kept(name)
    ids = np.array([[5, 59, 0], [5, 7, 31]])
    inside = jax.jit(lambda form, ids: method.decompress_rows(form, ids))(form, ids)
    np.testing.assert_allclose(inside, whole[ids], rtol=1e-6, atol=1e-6)


@each
def test_bytes_are_those_on_disk(name, tmp_path):
    method, form, _ = kept(name)
    matrix.save(tmp_path / "m", method, form)
    file = (tmp_path / "m" / "matrix.safetensors").read_bytes()
    assert len(file) - 8 - int.from_bytes(file[:8], "little") == matrix.size(form) <= METHODS[name] * N * D * 4
    again, read = matrix.load(tmp_path / "m")
    assert again.name == name
    assert checkpoint.leaves(read).keys() == checkpoint.leaves(form).keys()
    for name, leaf in checkpoint.leaves(read).items():
        np.testing.assert_array_equal(leaf, checkpoint.leaves(form)[name])


@pytest.mark.grid
@each
def test_what_was_read_is_decompressed_alike(name, tmp_path):
    method, form, whole = kept(name)
    matrix.save(tmp_path / "m", method, form)
    again, read = matrix.load(tmp_path / "m")
    np.testing.assert_array_equal(again.decompress(read), whole)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "coded-int8"])
def test_a_budget_below_the_floor_is_refused_with_it(name):
    method = matrix.by_name(name)
    least = method.floor(N, D)
    said = rf"{name}: a matrix \[{N}, {D}\] takes {least} bytes or more, got a budget of {least - 1}"
    with pytest.raises(ValueError, match=said):
        method.compress(vectors(), least - 1)


@pytest.mark.grid
@pytest.mark.parametrize("name", [name for name in METHODS if name != "coded-int8"])
def test_a_budget_at_the_floor_is_used_up(name):
    method = matrix.by_name(name)
    assert matrix.size(method.compress(vectors(), method.floor(N, D))) == method.floor(N, D)


def test_the_floor_of_codes_counts_what_was_learnt():
    least = N * D + 2 * 4 * D  # a step and an offset for each dimension
    with pytest.raises(
        ValueError, match=rf"coded-int8: a matrix \[60, 12\] takes {least} bytes or more, got .* {least - 1}"
    ):
        matrix.coded("int8").compress(vectors(), least - 1)


@each
def test_quality(name):
    lost = np.square(kept(name)[2] - vectors()).sum() / np.square(vectors()).sum()
    most = {"quantized-8": 1e-3, "quantized-16": 1e-8, "pruned": 0.1, "pq-3": 0.2, "magpq-3x2": 0.3, "svd": 0.01}
    most |= {"magsvd-2": 0.01, "tt": 0.5, "dedup-1": 0.5, "dedup-7x5": 0.6, "coded-int8": 1e-4}
    assert lost < most[name]


def test_quantized_by_hand():
    kept, whole = by_hand_rows(matrix.quantized(8), 100, [[-2.0, 10.0, 4.0], [3.3, -1.9, 9.0]])
    assert float(kept["middle"]) == 4.0
    np.testing.assert_allclose(kept["step"], 6 / 127, rtol=1e-6)
    np.testing.assert_array_equal(kept["codes"][0], [-127, 127, 0])
    # 3.3 lies at level -14.82, between two; so do the others.
    assert kept["codes"][1].tolist() in [[a, b, c] for a in (-15, -14) for b in (-125, -124) for c in (105, 106)]
    assert kept["codes"].dtype == jnp.int8
    assert matrix.size(kept) == 6 + 8
    np.testing.assert_allclose(whole[0], [-2, 10, 4], rtol=1e-6)


def test_rounding_at_random_is_right_on_average():
    given = np.full((500, 4), 0.3, np.float32)
    given[0] = [-127, 127, 0, 0]  # so that a step is one
    method = matrix.quantized(8)
    got = np.asarray(method.decompress(method.compress(given, 10_000)))[1:]
    assert set(np.unique(got)) == {0.0, 1.0}
    assert abs(got.mean() - 0.3) < 0.03
    assert not np.array_equal(got, np.asarray(matrix.quantized(8, 1).compress(given, 10_000)["codes"])[1:])


def test_a_matrix_of_one_number():
    for method in (matrix.quantized(8), matrix.dedup()):
        np.testing.assert_allclose(by_hand_rows(method, 10_000, np.full((5, 8), 2.5))[1], 2.5, rtol=1e-6)


def test_pruned_by_hand():
    rows = [[0.0, -5.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [2.0, 3.0, -4.0, 0.5]]
    kept, whole = by_hand_rows(matrix.pruned(), 3 * 9, rows)  # row, column and value: 9 bytes
    np.testing.assert_array_equal(whole, [[0, -5, 0, 0], [0, 0, 0, 0], [0, 3, -4, 0]])
    assert {name: value.tolist() for name, value in kept.items() if name != "shape"} == {
        "values": [-5, 3, -4],
        "rows": [0, 2, 2],
        "columns": [1, 1, 2],
    }
    kept, whole = by_hand_rows(matrix.pruned(), 4 * 4 + 6 * 5, rows)  # starts are cheaper now
    np.testing.assert_array_equal(whole, rows)
    assert kept["starts"].tolist() == [0, 2, 2, 6]
    assert matrix.size(kept) == 46


@pytest.mark.parametrize(
    "dim", [1, 8, pytest.param(2, marks=pytest.mark.grid), pytest.param(300, marks=pytest.mark.grid)]
)
def test_sparse_rows_of_any_width(dim):
    draw = np.random.default_rng(dim)
    given = draw.normal(size=(9, dim)).astype(np.float32) * (draw.random((9, dim)) < 0.4)
    for budget in (30, 150):
        count = sparse.kept(9, dim, budget)
        where = sparse.largest(given, count)
        assert where.sum() == count
        form = sparse.stored(given, where)
        assert sum(np.asarray(part).nbytes for part in form.values()) == sparse.bytes_of(9, dim, count) <= budget
        assert tuple(sorted(form)) == sparse.entries(9, dim, count)
        rows = jax.jit(sparse.rows_of, static_argnames="dim")(form, np.arange(9), dim=dim)
        np.testing.assert_array_equal(rows, np.where(where, given, 0))


def test_the_layouts_change_at_three_numbers_a_row():
    # The rule of the paper's code, where a column takes four bytes: fewer than 3 numbers a row, entries.
    n, dim = 1000, 2**17
    assert sparse.entries(n, dim, sparse.kept(n, dim, 4 * 3 * n + 600)) == sparse.BY_ROWS
    assert sparse.entries(n, dim, sparse.kept(n, dim, 4 * 3 * n - 600)) == sparse.BY_ENTRIES
    assert sparse.kept(n, dim, 4 * 5 * n + 4) == 2 * n  # (r - 1) / 2 a row
    assert sparse.kept(n, dim, 4 * n) == n // 3


def test_svd_is_the_nearest_of_its_rank():
    given = vectors()
    kept, got = by_hand_rows(matrix.svd(), 4 * 3 * (N + D) + 100, given)
    assert kept["left"].shape == (N, 3)
    left, scale, right = np.linalg.svd(given, full_matrices=False)
    np.testing.assert_allclose(got, (left[:, :3] * scale[:3]) @ right[:3], atol=1e-4)


def test_groups_have_like_summed_lengths():
    lengths = np.array([1.0, 6.0, 1.0, 2.0, 2.0], np.float32)
    groups = by_length("here", jnp.asarray(lengths)[:, None], 2)
    assert [rows.tolist() for rows in groups] == [[1], [0, 2, 3, 4]]
    assert [rows.tolist() for rows in by_length("here", jnp.zeros((3, 2)), 2)] == [[0], [1, 2]]
    with pytest.raises(ValueError, match="here: wanted 2 rows or more, a group each, got 1"):
        by_length("here", jnp.ones((1, 2)), 2)


def test_the_long_rows_are_kept_better():
    # 16^-0.3 and 1024^-0.3 are as 8 and 2.3: 8 (16 + 32) + 2 (1024 + 32) numbers, and no room for rank 9.
    assert low_rank._ranks([16, 1024], 32, 4 * 2496) == [8, 2]
    assert low_rank._ranks([16, 1024], 32, 4 * 2544) == [9, 2]
    given = np.concatenate([vectors(6, 12) * 300, vectors(54, 12, 1)])
    kept, got = by_hand_rows(matrix.magpq(6, 1), 4000, given)
    rows = by_length("", jnp.asarray(given), 2)[0]
    assert kept["0"]["learnt"]["centres"].shape[1] == 64
    np.testing.assert_allclose(got[rows], given[rows], rtol=1e-3, atol=1e-3)  # fewer rows than centres


def test_a_train_of_enough_rank_loses_nothing():
    given = vectors(30, 13)  # 3 x 3 x 4 rows and 2 x 3 x 3 columns, filled up
    assert in_three(30) == (3, 3, 4)
    np.testing.assert_allclose(by_hand_rows(matrix.tt(), 10**6, given)[1], given, atol=2e-4)


def test_a_train_sees_what_is_a_product():
    draw = np.random.default_rng(0)
    parts = [draw.normal(size=(4, 2)), draw.normal(size=(4, 2)), draw.normal(size=(4, 3))]
    given = np.einsum("ax,by,cz->abcxyz", *parts).reshape(64, 12)
    kept, got = by_hand_rows(matrix.tt(), 4 * (8 + 8 + 12), given)
    assert matrix.size(kept) == 4 * 28
    np.testing.assert_allclose(got, given, atol=1e-5)


def test_near_copies_are_merged_first():
    draw = np.random.default_rng(0)
    own = draw.normal(size=(20, 16)).astype(np.float32)
    given = np.concatenate([own, own[:8] + 1e-3 * draw.normal(size=(8, 16)).astype(np.float32)])
    kept, got = by_hand_rows(matrix.dedup(), 20 * 64 + 28 * 4, given)
    assert kept["blocks"].shape == (20, 1, 16)
    np.testing.assert_allclose(got, given, atol=0.01)


def test_blocks_of_rows_and_columns():
    given = np.arange(35.0, dtype=np.float32).reshape(5, 7)
    cut = blocks.cut(given, 2, 3)
    assert cut.shape == (9, 6)
    np.testing.assert_array_equal(cut[4], [17, 18, 19, 24, 25, 26])
    np.testing.assert_array_equal(by_hand_rows(matrix.dedup(2, 3), 1000, given)[1], given)
    same = blocks.merged(np.ones((5, 3)), 4)
    assert (same.unique.tolist(), same.standing.tolist()) == ([0], [0, 0, 0, 0, 0])


def test_a_static_encoder_with_a_smaller_table():
    table = vectors()
    config = encode.StaticConfig(vocab_size=N, hidden_size=12, unknown=0)
    params = encode.from_table(table)
    ids = np.random.default_rng(1).integers(0, N, (4, 6)).astype(np.int32)
    tokens = Tokens(jnp.asarray(ids), jnp.asarray(np.arange(6)[None, :] < np.array([[6], [3], [1], [0]])).astype(int))
    method = matrix.quantized(8)
    small = params | {"table": method.compress(table, 728)}
    got = jax.jit(encode.static(config, method.decompress_rows).apply)(small, tokens)
    plain = jax.jit(encode.static(config).apply)
    np.testing.assert_allclose(got, plain(params | {"table": method.decompress(small["table"])}, tokens), rtol=1e-6)
    # No number of the table is off by more than a step, so no average is.
    np.testing.assert_allclose(got, plain(params, tokens), atol=float(small["table"]["step"]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: matrix.quantized(4), "quantized: wanted 8 or 16 bits, got 4"),
        (lambda: matrix.quantized(8, -1), "quantized: wanted a seed of 0 or more, got -1"),
        (lambda: matrix.pq(9), "pq: wanted 1 part or more of 1 to 8 bits, got 1 of 9"),
        (lambda: matrix.magpq(8, 0), "pq: wanted 1 part or more of 1 to 8 bits, got 1 of 0"),
        (lambda: matrix.magsvd(0), "magsvd: wanted 1 group or more, got 0"),
        (lambda: matrix.dedup(0), "dedup: wanted blocks of 1 row and 1 column or more, got 0 x None"),
        (lambda: matrix.tt().compress(vectors(9, 7), 10**6), "tt: wanted rows of 8 numbers or more, .* got 7"),
        (
            lambda: matrix.magsvd(3).compress(vectors(2, 8), 10**6),
            "magsvd-3: wanted 3 rows or more, a group each, got 2",
        ),
        (
            lambda: matrix.svd().compress(np.array([[1.0, np.nan]]), 99),
            "svd: wanted finite vectors, got NaN or inf in 1",
        ),
        (lambda: matrix.svd().compress(np.ones((2, 3), int), 99), r"svd: wanted float vectors \[n, d\], got int"),
        (lambda: matrix.svd().compress(np.ones((0, 3)), 99), r"svd: wanted a sample of 1 vector or more, got \[0, 3\]"),
        (lambda: matrix.by_name("pq"), "no matrix compressor 'pq'; there are quantized-"),
        (lambda: matrix.by_name("pq-x"), "matrix compressor 'pq-x': wanted the form pq-<bits>"),
        (
            lambda: matrix.by_name("dedup-1x2x3"),
            r"matrix compressor 'dedup-1x2x3': wanted the form dedup-<rows>\[x<col",
        ),
        (lambda: matrix.by_name("coded-int5"), "matrix compressor 'coded-int5': .* no compressor 'int5'"),
        (
            lambda: matrix.coded("truncate-3").compress(vectors(), 9999),
            "coded-truncate-3: wanted rows of 12 back, got .* 3",
        ),
        (lambda: blocks.merged(np.ones((3, 2)), 3), "dedup: wanted up to .* fewer to be merged, got 3 and 3"),
    ],
)
def test_refused(make, said, as_users_call):
    with pytest.raises(ValueError, match=said):
        make()


def test_wrong_ids_and_forms(as_users_call):
    method, form, _ = kept("quantized-8")
    with pytest.raises(ValueError, match=r"quantized-8: wanted ids in \[0, 60\), got -1 to 3"):
        method.decompress_rows(form, jnp.array([3, -1]))
    with pytest.raises(ValueError, match=r"quantized-8: wanted ids in \[0, 60\), got 3 to 60"):
        method.decompress_rows(form, jnp.array([3, 60]))
    with pytest.raises(ValueError, match="quantized-8: wanted whole numbers as ids, got float32"):
        method.decompress_rows(form, jnp.array([1.0]))
    with pytest.raises(ValueError, match=r"quantized-8: wanted what `compress` gave, .* got \['codes'\]"):
        method.decompress({"codes": form["codes"]})
    assert method.decompress_rows(form, jnp.zeros((0,), jnp.int32)).shape == (0, D)


def test_format_from_the_future(tmp_path):
    matrix.save(tmp_path / "m", *kept("svd")[:2])
    (tmp_path / "m" / "matrix.json").write_text(json.dumps({"format": 2, "name": "svd"}))
    with pytest.raises(ValueError, match="wanted matrix format 1, got 2"):
        matrix.load(tmp_path / "m")
