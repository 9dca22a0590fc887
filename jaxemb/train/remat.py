"""Less memory for more time: what a layer computed is thrown away and computed again when gradients need it."""

from typing import Any

import jax
from jax.extend import core
from jaxtyping import Array, Float

from jaxemb.types import Encoder, Params

SCAN, CALLS = "scan", ("jit", "pjit", "closed_call")


def remat(encoder: Encoder) -> Encoder:
    """The same vectors and gradients, from the states between layers alone.

    Without it, the backward pass keeps all that every layer computed.  With it, what enters each layer is kept, and the
    layer runs once more: about a third more time, and memory that grows with depth only by these states.

    Layers are what the encoder scans over, wherever in it that is; one that scans nothing is run again as a whole.
    """

    def apply(params: Params, inputs: Any) -> Float[Array, "b d"]:
        program, shape = jax.make_jaxpr(encoder.apply, return_shape=True)(params, inputs)
        if not _scans(program):
            return jax.checkpoint(encoder.apply)(params, inputs)
        flat = core.jaxpr_as_fun(_rewritten(program))(*jax.tree.leaves((params, inputs)))
        return jax.tree.unflatten(jax.tree.structure(shape), flat)

    return Encoder(encoder.init, apply)


def _inner(program: core.ClosedJaxpr) -> list[Any]:
    """The equations that hold a program which may have layers in it."""
    return [eqn for eqn in program.jaxpr.eqns if eqn.primitive.name in (SCAN, *CALLS)]


def _scans(program: core.ClosedJaxpr) -> bool:
    return any(eqn.primitive.name == SCAN or _scans(eqn.params["jaxpr"]) for eqn in _inner(program))


def _rewritten(program: core.ClosedJaxpr) -> core.ClosedJaxpr:
    """The same program, in which every body of a scan forgets what it computed."""
    inner = {id(eqn) for eqn in _inner(program)}
    eqns = [_forgetful(eqn) if id(eqn) in inner else eqn for eqn in program.jaxpr.eqns]
    return core.ClosedJaxpr(program.jaxpr.replace(eqns=eqns), program.consts)


def _forgetful(eqn: Any) -> Any:
    body = _rewritten(eqn.params["jaxpr"])
    if eqn.primitive.name == SCAN:
        # A scan keeps its steps apart by itself, so the guard against merging them is not needed.
        body = jax.make_jaxpr(jax.checkpoint(core.jaxpr_as_fun(body), prevent_cse=False))(*body.in_avals)
    return eqn.replace(params={**eqn.params, "jaxpr": body})
