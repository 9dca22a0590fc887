"""Word vectors of a trained model, as the start of a small encoder's token table.

A recipe that shows a paper's claim in minutes cannot learn words from nothing in them; it begins where a model that was
trained on much more text stands.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxemb.data.tokenize import Tokenizer
from jaxemb.model.encoding import encode
from jaxemb.model.kept import kept_vectors
from jaxemb.model.spec import Model


def word_vectors(
    model: Model, tokenizer: Tokenizer, *, kept: Path | str | None = None, what: str | None = None
) -> Float[np.ndarray, "v d"]:
    """The model's own vector of every token of `tokenizer`, read as a text of its own; a row an id.

    So a word has the vector that the whole model gives it where nothing stands around it, not the mean of its parts'
    rows in the model's table.  Special tokens are read as they are written.

    Args:
      kept: a folder where the vectors are looked for first and kept afterwards, `words-<hash>.npz`; the hash is of the
        model and the tokens.
      what: the name of a progress bar; None shows none.
    Raises: ValueError for a tokenizer whose ids leave gaps, or a kept file that is broken.
    """
    words = sorted(tokenizer.vocabulary, key=tokenizer.vocabulary.__getitem__)
    if len(words) != tokenizer.size:
        raise ValueError(f"word_vectors: wanted a token for each of {tokenizer.size} ids, got {len(words)}")
    if kept is None:
        return encode(model, words, what=what)
    return kept_vectors(model, words, kept, name="words", what=what)


def word_table(
    vectors: Float[np.ndarray, "v d"], dimensions: int, tokenizer: Tokenizer
) -> Float[np.ndarray, "v {dimensions}"]:
    """The principal components of `word_vectors`, as the start of a token table: float32, of mean length one.

    Components and lengths are of the words alone; special tokens follow along, and padding is zero.  Each component
    has its sign from its largest weight, which is positive: the same vectors give the same table.

    Raises: ValueError when there are not so many components, or not a vector a token.
    """
    special = {tokenizer.vocabulary[token] for token in tokenizer.special.values() if token in tokenizer.vocabulary}
    words = np.array([row for row in range(len(vectors)) if row not in special])
    if len(vectors) != tokenizer.size:
        raise ValueError(f"word_table: wanted a vector for each of {tokenizer.size} tokens, got {len(vectors)}")
    most = min(len(words) - 1, vectors.shape[1])
    if not 1 <= dimensions <= most:
        raise ValueError(
            f"word_table: {len(words)} words of {vectors.shape[1]} dimensions have 1 to {most} components, "
            f"got {dimensions}"
        )
    centred = vectors.astype(np.float64) - vectors[words].mean(axis=0, dtype=np.float64)[None, :]
    _, directions = np.linalg.eigh(centred[words].T @ centred[words])
    chosen = directions[:, ::-1][:, :dimensions]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(dimensions)]
    table = centred @ (chosen * np.sign(largest)[None, :])
    table /= np.linalg.norm(table[words], axis=1).mean()
    padding = tokenizer.special.get("pad_token")
    if padding is not None:
        table[tokenizer.vocabulary[padding]] = 0
    return table.astype(np.float32)
