"""Scores of codes as sums of table look-ups, four bits at a time: what in-register scans compute.

Of many compressors the inner product of a query with a decoded code is

    score(q, x) = f(x) (c + sum_j <q'_j, centre_(j, x_j)>)

where `x_j` is the `j`-th nibble of the code, one of 16 centres each, and `f` a factor that the code knows, such as the
inverse of its length.  `tables` tells these parts of a compressor.  Source: sec. 3.5 of Gan et al. 2023,
arXiv:2302.08714 (symmetric distance), and André et al. 2015, doi:10.14778/2856318.2856324 (scans in registers).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from jaxemb import compress
from jaxemb.index import interface
from jaxemb.packed import packed_bytes
from jaxemb.types import Compressor, Params

Queries = Callable[[Float32[np.ndarray, "b d"]], Float32[np.ndarray, "b p s"]]
KNOWN = "bebr-<m>x<bits>, pq-<p>x4, opq-<p>x4, aniso-<p>x4x<t>, rq-<books>x4, int4, bits and hamming"


class Tables(NamedTuple):
    """The parts of a compressor's scores.

    centres: what each value of each nibble stands for.
    query: a float query as it meets the centres.
    nibbles: stored codes `[n, c]` to values from 0 to 15 `[n, p]`.
    factor: (stored codes `[..., c]`, nibbles `[..., p]`) -> `[...]`; None where it is always 1.
    constant: added to every sum.
    plain: the query meets the centres as it is, cut into parts.
    """

    centres: Float32[np.ndarray, "p 16 s"]
    query: Queries
    nibbles: Callable[[UInt8[np.ndarray, "n c"]], UInt8[np.ndarray, "n p"]]
    factor: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    constant: float = 0.0
    plain: bool = False


def split(compressor: Compressor, state: Params) -> tuple[Queries | None, Compressor, Params]:
    """A chain's way of a query to its last stage, that stage and its state; no way for what is no chain."""
    names = compressor.name.split("+")
    if len(names) == 1:
        return None, compressor, state
    stages = [compress.by_name(name) for name in names]
    states = [
        {key.removeprefix(f"{i}."): value for key, value in state.items() if key.startswith(f"{i}.")}
        for i in range(len(stages))
    ]

    @jax.jit
    def lead(query: jax.Array) -> jax.Array:
        for stage, learnt in zip(stages[:-1], states[:-1], strict=True):
            query = stage.apply(learnt, query)
        return query

    return lambda query: np.asarray(lead(interface.padded(query)))[: len(query)], stages[-1], states[-1]


def tables(compressor: Compressor, state: Params, *, symmetric: bool = False) -> Tables:
    """The tables of a compressor.

    Args:
      symmetric: the query is cut to a code, too, and decoded, as `Compressor.symmetric` scores.
    Raises: ValueError for a compressor whose scores are no such sums, and for codes of other than four bits.
    """
    known(compressor)
    lead, last, learnt = split(compressor, state)
    arrays = {key: np.asarray(value) for key, value in learnt.items()}
    stem, _, form = last.name.partition("-")
    made = FORMS[stem](form, arrays)
    if symmetric and stem == "bits":
        raise ValueError(f"{compressor.name}: its symmetric score is Hamming's: take the compressor hamming")
    if symmetric and stem != "hamming":  # whose queries always are codes
        query = _as_levels(form, arrays, made) if stem == "bebr" else _as_codes(made, last, learnt)
        made = made._replace(query=query, plain=False)
    if lead is not None:
        query = made.query
        made = made._replace(query=lambda rows: query(lead(rows)), plain=False)
    return made


def scores(found: Tables, looked_up: Float32[np.ndarray, "b p 16"], codes: np.ndarray) -> Float32[np.ndarray, "b m"]:
    """Scores of some codes `[b, m, c]` for each query, from `look_up`."""
    b, m, c = codes.shape
    nibbles = found.nibbles(codes.reshape(b * m, c)).reshape(b, m, -1)
    p = nibbles.shape[2]
    places = nibbles.astype(np.int64)
    places += np.arange(0, 16 * p, 16)[None, None, :]
    if b > 1:
        places += np.arange(0, b * 16 * p, 16 * p)[:, None, None]
    sums = looked_up.reshape(-1).take(places).sum(axis=2) + np.float32(found.constant)
    return sums if found.factor is None else sums * found.factor(codes, nibbles)


