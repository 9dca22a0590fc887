"""What cannot be cut, gathered or passed around is refused by name, before it is wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

MESH = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
ROWS = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]])
BOUND = {
    "label": partial(partial(losses.batch_hard, label=jnp.array([0, 1, 1, 0])), margin=0.3),
    "document_key": partial(losses.mask_duplicates(losses.info_nce), document_key=jnp.array([1, 2, 1, 3])),
    "ignore": partial(losses.info_nce, ignore=jnp.zeros((4, 4), bool)),
    "weight": partial(losses.weighted(losses.info_nce), weight=jnp.ones(4)),
}


@pytest.mark.parametrize("name", BOUND)
def test_arrays_of_rows_are_passed_and_not_bound(name):
    loss = BOUND[name]
    assert loss(ROWS, ROWS).shape == (4,)  # by itself it is what it is
    changes = [
        partial(losses.tiled, rows=2),
        partial(losses.matryoshka, sizes=(1, 2)),
        partial(losses.across_devices, axis="data"),
        partial(losses.ring, axis="data"),
        partial(losses.on_mesh, mesh=MESH),
        losses.swapped,
        losses.mask_above_own,
    ]
    for change in changes:
        with pytest.raises(ValueError, match=f"^{name}: bound by functools.partial"):
            change(loss)


def test_numbers_and_what_all_rows_share_are_bound():
    temperature = jnp.array(0.5)
    learnt = partial(losses.info_nce, temperature=temperature)
    np.testing.assert_allclose(losses.tiled(learnt, 2)(ROWS, ROWS[::-1]), learnt(ROWS, ROWS[::-1]), rtol=1e-5)

    @losses.declared("pairs", values=("stretch",))
    def stretched(query, document, *, stretch):
        return ((query - document[: query.shape[0]]) * stretch[None, :]).sum(axis=1)

    loss = partial(stretched, stretch=jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(losses.tiled(loss, 3)(ROWS, ROWS[::-1]), loss(ROWS, ROWS[::-1]), rtol=1e-5)


@pytest.mark.parametrize("once", [losses.across_devices, losses.ring, lambda loss, axis: losses.on_mesh(loss, MESH)])
@pytest.mark.parametrize("again", [losses.across_devices, losses.ring])
def test_documents_are_spread_once(once, again):
    with pytest.raises(ValueError, match="has the documents of all devices already; spread it once"):
        again(once(losses.info_nce, "data"), "data")


def test_a_batch_at_once_has_no_tiles_and_no_ring():
    with pytest.raises(ValueError, match="tiled: this loss has no rows of its own"):
        losses.tiled(losses.bit_balance)
    with pytest.raises(ValueError, match="ring: bit_balance takes no `similarity`"):
        losses.ring(losses.bit_balance, "data")


def test_a_mesh_without_the_axis_is_named():
    with pytest.raises(ValueError, match="on_mesh: wanted an axis of the mesh, data, got 'model'"):
        losses.on_mesh(losses.info_nce, MESH, axis="model")


def test_a_ring_takes_no_learnt_similarity():
    rows = PartitionSpec("data")

    def mean(scale):
        def similarity(query, document):
            return losses.negative_squared_distance(query * scale[None, :], document)

        loss = partial(losses.ring(losses.info_nce, "data"), similarity=similarity)
        return jax.shard_map(loss, mesh=MESH, in_specs=(rows, rows), out_specs=rows)(ROWS, ROWS).mean()

    with pytest.raises(ValueError, match="ring: the similarity is made of arrays that are learnt"):
        jax.eval_shape(jax.grad(mean), jnp.ones(2))
    assert jax.eval_shape(lambda: mean(np.ones(2, np.float32))).shape == ()
