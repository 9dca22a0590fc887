import json

import pytest

from jaxemb.data import read_beir

CORPUS = [
    {"_id": "d1", "title": "Cats", "text": "They purr."},
    {"_id": "d2", "title": "", "text": "Dogs bark."},
    {"_id": "d3", "text": "Köpek."},
]
QUERIES = [{"_id": "q2", "text": "what barks"}, {"_id": "q1", "text": "what purrs"}, {"_id": "q3", "text": "of train"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "animals"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps(line) for line in CORPUS) + "\n\n", encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(json.dumps(line) for line in QUERIES), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    return folder


def test_by_hand(folder):
    task = read_beir(folder)
    assert task.split == "test"
    assert task.document_ids == ["d1", "d2", "d3"]
    assert task.documents == ["Cats They purr.", "Dogs bark.", "Köpek."]
    assert task.query_ids == ["q2", "q1"]
    assert task.queries == ["what barks", "what purrs"]
    assert task.judgements == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}


def test_the_name_follows_the_bytes(folder):
    name = read_beir(folder).name
    assert name.startswith("animals@")
    assert len(name) == len("animals@") + 12
    assert read_beir(str(folder)).name == name
    (folder / "qrels" / "test.tsv").write_text(QRELS.replace("q2\td2\t1", "q2\td2\t2"))
    assert read_beir(folder).name != name


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "corpus.jsonl",
            '{"_id": "d1", "text": "a"}\nnot json\n',
            r"corpus.jsonl, line 2: wanted one JSON object, got",
        ),
        ("corpus.jsonl", '{"id": "d1", "text": "a"}', r"line 1: .*keys _id and text, got \['id', 'text'\]"),
        ("corpus.jsonl", '["d1"]', "line 1: wanted an object with the keys _id and text, got list"),
        ("corpus.jsonl", '{"_id": 1, "text": "a"}', "line 1: wanted a string as _id, got 1"),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n', "not in the task: 2, the first: d2 .query q1., d2 .query q2."),
        ("queries.jsonl", '\n{"_id": "q1"}', r"queries.jsonl, line 2: wanted an object with the keys _id and text"),
        ("queries.jsonl", '{"_id": "q1", "text": "a"}', "not in the task: 1, the first: q2"),
        (
            "qrels/test.tsv",
            "a\tb\tc\nq1 d1 1\n",
            "test.tsv, line 2: wanted query id, document id and grade between tabs",
        ),
        ("qrels/test.tsv", "q1\td1\t1\n", "line 1: wanted a header"),
        ("qrels/test.tsv", "a\tb\tc\nq1\td1\t0.5\n", "line 2: wanted a whole number as grade, got '0.5'"),
        (
            "qrels/test.tsv",
            "a\tb\tc\nq1\td1\t0\nq1\td1\t1\n",
            "line 3: for query 'q1' document 'd1' has the grades 0 and 1",
        ),
        ("qrels/test.tsv", "a\tb\tc\n", "needs one query or more, got none"),
    ],
)
def test_errors_name_the_file_and_the_line(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_beir(folder)


def test_text_that_is_not_utf8(folder):
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "\xff"}')
    with pytest.raises(ValueError, match=r"queries.jsonl, line 1: wanted UTF-8"):
        read_beir(folder)


def test_a_missing_file_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"qrels/validation.tsv: no .*validation.tsv"):
        read_beir(folder, "validation")
