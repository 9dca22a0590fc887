"""What is compared: each system is loaded in a process of its own, and makes one step of training of a batch of texts.

All start from the same folder and read the same batches, cut at the same length; dropout is off, so that losses can be
compared; gradients are clipped at norm 1 and AdamW moves the params.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TOKENS = 64
RATE, DECAY, CLIP = 2e-5, 0.01, 1.0
SCALE = 20.0  # one over the temperature
CHUNK = 32  # rows at a time, where gradients are cached
GROUPS = 4  # of like length, in which jaxemb reads a batch


class Trainer(NamedTuple):
    """A system at work.

    warm: batches -> None; whatever the first step of their shapes costs beside itself is paid, and no param has moved.
    step: (queries, documents) -> loss before the step; the params have moved when it returns.
    encode: texts -> unit vectors `[n, d]`.
    """

    warm: Callable[[Sequence[Sequence[Sequence[str]]]], None]
    step: Callable[[Sequence[str], Sequence[str]], float]
    encode: Callable[[Sequence[str]], np.ndarray]


class System(NamedTuple):
    """A row of the table.

    load: (folder, threads) -> trainer.
    peer: whether it is somebody else's.
    precision: of products; params are float32.
    cached: whether gradients are cached.
    """

    load: Callable[[Path, int], Trainer]
    peer: bool
    precision: str
    cached: bool = False


def _jaxemb(folder: Path, threads: int, *, precision: str, cached: bool) -> Trainer:
    import jax
    import jax.numpy as jnp
    import optax

    from jaxemb import losses, model, train
    from jaxemb.data import tokenize

    loaded = model.load(folder, dtype=precision)
    tokenizer = loaded.tokenizer.limited(TOKENS, add_special=True)
    encoder = train.gradient_cache(loaded.encoder, CHUNK) if cached else loaded.encoder
    objective = train.pairwise(encoder, partial(losses.info_nce, temperature=1 / SCALE))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(RATE, weight_decay=DECAY))
    step = train.make_step(objective, optimizer)
    params: Any = jax.tree.map(jnp.array, loaded.params)
    state = optimizer.init(params)

    def tokens(texts: Sequence[str]) -> Any:
        rows = tokenizer.ids(list(texts)).rows
        return tokenize.grouped(rows, GROUPS, TOKENS)

    def read(queries: Sequence[str], documents: Sequence[str]) -> dict[str, Any]:
        return {"query": tokens(queries), "document": tokens(documents)}

    def warm(batches: Sequence[Sequence[Sequence[str]]]) -> None:
        distinct = {str(jax.tree.map(np.shape, made)): made for made in (read(*batch) for batch in batches)}
        for made in distinct.values():
            copied = jax.tree.map(jnp.array, (params, state))  # the step gives its arguments' memory to its results
            jax.block_until_ready(step(*copied, made).loss)

    def one(queries: Sequence[str], documents: Sequence[str]) -> float:
        nonlocal params, state
        done = step(params, state, read(queries, documents))
        params, state = done.params, done.state
        jax.block_until_ready(params)
        return float(done.loss)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return model.encode(loaded._replace(params=params, tokenizer=tokenizer), texts, report=lambda _: None)

    return Trainer(warm, one, encode)


def _sentence_transformers(folder: Path, threads: int, *, precision: str, cached: bool) -> Trainer:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = TOKENS
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if cached:
        loss = losses.CachedMultipleNegativesRankingLoss(model, scale=SCALE, mini_batch_size=CHUNK)
    else:
        loss = losses.MultipleNegativesRankingLoss(model, scale=SCALE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)

    def backward(queries: Sequence[str], documents: Sequence[str]) -> torch.Tensor:
        features = [model.preprocess(list(texts)) for texts in (queries, documents)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            value = loss(features, None)
            value.backward()
        return value

    def warm(batches: Sequence[Sequence[Sequence[str]]]) -> None:
        backward(*batches[0])
        optimizer.zero_grad()

    def one(queries: Sequence[str], documents: Sequence[str]) -> float:
        value = backward(queries, documents)
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return value.item()

    def encode(texts: Sequence[str]) -> np.ndarray:
        model.eval()
        return model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)

    return Trainer(warm, one, encode)


SYSTEMS = {
    f"{name}{' cached' if cached else ''} {precision}": System(load, peer, precision, cached)
    for cached in (False, True)
    for precision in ("float32", "bfloat16")
    for name, peer, load in (
        ("jaxemb", False, partial(_jaxemb, precision=precision, cached=cached)),
        ("sentence-transformers", True, partial(_sentence_transformers, precision=precision, cached=cached)),
    )
}


def timed(trainer: Trainer, queries: Sequence[str], documents: Sequence[str]) -> tuple[float, float]:
    """Loss, and the seconds of a step, tokenizing included."""
    start = time.perf_counter()
    loss = trainer.step(queries, documents)
    return loss, time.perf_counter() - start
