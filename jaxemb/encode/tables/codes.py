"""DPQ and MGQE: an id is a few codes, each the number of one of few short vectors, and training learns both.

Training keeps a full table beside the codebooks, so it takes more memory than a full table; what is saved are codes and
codebooks.  Responses are normalised over batches, each entry of a codebook on its own, so that all are used; running
means and variances choose the codes in training as well as afterwards, so that both choose alike.  All codes are chosen
anew in `finalize`: those of ids that were not seen lately would be stale.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

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
    in_order,
    near,
    needs_counts,
    starts,
    uniform,
)
from jaxemb.packed import pack, packed_bytes, unpack
from jaxemb.types import Params

MOMENTUM = 0.1  # of running means and variances
EPSILON = 1e-5
AT_ONCE = 512  # ids of every field whose codes are chosen at a time in `finalize`

Queries = Float[Array, "b g p s"]
Responses = Float[Array, "b g p k"]
Codes = Int[Array, "b g p"]
Reconstruct = Callable[[Params, Queries, Responses, Codes], tuple[Float[Array, "b g p s"], Float[Array, ""] | float]]
"""(params, queries, normalised responses, codes) -> vectors in training, with a gradient, and a loss to add."""


def dpq(bits: int = 5, parts: int | None = None) -> Method:
    """Differentiable product quantization: the nearest entry for each part, with a gradient passed straight through.

    With `q` the id's own row while training, cut in parts, and `C_p` the codebook of part `p`, of `2^bits` entries:

        code_p = argmax_k norm(-|q_p - C_pk|^2),   e_p = C_p[code_p]
        in training: e = q + stop(C[code] - q), and a loss mean((C[code] - stop(q))^2), which moves the codebook

    A field whose codes and codebook would take more than its rows keeps them.

    Args:
      bits: of a code.
      parts: of a vector; None for as many as divide it and fit the budget.
    Raises: ValueError for bits other than 1 to 8, or parts that do not divide a vector; in training for a batch of one,
      which has no variance.
    Source: Chen et al. 2020, arXiv:1908.09756, sec. 2.2 (DPQ-VQ).
    """
    return _method(f"dpq-{bits}", bits, parts, None, 1.0, ("centres",), _distances, _straight)


def dpq_softmax(bits: int = 5, parts: int | None = None) -> Method:
    """As `dpq`, codes by inner products with keys, and a separate matrix of values, chosen by a softmax in training.

        p = softmax(norm(<q_p, K_pk>)),   e_p = V_p[argmax_k p_k],   in training: e_p = (p - stop(p - onehot)) @ V_p

    Source: Chen et al. 2020, arXiv:1908.09756, sec. 2.2 (DPQ-SX).
    """
    return _method(f"dpq-softmax-{bits}", bits, parts, None, 1.0, ("centres", "keys"), _products, _softmax)


def mgqe(bits: int = 8, parts: int | None = None, *, rare_bits: int = 6, frequent: float = 0.1) -> Method:
    """Multi-granular codes: as `dpq`, but only frequent ids may use the whole codebook, the others its first entries.

    What is saved are codes of `bits` for all ids: one width needs no record of which ids are frequent, which would take
    more than narrower codes save.

    Args:
      bits: of codes of frequent ids; the codebook has `2^bits` entries.
      parts: as for `dpq`.
      rare_bits: of which the other ids use `2^rare_bits`.
      frequent: share of a field's ids, the first by their counts, that may use all.
    Raises: as `dpq`; ValueError without counts.
    Source: Kang et al. 2020, arXiv:2002.08530, sec. 4.
    """
    if not 1 <= rare_bits <= bits:
        raise ValueError(f"mgqe: wanted bits of rare ids in 1 to {bits}, got {rare_bits}")
    if not 0 <= frequent <= 1:
        raise ValueError(f"mgqe: wanted a share of frequent ids in [0, 1], got {frequent}")
    return _method(f"mgqe-{bits}", bits, parts, rare_bits, frequent, ("centres",), _distances, _straight)


def _distances(params: Params, queries: Queries) -> Responses:
    centres = params["centres"]
    products = jnp.einsum("bgps,gpks->bgpk", queries, centres)
    square = jnp.square(centres).sum(axis=3)[None]
    return 2 * products - square - jnp.square(queries).sum(axis=3, keepdims=True)


def _products(params: Params, queries: Queries) -> Responses:
    return jnp.einsum("bgps,gpks->bgpk", queries, params["keys"])


def _straight(
    params: Params, queries: Queries, responses: Responses, codes: Codes
) -> tuple[Queries, Float[Array, ""] | float]:
    found = _entries(params["centres"], codes)
    lost = jnp.mean(jnp.square(found - lax.stop_gradient(queries)))
    return queries + lax.stop_gradient(found - queries), lost


def _softmax(
    params: Params, queries: Queries, responses: Responses, codes: Codes
) -> tuple[Queries, Float[Array, ""] | float]:
    share = jax.nn.softmax(responses, axis=3)
    chosen = jax.nn.one_hot(codes, responses.shape[3], dtype=share.dtype)
    return jnp.einsum("bgpk,gpks->bgps", share - lax.stop_gradient(share - chosen), params["centres"]), 0.0


def _entries(centres: Float[Array, "g p k s"], codes: Codes) -> Queries:
    groups, parts = centres.shape[:2]
    return centres[jnp.arange(groups)[None, :, None], jnp.arange(parts)[None, None, :], codes]


def _method(
    name: str,
    bits: int,
    wanted: int | None,
    rare_bits: int | None,
    frequent: float,
    books: tuple[str, ...],
    respond: Callable[[Params, Queries], Responses],
    reconstruct: Reconstruct,
) -> Method:
    if not 1 <= bits <= 8:
        raise ValueError(f"{name}: wanted codes of 1 to 8 bits, got {bits}")
    count = 1 << bits
    fewer = count if rare_bits is None else 1 << rare_bits

    def plan(fields: Fields, ratio: float) -> Table:
        parts, spent, larger = _sized(name, fields, ratio, bits, wanted)
        coded = [
            field for field in range(len(fields.sizes)) if _coded(fields, field, parts, bits) < _whole(fields, field)
        ]
        whole = [field for field in range(len(fields.sizes)) if field not in coded]
        sizes, others = ([fields.sizes[field] for field in group] for group in (coded, whole))
        first, first_other = (jnp.asarray(starts(group), jnp.int32) for group in (sizes, others))
        often = None if rare_bits is None else _frequent(name, fields, coded, frequent)
        shape = (len(coded), parts, count)
        entries = (("codes", "centres") if coded else ()) + (("rows",) if whole else ())

        def init(key: Array) -> Params:
            draws = jax.random.split(key, 2 + len(books))
            params: Params = {}
            if whole:
                params["rows"] = uniform(draws[0], (sum(others), fields.dim), fields)
            if not coded:
                return params
            params["query"] = uniform(draws[1], (sum(sizes), fields.dim), fields)
            for book, draw in zip(books, draws[2:], strict=True):
                params[book] = uniform(draw, (*shape, fields.dim // parts), fields)
            params |= {"mean": jnp.zeros(shape), "variance": jnp.ones(shape)}
            return params if often is None else params | {"frequent": jnp.asarray(often)}

        def queries(params: Params, ids: Int[Array, "b g"]) -> Queries:
            return params["query"][first.astype(ids.dtype)[None, :] + ids].reshape(
                *ids.shape, parts, fields.dim // parts
            )

        def allowed(params: Params, ids: Int[Array, "b g"], normal: Responses) -> Responses:
            if often is None:
                return normal
            may = params["frequent"][first.astype(ids.dtype)[None, :] + ids][:, :, None, None]
            return jnp.where(may | (jnp.arange(count) < fewer)[None, None, None, :], normal, -jnp.inf)

        def codes(params: Params, ids: Int[Array, "b g"]) -> Codes:
            normal = _normal(respond(params, queries(params, ids)), params["mean"], params["variance"])
            return jnp.argmax(allowed(params, ids, normal), axis=3)

        def joined(params: Params, ids: Int[Array, "b f"], vectors: Queries | None) -> Float[Array, "b f d"]:
            found = [] if vectors is None else [(coded, vectors.reshape(*vectors.shape[:2], fields.dim))]
            if whole:
                found.append((whole, params["rows"][first_other.astype(ids.dtype)[None, :] + ids[:, jnp.array(whole)]]))
            return in_order(found)

        def lookup(params: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            if not coded:
                return joined(params, ids, None)
            return joined(params, ids, _entries(params["centres"], codes(params, ids[:, jnp.array(coded)])))

        def look(params: Params, ids: Int[Array, "b f"], now: Now) -> Looked:
            if not coded:
                return Looked(joined(params, ids, None))
            if len(ids) < 2:
                raise ValueError(f"{name}: wanted a batch of 2 or more, which has a variance, got {len(ids)}")
            some = ids[:, jnp.array(coded)]
            query = queries(params, some)
            answers = respond(params, query)
            state = {
                "mean": running(now, params["mean"], answers.mean(axis=0)),
                "variance": running(now, params["variance"], answers.var(axis=0)),
            }
            normal = allowed(params, some, _normal(answers, **state))
            vectors, loss = reconstruct(params, query, normal, jnp.argmax(normal, axis=3))
            return Looked(joined(params, ids, vectors), loss, state)

        @jax.jit
        def all_codes(params: Params) -> Int[Array, "n g p"]:
            blocks = -(-max(sizes) // AT_ONCE)
            counted = jnp.arange(blocks * AT_ONCE, dtype=jnp.int32)[:, None]
            ids = jnp.minimum(counted, jnp.asarray(sizes, jnp.int32)[None, :] - 1)
            found = lax.map(partial(codes, params), ids.reshape(blocks, AT_ONCE, len(sizes)))
            return found.reshape(blocks * AT_ONCE, len(sizes), parts)

        def finalize(params: Params) -> Params:
            form: Params = {"rows": params["rows"]} if whole else {}
            if coded:
                chosen = all_codes(params)
                flat = jnp.concatenate([chosen[:size, at] for at, size in enumerate(sizes)])
                form |= {"centres": params["centres"], "codes": pack(flat, bits)}
            return form

        def compact(form: Params, ids: Int[Array, "b f"]) -> Float[Array, "b f d"]:
            if not coded:
                return joined(form, ids, None)
            at = first.astype(ids.dtype)[None, :] + ids[:, jnp.array(coded)]
            packed = form["codes"][at].reshape(at.size, form["codes"].shape[1])
            chosen = unpack(packed, parts, bits).astype(jnp.int32).reshape(*at.shape, parts)
            return joined(form, ids, _entries(form["centres"], chosen))

        decided = {"parts": parts, "bits": bits, "coded": tuple(coded)}
        training = Training(look=look, held=("mean", "variance") if coded else ())
        return checked(
            Table(name, fields, decided, spent, larger, init, lookup, finalize, compact, entries, training=training)
        )

    return plan


def _normal(answers: Responses, mean: Float[Array, "g p k"], variance: Float[Array, "g p k"]) -> Responses:
    least = jnp.maximum(EPSILON * jnp.mean(variance), jnp.finfo(jnp.float32).tiny)  # of the scale that responses have
    return (answers - mean[None]) * lax.rsqrt(variance + least)[None]


def running(now: Now, before: Array, batch: Array) -> Array:
    """A running mean of what batches have, whose first value is the first batch's; without a gradient."""
    share = jnp.maximum(MOMENTUM, 1 / (now.step.astype(jnp.float32) + 1))
    return (1 - share) * before + share * lax.stop_gradient(batch)


