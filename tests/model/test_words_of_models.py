import re

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from jaxemb import encode, model
from jaxemb.data import Tokenizer, word_tokenizer
from jaxemb.model import words as module

WORDS = word_tokenizer(["owl owl bat bat swift ant bee fly"], 11)


@pytest.fixture(scope="module")
def teacher():
    backend = Backend(models.WordLevel({"[UNK]": 0, "owl": 1, "bat": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.array([[1, 2, 2], [4, 0, 0], [0, 0, -3]], np.float32)
    spec = model.Spec(
        backbone=encode.StaticConfig(vocab_size=3, hidden_size=3), pooling=None, normalize=False, max_length=None
    )
    return model.make(spec, encode.from_table(table), Tokenizer(backend, None, add_special=False))


def test_a_word_has_the_models_vector_of_it(teacher, tmp_path, monkeypatch):
    vectors = model.word_vectors(teacher, WORDS, kept=tmp_path)
    ids = WORDS.vocabulary
    np.testing.assert_array_equal(vectors[[ids["owl"], ids["bat"], ids["fly"]]], [[4, 0, 0], [0, 0, -3], [1, 2, 2]])
    (kept,) = tmp_path.iterdir()
    assert re.fullmatch(r"words-[0-9a-f]{12}\.npz", kept.name)

    monkeypatch.setattr(module, "encode", lambda *_, **__: pytest.fail("encoded again"))
    np.testing.assert_array_equal(model.word_vectors(teacher, WORDS, kept=tmp_path), vectors)
    kept.write_bytes(kept.read_bytes()[:50])
    with pytest.raises(ValueError, match=rf"{kept.name}: no vectors of words, remove it"):
        model.word_vectors(teacher, WORDS, kept=tmp_path)
    np.savez(kept, vectors=vectors[1:])
    with pytest.raises(ValueError, match=r"wanted float32\(11, 3\), got float32\(10, 3\), remove it"):
        model.word_vectors(teacher, WORDS, kept=tmp_path)


def test_other_words_are_kept_apart(teacher, tmp_path):
    for words in ("owl bat", "owl fly"):
        model.word_vectors(teacher, word_tokenizer([words], 9), kept=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_components_by_hand():
    # Six words around (10, 0, 0): most of the spread lies along y, less along x, none along z.
    words = [[10, 3, 0], [10, -3, 0], [12, 0, 0], [8, 0, 0], [10, 5, 0], [10, -5, 0]]
    vectors = np.array([[7, 7, 7], [10, 1, 9], [10, 0, 0], [13, 0, 0], [10, 2, 0], *words], np.float32)
    scale = (3 + 3 + 2 + 2 + 5 + 5) / 6
    expected = [[0, 0], [1, 0], [0, 0], [0, 3], [2, 0], [3, 0], [-3, 0], [0, 2], [0, -2], [5, 0], [-5, 0]]
    table = model.word_table(vectors, 2, WORDS)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, np.array(expected) / scale, atol=1e-6)


def test_the_sign_is_not_the_solvers(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    table = model.word_table(vectors, 3, WORDS)
    solve = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: (None, -solve(matrix)[1]))
    np.testing.assert_array_equal(model.word_table(vectors, 3, WORDS), table)


def test_components_keep_what_can_be_kept_of_products():
    vectors = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    table = model.word_table(vectors, 4, WORDS).astype(float)[5:]
    centred = vectors[5:].astype(float) - vectors[5:].mean(axis=0)[None, :]
    scale = np.linalg.norm(centred, axis=1).mean()
    np.testing.assert_allclose(table @ table.T, centred @ centred.T / scale**2, atol=1e-6)
    assert np.linalg.norm(table, axis=1).mean() == pytest.approx(1)


@pytest.mark.parametrize("dimensions", [0, 6])
def test_components_that_are_not_there_are_refused(dimensions):
    with pytest.raises(ValueError, match=f"6 words of 7 dimensions have 1 to 5 components, got {dimensions}"):
        model.word_table(np.eye(11, 7, dtype=np.float32), dimensions, WORDS)


def test_a_vector_too_few_is_refused():
    with pytest.raises(ValueError, match="wanted a vector for each of 11 tokens, got 10"):
        model.word_table(np.eye(10, 4, dtype=np.float32), 2, WORDS)
