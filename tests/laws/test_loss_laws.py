"""What holds of every loss and of every loss made from it.  A new loss joins `loss_cases.py` and meets every law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads
from loss_cases import FEW, LOSSES, PLAIN, WHOLE

from jaxemb import losses, train
from jaxemb.types import Encoder

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def held(law, *, often=LOSSES):
    """Every loss that is not free of a law; those not in `often` with `-m grid`."""
    cases = [case for case in LOSSES if law not in case.free]
    marks = {case.name: () if case in often else pytest.mark.grid for case in cases}
    return pytest.mark.parametrize("case", [pytest.param(case, marks=marks[case.name], id=case.name) for case in cases])


OFTEN = [case for case in LOSSES if case in PLAIN or case.name in FEW]
"""Losses themselves, and one of each transform."""


def vectors(seed: int, n: int, d: int = 4) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)), jnp.float32)


def reordered(case, kwargs, turned):
    form = losses.form_of(case.loss)
    return {
        name: value[:, turned] if name in form.matrices else value[turned] if name in form.documents else value
        for name, value in kwargs.items()
    }


@held("order", often=OFTEN)
def test_order_of_negatives_is_irrelevant(case):
    b, n = 5, 8
    query, document, kwargs = vectors(0, b), vectors(1, n), case.kwargs(b, n)
    turned = np.r_[np.arange(b), np.arange(b, n)[::-1]]
    shuffled = case.loss(query, document[turned], **reordered(case, kwargs, turned))
    np.testing.assert_allclose(case.loss(query, document, **kwargs), shuffled, rtol=1e-5, atol=1e-5)


def drawn(case, b=4):
    n = case.documents(b)
    return vectors(0, b), vectors(1, n), case.kwargs(b, n)


@held("length", often=OFTEN)
def test_length_of_vectors_is_irrelevant(case):
    query, document, kwargs = drawn(case)
    got = case.loss(query * 1e-20, document * 1e20, **kwargs)
    np.testing.assert_allclose(got, case.loss(query, document, **kwargs), rtol=1e-4, atol=1e-5)


@held("sign")
def test_never_negative(case):
    query, document, kwargs = drawn(case)
    assert (case.loss(query, document, **kwargs) >= -1e-6).all()


@held("slope", often=OFTEN)
def test_gradient(case):
    query, document, kwargs = drawn(case)

    def both(q, d):
        return case.loss(jnp.asarray(q), jnp.asarray(d), **kwargs).mean()

    if "teacher" in case.free:
        check_grads(lambda q: both(q, document), (query,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
        assert (jax.grad(both, argnums=1)(query, document) == 0).all()
    else:
        check_grads(both, (query, document), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@held("", often=OFTEN)
def test_rows_of_zeros_and_few_rows_are_finite_in_value_and_gradient(case):
    zeros = drawn(case)
    for query, document, kwargs in (drawn(case, b=case.fewest), (0 * zeros[0], 0 * zeros[1], zeros[2])):
        mean = lambda q, d, k=kwargs: case.loss(q, d, **k).mean()
        value, gradients = jax.value_and_grad(mean, argnums=(0, 1))(query, document)
        assert np.isfinite([value, *(abs(g).max() for g in gradients)]).all()


@held("", often=OFTEN)
def test_bfloat16_vectors_lose_only_their_own_rounding(case):
    query, document, kwargs = drawn(case)
    half = case.loss(query.astype(jnp.bfloat16), document.astype(jnp.bfloat16), **kwargs)
    assert half.dtype == jnp.float32
    if "slope" not in case.free:
        np.testing.assert_allclose(half, case.loss(query, document, **kwargs), atol=0.05, rtol=0.05)


# --- whole = in parts = on many devices ----------------------------------------------------------------------------

B = 16
WEIGHTS = {"matrix": vectors(5, 4)}
ENCODER = Encoder(lambda key: WEIGHTS, lambda params, x: jnp.tanh(x @ params["matrix"]))


def mean_and_gradients(function):
    """Losses, and the gradients of their mean by weights, queries and documents."""

    def run(weights, query, document, kwargs):
        def mean(weights, query, document):
            each = function(weights, query, document, kwargs)
            return each.mean(), each

        (_, each), gradients = jax.value_and_grad(mean, argnums=(0, 1, 2), has_aux=True)(weights, query, document)
        return each, gradients

    return run


def scored(loss, encoder=ENCODER):
    return lambda w, q, d, k: loss(encoder.apply(w, q), encoder.apply(w, d), **k)


def mesh_of(devices, kind=AxisType.Auto):
    return jax.make_mesh((devices,), ("data",), axis_types=(kind,), devices=jax.devices()[:devices])


def jitted(functions, devices, arguments, kind):
    mesh = mesh_of(devices, kind)
    weights, query, document, kwargs = arguments
    rows = NamedSharding(mesh, PartitionSpec("data"))
    with jax.set_mesh(mesh):
        placed = (
            jax.device_put(weights, NamedSharding(mesh, PartitionSpec())),
            *jax.device_put((query, document), rows),
        )
        kwargs = jax.device_put(kwargs, rows)
        run = {name: mean_and_gradients(function) for name, function in functions.items()}
        return jax.jit(lambda w, q, d, k: {name: one(w, q, d, k[name]) for name, one in run.items()})(*placed, kwargs)


def auto(functions, devices, arguments):
    """`jit` over a mesh whose axes the compiler manages."""
    return jitted(functions, devices, arguments, AxisType.Auto)


def explicit(functions, devices, arguments):
    """`jit` over a mesh whose axes are part of every array's type."""
    return jitted(functions, devices, arguments, AxisType.Explicit)


