"""DHE: no table at all; many hashes of an id go through a network."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxemb.encode.tables import hashing
from jaxemb.encode.tables.table import (
    FLOAT_BYTES,
    BelowFloor,
    Fields,
    Looked,
    Method,
    Now,
    Table,
    Training,
    checked,
    checked_budget,
    global_ids,
    near,
)
from jaxemb.types import Params

BUCKETS = 1_000_000
INNER = 4
EPSILON = 1e-5
REMEMBERED = 0.9
NETWORK = ("inside", "inside_bias", "inner", "inner_bias", "outside", "outside_bias")


def deep_hash(hashes: int = 1024, seed: int = 0) -> Method:
    """Hashes of an id, as numbers in [-1, 1], through six layers: `e = MLP(u(x))`.

        h_j = ((a_j x + b_j) mod P) mod m,   u_j = 2 h_j / (m - 1) - 1
        MLP: k -> w, four times w -> w, each with batch normalization and Mish, then w -> d

    The width `w` is the greatest that the budget has room for; one network serves all fields, which are counted
    through.  Every id costs `k w` products, however small the budget; nothing is looked up.  Batch normalization is
    folded into the layers when training is over.

    Args:
      hashes: `k`, 1 or more.
      seed: of the hash constants, which are saved and compared.
    Source: Kang et al. 2021, arXiv:2010.10784, sec. 4; one prime, 2^31 - 1, for all hashes here.
    """
    if hashes < 1:
        raise ValueError(f"deep-hash: wanted 1 hash or more, got {hashes}")
    name = f"deep-hash-{hashes}"

    def plan(fields: Fields, ratio: float) -> Table:
        budget = checked_budget(name, fields, ratio)
        fixed = hashing.constants(seed, 2 * hashes).reshape(2, hashes)

        def spent(width: int) -> int:
            numbers = (hashes + 1) * width + INNER * width * (width + 1) + (width + 1) * fields.dim
            return numbers * FLOAT_BYTES + fixed.nbytes

        if spent(1) > budget:
            raise BelowFloor(name, ratio, spent(1) / fields.bytes, "a network of width 1, and the hash constants,")
        width = 1
        while spent(width + 1) <= budget:
            width += 1

        def init(key: Array) -> Params:
            first, middle, last = jax.random.split(key, 3)
            ones = jnp.ones((INNER + 1, width), jnp.float32)
            return {
                "hash": jnp.asarray(fixed),
                "inside": _xavier(first, (hashes, width)),
                "inside_bias": jnp.zeros(width),
                "inner": _xavier(middle, (INNER, width, width)),
                "inner_bias": jnp.zeros((INNER, width)),
                "outside": _xavier(last, (width, fields.dim)),
                "outside_bias": jnp.zeros(fields.dim),
                "scale": ones, "shift": 0 * ones, "mean": 0 * ones, "variance": ones,
            }  # fmt: skip

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            return compact(finalize(params), ids)

        def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            rows, means, variances = _codes(params["hash"], global_ids(fields, ids).reshape(-1)), [], []
            for at, (weight, bias) in enumerate(_layers(params)):
                rows = rows @ weight + bias[None, :]
                mean, variance = rows.mean(axis=0), rows.var(axis=0)
                rows = (rows - mean[None, :]) * jax.lax.rsqrt(variance + EPSILON)[None, :]
                rows = jax.nn.mish(rows * params["scale"][at][None, :] + params["shift"][at][None, :])
                means.append(mean)
                variances.append(variance)
            vectors = rows @ params["outside"] + params["outside_bias"][None, :]
            state = {
                each: REMEMBERED * params[each] + (1 - REMEMBERED) * jnp.stack(seen)
                for each, seen in (("mean", means), ("variance", variances))
            }
            return Looked(vectors.reshape(*ids.shape, fields.dim), state=state)

        def finalize(params: Params) -> Params:
            factor = params["scale"] * jax.lax.rsqrt(params["variance"] + EPSILON)
            bias = jnp.concatenate([params["inside_bias"][None, :], params["inner_bias"]])
            folded = (bias - params["mean"]) * factor + params["shift"]
            return {
                **{each: params[each] for each in ("hash", "outside", "outside_bias")},
                "inside": params["inside"] * factor[0][None, :],
                "inside_bias": folded[0],
                "inner": params["inner"] * factor[1:, None, :],
                "inner_bias": folded[1:],
            }

        def compact(form: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            rows = _codes(form["hash"], global_ids(fields, ids).reshape(-1))
            for weight, bias in _layers(form):
                rows = jax.nn.mish(rows @ weight + bias[None, :])
            vectors = rows @ form["outside"] + form["outside_bias"][None, :]
            return vectors.reshape(*ids.shape, fields.dim)

        larger = None if near(fields, ratio, spent(width)) else spent(width + 1)
        return checked(
            Table(name, fields, {"width": width, "hashes": hashes}, spent(width), larger, init, lookup, finalize,
                  compact, ("hash", *NETWORK), {"hash": fixed}, Training(look=look, held=("mean", "variance")))
        )  # fmt: skip

    return plan


def _codes(fixed: Array, ids: Int[Array, " n"]) -> Float[Array, "n k"]:
    hashed = hashing.multiplied(fixed[0][None, :], ids.astype(jnp.uint32)[:, None])
    bucket = hashing.added(hashed, fixed[1][None, :]) % BUCKETS
    return 2 * bucket.astype(jnp.float32) / (BUCKETS - 1) - 1


def _layers(params: Params) -> list[tuple[Array, Array]]:
    inner = [(params["inner"][at], params["inner_bias"][at]) for at in range(INNER)]
    return [(params["inside"], params["inside_bias"]), *inner]


def _xavier(key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    return jax.random.normal(key, shape, jnp.float32) * math.sqrt(2 / (shape[-2] + shape[-1]))
