"""What holds of every image encoder, and of the text encoder beside it: the reference's states, and what changes none.

A new family joins by a row in `tools/golden_images.py`, which makes its golden folder.
"""

import functools
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint
from jaxemb.encode import image
from jaxemb.types import Tokens

GOLDEN = Path(__file__).parent.parent / "golden" / "images"
NAMES = sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "config.json").is_file())
FAMILIES = ["clip", "efficientnet-lite", "resnet", "siglip", "vit"]  # one folder each, for what takes long to compile
PAIRS = {"clip", "siglip"}
# Half the time to compile, for programs of which the numbers to the last digit do not matter.
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


class Half(NamedTuple):
    """One tower of a case, all of it or half of a pair: its params and inputs, and what the reference makes of them."""

    tower: image.Tower
    params: dict
    inputs: Any
    vector: np.ndarray
    hidden: str
    both: Any  # its vectors and states, compiled once


class Case(NamedTuple):
    name: str
    family: image.ImageFamily
    raw: dict
    tensors: dict
    config: Any
    params: dict
    values: dict
    halves: list[Half]

    @property
    def tolerance(self):
        """1e-5; for EfficientNet, whose random maps grow to tens, 1e-5 of their scale."""
        return 1e-5 * (20 if self.name == "efficientnet-lite" else 1)


@functools.cache
def read(name):
    folder = GOLDEN / name
    raw = json.loads((folder / "config.json").read_text())
    family = image.image_family_named(raw["model_type"])
    config = family.parse(raw)
    tensors = checkpoint.read_tensors(folder / "model.safetensors")
    tensors = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    like = jax.eval_shape(family.build(config).init, jax.random.key(0))
    params = checkpoint.from_foreign(tensors, family.keys(config), like, unused=unused(family, tensors))
    values = dict(np.load(folder / "values.npz"))
    return Case(name, family, raw, tensors, config, params, values, halves(family.build(config), params, values))


def halves(built, params, values):
    def half(tower, params, inputs, vector, hidden):
        both = jax.jit(lambda params, inputs: (tower.apply(params, inputs), tower.hidden(params, inputs)))
        return Half(tower, params, inputs, values[vector], hidden, both)

    pixels = jnp.asarray(values["pixels"])
    if not isinstance(built, image.Pair):
        return [half(built, params, pixels, "vector", "hidden")]
    tokens = Tokens(jnp.asarray(values["ids"]), jnp.asarray(values["mask"]))
    return [
        half(built.image, params["image"], pixels, "vector", "hidden"),
        half(built.text, params["text"], tokens, "text_vector", "text_hidden"),
    ]


@pytest.fixture(params=NAMES)
def case(request):
    return read(request.param)


@pytest.fixture(params=FAMILIES)
def one(request):
    return read(request.param)


def unused(family, tensors):
    return [name for name in tensors if any(fnmatchcase(name, pattern) for pattern in family.unused)]


def test_every_family_has_a_golden_folder():
    told = {name: json.loads((GOLDEN / name / "config.json").read_text())["model_type"] for name in NAMES}
    assert set(told.values()) == {name for family in image.IMAGE_FAMILIES for name in family.names}
    assert {told[name] for name in FAMILIES} == set(told.values())


def test_vectors_and_states_of_every_layer(case):
    for half in case.halves:
        vector, got = half.both(half.params, half.inputs)
        assert vector.shape[1] == case.config.size
        np.testing.assert_allclose(vector, half.vector, atol=case.tolerance, rtol=0)
        there = [key for key in case.values if key.startswith(f"{half.hidden}_")]
        assert len(there) == len(got) - (case.name == "efficientnet-lite")  # of which the last map is not kept
        for key in there:
            layer, wanted = np.asarray(got[int(key.rpartition("_")[2])]), case.values[key]
            if case.name == "efficientnet-lite" and key in ("hidden_0", "hidden_1"):
                layer = layer[:, ::3, ::3]  # all that is kept of the large ones
            assert layer.shape == wanted.shape
            padded = case.raw["model_type"] == "clip" and isinstance(half.inputs, Tokens)
            kept = np.asarray(half.inputs.mask, bool) if padded else np.ones(wanted.shape[:2], bool)
            np.testing.assert_allclose(layer[kept], wanted[kept], atol=case.tolerance, rtol=0)


@pytest.mark.parametrize("name", [name for name in NAMES if name.partition("_")[0] in PAIRS])
def test_logits_of_a_pair(name):
    case = read(name)
    seen, told = (jnp.asarray(half.vector) for half in case.halves)
    got = case.family.build(case.config).logits(case.params, told, seen)
    np.testing.assert_allclose(got, case.values["logits"], atol=1e-5)


