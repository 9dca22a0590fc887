"""Merges of task vectors by hand, and what holds of all of them."""

from functools import partial
from math import acos, cos, pi, sin, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import merge
from jaxemb.merge import kept
from jaxemb.merge.tasks import thinned

KEY = jax.random.key(0)


def tree(seed, scale=1.0):
    draw = np.random.default_rng(seed)
    return {
        "table": jnp.asarray(scale * draw.normal(size=(5, 4)), jnp.float32),
        "block": {"bias": jnp.asarray(scale * draw.normal(size=(6,)), jnp.float32)},
    }


BASE = tree(0)
TUNED = [jax.tree.map(jnp.add, BASE, tree(seed, 0.3)) for seed in (1, 2, 3)]
OPERATORS = {
    "ties": partial(merge.ties, density=0.7),
    "ties of mean length": partial(merge.ties, length="mean"),
    "dare": partial(merge.dare, key=KEY, density=1.0),
    "della": partial(merge.della, key=KEY, density=1.0),
    "breadcrumbs": partial(merge.breadcrumbs, density=1.0),
    "sce": merge.sce,
    "slerp fold": lambda base, tuned: merge.slerp_fold(base, tuned, [1.0] * len(tuned)),
    "multi-slerp": merge.multi_slerp,
    "multi-slerp by leaf": merge.by_leaf(merge.multi_slerp),
    "karcher": lambda base, tuned: merge.karcher(tuned),
    "model stock": merge.model_stock,
    "model stock by leaf": merge.by_leaf(merge.model_stock),
}
# Of one model alone, or of copies of it, these give that model back.
SAME = {
    name: OPERATORS[name]
    for name in ("dare", "breadcrumbs", "sce", "slerp fold", "multi-slerp", "multi-slerp by leaf", "karcher")
}
each = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


def close(got, wanted, rtol=1e-5, atol=1e-5):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=rtol, atol=atol), got, wanted)


def flat(*values):
    return {"w": jnp.array(values, jnp.float32)}


ZERO = flat(0.0, 0.0)


def test_ties_by_hand():
    one, two, three = flat(4.0, 1.0, -2.0, 0.1), flat(-2.0, 3.0, 1.0, 0.2), flat(3.0, -1.0, -4.0, 0.3)
    got = merge.ties(flat(1.0, 1.0, 1.0, 1.0), [one, two, three], density=0.5)["w"]
    # Without the base: (3, 0, -3, -0.9), (-3, 2, 0, -0.8), (2, -2, -5, -0.7); two of each are kept, of equals the
    # earlier: (3, 0, -3, 0), (-3, 2, 0, 0), (2, 0, -5, 0).
    np.testing.assert_allclose(got, [1 + 2.5, 1 + 2.0, 1 - 4.0, 1.0], rtol=1e-6)
    weighed = merge.ties(flat(1.0, 1.0, 1.0, 1.0), [one, two, three], [1.0, 1.0, 3.0], density=0.5, scale=0.5)["w"]
    np.testing.assert_allclose(weighed, [1 + (3 + 6) / 4 / 2, 1 + 1.0, 1 - (3 + 15) / 4 / 2, 1.0], rtol=1e-6)


def test_ties_of_mean_length():
    one, two = flat(3.0, 0.0), flat(0.0, 4.0)
    got = merge.ties(ZERO, [one, two], density=0.5, length="mean")["w"]
    np.testing.assert_allclose(got, np.array([3.0, 4.0]) / 5 * 3.5, rtol=1e-6)


def test_sce_by_hand():
    one, two = flat(2.0, 1.0), flat(4.0, -1.0)
    # Squares 2.5 and 8.5 of 11; both say plus for the first number, and for the second, where the sum is 0, one does.
    got = merge.sce(ZERO, [one, two])["w"]
    np.testing.assert_allclose(got, [(2.5 * 2 + 8.5 * 4) / 11, 1.0], rtol=1e-6)
    half = merge.sce(ZERO, [flat(2.0, 1.0), flat(4.0, 1.5)], selected=0.5)["w"]  # the first differs most
    np.testing.assert_allclose(half, [(4 * 2 + 16 * 4) / 20, 0.0], rtol=1e-6)


