"""What holds of every loss and of every loss made from it.  A new loss joins `LOSSES` and meets every law."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from jaxemb import losses


class Case(NamedTuple):
    """A loss, and the keyword arrays `[b, n]` that it needs."""

    name: str
    loss: object
    masked: bool = False
    scored: bool = False

    def kwargs(self, b: int, n: int) -> dict:
        draw = np.random.default_rng(7)
        made = {}
        if self.masked:
            made["ignore"] = jnp.asarray(draw.random((b, n)) < 0.3)
        if self.scored:
            made["teacher"] = jnp.asarray(draw.normal(size=(b, n)), jnp.float32)
        return made


PLAIN = [
    Case("info_nce", losses.info_nce),
    Case("info_nce masked", losses.info_nce, masked=True),
    Case("embedding_distillation", losses.embedding_distillation),
    Case("score_distillation", losses.score_distillation, scored=True),
]
LOSSES = PLAIN + [c._replace(name=f"matryoshka {c.name}", loss=losses.matryoshka(c.loss, (2, 4))) for c in PLAIN]
pytestmark = pytest.mark.usefixtures("compiled_quickly")
by_name = {"ids": lambda case: case.name}


def vectors(seed: int, n: int, d: int = 4) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)), jnp.float32)


@pytest.mark.parametrize("case", LOSSES, **by_name)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), b=st.sampled_from([1, 5]), extra=st.sampled_from([0, 3]))
def test_order_of_negatives_is_irrelevant(case, seed, b, extra):
    query, document, kwargs = vectors(seed, b), vectors(seed + 1, b + extra), case.kwargs(b, b + extra)
    turned = np.r_[np.arange(b), np.arange(b, b + extra)[::-1]]
    shuffled = case.loss(query, document[turned], **{name: value[:, turned] for name, value in kwargs.items()})
    np.testing.assert_allclose(case.loss(query, document, **kwargs), shuffled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", LOSSES, **by_name)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e20]))
def test_length_of_vectors_is_irrelevant(case, seed, scale):
    query, document, kwargs = vectors(seed, 4), vectors(seed + 1, 6), case.kwargs(4, 6)
    got = case.loss(query * scale, document / scale, **kwargs)
    np.testing.assert_allclose(got, case.loss(query, document, **kwargs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", LOSSES, **by_name)
def test_never_negative(case):
    query, document, kwargs = vectors(0, 4), vectors(1, 6), case.kwargs(4, 6)
    assert (case.loss(query, document, **kwargs) >= -1e-6).all()


@pytest.mark.parametrize("case", LOSSES, **by_name)
def test_gradient(case):
    kwargs = case.kwargs(4, 6)
    if "distillation" not in case.name or case.scored:
        kwargs["temperature"] = 0.5

    def both(q, d):
        return case.loss(jnp.asarray(q), jnp.asarray(d), **kwargs).mean()

    wide = (vectors(0, 4), vectors(1, 6))
    check_grads(lambda q: both(q, wide[1]), (wide[0],), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
    if case.name.split()[-1] != "embedding_distillation":  # a teacher's vectors get no gradient
        check_grads(lambda d: both(wide[0], d), (wide[1],), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
    else:
        assert (jax.grad(both, argnums=1)(*wide) == 0).all()
    for at_zero in jax.grad(both, argnums=(0, 1))(jnp.zeros((4, 4)), jnp.zeros((6, 4))):
        assert jnp.isfinite(at_zero).all()  # where the norm has no slope


@pytest.mark.parametrize("case", LOSSES, **by_name)
def test_bfloat16_vectors_lose_only_their_own_rounding(case):
    query, document, kwargs = vectors(0, 4), vectors(1, 6), case.kwargs(4, 6)
    if case.name.split()[-1] != "embedding_distillation":
        kwargs["temperature"] = 0.5
    half = case.loss(query.astype(jnp.bfloat16), document.astype(jnp.bfloat16), **kwargs)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, case.loss(query, document, **kwargs), atol=0.03)


# --- one device equals many ----------------------------------------------------------------------------------------


def auto(case, devices):
    """`jit` over a mesh whose axes the compiler manages."""
    return _jitted(case, devices, AxisType.Auto)


def explicit(case, devices):
    """`jit` over a mesh whose axes are part of every array's type."""
    return _jitted(case, devices, AxisType.Explicit)


def _jitted(case, devices, kind):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(kind,), devices=jax.devices()[:devices])
    rows = NamedSharding(mesh, PartitionSpec("data"))

    def run(query, document, kwargs):
        def mean(q, d, k):
            each = case.loss(q, d, **k)
            return each.mean(), each

        with jax.set_mesh(mesh):
            placed = jax.device_put((query, document, kwargs), rows)
            return jax.jit(jax.value_and_grad(mean, argnums=(0, 1), has_aux=True))(*placed)

    return run


def sharded(case, devices):
    """`shard_map` with an explicit gather."""
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    rows = PartitionSpec("data")
    local = losses.across_devices(case.loss, "data")

    def run(query, document, kwargs):
        mapped = jax.shard_map(lambda q, d, k: local(q, d, **k), mesh=mesh, in_specs=(rows, rows, rows), out_specs=rows)

        def mean(q, d, k):
            each = mapped(q, d, k)
            return each.mean(), each

        return jax.jit(jax.value_and_grad(mean, argnums=(0, 1), has_aux=True))(query, document, kwargs)

    return run


def pmapped(case, devices):
    """`pmap` with the same gather."""
    local = losses.across_devices(case.loss, "data")
    mapped = jax.pmap(lambda q, d, k: local(q, d, **k), axis_name="data", devices=jax.devices()[:devices])

    def split(value):
        return value.reshape(devices, -1, *value.shape[1:])

    def run(query, document, kwargs):
        def mean(q, d, k):
            each = mapped(split(q), split(d), jax.tree.map(split, k)).reshape(-1)
            return each.mean(), each

        return jax.value_and_grad(mean, argnums=(0, 1), has_aux=True)(query, document, kwargs)

    return run


@pytest.mark.parametrize("devices", [4, 8])
@pytest.mark.parametrize("way", [auto, explicit, sharded, pmapped])
@pytest.mark.parametrize("case", LOSSES, **by_name)
def test_many_devices_equal_one(case, way, devices):
    query, document, kwargs = vectors(0, 8), vectors(1, 8), case.kwargs(8, 8)

    def mean(q, d):
        each = case.loss(q, d, **kwargs)
        return each.mean(), each

    (wanted, wanted_each), wanted_gradient = jax.value_and_grad(mean, argnums=(0, 1), has_aux=True)(query, document)
    (got, got_each), got_gradient = way(case, devices)(query, document, kwargs)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    np.testing.assert_allclose(got_each, wanted_each, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(got_gradient, wanted_gradient, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", [sharded, pmapped])
def test_hard_negatives_of_every_device_count(way):
    """Each device brings two queries, their documents and three negatives of its own."""
    devices, b, extra = 4, 2, 3
    query, document = vectors(0, devices * b), vectors(1, devices * (b + extra))
    case = Case("info_nce", partial(losses.info_nce, temperature=0.3))
    blocks = np.arange(len(document)).reshape(devices, b + extra)
    one_device = document[np.r_[blocks[:, :b].ravel(), blocks[:, b:].ravel()]]
    (_, each), _ = way(case, devices)(query, document, {})
    np.testing.assert_allclose(each, case.loss(query, one_device), rtol=1e-5)
