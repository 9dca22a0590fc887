"""What holds of every image encoder, and of the text encoder beside it: the reference's states, and what changes none.

A new family joins by a row in `tools/golden_images.py`, which makes its golden folder.
"""

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
PAIRS = {"clip", "siglip"}


class Case(NamedTuple):
    family: image.ImageFamily
    raw: dict
    tensors: dict
    config: Any
    params: dict
    values: dict

    @property
    def towers(self):
        """Every tower with its params and inputs, the one of images first."""
        built = self.family.build(self.config)
        pixels = jnp.asarray(self.values["pixels"])
        if not isinstance(built, image.Pair):
            return [(built, self.params, pixels)]
        tokens = Tokens(jnp.asarray(self.values["ids"]), jnp.asarray(self.values["mask"]))
        return [(built.image, self.params["image"], pixels), (built.text, self.params["text"], tokens)]

    @property
    def wanted(self):
        """The reference's vectors of every tower."""
        return [self.values[name] for name in ("vector", "text_vector") if name in self.values]


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    folder = GOLDEN / request.param
    raw = json.loads((folder / "config.json").read_text())
    family = image.image_family_named(raw["model_type"])
    config = family.parse(raw)
    tensors = checkpoint.read_tensors(folder / "model.safetensors")
    tensors = {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
    like = jax.eval_shape(family.build(config).init, jax.random.key(0))
    params = checkpoint.from_foreign(tensors, family.keys(config), like, unused=unused(family, tensors))
    return Case(family, raw, tensors, config, params, dict(np.load(folder / "values.npz")))


def unused(family, tensors):
    return [name for name in tensors if any(fnmatchcase(name, pattern) for pattern in family.unused)]


def tolerance(case, wanted):
    """1e-5; of the scale for EfficientNet, whose random maps grow to tens."""
    return 1e-5 * (max(1, float(np.abs(wanted).max())) if "efficientnet" in case.raw["model_type"] else 1)


def test_every_family_has_a_golden_folder():
    told = {json.loads((GOLDEN / name / "config.json").read_text())["model_type"] for name in NAMES}
    assert told == {name for family in image.IMAGE_FAMILIES for name in family.names}
    assert {image.image_family_named(name).config in image.TOWERS for name in told - PAIRS} == {True}


def test_states_of_every_layer(case):
    for (tower, params, inputs), name in zip(case.towers, ("hidden", "text_hidden"), strict=False):
        got = jax.jit(tower.hidden)(params, inputs)
        there = [key for key in case.values if key.startswith(f"{name}_")]
        assert len(there) == len(got) - (case.raw["model_type"] == "efficientnet-lite")  # whose head is not kept
        for key in there:
            layer, wanted = np.asarray(got[int(key.rpartition("_")[2])]), case.values[key]
            if case.raw["model_type"] == "efficientnet-lite" and key in ("hidden_0", "hidden_1"):
                layer = layer[:, ::3, ::3]  # all that is kept of the large ones
            assert layer.shape == wanted.shape
            kept = np.asarray(inputs.mask, bool) if isinstance(inputs, Tokens) else np.ones(wanted.shape[:2], bool)
            if wanted.shape[:2] != kept.shape:  # a text that was filled up, and is read whole
                kept = np.ones(wanted.shape[:2], bool)
            np.testing.assert_allclose(layer[kept], wanted[kept], atol=tolerance(case, wanted), rtol=0)


def test_vectors(case):
    for (tower, params, inputs), wanted in zip(case.towers, case.wanted, strict=True):
        got = jax.jit(tower.apply)(params, inputs)
        assert got.shape[1] == case.config.size
        np.testing.assert_allclose(got, wanted, atol=tolerance(case, wanted), rtol=0)


def test_logits_of_a_pair(case):
    if case.raw["model_type"] not in PAIRS:
        return
    got = case.family.build(case.config).logits(case.params, jnp.asarray(case.wanted[1]), jnp.asarray(case.wanted[0]))
    np.testing.assert_allclose(got, case.values["logits"], atol=1e-5)


def test_what_stands_beside_it_in_a_batch_changes_no_vector(case):
    for (tower, params, inputs), wanted in zip(case.towers, case.wanted, strict=True):
        alone = jax.jit(tower.apply)(params, jax.tree.map(lambda leaf: leaf[1:2], inputs))
        np.testing.assert_allclose(alone, wanted[1:2], atol=tolerance(case, wanted), rtol=0)


def test_padding_and_what_stands_in_it_change_no_vector(case):
    for (tower, params, tokens), wanted in list(zip(case.towers, case.wanted, strict=True))[1:]:
        other = jnp.where(tokens.mask == 0, 20, tokens.ids)
        long = Tokens(jnp.pad(other, ((0, 0), (0, 2)), constant_values=21), jnp.pad(tokens.mask, ((0, 0), (0, 2))))
        np.testing.assert_allclose(jax.jit(tower.apply)(params, long), wanted, atol=1e-5)


def test_many_devices_equal_one(case):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    for (tower, params, inputs), wanted in zip(case.towers, case.wanted, strict=True):
        got = jax.jit(tower.apply)(params, jax.device_put(inputs, rows))
        np.testing.assert_allclose(got, wanted, atol=tolerance(case, wanted), rtol=0)


def test_bfloat16_stays_close_and_params_stay_float32(case):
    half = case._replace(family=case.family._replace(build=lambda c: case.family.build(c, dtype=jnp.bfloat16)))
    for (tower, params, inputs), wanted in zip(half.towers, case.wanted, strict=True):
        got = np.asarray(jax.jit(tower.apply)(params, inputs))
        cosine = (got * wanted).sum(axis=1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
        assert (cosine > 0.999).all(), cosine
        assert not np.allclose(got, wanted, atol=1e-5)  # the products really ran in bfloat16
        made = jax.eval_shape(tower.init, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_reach_every_leaf_but_the_statistics(case, dtype):
    other = case._replace(family=case.family._replace(build=lambda c: case.family.build(c, dtype=dtype)))
    for tower, params, inputs in other.towers:
        weight = jax.random.normal(jax.random.key(0), (case.config.size,))

        def total(params, inputs, tower=tower, weight=weight):
            return (tower.apply(params, inputs) * weight[None, :]).sum()

        gradient = checkpoint.leaves(jax.jit(jax.grad(total))(params, inputs))
        for path, leaf in gradient.items():
            assert jnp.isfinite(leaf).all(), path
            assert bool((leaf != 0).any()) != (path.rpartition(".")[2] in image.STATISTICS), path


def test_the_key_map_goes_both_ways(case):
    back = checkpoint.to_foreign(case.params, case.family.keys(case.config))
    assert back.keys() == case.tensors.keys() - set(unused(case.family, case.tensors))
    for name, tensor in back.items():
        assert tensor.shape == case.tensors[name].shape
        np.testing.assert_array_equal(tensor, case.tensors[name])


def test_fresh_params_have_the_shapes_of_the_checkpoint_and_depend_on_their_key(case):
    built = case.family.build(case.config)
    one, other = built.init(jax.random.key(0)), built.init(jax.random.key(1))
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(jnp.shape, case.params)
    kernels = [path for path in checkpoint.leaves(one) if path.endswith(".kernel")]
    for path in kernels:
        assert not np.array_equal(checkpoint.leaves(one)[path], checkpoint.leaves(other)[path]), path


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
    tower, params, pixels = case.towers[0]
    with pytest.raises(ValueError, match=r"wanted images.*got"):
        tower.apply(params, pixels[..., :2])
