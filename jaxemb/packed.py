"""Small whole numbers side by side in bytes."""

import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` numbers of so many bits take; the last one is filled up with zeros."""
    return -(-count * bits // 8)


def pack(levels: Int[Array, "n d"] | UInt8[Array, "n d"], bits: int) -> UInt8[Array, "n c"]:
    """Numbers from 0 to `2^bits - 1` one after another, the highest bit first.

    >>> print(pack(jnp.array([[1, 2, 3]]), 4))
    [[18 48]]
    """
    if bits == 8:
        return levels.astype(jnp.uint8)
    places = jnp.arange(bits - 1, -1, -1, dtype=jnp.uint8)
    each = levels.astype(jnp.uint8)[:, :, None] >> places[None, None, :] & 1
    return jnp.packbits(each.reshape(levels.shape[0], levels.shape[1] * bits), axis=-1)


def unpack(codes: UInt8[Array, "n c"], count: int, bits: int) -> UInt8[Array, "n d"]:
    """What `pack` packed.

    >>> print(unpack(jnp.array([[18, 48]], jnp.uint8), 3, 4))
    [[1 2 3]]
    """
    if bits == 8:
        return codes
    # jnp.unpackbits divides by zero where there are no rows.
    each = codes[:, :, None] >> jnp.arange(7, -1, -1, dtype=jnp.uint8)[None, None, :] & 1
    flat = each.reshape(codes.shape[0], 8 * codes.shape[1])[:, : count * bits]
    values = flat.reshape(codes.shape[0], count, bits) << jnp.arange(bits - 1, -1, -1, dtype=jnp.uint8)[None, None, :]
    return values.sum(axis=-1, dtype=jnp.uint8)
