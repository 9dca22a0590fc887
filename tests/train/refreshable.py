"""A small run that mines its negatives anew, as a program, for tests that kill it: `refreshable.py FOLDER STEPS`."""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax

from jaxemb import data, encode, losses, train
from jaxemb.data import Pair, negatives
from jaxemb.types import Tokens

ENCODER = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=8))


def text(numbers) -> str:
    return " ".join(map(str, numbers))


def source(n: int = 96) -> list[Pair]:
    """A document says what its query says in other words (numbers from 100 on), in another order."""
    draw = np.random.default_rng(0)
    queries = draw.integers(0, 100, size=(n, 4))
    return [Pair(text(q), text(draw.permutation(q) + 100)) for q in queries]


PAIRS = source()
DOCUMENTS = [pair.document for pair in PAIRS]


def tokens(texts) -> Tokens:
    ids = np.array([[int(word) for word in one.split()] for one in texts], np.int32)
    return Tokens(ids, np.ones_like(ids))


def batch(pairs) -> dict:
    hard = [one for pair in pairs for one in pair.negatives]
    return {"query": tokens([p.query for p in pairs]), "document": tokens([p.document for p in pairs] + hard)}


def vectors(params, texts) -> np.ndarray:
    """What the encoder gives, without a program to compile."""
    found = np.asarray(params["table"])[tokens(texts).ids].mean(axis=1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def mine(params, step: int, file: Path) -> None:
    documents, queries = vectors(params, DOCUMENTS), vectors(params, [pair.query for pair in PAIRS])

    def search(some, k):
        scores = some @ documents.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rows, np.take_along_axis(scores, rows, axis=1)

    negatives.mine(PAIRS, DOCUMENTS, search, file, negatives=1, ranks=(0, 10), queries=queries, what=None)


def read(file: Path, step: int) -> data.Stream:
    return data.stream(data.read_pairs(file), batch_size=16, seed=step, make=batch)


def run(folder: Path, steps: int, **settings):
    """Train with negatives of its own every four steps."""
    settings = {"mine": mine, "refresh": 4, "every": 3, "mesh": train.data_mesh(1), **settings}
    objective = train.pairwise(ENCODER, partial(losses.info_nce, temperature=0.1))
    params = ENCODER.init(jax.random.key(0))
    log = folder / "losses.jsonl"
    how = {"steps": steps, "folder": folder, "log": log, "what": None, **settings}
    return train.refreshed(objective, optax.adam(0.02), read, params, **how)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