def test_slerp_fold_by_hand():
    got = merge.slerp_fold(ZERO, [flat(2.0, 0.0), flat(0.0, 3.0)], [1.0, 2.0])["w"]
    np.testing.assert_allclose(got, [2 * sin(pi / 6), 3 * sin(pi / 3)], rtol=1e-5)
    # The third meets the arc of the first two, with their mean weight.
    first, second, third = flat(1.0, 0.0, 0.0), flat(0.0, 1.0, 0.0), flat(0.0, 0.0, 1.0)
    folded = merge.slerp_fold(flat(0.0, 0.0, 0.0), [first, second, third], [1.0, 1.0, 1.0])["w"]
    np.testing.assert_allclose(folded, [0.5, 0.5, sqrt(0.5)], rtol=1e-5)


def test_the_fold_by_products_is_the_fold_of_trees():
    weights = [0.7, 1.6, 1.1]
    vectors = merge.task_vectors(BASE, TUNED)
    folded, total = vectors[0], [weights[0]]
    for vector, weight in zip(vectors[1:], weights[1:], strict=True):
        folded = merge.slerp(folded, vector, weight / (weight + float(np.mean(total))))
        total.append(weight)
    close(merge.slerp_fold(BASE, TUNED, weights), merge.moved(BASE, folded))


def test_multi_slerp_and_karcher_of_two_directions_are_the_point_between():
    one, two = flat(2.0, 0.0), flat(2 * cos(1.0), 2 * sin(1.0))
    between = [2 * cos(0.5), 2 * sin(0.5)]
    np.testing.assert_allclose(merge.multi_slerp(ZERO, [one, two])["w"], between, rtol=1e-5)
    np.testing.assert_allclose(merge.karcher([one, two])["w"], between, rtol=1e-5)
    third = merge.karcher([one, two], [2.0, 1.0])["w"]
    np.testing.assert_allclose(third, [2 * cos(1 / 3), 2 * sin(1 / 3)], rtol=1e-4)


def test_model_stock_by_hand():
    one, two = flat(1.0, 0.0), flat(cos(pi / 3), sin(pi / 3))  # a cosine of one half: t = 1 / 1.5
    mean = np.array([1 + cos(pi / 3), sin(pi / 3)]) / 2
    np.testing.assert_allclose(merge.model_stock(ZERO, [one, two])["w"], 2 / 3 * mean, rtol=1e-5)
    apart = [flat(1.0, 0.0), flat(cos(2.0), sin(2.0))]
    assert acos(cos(2.0)) == pytest.approx(2.0)
    np.testing.assert_allclose(merge.model_stock(ZERO, apart, clipped=True)["w"], [0.0, 0.0], atol=1e-6)
    assert float(merge.model_stock(ZERO, apart)["w"][1]) < -0.1


@pytest.mark.parametrize(
    ("keep", "mean"),
    [(kept.random(0.3), 1.0), (kept.by_rank(0.4, 0.2), 1.0), (kept.random(0.3, None), 0.3)],
    ids=["random", "by rank", "not rescaled"],
)
def test_what_is_dropped_is_made_up_for_on_average(keep, mean):
    leaf = jnp.arange(1.0, 9.0)
    drawn = jax.vmap(lambda key: keep(leaf, key))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(drawn.mean(axis=0), mean * leaf, rtol=0.12)


def test_larger_numbers_of_a_row_are_kept_more_often():
    leaf = jnp.array([[1.0, -4.0, 2.0, 3.0], [9.0, 7.0, 8.0, 6.0]])
    shares = jnp.mean(
        jax.vmap(lambda key: kept.by_rank(0.5, 0.3, None)(leaf, key) != 0)(jax.random.split(KEY, 4000)), 0
    )
    np.testing.assert_allclose(shares, [[0.2, 0.8, 0.4, 0.6], [0.8, 0.4, 0.6, 0.2]], atol=0.04)


@pytest.mark.parametrize(("rescale", "size"), [("l1", lambda x: jnp.abs(x).sum()), ("l2", jnp.linalg.norm)])
def test_a_leaf_keeps_its_size(rescale, size):
    leaf = jnp.arange(1.0, 20.0)
    assert float(size(kept.random(0.5, rescale)(leaf, KEY))) == pytest.approx(float(size(leaf)), rel=1e-5)


def test_every_leaf_and_model_is_drawn_for_itself():
    ones = {"a": jnp.ones(40), "b": jnp.ones(40)}
    first, second = thinned([ones, ones], kept.random(0.5), KEY)
    drawn = [first["a"], first["b"], second["a"], second["b"]]
    assert all((drawn[i] != drawn[j]).any() for i in range(4) for j in range(i))
    again, _ = thinned([ones, ones], kept.random(0.5), KEY)
    close(again, first)


