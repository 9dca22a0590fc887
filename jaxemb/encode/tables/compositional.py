"""CompoEmb: an id is a quotient and a remainder, and its vector is made of theirs."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BelowFloor,
    Fields,
    Method,
    Table,
    checked,
    checked_budget,
    near,
    same,
    starts,
    uniform,
)
from jaxemb.types import Params


def compositional() -> Method:
    """The product of two rows: `e = Q[x div c] * R[x mod c]`, number by number.

    Two ids of a field share one of their rows at most.  One divisor `c` serves all fields; a field whose rows would not
    become fewer keeps them, and is not multiplied.  The rows of remainders start around 1.

    >>> table = compositional()(Fields((100, 4), 8), 0.4)
    >>> print(table.decided)
    {'divisor': 3, 'rows': 41}

    Source: Shi et al. 2020, arXiv:1909.02107, eq. 2.
    """
    return _of_two("compositional", jnp.multiply, 1.0)


def compositional_sum() -> Method:
    """The sum of two rows: `e = Q[x div c] + R[x mod c]`; else as `compositional`."""
    return _of_two("compositional-sum", jnp.add, 0.0)


def _of_two(name: str, join: Callable[[Array, Array], Array], neutral: float) -> Method:
    def plan(fields: Fields, ratio: float) -> Table:
        each = fields.dim * FLOAT_BYTES
        most = checked_budget(name, fields, ratio) // each
        divisors = range(1, math.isqrt(max(fields.sizes)) + 2)
        rows = [_rows(fields.sizes, divisor) for divisor in divisors]
        if min(rows) > most:
            raise BelowFloor(
                name, ratio, min(rows) * each / fields.bytes, f"a divisor of {divisors[int(np.argmin(rows))]}"
            )
        chosen = next(at for at, count in enumerate(rows) if count <= most)
        divisor, spent = divisors[chosen], rows[chosen] * each
        larger = None if near(fields, ratio, spent) else min(count for count in rows if count > most) * each
        cut = np.array([_quotients(size, divisor) < size for size in fields.sizes])
        quotients = [
            _quotients(size, divisor) - divisor if one else size for size, one in zip(fields.sizes, cut, strict=True)
        ]
        remainders = [divisor if one else 0 for one in cut]
        at_quotient, at_remainder = (jnp.asarray(starts(counts), jnp.int32) for counts in (quotients, remainders))

        def init(key: Array) -> Params:
            one, other = jax.random.split(key)
            shape = (sum(remainders), fields.dim)
            start = (
                jax.random.uniform(other, shape, jnp.float32, 0.5, 1.5) if neutral else uniform(other, shape, fields)
            )
            return {"quotient": uniform(one, (sum(quotients), fields.dim), fields), "remainder": start}

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            divided = jnp.where(cut[None, :], ids // divisor, ids)
            found = params["quotient"][at_quotient[None, :] + divided]
            if not cut.any():
                return found
            place = jnp.where(cut[None, :], at_remainder[None, :] + ids % divisor, 0)
            return join(found, jnp.where(cut[None, :, None], params["remainder"][place], neutral))

        decided = {"divisor": divisor, "rows": rows[chosen]}
        return checked(
            Table(name, fields, decided, spent, larger, init, lookup, same, lookup, ("quotient", "remainder"))
        )

    return plan


def _quotients(size: int, divisor: int) -> int:
    """Rows of a field that is cut: of its quotients and of its remainders."""
    return -(-size // divisor) + divisor


def _rows(sizes: Sequence[int], divisor: int) -> int:
    return sum(min(size, _quotients(size, divisor)) for size in sizes)
