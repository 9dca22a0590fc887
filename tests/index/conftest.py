import numpy as np
import pytest


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def clustered():
    """2,000 documents and 100 queries of 24 dimensions, drawn round 100 centres."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(100, 24))
    rows = unit(centres[draw.integers(0, 100, 2100)] + 0.6 * draw.normal(size=(2100, 24)))
    return rows[:2000], rows[2000:]


WORDS = ("red", "blue", "green", "fish", "bird", "stone", "river", "cloud", "night", "bread")


def tiny(seed):
    """A static model of ten words and sixteen dimensions."""
    import jax
    import tokenizers

    from jaxemb import encode, model
    from jaxemb.data.tokenize import Tokenizer

    vocabulary = {word: i for i, word in enumerate(("[UNK]", *WORDS))}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    config = encode.StaticConfig(vocab_size=len(vocabulary), hidden_size=16)
    spec = model.Spec(backbone=config, pooling=None, normalize=True, max_length=None)
    return model.make(spec, encode.static(config).init(jax.random.key(seed)), Tokenizer(backend, None))


@pytest.fixture(scope="session")
def tiny_model():
    return tiny(0)


@pytest.fixture(scope="session")
def other_model():
    return tiny(1)


@pytest.fixture(scope="session")
def texts():
    """All pairs of words, once each."""
    return [f"{one} {other}" for i, one in enumerate(WORDS) for other in WORDS[: i + 1]]
