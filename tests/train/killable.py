"""A small training run as a program, for tests that kill it: `killable.py FOLDER STEPS VARIANT`."""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax

from jaxemb import data, encode, losses, train
from jaxemb.types import Tokens


def batch(records):
    """Query and document ids from two lists of numbers."""
    made = {side: np.array([record[side] for record in records], np.int32) for side in ("query", "document")}
    return {side: Tokens(ids, np.ones_like(ids)) for side, ids in made.items()}


def source(n: int = 64) -> list:
    """A document says what its query says in other words (numbers from 100 on), in another order."""
    draw = np.random.default_rng(0)
    queries = draw.integers(0, 100, size=(n, 6))
    return [{"query": q.tolist(), "document": (draw.permutation(q) + 100).tolist()} for q in queries]


STATIC = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))
ADAPTED = train.adapted(STATIC, train.lora(["table"], rank=4))
VARIANTS = {
    "plain": {},
    "adapters, gradient cache": {"encoder": train.gradient_cache(ADAPTED, 4), "frozen": train.BASE},
}


def run(folder: Path, steps: int, *, encoder=None, optimizer=None, **kwargs):
    """Train a static encoder; checkpoints and the log of losses go to `folder`."""
    encoder = encoder or STATIC
    objective = train.pairwise(encoder, partial(losses.info_nce, temperature=0.1))
    batches = data.stream(source(), batch_size=16, seed=3, make=batch)
    return train.fit(
        objective,
        optimizer or optax.adamw(train.warmup_cosine(0.05, steps)),
        batches,
        encoder.init(jax.random.key(0)),
        steps=steps,
        **{"checkpoints": folder / "checkpoints", "log": folder / "losses.jsonl", "every": 3, "what": None, **kwargs},
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), **VARIANTS[sys.argv[3]])
