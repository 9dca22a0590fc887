"""Remake tests/golden/static: tiny model2vec folders and the vectors that model2vec gives.

Needs model2vec alone (`pip install model2vec`; no torch); run from the repository's root:

    python tools/golden_static.py

Writes, under tests/golden/static/<name>: the folder as model2vec saves it, and beside each <name>.npz with texts and
vectors.
"""

import shutil
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

HERE = Path(__file__).parent.parent / "tests" / "golden" / "static"
TEXTS = [
    "ab cde f",
    "f",
    "",
    "unknown",
    "ab unknown f",
    "f " * 9,  # cut by the number of its tokens
    "f      ab      cde      f ab",  # cut by the number of its characters
    "ab" * 3 + " f",
]


def tokenizer() -> Tokenizer:
    """Words of two letters in the middle; special tokens that texts do not get."""
    words = ["[PAD]", "[UNK]", "ab", "cd", "ef", "gh", "ij", "f", "cde", "a", "##b"]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


def main() -> None:
    """A plain table that cuts texts, and one of 8 bits whose tokens share rows, with weights, that reads them whole."""
    shutil.rmtree(HERE, ignore_errors=True)
    draw = np.random.default_rng(0)
    plain = StaticModel(draw.normal(size=(11, 6)).astype(np.float32), tokenizer(), normalize=True, max_length=6)
    shared = StaticModel(
        draw.integers(-127, 128, size=(4, 6)).astype(np.int8),
        tokenizer(),
        weights=draw.uniform(0.2, 2, size=11).astype(np.float32),
        token_mapping=draw.integers(0, 4, size=11),
        max_length=None,
    )
    for name, model in (("plain", plain), ("shared", shared)):
        model.save_pretrained(HERE / name)
        (HERE / name / "README.md").unlink()
        np.savez(HERE / f"{name}.npz", allow_pickle=False, texts=np.array(TEXTS), vectors=model.encode(TEXTS))


if __name__ == "__main__":
    main()
