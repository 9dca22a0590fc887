import importlib.util

import numpy as np
import pytest

from jaxemb.data import word_similarity

needs_gensim = pytest.mark.skipif(
    importlib.util.find_spec("gensim") is None, reason="no judgements here: pip install --no-deps gensim==4.4.0"
)


def test_a_text_is_listed_once(tmp_path):
    (tmp_path / "some.tsv").write_text(
        "# note\tof\tthree\nold\tnew\t1.5\nred hat\told\t0\nnew\tnew\t10\n", encoding="utf-8"
    )
    got = word_similarity.read_graded(tmp_path / "some.tsv")
    assert got.texts == ["old", "new", "red hat"]
    assert (got.first.tolist(), got.second.tolist(), got.scores.tolist()) == ([0, 2, 1], [1, 0, 1], [1.5, 0.0, 10.0])


@pytest.mark.parametrize("line", ["old new 1.5", "old\tnew", "old\tnew\tmuch", ""])
def test_a_line_of_something_else_is_named(tmp_path, line):
    (tmp_path / "some.tsv").write_text(f"old\tnew\t1.5\n{line}\nred\tblue\t2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"some\.tsv, line 2: wanted two texts and a score, got"):
        word_similarity.read_graded(tmp_path / "some.tsv")


def test_a_file_without_pairs_is_refused(tmp_path):
    (tmp_path / "some.tsv").write_text("# only a note\n", encoding="utf-8")
    with pytest.raises(ValueError, match="got none"):
        word_similarity.read_graded(tmp_path / "some.tsv")


def test_where_the_package_is_missing_its_command_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install --no-deps gensim==4\.4\.0"):
        word_similarity.lee()


@needs_gensim
def test_the_sets_are_whole():
    words, similar, documents = word_similarity.wordsim353(), word_similarity.simlex999(), word_similarity.lee()
    assert [len(one.scores) for one in (words, similar, documents)] == [353, 999, 50 * 49 // 2]
    assert [len(one.texts) for one in (words, similar, documents)] == [437, 1028, 50]

    def row(one, i):
        return one.texts[one.first[i]], one.texts[one.second[i]], float(one.scores[i])

    assert row(words, 2) == ("tiger", "tiger", 10.0)
    assert row(similar, 998) == ("attend", "arrive", 6.08)
    assert (documents.first[49], documents.second[49], documents.scores[49]) == (1, 2, 0.28)  # the second row's first
    assert (documents.first < documents.second).all()
    assert documents.scores.min() > 0  # the zeros of the lower half are not taken for judgements
    assert len(np.unique(documents.first * 50 + documents.second)) == 1225