def look_up(found: Tables, query: Float32[np.ndarray, "b p s"]) -> Float32[np.ndarray, "b p 16"]:
    """Inner products of a query's parts with all centres."""
    return np.matmul(found.centres[None], query[:, :, :, None])[:, :, :, 0]


def looked_up(name: str) -> bool:
    """Whether a compressor of that name, or the last stage of a chain, has codes of four bits a part."""
    stem, _, form = name.split("+")[-1].partition("-")
    return stem in FORMS and (FORMS[stem] not in (_centres, _books) or form.split("x")[1] == "4")


def known(compressor: Compressor) -> None:
    """Raises: ValueError for a compressor that `tables` has none of."""
    if not looked_up(compressor.name):
        raise ValueError(f"{compressor.name}: wanted codes that are looked up four bits at a time: {KNOWN}")


def _as_codes(made: Tables, last: Compressor, learnt: Params) -> Queries:
    code = interface.coder(last, learnt)
    if last.name.startswith("rq-"):  # every book's centres meet the whole query
        decode = jax.jit(partial(last.decode, learnt))
        books = len(made.centres)

        def whole(query: np.ndarray) -> np.ndarray:
            near = np.asarray(decode(code(interface.padded(query))))[: len(query)]
            return np.repeat(near[:, None, :], books, axis=1)

        return whole

    def levels(query: np.ndarray) -> np.ndarray:
        codes = code(query)
        nibbles = made.nibbles(codes)
        parts = made.centres[np.arange(nibbles.shape[1])[None, :], nibbles]
        return parts if made.factor is None else parts * made.factor(codes, nibbles)[:, None, None]

    return levels


def _halves(codes: UInt8[np.ndarray, "n c"], count: int) -> UInt8[np.ndarray, "n p"]:
    both = np.empty((len(codes), 2 * codes.shape[1]), np.uint8)
    np.right_shift(codes, 4, out=both[:, ::2])
    np.bitwise_and(codes, 15, out=both[:, 1::2])
    return both[:, :count]


def _centres(form: str, state: Params) -> Tables:
    """Of `pq`, `opq` and `aniso`."""
    parts = int(form.split("x")[0])
    centres = (state["centres"] * state["scale"]).astype(np.float32)
    matrix = state.get("matrix")

    def query(rows: np.ndarray) -> np.ndarray:
        turned = rows if matrix is None else rows @ matrix
        return turned.reshape(len(rows), parts, -1)

    return Tables(centres, query, partial(_halves, count=parts), plain=matrix is None)


def _books(form: str, state: Params) -> Tables:
    """Of `rq`: a vector is the sum of a centre a book, so that the whole query meets each."""
    books = int(form.split("x")[0])
    centres = (state["centres"] * state["scale"]).astype(np.float32)
    return Tables(centres, lambda rows: np.repeat(rows[:, None, :], books, axis=1), partial(_halves, count=books))


def _grid(form: str, state: Params) -> Tables:
    """Of `int4`."""
    levels = np.arange(-8, 8, dtype=np.float32)[None, :]
    centres = levels * state["step"][:, None] + state["offset"][:, None]
    halves = partial(_halves, count=len(state["step"]))
    return Tables(centres[:, :, None], lambda rows: rows[:, :, None], halves, plain=True)


def _by_bits(low: np.ndarray, high: np.ndarray) -> Float32[np.ndarray, "p 16 4"]:
    """Centres of four dimensions of a bit each, the first in the highest; what is beyond the last counts nothing."""
    room = -len(low) % 4
    low, high = (np.pad(side.astype(np.float32), (0, room)).reshape(-1, 1, 4) for side in (low, high))
    return np.where(np.unpackbits(np.arange(16, dtype=np.uint8)[:, None], axis=1)[None, :, 4:] == 1, high, low)


def _four_a_nibble(rows: np.ndarray) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).reshape(len(rows), -1, 4)


