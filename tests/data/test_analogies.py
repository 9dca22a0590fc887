import importlib.util

import numpy as np
import pytest

from jaxemb.data import analogies


def test_groups_and_words(tmp_path):
    (tmp_path / "some.txt").write_text(": royal folk\nman king woman queen\n: small\n\nqueen king woman man\n")
    got = analogies.read_analogies(tmp_path / "some.txt")
    assert got.texts == ["man", "king", "woman", "queen"]
    assert got.questions.tolist() == [[0, 1, 2, 3], [3, 1, 2, 0]]
    assert got.groups == ["royal folk", "small"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (": a\nman king woman\n", "line 2: wanted four words"),
        (": a\nman king woman queen prince\n", "line 2"),
        ("man king woman queen\n", "line 1: .*below a line ': group'"),
        (": a\n", "got none"),
    ],
)
def test_other_files_are_refused(tmp_path, text, told):
    (tmp_path / "some.txt").write_text(text)
    with pytest.raises(ValueError, match=told):
        analogies.read_analogies(tmp_path / "some.txt")


@pytest.mark.skipif(importlib.util.find_spec("gensim") is None, reason="pip install --no-deps gensim==4.4.0")
def test_google_is_whole():
    got = analogies.google()
    assert (len(got.texts), got.questions.shape, len(got.groups)) == (905, (19544, 4), 19544)
    assert len(set(got.groups)) == 14
    assert not np.any(got.questions[:, :3] == got.questions[:, 3:])
