import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb.encode.tables import codes, frequent, merged, pruned, searched
from jaxemb.encode.tables.table import BelowFloor, Fields, Now, size

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def counted(*sizes, seed=0):
    return tuple(np.random.default_rng(seed).permutation(n) for n in sizes)


FIELDS = Fields((40, 6), 4, counted(40, 6))
KEY = jax.random.key(0)


def unused(*_):
    raise AssertionError("not asked for")


def now(ids, step=99, steps=100):
    return Now(jnp.int32(step), steps, KEY, jnp.asarray(ids))


def look(table, params, ids, step=99):
    """In one program, which compiles far quicker than its operations one by one."""

    def looked(params, ids, now):
        found = table.training.look(params, ids, now)
        return found._replace(state=dict(found.state))

    return jax.jit(looked)(params, ids, now(ids, step))


def slopes(table, params, ids, names, part=lambda looked: looked.vectors.sum()):
    """Of a number made of what a step looks up, by these entries of the params."""

    def number(some):
        return part(table.training.look({**params, **some}, jnp.asarray(ids), now(ids)))

    return jax.jit(jax.grad(number))({name: params[name] for name in names})


def ids_of(*rows):
    return np.array(rows, np.int32)


# Codes


def product_table(make=codes.dpq):
    """Of one field in four dimensions, two parts of two entries each."""
    table = make(1, 2)(Fields((200,), 4, counted(200)), 0.1)
    assert table.decided == {"parts": 2, "bits": 1, "coded": (0,)}
    params = dict(table.init(KEY))
    centres = jnp.array([[[[0.0, 0.0], [4.0, 0.0]], [[1.0, 1.0], [-1.0, -1.0]]]])
    query = np.array(params["query"])
    query[:2] = [[3.0, 1.0, 0.5, 0.0], [1.0, 0.0, -1.5, -1.0]]
    return table, params | {"centres": centres, "query": jnp.asarray(query)}


def test_codes_by_hand():
    table, params = product_table()
    # 3, 1 is nearest to 4, 0, and 1, 0 to 0, 0; 0.5, 0 to 1, 1, and -1.5, -1 to -1, -1.
    wanted = np.array([[[4.0, 0.0, 1.0, 1.0]], [[0.0, 0.0, -1.0, -1.0]]])
    np.testing.assert_array_equal(table.lookup(params, ids_of([0], [1])), wanted)
    form = table.finalize(params)
    assert form["codes"].shape == (200, 1)  # two codes of one bit in a byte
    assert form["codes"][:2, 0].tolist() == [0b10000000, 0b01000000]
    assert size(form) == table.bytes == 200 + 2 * 2 * 2 * 4
    np.testing.assert_array_equal(table.compact(form, ids_of([0], [1])), wanted)


def test_the_gradient_goes_straight_through_and_the_loss_moves_centres():
    table, params = product_table()
    ids = ids_of([0], [1])
    looked = look(table, params, ids)
    np.testing.assert_allclose(looked.vectors, [[[4, 0, 1, 1]], [[0, 0, -1, -1]]], atol=1e-6)
    # Squares of 1, -1, 0.5, 1 and -1, 0, 0.5, 0, over eight numbers.
    np.testing.assert_allclose(looked.loss, (1 + 1 + 0.25 + 1 + 1 + 0 + 0.25 + 0) / 8, rtol=1e-6)
    weight = np.arange(8.0, dtype=np.float32).reshape(2, 1, 4)
    slope = slopes(
        table, params, ids, ("query", "centres"), lambda looked: (looked.vectors * weight).sum() + 100 * looked.loss
    )
    np.testing.assert_array_equal(slope["query"][:2], weight[:, 0])
    assert not slope["query"][2:].any()
    np.testing.assert_allclose(slope["centres"][0, 0], [[-25.0, 0.0], [25.0, -25.0]], rtol=1e-5)
    assert table.training.held == ("mean", "variance")