def sharded(functions, devices, arguments):
    """`shard_map`: every device has its own rows."""
    rows, mesh = PartitionSpec("data"), mesh_of(devices)
    run = {
        name: mean_and_gradients(
            jax.shard_map(function, mesh=mesh, in_specs=(PartitionSpec(), rows, rows, rows), out_specs=rows)
        )
        for name, function in functions.items()
    }
    return jax.jit(lambda w, q, d, k: {name: one(w, q, d, k[name]) for name, one in run.items()})(*arguments)


def pmapped(functions, devices, arguments):
    """`pmap`: the same, with an axis of devices in front."""

    def split(value):
        return value.reshape(devices, -1, *value.shape[1:])

    def every(weights, query, document, kwargs):
        return {name: one(weights, query, document, kwargs[name]) for name, one in functions.items()}

    mapped = jax.pmap(every, axis_name="data", in_axes=(None, 0, 0, 0), devices=jax.devices()[:devices])

    def run(weights, query, document, kwargs):
        given = jax.tree.map(split, (query, document, kwargs))
        each, back = jax.vjp(lambda w, q, d: mapped(w, q, d, given[2]), weights, *given[:2])
        got = {}
        for name, one in each.items():
            cotangent = {other: jnp.full_like(value, (other == name) / B) for other, value in each.items()}
            of_weights, *others = back(cotangent)
            got[name] = one.reshape(-1), (of_weights, *(other.reshape(B, -1) for other in others))
        return got

    return run(*arguments)


cached = train.gradient_cache(ENCODER, 2)
LOCAL = {  # what works on the whole batch, whose sharding the compiler minds
    "plain": scored,
    "tiled": lambda loss: scored(losses.tiled(loss, 4)),
    "gradient cache": lambda loss: scored(loss, train.gradient_cache(ENCODER, 8)),
    "tiled, gradient cache": lambda loss: scored(losses.tiled(loss, 3), train.gradient_cache(ENCODER, 8)),
}
SPREAD = {  # what works on each device's rows
    "gather": lambda loss: scored(losses.across_devices(loss, "data")),
    "ring": lambda loss: scored(losses.ring(loss, "data")),
    "tiled gather": lambda loss: scored(losses.tiled(losses.across_devices(loss, "data"), 1), cached),
    "gathered tiles": lambda loss: scored(losses.across_devices(losses.tiled(loss, 1), "data")),
    "tiled ring": lambda loss: scored(losses.tiled(losses.ring(loss, "data"), 1), cached),
    "ring of tiles": lambda loss: scored(losses.ring(losses.tiled(loss, 1), "data")),
}


