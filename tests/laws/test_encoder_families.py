"""What holds of every architecture: the reference's states at every layer, and what must not change them.

A new family joins by a row in `tools/golden_families.py`, which makes its golden folder.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, encode
from jaxemb.types import Backbone, Params, Tokens

GOLDEN = Path(__file__).parent.parent / "golden" / "families"
NAMES = sorted(folder.name for folder in GOLDEN.iterdir())
FIRST = ("bert", "gemma3", "llama", "modernbert")  # the others share most of their code
# Other settings of a family that is there by another name: states are compared, laws are not repeated.
VARIANTS = (
    "camembert",
    "gemma3-bidirectional",
    "mistral",
    "modernbert-biased",
    "qwen2",
    "qwen3-bidirectional",
    "xlm-roberta",
)


class Case(NamedTuple):
    family: encode.Family
    raw: dict
    tensors: dict
    config: object
    backbone: Backbone
    params: Params
    tokens: Tokens
    hidden: np.ndarray
    last: np.ndarray

    @property
    def kept(self):
        return np.asarray(self.tokens.mask, bool)


def marked(names, mark):
    return [name if name in FIRST else pytest.param(name, marks=mark) for name in names]


@functools.lru_cache(maxsize=2)
def read(name):
    folder = GOLDEN / name
    raw = json.loads((folder / "config.json").read_text())
    family = encode.family_named(raw["model_type"])
    config = family.parse(raw)
    backbone = family.backbone(config)
    tensors = checkpoint.read_tensors(folder / "model.safetensors")
    like = jax.eval_shape(backbone.init, jax.random.key(0))
    params = checkpoint.from_foreign(tensors, family.keys(config), like, unused=family.unused)
    values = np.load(folder / "values.npz")
    tokens = Tokens(jnp.asarray(values["ids"]), jnp.asarray(values["mask"]))
    quick = Backbone(backbone.init, jax.jit(backbone.apply), jax.jit(backbone.hidden))
    return Case(family, raw, tensors, config, quick, params, tokens, values["hidden"], values["last"])


@pytest.fixture(scope="module", params=marked(NAMES, pytest.mark.slow))
def case(request):
    return read(request.param)


@pytest.fixture(scope="module", params=marked((name for name in NAMES if name not in VARIANTS), pytest.mark.grid))
def one(request):
    return read(request.param)


def test_every_family_has_a_golden_folder():
    told = {json.loads((GOLDEN / name / "config.json").read_text())["model_type"] for name in NAMES}
    assert told == {name for family in encode.FAMILIES for name in family.names}


def test_states_of_every_layer(case):
    got = np.asarray(case.backbone.hidden(case.params, case.tokens))
    assert got.shape == case.hidden.shape
    np.testing.assert_allclose(got[:-1][:, case.kept], case.hidden[:-1][:, case.kept], atol=1e-5)
    np.testing.assert_allclose(got[-1][case.kept], case.last[case.kept], atol=1e-5)


def test_apply_gives_the_last_of_them(case):
    got = case.backbone.apply(case.params, case.tokens)
    np.testing.assert_allclose(got[case.kept], case.last[case.kept], atol=1e-5)


def test_padding_and_what_stands_in_it_change_nothing(one):
    cut = Tokens(one.tokens.ids[1:2, :7], one.tokens.mask[1:2, :7])
    long = Tokens(one.tokens.ids[1:2].at[:, 7:].set(6), one.tokens.mask[1:2])
    got = one.backbone.apply(one.params, long)[:, :7]
    np.testing.assert_allclose(got, one.backbone.apply(one.params, cut), atol=5e-6)


def test_a_row_of_padding_is_finite_in_value_and_gradient(one):
    encoder = encode.normalized(encode.pooled(one.backbone, encode.mean))
    empty = one.tokens._replace(mask=one.tokens.mask.at[0].set(0))

    def total(params):
        vectors = encoder.apply(params, empty)
        return vectors.sum(), vectors

    gradient, vectors = jax.jit(jax.grad(total, has_aux=True))(one.params)
    assert jnp.isfinite(vectors).all()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradient["blocks"]))  # no weight is left out


def test_bfloat16_stays_close_and_params_stay_float32(one):
    half = encode.pooled(one.family.backbone(one.config, dtype=jnp.bfloat16), encode.mean)
    full = encode.pooled(one.backbone, encode.mean)
    a, b = half.apply(one.params, one.tokens), full.apply(one.params, one.tokens)
    cosine = (a * b).sum(axis=1) / jnp.linalg.norm(a, axis=1) / jnp.linalg.norm(b, axis=1)
    assert (cosine > 0.999).all()
    assert not np.allclose(a, b, atol=1e-6)  # the products really ran in bfloat16
    made = jax.eval_shape(one.backbone.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype(jnp.float32)}


def test_many_devices_equal_one(one):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    got = one.backbone.apply(one.params, jax.device_put(one.tokens, rows))
    np.testing.assert_allclose(got[one.kept], one.last[one.kept], atol=1e-5)


def test_the_key_map_goes_both_ways(case):
    back = checkpoint.to_foreign(case.params, case.family.keys(case.config))
    assert back.keys() == case.tensors.keys() - set(case.family.unused)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, case.tensors[name])


def test_a_described_shape_parses_to_itself(case):
    assert case.family.parse(json.loads(json.dumps(case.family.describe(case.config)))) == case.config


def test_unknown_keys_and_weights_are_refused_by_name(case):
    with pytest.raises(ValueError, match=r"unknown keys \['surprise'\]"):
        case.family.parse({**case.raw, "surprise": 1})
    keys = case.family.keys(case.config)
    extra = {**case.tensors, "surprise": np.zeros(2)}
    with pytest.raises(ValueError, match="left over surprise"):
        checkpoint.from_foreign(extra, keys, case.params, unused=case.family.unused)