def _bits(form: str, state: Params) -> Tables:
    centres = _by_bits(state["low"], state["high"])
    squares = np.square(centres).sum(axis=2)

    def factor(codes: np.ndarray, nibbles: np.ndarray) -> np.ndarray:
        square = squares[np.arange(nibbles.shape[-1]), nibbles].sum(axis=-1)
        return state["length"] / np.sqrt(np.maximum(square, np.finfo(np.float32).tiny))

    return Tables(centres, _four_a_nibble, partial(_halves, count=len(centres)), factor)


def _hamming(form: str, state: Params) -> Tables:
    dim = len(state["threshold"])
    centres = _by_bits(np.full(dim, -0.5, np.float32), np.full(dim, 0.5, np.float32))

    def query(rows: np.ndarray) -> np.ndarray:
        return _four_a_nibble(np.where(rows > state["threshold"][None, :], np.float32(1), np.float32(-1)))

    return Tables(centres, query, partial(_halves, count=len(centres)), None, -dim / 2)


def _levels(form: str, state: Params) -> Tables:
    """Of `bebr`: so many dimensions a nibble as fit; three bits take a nibble each."""
    size, bits = (int(number) for number in form.split("x"))
    top, room = (1 << bits) - 1, 4 if bits == 3 else bits
    shifts = np.arange(4 - room, -1, -room)
    grid = (2 * np.minimum(np.arange(16)[:, None] >> shifts[None, :] & (1 << room) - 1, top) - top) / 2 ** (bits - 1)
    parts = -(-size // len(shifts))
    centres = np.repeat(grid[None].astype(np.float32), parts, axis=0)
    spare = parts * len(shifts) - size
    if spare:
        centres[-1, :, -spare:] = 0
    if bits == 1:
        centres /= np.sqrt(np.float32(size))
    write, bias = state["write"][0], state["write_bias"][0]

    def query(rows: np.ndarray) -> np.ndarray:
        before = _unit(_unit(rows) @ write + bias[None, :])
        return np.pad(before, ((0, 0), (0, spare))).reshape(len(rows), parts, len(shifts))

    def nibbles(codes: np.ndarray) -> np.ndarray:
        if bits != 3:
            return _halves(codes, parts)
        each = np.unpackbits(codes[:, : packed_bytes(size, 3)], axis=1)[:, : 3 * size].reshape(len(codes), size, 3)
        return each @ np.array([4, 2, 1], np.uint8)

    def factor(codes: np.ndarray, nibbles: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(codes[..., -2:]).view(np.float16)[..., 0].astype(np.float32)

    return Tables(centres, query, nibbles, factor if bits > 1 else None)


def _as_levels(form: str, state: Params, made: Tables) -> Queries:
    """Queries as recurrent codes, scaled to length one: in NumPy, for one query is less work than a call of JAX."""
    size, bits = (int(number) for number in form.split("x"))
    parts, _, each = made.centres.shape
    turns = list(zip(state["read"], state["read_bias"], state["write"][1:], state["write_bias"][1:], strict=True))

    def signs(rows: np.ndarray, write: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return np.where(rows @ write + bias[None, :] < 0, np.float32(-1), np.float32(1))

    def query(rows: np.ndarray) -> np.ndarray:
        whole = _unit(rows)
        code = signs(whole, state["write"][0], state["write_bias"][0])
        for turn, (read, read_bias, write, bias) in enumerate(turns[: bits - 1], 1):
            left = whole - _unit(code @ read + read_bias[None, :])
            code = code + np.float32(0.5**turn) * signs(left, write, bias)
        inverse = 1 / np.sqrt(np.square(code).sum(axis=1, keepdims=True))
        scaled = code * (inverse.astype(np.float16).astype(np.float32) if bits > 1 else inverse)
        return np.pad(scaled, ((0, 0), (0, parts * each - size))).reshape(len(rows), parts, each)

    return query


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.maximum(length, np.finfo(np.float32).tiny)


FORMS: dict[str, Callable[[str, Params], Tables]] = {
    "pq": _centres,
    "opq": _centres,
    "aniso": _centres,
    "rq": _books,
    "int4": _grid,
    "bits": _bits,
    "hamming": _hamming,
    "bebr": _levels,
}
