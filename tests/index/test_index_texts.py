import numpy as np
import pytest

from jaxemb.index import texts

IDS = ["a", "b/c", "ü"]
PASSAGES = ["one\ntwo\r\n", "", 'quote " \\ \u2028 日本語 🐟']


def test_written_and_read(tmp_path):
    texts.write(tmp_path / "documents", IDS, PASSAGES)
    opened = texts.load(tmp_path / "documents")
    assert len(opened) == 3
    assert [opened[row] for row in (2, 0, 1)] == [(IDS[2], PASSAGES[2]), (IDS[0], PASSAGES[0]), (IDS[1], PASSAGES[1])]
    assert opened.resident_bytes == 4 * 8
    lines = (tmp_path / "documents" / "documents.jsonl").read_bytes().splitlines()
    assert len(lines) == 3  # a document a line, whatever its text


@pytest.mark.parametrize("row", [3, -1])
def test_no_such_row(tmp_path, row):
    texts.write(tmp_path / "documents", IDS, PASSAGES)
    with pytest.raises(IndexError, match=f"wanted a row from 0 to 2, got {row}"):
        texts.load(tmp_path / "documents")[row]


def test_open_texts_survive_their_folder(tmp_path):
    texts.write(tmp_path / "documents", IDS, PASSAGES)
    opened = texts.load(tmp_path / "documents")
    texts.write(tmp_path / "documents", ["x"], ["y"])
    assert opened[0] == (IDS[0], PASSAGES[0])


@pytest.mark.parametrize(
    ("ids", "passages", "message"),
    [
        (["a", "b"], ["x"], "got 2 ids and 1 texts"),
        ([], [], "got 0 ids and 0 texts"),
        (["a", "b", "a"], ["x", "y", "z"], "wanted unique ids, got 'a' more than once"),
        (["a"], ["\ud800"], "document 'a': wanted Unicode text, got surrogates not allowed"),
    ],
)
def test_bad_documents(tmp_path, ids, passages, message):
    with pytest.raises(ValueError, match=message):
        texts.write(tmp_path / "documents", ids, passages)
    assert list(tmp_path.iterdir()) == []


def test_offsets_of_other_texts(tmp_path):
    texts.write(tmp_path / "documents", IDS, PASSAGES)
    np.save(tmp_path / "documents" / "offsets.npy", np.array([0, 5]))
    with pytest.raises(ValueError, match=r"wanted offsets that end at byte \d+, got \[5\]"):
        texts.load(tmp_path / "documents")