REFUSED = {  # to losses of a whole batch, and to no others
    "tiled": "no rows of its own",
    "tiled, gradient cache": "no rows of its own",
    "ring": "takes no `similarity`",
    "tiled gather": "no rows of its own",
    "gathered tiles": "no rows of its own",
    "tiled ring": "takes no `similarity`",
    "ring of tiles": "no rows of its own",
}


def composed(name, cases):
    """Every loss changed so, but for those for which it is refused, as it must be."""
    change, made = {**LOCAL, **SPREAD}[name], {}
    for case in cases:
        if name in REFUSED and case.name in WHOLE:
            with pytest.raises(ValueError, match=REFUSED[name]):
                change(case.loss)
        else:
            made[case.name] = change(case.loss)
    return made


@pytest.mark.parametrize("name", [*LOCAL, *SPREAD])
def test_what_is_refused_is_refused_to_losses_of_a_batch_alone(name):
    made = composed(name, LOSSES)
    assert len(made) == len(LOSSES) - (len(WHOLE) if name in REFUSED else 0)


ALIKE = tuple(case for case in LOSSES if not case.negatives)  # the others are on a mesh below


@functools.lru_cache(maxsize=2)
def whole(cases):
    """Every loss by itself on one device, and what it was given."""
    kwargs = {case.name: case.kwargs(B, B) for case in cases}
    arguments = WEIGHTS, vectors(0, B), vectors(1, B), kwargs
    run = {case.name: mean_and_gradients(scored(case.loss)) for case in cases}
    return arguments, jax.jit(lambda w, q, d, k: {name: one(w, q, d, k[name]) for name, one in run.items()})(*arguments)


GRID = [
    *((change, way, devices) for change in LOCAL for way in (auto, explicit) for devices in (1, 4, 8)),
    *((change, way, devices) for change in SPREAD for way in (sharded, pmapped) for devices in (1, 4, 8)),
]
SOME = [
    ("tiled", explicit, 8),
    ("gradient cache", explicit, 4),
    ("ring", pmapped, 8),
    ("tiled ring", sharded, 4),
]
"""Where those of `FEW` always are, which together have every form of a loss."""


def named(cells):
    return [pytest.param(*cell, id=f"{cell[0]}-{cell[1].__name__}-{cell[2]}") for cell in cells]


def check(cases, change, way, devices):
    arguments, wanted = whole(cases)
    functions = composed(change, cases)
    got = way(functions, devices, (*arguments[:3], {name: arguments[3][name] for name in functions}))
    for name in functions:
        (each, gradients), (wanted_each, wanted_gradients) = got[name], wanted[name]
        np.testing.assert_allclose(each, wanted_each, rtol=1e-5, atol=1e-6, err_msg=name)
        for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted_gradients), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("change", "way", "devices"), named(SOME))
def test_every_form_in_parts_and_on_many_devices(change, way, devices):
    check(tuple(case for case in ALIKE if case.name in FEW), change, way, devices)


@pytest.mark.grid
@pytest.mark.parametrize(("change", "way", "devices"), named(GRID))
def test_every_loss_everywhere(change, way, devices):
    check(ALIKE, change, way, devices)


@pytest.mark.grid
@pytest.mark.parametrize("spread", [losses.across_devices, losses.ring])
def test_a_mesh_shares_further_documents_too(spread):
    """Whole batches, most with more documents than queries, tiled where they have rows, on eight devices."""
    cases = [case for case in LOSSES if case.negatives or case.name in FEW]
    query, given = vectors(0, B), {}
    for case in cases:
        n = case.documents(B, 0 if "symmetric" in case.name or case.name == "joint_info_nce" else 2 * B)
        given[case.name] = vectors(1, n), case.kwargs(B, n)

    def run(change):
        functions = {case.name: mean_and_gradients(scored(change(case.loss))) for case in cases}
        return jax.jit(lambda g: {name: one(WEIGHTS, query, *g[name]) for name, one in functions.items()})(given)

    def shared(loss):
        rows = losses.form_of(loss).reads != "batch"
        over = spread if rows else losses.across_devices
        return losses.on_mesh(losses.tiled(loss, 1) if rows else loss, mesh_of(8), spread=over)

    got, wanted = run(shared), run(lambda loss: loss)
    for name in wanted:
        for ours, theirs in zip(jax.tree.leaves(got[name]), jax.tree.leaves(wanted[name]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)
