"""Merges against mergekit's, tensor by tensor, on weights of real siblings where they are, and on random ones."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import merge
from jaxemb.merge import kept

torch = pytest.importorskip("torch")
base_module = pytest.importorskip("mergekit.merge_methods.base", reason="pip install --no-deps mergekit==0.1.5")
sparsify = pytest.importorskip("mergekit.sparsify")
pytestmark = pytest.mark.parity


def method(name):
    return importlib.import_module("mergekit.merge_methods").get(name)


SHAPES = [(6, 5), (7,), (3, 4, 2)]
WEIGHTS = [0.7, 1.3, 0.5]


def tensors(seed, shape):
    draw = np.random.default_rng(seed)
    base = draw.normal(size=shape).astype(np.float32)
    return [base, *(base + 0.3 * draw.normal(size=shape).astype(np.float32) for _ in range(3))]


def theirs(name, values, **settings):
    group = base_module.TensorGroup.from_tensors([torch.tensor(value) for value in values], base_index=0)
    return method(name).merge_group(group, **settings).numpy()


def per_model(values):
    return base_module.PerInputValues(list(enumerate(values, start=1)))


def trees(values):
    base, *tuned = ({"w": jnp.asarray(value)} for value in values)
    return base, tuned


GENERAL = {"int8_mask": False, "rescale": False, "lambda": 0.8}
CASES = {
    "task arithmetic": (
        lambda base, tuned: merge.moved(
            base, jax.tree.map(lambda m, b: m - b, merge.task_arithmetic(base, tuned, WEIGHTS), base), 0.8
        ),
        "task_arithmetic",
        {**GENERAL, "normalize": False, "weight": WEIGHTS, "density": [1.0] * 3},
    ),
    "ties": (
        lambda base, tuned: merge.ties(base, tuned, WEIGHTS, density=0.4, scale=0.8),
        "ties",
        {**GENERAL, "normalize": True, "weight": WEIGHTS, "density": [0.4] * 3},
    ),
    "breadcrumbs": (
        lambda base, tuned: merge.breadcrumbs(base, tuned, WEIGHTS, density=0.5, outliers=0.1, scale=0.8),
        "breadcrumbs",
        {**GENERAL, "normalize": False, "weight": WEIGHTS, "density": [0.5] * 3, "gamma": [0.1] * 3},
    ),
    "sce": (lambda base, tuned: merge.sce(base, tuned, selected=0.6), "sce", {"int8_mask": False, "select_topk": 0.6}),
    "model stock": (merge.model_stock, "model_stock", {"filter_wise": False}),
    "multi-slerp": (
        lambda base, tuned: merge.multi_slerp(base, tuned, WEIGHTS),
        "multislerp",
        {"weight": WEIGHTS, "normalize_weights": True, "eps": 1e-8},
    ),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_merges_are_mergekit_s(case, shape):
    ours, name, settings = CASES[case]
    values = tensors(len(shape), shape)
    settings = {key: per_model(value) if isinstance(value, list) else value for key, value in settings.items()}
    np.testing.assert_allclose(ours(*trees(values))["w"], theirs(name, values, **settings), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_karcher_and_slerp_are_mergekit_s(shape):
    values = tensors(7, shape)
    _, models = trees(values)
    wanted = importlib.import_module("mergekit.merge_methods.karcher").karcher_merge_tensors(
        [torch.tensor(value) for value in values[1:]], [1 / 3] * 3
    )
    np.testing.assert_allclose(merge.karcher(models)["w"], wanted.numpy(), rtol=1e-5, atol=1e-5)
    a, b = (torch.tensor(value) - torch.tensor(values[0]) for value in values[1:3])
    between = importlib.import_module("mergekit.merge_methods.nuslerp").nuslerp(0.3, a, b, flatten=True)
    got = merge.slerp({"w": jnp.asarray(a.numpy())}, {"w": jnp.asarray(b.numpy())}, 0.3)["w"]
    np.testing.assert_allclose(got, between.numpy(), rtol=1e-5, atol=1e-5)


def test_what_is_kept_is_what_mergekit_keeps():
    leaf = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    for density in (0.13, 0.5, 1.0):
        np.testing.assert_array_equal(
            kept.largest(density)(jnp.asarray(leaf), None), sparsify.magnitude(torch.tensor(leaf), density).numpy()
        )
        for outliers in (0.0, 0.02, 0.3):
            np.testing.assert_array_equal(
                kept.without_outliers(density, outliers)(jnp.asarray(leaf), None),
                sparsify.magnitude_outliers(torch.tensor(leaf), density, gamma=outliers).numpy(),
            )
