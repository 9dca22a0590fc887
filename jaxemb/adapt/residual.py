"""What is added to a finished vector so that it ranks by another notion of what belongs together.

Each is the identity until it is trained, so that nothing is lost at the start.  The best known is the `dictionary`:
a few learnt keys that a vector is compared with, and what each of them adds.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemb import progress
from jaxemb.similarity import unit
from jaxemb.types import Params


class Residual(NamedTuple):
    """A function that is added to vectors.

    name: what tables and files call it.
    init: (key, dimensions) -> params, with which it adds zeros.
    apply: (params, vectors `[b, d]`) -> what is added `[b, d]`.
    """

    name: str
    init: Callable[[PRNGKeyArray, int], Params]
    apply: Callable[[Params, Float[Array, "b d"]], Float[Array, "b d"]]


def adapted(residual: Residual, params: Params, vectors: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """The vectors with what is added to them, of length one.

    >>> one = offset()
    >>> print(adapted(one, {"values": jnp.array([[0.0, 1.0]])}, jnp.array([[1.0, 0.0]])).round(3))
    [[0.707 0.707]]

    Raises: ValueError for vectors of another size than it was made for.
    """
    sizes = {leaf.shape[-1] for name, leaf in params.items() if name in ("values", "up")}
    if sizes and vectors.shape[1] not in sizes:
        raise ValueError(f"{residual.name}: it is for vectors of {sizes.pop()} numbers, got {list(vectors.shape)}")
    return unit(vectors + residual.apply(params, vectors))


def dictionary(slots: int = 64, *, spread: float = 4.0, scale: float = 1.0) -> Residual:
    """A look-up in a learnt dictionary, as soft as attention is.

        A(x) = softmax(scale x K) V

    Args:
      slots: rows of V, and the most dimensions that what is added can have.
      spread: standard deviation of K at first; with 1, all slots would be nearly equally near to a vector of length
        one, and learn one offset between them.
      scale: no unit.
    Raises: ValueError for less than one slot, a spread or scale that is not above 0.
    Source: arXiv:2310.05380 (Adapted Dense Retrieval); spread and scale are not in what is public of it.
    """
    if slots < 1 or not spread > 0 or not scale > 0:
        raise ValueError(
            f"dictionary: wanted 1 slot or more, a spread and a scale above 0, got {slots}, {spread} and {scale}"
        )

    def init(key: PRNGKeyArray, dim: int) -> Params:
        if slots > dim:
            progress.say(f"dictionary: {slots} slots for {dim} dimensions: what is added is not of low rank")
        return {"keys": spread * jax.random.normal(key, (dim, slots)), "values": jnp.zeros((slots, dim))}

    def apply(params: Params, vectors: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return jax.nn.softmax(scale * (vectors @ params["keys"]), axis=-1) @ params["values"]

    return Residual(f"dictionary-{slots}", init, apply)


def offset() -> Residual:
    """One vector for all: a dictionary of one slot."""

    def apply(params: Params, vectors: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return jnp.broadcast_to(params["values"], vectors.shape)

    return Residual("offset", lambda key, dim: {"values": jnp.zeros((1, dim))}, apply)


def low_rank(rank: int = 64) -> Residual:
    """`x A B`, as LoRA adds to a matrix; A is drawn with a variance of one by the dimensions, B begins as zeros.

    Raises: ValueError for a rank below one.
    Source: Hu et al. 2021, arXiv:2106.09685.
    """
    if rank < 1:
        raise ValueError(f"low_rank: wanted a rank of 1 or more, got {rank}")

    def init(key: PRNGKeyArray, dim: int) -> Params:
        return {"down": dim**-0.5 * jax.random.normal(key, (dim, rank)), "up": jnp.zeros((rank, dim))}

    return Residual(f"low-rank-{rank}", init, lambda params, vectors: vectors @ params["down"] @ params["up"])


def linear() -> Residual:
    """`x W`, with W of zeros at first."""
    return Residual(
        "linear", lambda key, dim: {"up": jnp.zeros((dim, dim))}, lambda params, vectors: vectors @ params["up"]
    )


def hidden(units: int = 64) -> Residual:
    """`gelu(x A + b) B`, with B of zeros at first.  Raises: ValueError for less than one unit."""
    if units < 1:
        raise ValueError(f"hidden: wanted 1 unit or more, got {units}")

    def init(key: PRNGKeyArray, dim: int) -> Params:
        down = dim**-0.5 * jax.random.normal(key, (dim, units))
        return {"down": down, "bias": jnp.zeros(units), "up": jnp.zeros((units, dim))}

    def apply(params: Params, vectors: Float[Array, "b d"]) -> Float[Array, "b d"]:
        return jax.nn.gelu(vectors @ params["down"] + params["bias"][None, :]) @ params["up"]

    return Residual(f"hidden-{units}", init, apply)
