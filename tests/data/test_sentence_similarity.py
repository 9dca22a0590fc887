import json

import numpy as np
import pytest

from jaxemb.data import sentence_similarity


def test_both_kinds_of_file_say_the_same(tmp_path):
    (tmp_path / "some.tsv").write_text(
        "4.5\tAn owl.\tA bird.\n\n0\tA bird.\tA \u00e9clair, 5 cm.\r\n", encoding="utf-8"
    )
    lines = [
        {"score": 4.5, "sentence1": "An owl.", "sentence2": "A bird.", "genre": "news"},
        {"score": 0, "sentence1": "A bird.", "sentence2": "A \u00e9clair, 5 cm."},
    ]
    (tmp_path / "some.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    for name in ("some.tsv", "some.jsonl"):
        got = sentence_similarity.read_scored(tmp_path / name)
        assert got.texts == ["An owl.", "A bird.", "A \u00e9clair, 5 cm."]
        assert (got.first.tolist(), got.second.tolist(), got.scores.tolist()) == ([0, 1], [1, 2], [4.5, 0.0])
        assert got.scores.dtype == np.float64


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("some.tsv", "An owl.\tA bird.\t4.5"),
        ("some.tsv", "4.5\tAn owl."),
        ("some.tsv", "nan\tAn owl.\tA bird."),
        ("some.tsv", "1\t \tA bird."),
        ("some.jsonl", "{"),
        ("some.jsonl", "[1, 2]"),
        ("some.jsonl", '{"score": 1, "sentence1": "An owl."}'),
        ("some.jsonl", '{"score": "much", "sentence1": "An owl.", "sentence2": "A bird."}'),
        ("some.jsonl", '{"score": null, "sentence1": "An owl.", "sentence2": "A bird."}'),
        ("some.jsonl", '{"score": 1, "sentence1": 5, "sentence2": "A bird."}'),
    ],
)
def test_a_line_of_something_else_is_named(tmp_path, name, line):
    (tmp_path / name).write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{name}, line 2: wanted a score and two texts, got"):
        sentence_similarity.read_scored(tmp_path / name)


def test_files_of_another_kind_or_without_pairs_are_refused(tmp_path):
    (tmp_path / "some.csv").write_text("1,a,b\n")
    with pytest.raises(ValueError, match=r"ending in \.tsv or \.jsonl, got '\.csv'"):
        sentence_similarity.read_scored(tmp_path / "some.csv")
    (tmp_path / "some.tsv").write_text("\n")
    with pytest.raises(ValueError, match="got none"):
        sentence_similarity.read_scored(tmp_path / "some.tsv")
    (tmp_path / "some.tsv").write_bytes(b"1\t\xff\tb\n")
    with pytest.raises(ValueError, match="line 1"):
        sentence_similarity.read_scored(tmp_path / "some.tsv")