def test_what_stands_beside_it_in_a_batch_changes_no_vector(one):
    for half in one.halves:
        turned = jax.tree.map(lambda leaf: np.concatenate([leaf[1:2], leaf[1:2], leaf[2:]]), half.inputs)
        got, _ = half.both(half.params, turned)
        np.testing.assert_allclose(got[0], half.vector[1], atol=one.tolerance, rtol=0)


def test_padding_and_what_stands_in_it_change_no_vector(one):
    for half in one.halves[1:]:
        ids, mask = np.asarray(half.inputs.ids), np.asarray(half.inputs.mask)
        got, _ = half.both(half.params, Tokens(np.where(mask == 0, 20, ids), mask))
        np.testing.assert_allclose(got, half.vector, atol=1e-5)
        long = Tokens(*(np.pad(leaf, ((0, 0), (0, 2)), constant_values=n) for leaf, n in ((ids, 23), (mask, 0))))
        np.testing.assert_allclose(quick(half.tower.apply)(half.params, long), half.vector, atol=1e-5)


def test_many_devices_equal_one(one):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    for half in one.halves:
        got = quick(half.tower.apply)(half.params, jax.device_put(half.inputs, rows))
        np.testing.assert_allclose(got, half.vector, atol=one.tolerance, rtol=0)


def test_bfloat16_stays_close_and_params_stay_float32(one):
    for half, full in zip(
        halves(one.family.build(one.config, dtype=jnp.bfloat16), one.params, one.values), one.halves, strict=True
    ):
        got = np.asarray(quick(half.tower.apply)(half.params, half.inputs))
        cosine = (got * full.vector).sum(axis=1) / np.linalg.norm(got, axis=1) / np.linalg.norm(full.vector, axis=1)
        assert (cosine > 0.999).all(), cosine
        assert not np.allclose(got, full.vector, atol=1e-4)  # the products really ran in bfloat16
        fresh = jax.eval_shape(half.tower.init, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype(jnp.float32)}


# The gradient of a convolution in bfloat16 is a rule of its own; of a product, the text families have it.
MORE = [("resnet", jnp.float32), ("siglip", jnp.float32), ("vit", jnp.float32), ("resnet", jnp.bfloat16)]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("clip", jnp.float32),
        ("efficientnet-lite", jnp.float32),
        *(pytest.param(*one, marks=pytest.mark.grid) for one in MORE),
    ],
)
def test_gradients_reach_every_leaf_but_the_statistics(name, dtype):
    case = read(name)
    for half in halves(case.family.build(case.config, dtype=dtype), case.params, case.values):
        weight = np.random.default_rng(0).normal(size=case.config.size).astype(np.float32)

        def total(params, inputs, half=half, weight=weight):
            return (half.tower.apply(params, inputs) * weight[None, :]).sum()

        gradient = checkpoint.leaves(quick(jax.grad(total))(half.params, half.inputs))
        for path, leaf in gradient.items():
            assert np.isfinite(leaf).all(), path
            assert np.any(leaf) != (path.rpartition(".")[2] in image.STATISTICS), path


def test_the_key_map_goes_both_ways(case):
    back = checkpoint.to_foreign(case.params, case.family.keys(case.config))
    assert back.keys() == case.tensors.keys() - set(unused(case.family, case.tensors))
    for name, tensor in back.items():
        assert tensor.shape == case.tensors[name].shape
        np.testing.assert_array_equal(tensor, case.tensors[name])


def test_fresh_params_have_the_shapes_of_the_checkpoint(case):
    made = jax.eval_shape(case.family.build(case.config).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, case.params)


def test_a_described_shape_parses_to_itself(case):
    assert case.family.parse(json.loads(json.dumps(case.family.describe(case.config)))) == case.config


def test_unknown_keys_and_weights_are_refused_by_name(case):
    with pytest.raises(ValueError, match=r"unknown keys \['surprise'\]"):
        case.family.parse({**case.raw, "surprise": 1})
    if case.raw["model_type"] in PAIRS:
        for inner in ("text_config", "vision_config"):
            with pytest.raises(ValueError, match=r"unknown keys \['surprise'\]"):
                case.family.parse({**case.raw, inner: {**case.raw[inner], "surprise": 1}})
    keys, left_out = case.family.keys(case.config), unused(case.family, case.tensors)
    with pytest.raises(ValueError, match="left over surprise"):
        checkpoint.from_foreign({**case.tensors, "surprise": np.zeros(2)}, keys, case.params, unused=left_out)
    missing = next(iter(sorted(case.tensors.keys() - set(left_out))))
    fewer = {name: tensor for name, tensor in case.tensors.items() if name != missing}
    with pytest.raises(ValueError, match=f"missing {missing}"):
        checkpoint.from_foreign(fewer, keys, case.params, unused=left_out)


def test_images_of_another_shape_are_refused(case, as_users_call):
    half = case.halves[0]
    with pytest.raises(ValueError, match=r"wanted images.*got"):
        half.tower.apply(half.params, half.inputs[..., :2])