def test_breadcrumbs_by_hand():
    vector = flat(1.0, -5.0, 2.0, 3.0, 0.5)
    got = merge.breadcrumbs(flat(0, 0, 0, 0, 0), [vector], density=0.4, outliers=0.2)["w"]
    np.testing.assert_allclose(got, [0.0, 0.0, 2.0, 3.0, 0.0])
    # With nothing else to give up, outliers stay.
    np.testing.assert_allclose(
        merge.breadcrumbs(flat(0, 0, 0, 0, 0), [vector], density=0.8, outliers=0.9)["w"], [1.0, 0.0, 2.0, 3.0, 0.5]
    )


@pytest.mark.parametrize("operator", SAME.values(), ids=SAME.keys())
@pytest.mark.parametrize("count", [1, 2])
def test_copies_of_one_model_are_that_model(operator, count):
    merged = operator(BASE, [TUNED[0]] * count)
    if count == 2 and operator in (OPERATORS["dare"], OPERATORS["breadcrumbs"]):  # sums, not means
        merged = jax.tree.map(lambda m, b: b + (m - b) / 2, merged, BASE)
    close(merged, TUNED[0])


@each
def test_dtype_is_the_base_s_and_everything_is_finite(operator):
    half = [jax.tree.map(lambda x: x.astype(jnp.bfloat16), model) for model in (BASE, *TUNED)]
    got = operator(half[0], half[1:])
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {jnp.dtype(jnp.bfloat16)}
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(got))
    close(jax.tree.map(lambda x: x.astype(jnp.float32), got), operator(BASE, TUNED), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "slerp fold"])
def test_order_of_models_is_irrelevant(name):
    close(OPERATORS[name](BASE, TUNED[::-1]), OPERATORS[name](BASE, TUNED), rtol=1e-4)


def test_order_matters_to_the_fold():
    one, other = (merge.slerp_fold(BASE, models, [1.0] * 3)["table"] for models in (TUNED, TUNED[::-1]))
    assert float(jnp.abs(one - other).max()) > 1e-3


@each
def test_sharded_equals_one_device(operator):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    models = [{"w": jnp.asarray(np.random.default_rng(s).normal(size=(8, 3)), jnp.float32)} for s in range(3)]
    spread = jax.device_put(models, rows)
    close(operator(spread[0], spread[1:]), operator(models[0], models[1:]))


@each
def test_trees_that_differ_are_refused_by_name(operator):
    with pytest.raises(ValueError, match=r"table is \(5, 4\) in model 0, \(4, 3\) in model [12]"):
        operator(BASE, [TUNED[0], {**TUNED[1], "table": jnp.ones((4, 3))}])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: merge.task_vectors(BASE, [TUNED[0], BASE]), "task_vectors: model 1 is the base"),
        (lambda: merge.ties(BASE, TUNED, density=0.0), "largest: density must be above 0 and at most 1, got 0.0"),
        (lambda: merge.ties(BASE, TUNED, [1.0, -1.0, 0.0]), "ties: wanted one model or more, and 3 weights with a sum"),
        (lambda: merge.ties(BASE, []), "ties: wanted one model or more"),
        (lambda: merge.dare(BASE, TUNED, key=None, density=0.5), "random: numbers are kept at random: give a key"),
        (lambda: merge.dare(BASE, TUNED, key=KEY, density=1.5), "random: density must be above 0 and at most 1"),
        (lambda: merge.dare(BASE, TUNED, key=KEY, rescale="l3"), "random: rescale is inverse, l1, l2 or None"),
        (
            lambda: merge.della(BASE, TUNED, key=KEY, density=0.9),
            r"by_rank: density \+- spread must lie between 0 and 1",
        ),
        (lambda: merge.breadcrumbs(BASE, TUNED, outliers=1.0), "outliers must be 0 or more and below 1, got 1.0"),
        (lambda: merge.sce(BASE, TUNED, selected=0.0), "sce: density must be above 0"),
        (lambda: merge.model_stock(BASE, TUNED[:1]), "model_stock: wanted two models or more, got 1"),
        (lambda: merge.slerp_fold(BASE, TUNED, [1.0, -1.0, 1.0]), "slerp_fold: wanted 3 weights above 0"),
        (lambda: merge.multi_slerp(BASE, TUNED, [1.0]), "multi_slerp: wanted 3 weights above 0"),
        (lambda: merge.multi_slerp(ZERO, [flat(1.0, 0.0), flat(-1.0, 0.0)]), "multi_slerp: the directions cancel"),
        (lambda: merge.karcher([]), "karcher: wanted one model or more, got none"),
    ],
)
def test_bad_input(call, said, as_users_call):
    with pytest.raises(ValueError, match=said):
        call()
