"""What a step is given is checked before anything is compiled."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemb import train

PARAMS = {"w": jnp.float32(1.0)}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda w: (w * jnp.eye(2), {}), r"losses \[b\] of the objective, one an example, got \[2, 2\]"),
        (lambda w: (w * jnp.float32(1.0), {}), r"one an example, got \[\]"),
        (lambda w: (w * jnp.zeros(0), {}), r"one an example, got \[0\]"),
        (lambda w: (w * jnp.ones(2), {"step": w, "seen": w}), r"the objective shows \['step'\]: a log has"),
        (lambda w: (w * jnp.ones(2), {"each": jnp.ones(2), "seen": w}), r"to show numbers, .* got \['each'\]"),
        (lambda w: (w * jnp.ones(2), {"queue": {"seen": w}}), r"got \['queue'\]"),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_what_an_objective_may_give(made, message):
    step = train.make_step(lambda params, batch: made(params["w"]), optax.sgd(0.1))
    with pytest.raises(ValueError, match=message):
        step(PARAMS, optax.sgd(0.1).init(PARAMS), {"x": np.ones(2)})


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "one entry or more, got none"),
        ({"x": None}, "one entry or more, got none"),
        ({"x": np.ones(4), "side": {"y": np.float32(1.0)}}, r"side\.y is one value, wanted an array with rows first"),
        ({"x": ["a", "b"]}, r"x\.0 is one value"),
        ({"x": np.ones((0, 3))}, "x has 0 rows, wanted a multiple of 2 devices"),
        ({"x": np.ones((3, 2))}, "x has 3 rows, wanted a multiple of 2 devices"),
    ],
)
def test_what_a_batch_may_be(batch, message):
    with pytest.raises(ValueError, match=message):
        train.placed(batch, train.data_mesh(2))


def test_an_entry_without_arrays_adds_no_rows():
    told = []

    class Same:
        def __next__(self):
            return {"x": np.ones(2, np.float32), "nothing": {}}

        def get_state(self): ...

        def set_state(self, state): ...

    objective = lambda params, batch: (params["w"] * batch["x"], {})
    train.fit(objective, optax.sgd(0.1), Same(), PARAMS, steps=1, mesh=train.data_mesh(1), watch=told.append, what=None)
    assert [step.loss for step in told] == [1.0]
