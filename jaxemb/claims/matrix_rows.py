"""Finished vectors in fewer bytes, each row found by itself: how many of the nearest documents stay the nearest."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemb import model, progress
from jaxemb.claims.claim import Where
from jaxemb.claims.debian_index import debian_in
from jaxemb.claims.described import pairs_of
from jaxemb.claims.rows import row
from jaxemb.compress import matrix
from jaxemb.harness.record import Record

DOCUMENTS, QUERIES, K, ASKED, CHARACTERS = 20_000, 1000, 10, 200, 300
COMPRESSORS = ("quantized-8", "pq-8", "magpq-9x8", "svd", "magsvd-2", "pruned", "tt", "dedup-1x16")
SHARES = (1 / 4, 1 / 16)
SPARE = 0.001
"""A budget's share on top, so that 8 bits a number, with their step, are a quarter."""
RECALL, APART, SHARE = "recall@10 of float32's nearest", "largest difference of a row by itself", "share of float32"


class Rows(NamedTuple):
    """Vectors of length one."""

    task: str
    query: Float[np.ndarray, "q d"]
    document: Float[np.ndarray, "n d"]


def named(compressor: str, share: float) -> str:
    """What a row is called.

    >>> named("svd", 1 / 16)
    'svd, 1/16 of float32'
    """
    return f"{compressor}, 1/{round(1 / share)} of float32"


def given(where: Where) -> Rows:
    """Beginnings of long descriptions of Debian packages as documents, short ones as queries, by all-MiniLM-L6-v2."""
    index = debian_in(where.data)
    pairs = pairs_of(index, "train", DOCUMENTS, True)
    encoder = model.load(model.demo_folder())
    folder = where.data / "vectors"
    query, document = (
        model.kept_vectors(encoder, texts, folder, name=name, what=f"vectors of {name}")
        for name, texts in (
            ("short", [pair.query for pair in pairs[:QUERIES]]),
            ("long", [pair.document[:CHARACTERS] for pair in pairs]),
        )
    )
    return Rows(f"{index.name}/train[{len(pairs)}]", query, document)


def measure(where: Where) -> Iterator[Record]:
    """Every compressor at both budgets; no seed changes them."""
    rows = given(where)
    exact = nearest(rows.query, rows.document)
    chosen = np.random.default_rng(0).integers(len(rows.document), size=ASKED)
    for share in SHARES:
        for name in COMPRESSORS:
            compressor = matrix.by_name(name)
            budget = int((share + SPARE) * rows.document.nbytes)
            if budget < compressor.floor(*rows.document.shape):
                continue
            kept = compressor.compress(rows.document, budget)
            whole = np.asarray(compressor.decompress(kept))
            alone = np.asarray(compressor.decompress_rows(kept, chosen))
            found = nearest(rows.query, whole)
            values = {
                RECALL: recalled(found, exact),
                APART: float(np.abs(alone - whole[chosen]).max()),
                SHARE: matrix.size(kept) / rows.document.nbytes,
            }
            progress.say(f"{named(name, share)}: recall@{K} {values[RECALL]:.3f}")
            for metric, value in values.items():
                yield row(
                    named(name, share), {"compressor": name, "budget": budget}, rows.task, metric, [value], each="once"
                )


def nearest(query: Float[np.ndarray, "q d"], document: Float[np.ndarray, "n d"]) -> np.ndarray:
    """The ten documents with the largest inner product."""
    return np.argpartition(-(query @ document.T), K, axis=1)[:, :K]


def recalled(found: np.ndarray, wanted: np.ndarray) -> float:
    """How many of the wanted were found."""
    both = zip(found.tolist(), wanted.tolist(), strict=True)
    return float(np.mean([len(set(one) & set(other)) / K for one, other in both]))
