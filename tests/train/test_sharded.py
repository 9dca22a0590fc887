"""Params cut over the devices train as whole ones do, and take less of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from killable import run
from test_fit import StoppedError, logged

from jaxemb import train

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_a_leaf_is_cut_along_its_largest_axis_that_divides():
    leaves = {
        "table": jnp.zeros((30, 8)), "stacked": jnp.zeros((12, 4, 8)), "only": jnp.zeros((8, 3, 5)),
        "bias": jnp.zeros((4, 12)), "odd": jnp.zeros((3, 5)), "number": jnp.zeros(()), "none": jnp.zeros((0, 3)),
    }  # fmt: skip
    found = jax.tree.map(lambda one: one.spec, train.fully_sharded(leaves, train.data_mesh(4)))
    assert found == {
        "table": P(None, "data"), "stacked": P(None, None, "data"), "only": P("data"), "bias": P(None, "data"),
        "odd": P(), "number": P(), "none": P(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The losses of replicated params on one device."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, 6, mesh=train.data_mesh(1), checkpoints=None)
    return logged(folder)


@pytest.mark.parametrize("devices", [*(pytest.param(some, marks=pytest.mark.slow) for some in (1, 4)), 8])
def test_losses_are_those_of_whole_params_and_each_device_holds_its_share(whole, devices, tmp_path):
    held = []

    def result(params, state):
        leaves = [
            leaf for leaf in jax.tree.leaves((params, state)) if leaf.ndim > 0
        ]  # the optimizer's counts are whole
        shares = [sum(one.data.nbytes for one in leaf.addressable_shards if one.device.id == 0) for leaf in leaves]
        held.append((sum(shares), sum(leaf.nbytes for leaf in leaves)))
        return params

    mesh = train.data_mesh(devices)
    got = run(tmp_path, 6, mesh=mesh, layout=train.fully_sharded, checkpoints=None, result=result)
    np.testing.assert_allclose(logged(tmp_path), whole, rtol=1e-4)
    assert got["table"].sharding.shard_shape((200, 16)) == (200 // devices, 16)
    share, total = held[0]
    assert total == 3 * 4 * (200 * 16 + 200)  # params and two moments, in float32
    assert share == total / devices


def test_a_checkpoint_goes_on_with_other_devices_and_another_layout(whole, tmp_path):
    """4 devices, then 1, then 2: whole params, then cut ones, and back."""

    def part(until, devices, layout):
        def stop(step):
            if step.number == until:
                raise StoppedError

        try:
            return run(tmp_path, 6, mesh=train.data_mesh(devices), layout=layout, watch=stop, every=2)
        except StoppedError:
            return None

    assert part(3, 4, train.fully_sharded) is None  # on from 2
    assert part(5, 1, train.replicated) is None  # on from 4
    got = part(None, 2, train.fully_sharded)
    np.testing.assert_allclose(logged(tmp_path), whole, rtol=1e-4)
    assert got["table"].addressable_shards[0].data.shape == (100, 16)
