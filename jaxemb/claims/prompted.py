"""A small decoder that prompts ask, trained with all that LG-ANNA has and with each part of it left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb import data, encode, model
from jaxemb.claims.described import mrr, ranks
from jaxemb.claims.siblings import ALL, LENGTHS, METRIC, TASK, TRAIN, WORDS, Siblings, reached
from jaxemb.data import Listed, Pair, Remembered
from jaxemb.data.tokenize import Tokenizer
from jaxemb.recipes import lg_anna as recipe
from jaxemb.recipes.lg_anna import Config, Source
from jaxemb.types import Params, Tokens

SHAPE = encode.LlamaConfig(
    vocab_size=WORDS,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=128,
    initializer_range=0.1,
)
INSTRUCTION, POOL, SHOWN = "Find the package.", 300, 20
"""What is asked for; how many pairs may be examples, and how many words of their documents are shown."""
CONFIG = Config(
    negatives=2,
    candidates=20,
    deeper=100,
    margin="relative",
    least=0.95,
    soft=1.0,
    temperature=0.05,
    teacher_temperature=0.05,
    shots=1,
    query_tokens=72,
    document_tokens=32,
    steps=200,
    learning_rate=3e-3,
)
ALL_PARTS, NO_PROMPT = "decoder", "decoder, no instruction"
CONFIGS = {
    ALL_PARTS: CONFIG,
    "decoder, no examples": replace(CONFIG, shots=0),
    NO_PROMPT: replace(CONFIG, shots=0, query_tokens=LENGTHS[0]),
    "decoder, no margin": replace(CONFIG, margin="none"),
    "decoder, no soft labels": replace(CONFIG, soft=0.0),
}

ENCODER = encode.normalized(encode.pooled(encode.llama(SHAPE), encode.last))
_vectors = jax.jit(ENCODER.apply)


def rows(
    read: Siblings, kept: Sequence[Listed], unfiltered: Sequence[Listed], seed: int
) -> Iterator[tuple[str, Mapping[str, float]]]:
    """What each reaches, asked as it was trained, and with one example where it was trained with some.

    Args:
      kept, unfiltered: training pairs with the negatives that the margin leaves, and with any of the nearest.
    """
    tokenizer = Remembered(read.tokenizer.limited(None, add_special=True))
    pool = [Pair(pair.query, " ".join(pair.document.split()[:SHOWN])) for pair in read.pairs[:POOL]]
    table = jnp.asarray(model.word_table(read.words, SHAPE.hidden_size, read.tokenizer))
    for name, cfg in CONFIGS.items():
        instruction = None if name == NO_PROMPT else INSTRUCTION
        source = Source("retrieval", kept if cfg.margin != "none" else unfiltered, instruction, pool)
        params = ENCODER.init(jax.random.key(seed))
        params["embeddings"]["tokens"]["table"] = table
        stream = recipe.batches(cfg, tokenizer, {TASK: source}, seed=seed)
        what = f"seed {seed}, {name}"
        learnt = recipe.run(cfg, ENCODER, params, stream, {TASK: source.kind}, what=what).params
        document = _many(learnt, data.ended(tokenizer, read.documents, length=cfg.document_tokens))
        asked = partial(_asked, read, cfg, tokenizer, instruction, pool)
        values = reached(read, _many(learnt, asked(0)), document)
        if cfg.shots:
            shown = ranks(_many(learnt, asked(1)), document, np.arange(TRAIN, ALL))
            values[f"{METRIC}, asked with 1 example"] = mrr(shown, 10)
        yield name, values


def _asked(
    read: Siblings, cfg: Config, tokenizer: Tokenizer, instruction: str | None, pool: Sequence[Pair], count: int
) -> Tokens:
    draw, pairs = np.random.default_rng(0), read.pairs[TRAIN:]
    examples = [data.shots(pool, pair, count, draw) for pair in pairs] if count else []
    return recipe.asked(cfg, tokenizer, instruction, [pair.query for pair in pairs], examples)


def _many(params: Params, texts: Tokens) -> np.ndarray:
    """Vectors of length one, a few texts at a time."""
    parts = [jax.tree.map(lambda leaf, s=start: leaf[s : s + 500], texts) for start in range(0, len(texts.ids), 500)]
    return np.concatenate([np.asarray(_vectors(params, part)) for part in parts])
