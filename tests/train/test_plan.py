import jax
import numpy as np
import optax
import pytest
from jax import ShapeDtypeStruct

from jaxemb import train


def objective(params, batch):
    return ((batch["x"] @ params["w"] - batch["y"]) ** 2).sum(axis=1), {}


PARAMS = {"w": ShapeDtypeStruct((16, 8), np.float32), "still": {"b": ShapeDtypeStruct((4,), np.float32)}}
BATCH = {"x": ShapeDtypeStruct((8, 16), np.float32), "y": ShapeDtypeStruct((8, 8), np.float32)}


def test_a_plan_counts_what_a_device_holds():
    plan = train.planned(objective, optax.adam(1e-3), PARAMS, BATCH, frozen=("still.*",), mesh=train.data_mesh(4))
    assert (plan.params, plan.moving, plan.devices) == (132, 128, 4)
    quarters = (3 * 128 + 4 + 8 * (16 + 8)) * 4 // 4  # weights, two moments, the still leaf, and the batch
    assert quarters <= plan.bytes_held <= quarters + 64  # and the optimizer's count
    assert plan.bytes_worked > 0


def test_a_plan_for_one_device_holds_all():
    one = train.planned(objective, optax.sgd(1e-3), PARAMS, BATCH, mesh=train.data_mesh(1))
    four = train.planned(objective, optax.sgd(1e-3), PARAMS, BATCH, mesh=train.data_mesh(4))
    assert one.bytes_held == (132 + 8 * 24) * 4 == 4 * four.bytes_held


def test_rows_that_do_not_divide_are_refused():
    odd = {"x": ShapeDtypeStruct((6, 16), np.float32), "y": BATCH["y"]}
    with pytest.raises(ValueError, match=r"x has the shape \(6, 16\), wanted a multiple of 4 rows"):
        train.planned(objective, optax.sgd(1e-3), PARAMS, odd, mesh=train.data_mesh(4))


def test_a_plan_runs_nothing():
    before = len(jax.live_arrays())
    train.planned(objective, optax.sgd(1e-3), PARAMS, BATCH, mesh=train.data_mesh(2))
    assert len(jax.live_arrays()) <= before + 1
