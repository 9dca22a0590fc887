"""Merging folders tensor by tensor: what whole trees give, in a folder that loads as the first one does."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import merge, model
from jaxemb.model import task_vectors
from jaxemb.model.merged import OPERATORS, Merging, merge_folders

GOLDEN = Path(__file__).parents[1] / "golden" / "bert" / "new"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base and three models that were trained from it, as folders."""
    place, base = tmp_path_factory.mktemp("models"), model.load(GOLDEN)
    leaves, shape = jax.tree.flatten(base.params)
    model.save(base, place / "base")
    for name in ("one", "two", "three"):
        draw = np.random.default_rng(len(name))
        moved = [leaf + 0.05 * jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
        model.save(base._replace(params=jax.tree.unflatten(shape, moved)), place / name)
    draw = np.random.default_rng(9)
    moved = [leaf + 0.05 * jnp.asarray(draw.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    model.save(base._replace(params=jax.tree.unflatten(shape, moved)), place / "three")
    return place


def params(folder):
    return model.load(folder).params


def close(ours, theirs, **off):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **{"rtol": 1e-5, "atol": 1e-6, **off}), ours, theirs)


WHOLE = {
    "average": lambda base, tuned: merge.average(tuned),
    "karcher": lambda base, tuned: merge.karcher(tuned),
    "task-arithmetic": lambda base, tuned: merge.task_arithmetic(base, tuned, [0.5, 0.5]),
    "model-stock": merge.model_stock,
    "multi-slerp": merge.multi_slerp,
    "slerp-fold": lambda base, tuned: merge.slerp_fold(base, tuned, [1.0, 1.0]),
    "slerp": lambda base, tuned: merge.slerp(*tuned, 0.5),
}


@pytest.mark.parametrize("operator", WHOLE)
def test_it_is_the_merge_of_whole_trees(folders, operator, tmp_path):
    base = folders / "base" if OPERATORS[operator].based else None
    merge_folders([folders / "one", folders / "three"], tmp_path / "out", Merging(operator=operator), base=base)
    wanted = WHOLE[operator](params(folders / "base"), [params(folders / "one"), params(folders / "three")])
    close(params(tmp_path / "out"), wanted, atol=1e-5)
    assert model.load(tmp_path / "out").spec == model.load(folders / "one").spec


@pytest.mark.parametrize(
    "operator",
    [
        pytest.param(name, marks=() if name in ("breadcrumbs", "sce") else pytest.mark.grid)
        for name in OPERATORS
        if name not in WHOLE
    ],
)
def test_every_operator_of_tensors_writes_a_model_that_lies_between(folders, operator, tmp_path):
    out, how = tmp_path / "out", Merging(operator=operator, density=0.5)
    merge_folders([folders / "one", folders / "three"], out, how, base=folders / "base")
    again = tmp_path / "again"
    merge_folders([folders / "one", folders / "three"], again, how, base=folders / "base")
    close(params(out), params(again), rtol=0, atol=0)
    base, got = params(folders / "base"), params(out)
    moved = max(float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(base), strict=True))
    assert 0 < moved < 2


@pytest.mark.parametrize("operator", ["model-stock", "multi-slerp", "slerp-fold"])
def test_directions_of_each_tensor_are_those_of_each_foreign_tensor(folders, operator, tmp_path):
    how = Merging(operator=operator, per_tensor=True)
    merge_folders([folders / "one", folders / "three"], tmp_path / "out", how, base=folders / "base")
    each = merge.by_leaf({"model-stock": merge.model_stock, "multi-slerp": merge.multi_slerp}.get(operator, _fold))
    trees = [_words(params(folders / name)) for name in ("base", "one", "three")]
    wanted = each({"leaf": trees[0]}, [{"leaf": tree} for tree in trees[1:]])["leaf"]
    np.testing.assert_allclose(_words(params(tmp_path / "out")), wanted, atol=1e-5)


def _fold(base, tuned):
    return merge.slerp_fold(base, tuned, [1.0, 1.0])


