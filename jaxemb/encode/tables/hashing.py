"""Hash functions over ids, exact in 32 bits: what 64-bit integers would do, JAX has by default not."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

PRIME = 2**31 - 1
"""A Mersenne prime, for which a remainder is two shifts and an addition."""


def constants(seed: int, count: int) -> UInt32[np.ndarray, " k"]:
    """Factors and summands of hash functions, each in [1, `PRIME`)."""
    return np.random.default_rng(seed).integers(1, PRIME, size=count, dtype=np.uint32)


def _folded(value: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The same modulo `PRIME`, at most `PRIME + 1`."""
    return (value & jnp.uint32(PRIME)) + (value >> 31)


def reduced(value: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The remainder modulo `PRIME` of any 32 bits."""
    value = _folded(value)
    return jnp.where(value >= PRIME, value - jnp.uint32(PRIME), value)


def added(one: UInt32[Array, "..."], other: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Their sum modulo `PRIME`, both below it."""
    return reduced(one + other)


def multiplied(one: UInt32[Array, "..."], other: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Their product modulo `PRIME`, both below it.

    Each is cut into 15 and 16 bits, so that no product of parts needs more than 32; 2^31 is 1 modulo the prime.

    >>> print(multiplied(jnp.uint32(2_000_000_000), jnp.uint32(2_038_074_743)), 2_000_000_000 * 2_038_074_743 % PRIME)
    1703843001 1703843001
    """
    one_high, one_low, high, low = one >> 16, one & 0xFFFF, other >> 16, other & 0xFFFF
    middle = _folded(one_high * low + one_low * high)  # times 2^16
    ends = _folded(2 * (one_high * high) + _folded(one_low * low))
    return reduced(ends + (middle >> 15) + ((middle & 0x7FFF) << 16))