def test_running_means_choose_codes():
    table, params = product_table()
    ids = ids_of([0], [1])
    # Of the first part and entry: minus 10 and minus 1.
    state = look(table, params, ids).state
    np.testing.assert_allclose(state["mean"][0, 0, 0], 0.1 * -5.5, rtol=1e-6)
    np.testing.assert_allclose(state["variance"][0, 0, 0], 0.9 + 0.1 * 4.5**2, rtol=1e-6)
    first = codes.running(now(ids, 0), jnp.float32(1), jnp.float32(4.5**2))  # nothing is known before it
    np.testing.assert_allclose(first, 4.5**2, rtol=1e-6)
    other = {**params, "mean": np.array([[[-100.0, 0.0], [0.0, 0.0]]], np.float32)}  # the first entry looks good to all
    np.testing.assert_array_equal(table.lookup(other, ids)[:, 0, :2], [[0, 0], [0, 0]])


def test_rare_ids_use_the_first_entries():
    fields = Fields((200,), 2, (np.arange(200),))
    table = codes.mgqe(2, rare_bits=1, frequent=0.1)(fields, 0.3)
    params = dict(table.init(KEY))
    assert np.flatnonzero(params["frequent"]).tolist() == list(range(180, 200))
    params["centres"] = jnp.array([[[[0.0], [1.0], [2.0], [3.0]]] * 2])[:, : table.decided["parts"]]
    params["query"] = jnp.full((200, 2), 2.9)
    got = table.lookup(params, ids_of([3], [190]))
    np.testing.assert_array_equal(got[:, 0], [[1.0, 1.0], [3.0, 3.0]])
    np.testing.assert_array_equal(table.compact(table.finalize(params), ids_of([3], [190])), got)


