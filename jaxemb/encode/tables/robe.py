"""ROBE: all vectors are runs of one flat array, found by a hash."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables import hashing
from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BelowFloor,
    Fields,
    Method,
    Table,
    checked,
    checked_budget,
    same,
    uniform,
)
from jaxemb.types import Params

CONSTANTS = 8


def robe(blocks: int = 1, seed: int = 0) -> Method:
    """A vector is `blocks` runs of a flat array `A`, each number of it with a sign of its own.

    With `c` the block and `o` the place in the block of number `i`, and `P` a prime:

        e_i = sign(x, i) A[ ((C1 x + C2 c + C3 field + C0 + o) mod P) mod |A| ]
        sign(x, i) = +1 or -1 by the parity of (S1 x + S2 i + S3 field + S0) mod P

    Ids share numbers and not rows, so that the size is free down to one vector; gradients of all that share are summed.

    Args:
      blocks: that a vector is cut into; they divide its dimensions.
      seed: of the hash constants, which are saved and compared.
    Source: Desai et al. 2022, arXiv:2108.02191; the prime is 2^31 - 1 here.
    """

    def plan(fields: Fields, ratio: float) -> Table:
        name = f"robe-{blocks}"
        if blocks < 1 or fields.dim % blocks:
            raise ValueError(f"{name}: wanted blocks that divide {fields.dim} dimensions, got {blocks}")
        fixed = hashing.constants(seed, CONSTANTS)
        numbers = (checked_budget(name, fields, ratio) - fixed.nbytes) // FLOAT_BYTES
        if numbers < fields.dim:
            floor = (fields.dim * FLOAT_BYTES + fixed.nbytes) / fields.bytes
            raise BelowFloor(name, ratio, floor, "an array as long as one vector, and the hash constants,")
        run = fields.dim // blocks

        def init(key: Array) -> Params:
            return {"array": uniform(key, (numbers,), fields), "hash": jnp.asarray(fixed)}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            c1, c2, c3, c0, s1, s2, s3, s0 = params["hash"]
            field = jnp.arange(len(fields.sizes), dtype=jnp.uint32)
            place = jnp.arange(fields.dim, dtype=jnp.uint32)
            block, offset = place // run, place % run
            start = _at(c1, c3, c0, ids, field)[:, :, None]
            inside = hashing.added(hashing.multiplied(c2, block), offset)[None, None, :]
            at = hashing.added(start, inside) % jnp.uint32(numbers)
            sign = _at(s1, s3, s0, ids, field)[:, :, None]
            odd = hashing.added(sign, hashing.multiplied(s2, place)[None, None, :]) & 1
            found = params["array"][at.astype(jnp.int32)]
            return jnp.where(odd == 1, found, -found)

        size = numbers * FLOAT_BYTES + fixed.nbytes
        return checked(
            Table(name, fields, {"numbers": numbers, "blocks": blocks}, size, None, init, lookup, same, lookup,
                  ("array", "hash"), {"hash": fixed})
        )  # fmt: skip

    return plan


def _at(by_id: Array, by_field: Array, plus: Array, ids: Int[Array, "b f"], field: Array) -> Array:
    """`(by_id x + by_field field + plus) mod P`."""
    fixed = hashing.added(hashing.multiplied(by_field, field), plus)
    return hashing.added(hashing.multiplied(by_id, ids.astype(jnp.uint32)), fixed[None, :])