def _words(tree):
    """The largest leaf, which no layer has a part of."""
    return max((leaf for leaf in jax.tree.leaves(tree) if leaf.ndim == 2), key=lambda leaf: leaf.size)


def test_what_is_no_weight_is_the_first_one_s(folders, tmp_path):
    merge_folders([folders / "one", folders / "three"], tmp_path / "out", Merging())
    for file in folders.joinpath("one").rglob("*.json"):
        assert file.read_bytes() == (tmp_path / "out" / file.relative_to(folders / "one")).read_bytes()
    assert json.loads((tmp_path / "out" / "config.json").read_text())


def test_folders_of_other_names_are_merged_all_the_same(folders, tmp_path):
    merge_folders([GOLDEN, folders / "one"], tmp_path / "out", Merging(weights=(1.0, 3.0)))
    close(params(tmp_path / "out"), merge.average([params(GOLDEN), params(folders / "one")], [1.0, 3.0]))


def test_task_vectors_are_told(folders):
    found = task_vectors.task_vectors([folders / "one", folders / "three"], folders / "base")
    vectors = merge.task_vectors(params(folders / "base"), [params(folders / "one"), params(folders / "three")])
    products = np.asarray(merge.gram(vectors))
    np.testing.assert_allclose(found.lengths, np.sqrt(np.diagonal(products)), rtol=1e-4)
    np.testing.assert_allclose(found.cosines[0, 1], products[0, 1] / np.prod(found.lengths), atol=1e-4)
    np.testing.assert_allclose(np.square(found.layer_lengths).sum(axis=0), np.square(found.lengths), rtol=1e-4)
    assert "layer 0" in found.layers
    table = task_vectors.told([folders / "one", folders / "three"], folders / "base")
    assert f"{found.lengths[0]:.4f}" in table


@pytest.mark.parametrize(
    ("names", "how", "base", "said"),
    [
        (["one", "three"], Merging(operator="mean"), None, "no operator 'mean'; there are average, slerp"),
        (["one"], Merging(), None, "wanted two models or more, got 1"),
        (["one", "three"], Merging(operator="ties"), None, "ties: wanted --base"),
        (["one", "three"], Merging(), "base", "average: takes no --base"),
        (["one", "base"], Merging(operator="ties"), "base", "base: is the base itself"),
        (["one", "base"], Merging(operator="model-stock"), "base", "base: is the base itself"),
        (["one", "three"], Merging(weights=(1.0,)), None, "average: wanted 2 weights, one a model, got 1"),
        (["one", "three"], Merging(operator="slerp", weights=(2.0,)), None, r"slerp: t must be in \[0, 1\], got 2.0"),
        (
            ["one", "three"],
            Merging(operator="ties", density=1.5),
            "base",
            "density must be above 0 and at most 1, got 1.5",
        ),
        (["one", "three"], Merging(operator="dare", rescale="l3"), "base", "wanted a rescale of inverse"),
        (["one", "three"], Merging(operator="multi-slerp", weights=(1.0, -1.0)), "base", "weights above 0"),
    ],
)
def test_what_cannot_be_merged_is_refused_and_nothing_is_written(folders, tmp_path, names, how, base, said):
    with pytest.raises(ValueError, match=said):
        merge_folders([folders / name for name in names], tmp_path / "out", how, base=base and folders / base)
    assert not (tmp_path / "out").exists()


def test_models_of_another_kind_are_refused_by_what_differs(folders, tmp_path):
    shutil.copytree(folders / "one", tmp_path / "other")
    file = tmp_path / "other" / "1_Pooling" / "config.json"
    said = json.loads(file.read_text())
    changed = {**said, "pooling_mode": "cls"} if "pooling_mode" in said else None
    if changed is None:
        changed = {**said, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    file.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="model 1 has another pooling than model 0"):
        merge_folders([folders / "one", tmp_path / "other"], tmp_path / "out", Merging())
    with pytest.raises(ValueError, match="out is one of the models"):
        merge_folders([folders / "one", folders / "three"], folders / "one", Merging())
