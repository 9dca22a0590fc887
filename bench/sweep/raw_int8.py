"""int8 codes scored as they are, without their steps: what sentence-transformers' search does with the same codes.

Its `semantic_search_usearch` and `_faiss` cut the query to int8 with the documents' ranges and take the inner product
of both codes; steps and offsets drop out.  Here both sides are cut by `compress.int8`, which rounds and clips where
that library truncates, so that nothing but the score differs.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int8

from jaxemb import compress
from jaxemb.evaluate import fidelity
from jaxemb.harness import Record, Vectors, machine

NAME = "int8, raw codes, as sentence-transformers scores"


def raw_hits(
    query: Int8[np.ndarray, "b d"], document: Int8[np.ndarray, "n d"], k: int, *, block: int = 1 << 22
) -> np.ndarray:
    """Rows of the `k` largest inner products of codes, best first; of equals the lower row."""
    wide, step = document.astype(np.float32), max(1, block // len(document))
    rows = []
    for at in range(0, len(query), step):
        scores = query[at : at + step].astype(np.float32) @ wide.T  # whole numbers below 2^24: exact in float32
        apart = scores.astype(np.float64) * len(document) - np.arange(len(document))  # equal scores fall by row
        best = np.argpartition(apart, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(apart, best, 1), axis=1)
        rows.append(np.take_along_axis(best, order, 1))
    return np.concatenate(rows)


def records(given: Vectors, at: tuple[int, ...] = (1, 10, 100)) -> list[Record]:
    """Fidelity of the raw scores."""
    code = compress.int8()
    document = jnp.asarray(np.asarray(given.document))
    state = code.fit(document)
    codes = [np.asarray(code.apply(state, rows)) for rows in (jnp.asarray(np.asarray(given.query)), document)]
    at = tuple(k for k in at if k <= len(document))
    truth, found = given.truth(max(at)), raw_hits(codes[0], codes[1], max(at))
    values: dict[str, Float[np.ndarray, " q"]] = {f"fidelity@{k}": fidelity(found, truth, k=k) for k in at}
    config = {"encoder": given.encoder, "group": "peer", "query": "int8, by the documents' ranges"}
    made = [(name, "query", tuple(each.tolist())) for name, each in values.items()]
    made += [("bytes_per_vector", "once", (float(given.dim),)), ("documents", "once", (float(len(document)),))]
    return [
        Record(
            recipe=NAME,
            config=config,
            task=f"{given.name}/{given.split}",
            metric=metric,
            values=each_value,
            each=each,
            device=machine.device(),
            versions=machine.versions(),
        )
        for metric, each, each_value in made
    ]