def test_softmax_codes_by_hand():
    table, params = product_table(codes.dpq_softmax)
    params["keys"] = jnp.array([[[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]])
    ids = ids_of([0], [1])
    # The larger of the two numbers of each part.
    np.testing.assert_array_equal(table.lookup(params, ids)[:, 0], [[0, 0, 1, 1], [0, 0, -1, -1]])
    slope = slopes(table, params, ids, ("keys", "query", "centres"), lambda looked: looked.vectors.sum() + looked.loss)
    assert all(np.abs(part).max() > 0 for part in slope.values())
    np.testing.assert_allclose(slope["centres"].sum(), 8, rtol=1e-5)  # shares sum to one


def test_small_fields_keep_their_rows():
    table = codes.dpq(2)(Fields((300, 3), 4), 0.2)
    assert table.decided["coded"] == (0,)
    params = table.init(KEY)
    np.testing.assert_array_equal(table.lookup(params, ids_of([7, 2]))[0, 1], params["rows"][2])


# Frequent ids


def test_frequent_ids_have_their_own_row():
    fields = Fields((6, 2), 4, (np.array([5, 1, 9, 0, 3, 2]), np.array([1, 1])))
    table = frequent.adaptive()(fields, 0.8)
    assert table.decided == {"rows": (4, 1), "own": (2, 0)}
    params = table.init(KEY)
    assert params["place"].dtype == jnp.uint8
    assert params["place"].tolist() == [1, 2, 0, 3, 2, 3, 0, 0]
    np.testing.assert_array_equal(table.lookup(params, ids_of([4, 1]))[0], params["rows"][jnp.array([2, 4])])
    np.testing.assert_array_equal(table.lookup(params, ids_of([1, 0]))[0], params["rows"][jnp.array([2, 4])])
    assert size(table.finalize(params)) == table.bytes == 5 * 16 + 8
    assert frequent.adaptive(0.2)(fields, 0.8).decided["own"] == (1, 0)


# Pruning


def test_the_largest_stay():
    given = jnp.array([[3.0, -1.0, 0.5], [-4.0, 0.0, 2.0]])
    np.testing.assert_array_equal(pruned.largest(given, 3), [[3, 0, 0], [-4, 0, 2]])
    np.testing.assert_array_equal(pruned.largest(given, 6), given)
    np.testing.assert_array_equal(pruned.largest(jnp.array([[1.0, 1.0, 2.0]]), 2), [[0, 0, 2]])  # all or none of equals
    np.testing.assert_array_equal(pruned.largest(jnp.zeros((1, 3)), 0), [[0, 0, 0]])


def test_deep_light_prunes_ever_more():
    table = pruned.deep_light(warm=0.2, full=0.7)(FIELDS, 0.5)
    kept = table.decided["kept"]
    params = table.init(KEY)
    settle = jax.jit(table.training.settle, static_argnums=3)

    def left(step):
        at = Now(jnp.int32(step), 1000, KEY, ids_of([0, 0]))
        return int((settle(params, params, at, unused)["weight"] != 0).sum())

    numbers = 46 * 4
    assert left(100) == numbers
    assert left(255) == numbers  # not due
    t = 700 * (251 - 200) / 500
    assert abs(left(250) - numbers + (numbers - kept) * (1 - 0.99**t)) <= 1
    assert numbers > left(250) > left(400) > left(690) >= kept
    assert left(700) == left(999) == kept


def test_what_is_pruned_is_what_is_stored():
    table = pruned.deep_light()(FIELDS, 0.5)
    params = {"weight": jnp.zeros((46, 4)).at[5, 1].set(-2.0).at[40, 3].set(1.0)}
    got = table.compact(table.finalize(params), ids_of([5, 0]))
    np.testing.assert_array_equal(got, [[[0, -2, 0, 0], [0, 0, 0, 1]]])
    equal = {"weight": jnp.ones((46, 4))}  # no two are unlike: nothing can be left out, so nothing is kept
    assert not table.lookup(equal, ids_of([5, 0])).any()
    form = table.finalize(equal)
    assert size(form) == table.bytes
    assert not table.compact(form, ids_of([5, 0])).any()


def test_thresholds_by_hand_and_how_they_are_raised():
    table = pruned.pep()(FIELDS, 0.5)
    params = dict(table.init(KEY))
    assert (params["threshold"] == -15).all()
    threshold, weight = np.array(params["threshold"]), np.array(params["weight"])
    threshold[0], weight[0] = np.log([0.25, 0.25, 1e-9, 1.0]), [0.3, -0.3, 0.1, 0.4]  # thresholds 0.2, 0.2, 0 and 0.5
    params |= {"threshold": jnp.asarray(threshold), "weight": jnp.asarray(weight)}
    looked = look(table, params, ids_of([0, 0])).vectors
    np.testing.assert_allclose(looked[0, 0], [0.1, -0.1, 0.1, 0.0], atol=1e-6)
    slope = slopes(table, params, ids_of([0, 0]), ("threshold",), lambda looked: looked.vectors[0, 0].sum())
    np.testing.assert_allclose(slope["threshold"][0], [-0.16, 0.16, 0.0, 0.0], atol=1e-4)
    settle = jax.jit(lambda params, at: table.training.settle(params, params, at, unused))
    raised = settle(params, now(ids_of([0, 0])))
    by = np.asarray(raised["threshold"]) - np.asarray(params["threshold"])
    np.testing.assert_allclose(by, by[0, 0], rtol=1e-4)
    kept = table.decided["kept"]
    above = np.abs(raised["weight"]) > 1 / (1 + np.exp(-np.asarray(raised["threshold"], np.float64)))
    assert abs(int(above.sum()) - kept) <= 1
    following = table.training.then(raised, KEY, unused)
    assert following.restart
    assert int(following.params["kept"].sum()) == following.table.decided["kept"] == kept
    assert (following.params["kept"] | ~above).all()
    last = following.table
    np.testing.assert_array_equal(
        last.compact(last.finalize(following.params), ids_of([0, 0])), last.lookup(following.params, ids_of([0, 0]))
    )


def test_scales_by_group():
    table = pruned.auto_srh(groups=2, warm=0.2, search=0.3)(Fields((4,), 2, (np.array([1, 9, 0, 5]),)), 0.9)
    params = dict(table.init(KEY))
    assert params["group"].tolist() == [1, 0, 1, 0]
    params |= {"weight": jnp.ones((4, 2)).at[3, 1].set(0.9), "scale": jnp.array([[1.0, 0.5], [0.2, 0.0]])}
    looked = look(table, params, ids_of([0], [1]))
    np.testing.assert_allclose(looked.vectors[:, 0], [[0.2, 0.0], [1.0, 0.5]])
    assert (looked.loss, table.training.held, table.training.share) == (0.0, ("scale",), 0.2)
    search = table.training.then(params, KEY, unused).table
    np.testing.assert_allclose(look(search, params, ids_of([0])).loss, 1.7e-5, rtol=1e-5)
    rule = search.training.validated["scale"]
    slope = jnp.array([[3.0, -1.0], [0.0, 0.0]])
    change, _ = rule.update(slope, rule.init(params["scale"]), params["scale"])
    np.testing.assert_allclose(change, [[-1.5e-3, 0.5e-3], [0.0, 0.0]], atol=1e-7)
    change, _ = rule.update(-slope, rule.init(params["scale"]), params["scale"])
    np.testing.assert_allclose(change[0], [0.0, -0.5e-3], atol=1e-7)  # no further than one
    last = search.training.then(params, KEY, unused)
    assert last.table.training.then is None
    assert last.params is params
    np.testing.assert_allclose(last.table.lookup(params, ids_of([1]))[0, 0], [1.0, 0.5])
    np.testing.assert_allclose(last.table.lookup(params, ids_of([3]))[0, 0], [1.0, 0.0])  # three numbers fit


# Searched dimensions


def test_widths_are_mixed_by_their_shares():
    table = searched.auto_dim()(FIELDS, 0.8)
    assert table.decided["widths"] == (2, 4)
    params = dict(table.init(KEY))
    ids = ids_of([0, 1], [5, 2], [7, 0])
    params["alpha"] = jnp.array([[100.0, 0.0], [0.0, 100.0]])
    looked = look(table, params, ids, step=0)
    for field, width in ((0, 2), (1, 4)):
        own = np.asarray(params[f"rows_{width}"])[ids[:, field] + 40 * field]
        rows = own @ np.asarray(params[f"project_{width}"])[field]
        wanted = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5)
        np.testing.assert_allclose(looked.vectors[:, field], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(looked.state["mean"][width // 4, field], rows.mean(axis=0), rtol=1e-4, atol=1e-6)
    params["alpha"] = jnp.zeros((2, 2))
    slope = slopes(table, params, ids, ("alpha",), lambda looked: looked.vectors[0].sum())
    assert np.abs(slope["alpha"]).min() > 0
    assert set(table.training.validated) == {"alpha"}


def test_a_search_ends_in_dimensions_that_use_up_the_budget():
    params = {"alpha": jnp.array([[0.0, 1.0], [2.0, 0.0]])}
    table = searched.auto_dim()(FIELDS, 0.7)
    following = table.training.then(params, KEY, unused)
    assert following.restart
    assert following.params is None
    # 40 rows of 4 are 640 of 736 bytes, over the budget of 515; 40 of 2 with a matrix 352, 6 of 4 96 more.
    assert following.table.decided == {"dims": (2, 4)}
    assert following.table.bytes == 352 + 96


def test_a_step_and_masks():
    table = searched.opt_embed()(FIELDS, 0.8)
    params = dict(table.init(KEY))
    rows = np.array(params["rows"])
    rows[:2] = [[0.1, -0.2, 0.3, 0.1], [0.1, 0.1, 0.1, 0.1]]
    params |= {"rows": jnp.asarray(rows), "threshold": jnp.array([0.5, -1.0])}
    ids = ids_of([0, 0], [1, 0])
    got = table.lookup(params, ids)
    np.testing.assert_allclose(got[:, 0], [[0.1, -0.2, 0.3, 0.1], [0, 0, 0, 0]], rtol=1e-6)
    looked = look(table, params, ids)
    part = np.asarray(looked.vectors[0, 1])
    assert part[0] == rows[40, 0]
    assert all(number in (0, whole) for number, whole in zip(part, rows[40], strict=True))
    np.testing.assert_allclose(looked.loss, 1e-5 * (np.exp(-0.5) + np.exp(1.0)), rtol=1e-5)
    # 0.7 in all is 0.2 above the threshold, and the first dimension is never masked.
    slope = slopes(table, params, ids, ("threshold",), lambda looked: looked.vectors[0, 0, 0])
    np.testing.assert_allclose(slope["threshold"], [-0.1 * (2 - 4 * 0.2), 0.0], rtol=1e-4)


def test_evolution_finds_what_is_fittest_within_the_budget():
    draw = np.random.default_rng(0)
    rows, tried = (10, 5, 1), []

    def fitness(dims):
        tried.append(dims)
        return -float(abs(dims[0] - 2) + abs(dims[1] - 7))

    assert searched.evolved(rows, 8, 63, fitness, 10, draw)[:2] == (2, 7)
    assert len(set(tried)) == len(tried)
    for dims in tried:
        spent = sum(count * dim for count, dim in zip(rows, dims, strict=True))
        assert spent <= 63
        assert all(dim == 8 or spent + count > 63 for count, dim in zip(rows, dims, strict=True))


def test_rows_and_dimensions_that_are_left():
    table = searched.opt_embed(generations=1)(FIELDS, 0.6)
    params = dict(table.init(KEY))
    params["rows"] = jnp.ones((46, 4)).at[3].set(0.0)
    params["threshold"] = jnp.array([1.0, 1.0])
    following = table.training.then(params, KEY, lambda lookup: float(lookup(ids_of([0, 0]))[0, 0].sum()))
    last, start = following.table, following.params
    assert following.restart
    assert last.decided["rows"] == (39, 6)
    assert last.decided["dims"][0] in (1, 2)
    assert start["place"][:5].tolist() == [0, 1, 2, 39, 3]
    dim = last.decided["dims"][0]
    got = last.lookup(start, ids_of([3, 0], [4, 1]))
    assert not got[0, 0].any()
    np.testing.assert_array_equal(got[1, 0], np.pad(start["numbers"][3 * dim : 4 * dim], (0, 4 - dim)))
    other = 39 * dim + last.decided["dims"][1]
    np.testing.assert_array_equal(got[1, 1, :1], start["numbers"][other : other + 1])
    assert size(last.finalize(start)) == last.bytes <= 0.6 * FIELDS.bytes
    crowded = {**params, "threshold": jnp.array([-9.0, -9.0])}
    few = searched.opt_embed(generations=1)(FIELDS, 0.12).training.then(crowded, KEY, lambda lookup: 0.0).table
    assert sum(few.decided["rows"]) == 10  # numbers of the budget, at a quarter of four dimensions


# Merged blocks


def test_like_blocks_become_one():
    table = merged.dedup(rows=2)(FIELDS, 0.5)
    whole = jax.random.normal(KEY, (46, 4))
    whole = whole.at[20:40].set(whole[:20] + 1e-4)
    following = table.training.then({"rows": whole}, KEY, unused)
    last, start = following.table, following.params
    assert not following.restart
    assert last.decided == {"rows": 2, "blocks": 10}
    assert size(last.finalize(start)) == last.bytes == 10 * 2 * 16 + 23
    ids = ids_of([0, 0], [20, 5], [3, 1])
    got = last.lookup(start, ids)
    np.testing.assert_allclose(got[0, 0], got[1, 0], atol=0)
    near = jnp.abs(got - table.lookup({"rows": whole}, ids)).max(axis=(1, 2))
    assert float(jnp.sort(near)[0]) < 1e-3


# Bad input


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: codes.dpq(9), "dpq-9: wanted codes of 1 to 8 bits, got 9"),
        (lambda: codes.dpq(4, 3)(FIELDS, 0.5), "dpq-4: wanted 1 part or more that divide 4 dimensions, got 3"),
        (lambda: codes.dpq(4, 0)(FIELDS, 0.5), "dpq-4: wanted 1 part or more that divide 4 dimensions, got 0"),
        (lambda: codes.mgqe(4, rare_bits=5), "mgqe: wanted bits of rare ids in 1 to 4, got 5"),
        (
            lambda: codes.mgqe(4, rare_bits=2, frequent=1.5),
            r"mgqe: wanted a share of frequent ids in \[0, 1\], got 1.5",
        ),
        (lambda: codes.mgqe(2, rare_bits=1)(Fields((200,), 4), 0.5), "mgqe-2: wanted how often each id stands"),
        (lambda: frequent.adaptive()(Fields((200,), 4), 0.5), "adaptive: wanted how often each id stands"),
        (lambda: frequent.adaptive(0.5)(FIELDS, 0.5), r"adaptive: wanted a share of ids with their own .* \[0, 0.5\)"),
        (lambda: frequent.adaptive(0.45)(FIELDS, 0.5), "adaptive: wanted a row of their own for 0.45 of the ids"),
        (lambda: pruned.auto_srh()(Fields((200,), 4), 0.5), "auto-srh: wanted how often each id stands"),
        (lambda: pruned.auto_srh(warm=0.6), "auto-srh: wanted shares of the run above 0 that leave some"),
        (lambda: pruned.auto_srh(groups=0), "auto-srh: wanted 1 group or more"),
        (lambda: pruned.deep_light(0.5, 0.5), "deep-light: wanted 0 <= warm < full <= 1, got 0.5 and 0.5"),
        (lambda: pruned.pep(search=1.0), r"pep: wanted a share of the run in \(0, 1\), got 1.0"),
        (lambda: searched.auto_dim(search=0.0), "auto-dim: wanted a share of the run"),
        (
            lambda: searched.auto_dim()(Fields((200,), 1), 0.5),
            "auto-dim: wanted vectors of 2 dimensions or more, got 1",
        ),
        (lambda: searched.opt_embed(generations=0), "opt-embed: wanted .* 1 generation or more"),
        (
            lambda: searched.shortened_rows((5, 1), (1, 1))(FIELDS, 0.5),
            r"shortened-rows: wanted dimensions in \[1, 4\]",
        ),
        (lambda: merged.dedup(0)(FIELDS, 0.5), "dedup: wanted blocks of 1 row or more, got 0"),
        (lambda: merged.dedup(share=1.0), r"dedup: wanted a share of the run in \(0, 1\), got 1.0"),
    ],
)
def test_refused(make, said, as_users_call):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    "make",
    [codes.dpq, codes.mgqe, frequent.adaptive, searched.auto_dim, searched.opt_embed, merged.dedup],
)
def test_a_budget_below_the_floor_names_it(make):
    with pytest.raises(BelowFloor) as told:
        make()(FIELDS, 0.01)
    floor = told.value.floor
    assert make()(FIELDS, min(1.0, floor + 1e-6))
    assert f"{floor:.4g} of the full table's bytes or more, got 0.01" in str(told.value)


@pytest.mark.parametrize("make", [pruned.deep_light, pruned.pep, pruned.auto_srh])
def test_one_number_is_the_floor_of_pruning(make):
    with pytest.raises(BelowFloor, match="one number, with its column and row, takes as much"):
        make()(FIELDS, 8 / FIELDS.bytes)
    assert make()(FIELDS, 9.1 / FIELDS.bytes).decided == {"kept": 1}


def test_a_batch_of_one_has_no_variance(as_users_call):
    table, params = product_table()
    with pytest.raises(ValueError, match="dpq-1: wanted a batch of 2 or more, which has a variance, got 1"):
        table.training.look(params, ids_of([0]), now([[0]]))
    table = searched.auto_dim()(FIELDS, 0.8)
    with pytest.raises(ValueError, match="auto-dim: wanted a batch of 2 or more, which has a variance, got 1"):
        table.training.look({}, ids_of([0, 0]), now([[0, 0]]))