def _frequent(name: str, fields: Fields, coded: list[int], share: float) -> Bool[np.ndarray, " n"]:
    counts = needs_counts(name, fields)
    found = []
    for field in coded:
        often = np.zeros(fields.sizes[field], bool)
        often[np.argsort(-counts[field], kind="stable")[: math.ceil(share * fields.sizes[field])]] = True
        found.append(often)
    return np.concatenate(found) if found else np.zeros(0, bool)


def _whole(fields: Fields, field: int) -> int:
    return fields.sizes[field] * fields.dim * FLOAT_BYTES


def _coded(fields: Fields, field: int, parts: int, bits: int) -> int:
    return fields.sizes[field] * packed_bytes(parts, bits) + (fields.dim << bits) * FLOAT_BYTES


def _sized(name: str, fields: Fields, ratio: float, bits: int, wanted: int | None) -> tuple[int, int, float | None]:
    """As many parts as the budget holds, the bytes they take, and those of the next number of parts."""
    budget = checked_budget(name, fields, ratio)
    choices = [parts for parts in range(1, fields.dim + 1) if fields.dim % parts == 0 and wanted in (None, parts)]
    if not choices:
        raise ValueError(f"{name}: wanted 1 part or more that divide {fields.dim} dimensions, got {wanted}")
    taken = [
        sum(min(_whole(fields, at), _coded(fields, at, parts, bits)) for at in range(len(fields.sizes)))
        for parts in choices
    ]
    if taken[0] > budget:
        raise BelowFloor(
            name, ratio, taken[0] / fields.bytes, f"{choices[0]} codes of {bits} bits an id, with codebooks,"
        )
    chosen = max(at for at, size in enumerate(taken) if size <= budget)
    if near(fields, ratio, taken[chosen]):
        return choices[chosen], taken[chosen], None
    return choices[chosen], taken[chosen], taken[chosen + 1] if chosen + 1 < len(taken) else math.inf
