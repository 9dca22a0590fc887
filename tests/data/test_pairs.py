import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemb.commands.train import _pairs
from jaxemb.data import Pair, Pairs, document_keys, documents_of, read_pairs

RECORDS = [
    {"query": "what purrs", "document": "cats", "negatives": ["dogs", "köpek"]},
    {"query": "what barks\n(two lines)", "document": "dogs", "negatives": []},
    {"query": "kim havlar — 你好", "document": "köpek", "negatives": None},
]
PAIRS = [
    Pair("what purrs", "cats", ("dogs", "köpek")),
    Pair("what barks\n(two lines)", "dogs"),
    Pair("kim havlar — 你好", "köpek"),
]


def jsonl(path: Path, records: list) -> Path:
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return path


def parquet(path: Path, records: list) -> Path:
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=2)
    return path


@pytest.mark.parametrize(("write", "name"), [(jsonl, "p.jsonl"), (parquet, "p.parquet")])
def test_any_row_at_once(tmp_path, write, name):
    pairs = read_pairs(str(write(tmp_path / name, RECORDS)))
    assert len(pairs) == 3
    assert [pairs[2], pairs[0], pairs[-2], pairs[np.int64(1)]] == [PAIRS[2], PAIRS[0], PAIRS[1], PAIRS[1]]
    assert list(pairs) == PAIRS == pairs[:]
    assert pairs[1:] == PAIRS[1:]
    for row in (3, -4):
        with pytest.raises(IndexError, match=f"pair {row} of 3"):
            pairs[row]


def test_blank_lines_and_carriage_returns(tmp_path):
    lines = [json.dumps(record, ensure_ascii=False) for record in RECORDS]
    (tmp_path / "p.jsonl").write_bytes(("\r\n" + "\r\n\n  \n".join(lines) + "\r\n").encode())
    assert list(read_pairs(tmp_path / "p.jsonl")) == PAIRS


def test_parquet_without_negatives_and_with_other_columns(tmp_path):
    table = pa.table({"score": [1.0], "document": ["cats"], "query": pa.array(["what purrs"], pa.large_string())})
    pq.write_table(table, tmp_path / "p.parquet")
    assert list(read_pairs(tmp_path / "p.parquet")) == [Pair("what purrs", "cats")]


def test_parquet_leaves_no_copy_behind(tmp_path, monkeypatch):
    path = parquet(tmp_path / "p.parquet", RECORDS)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    pairs = read_pairs(path)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list(pairs) == PAIRS


@given(
    pairs=st.lists(
        st.builds(
            Pair, *[st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)] * 2, st.just(("other",))
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read(pairs):
    with tempfile.TemporaryDirectory() as folder:
        for write, name in ((jsonl, "p.jsonl"), (parquet, "p.parquet")):
            assert list(read_pairs(write(Path(folder, name), [pair._asdict() for pair in pairs]))) == pairs


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"question": "a", "document": "b"},
            r"wanted the .*query, document and.* negatives, got \['.*question'",
        ),
        ({"query": "", "document": "b"}, "wanted a text that is not empty as query, got ''"),
        ({"query": "a", "document": " \n"}, r"wanted a text that is not empty as document, got ' \\n'"),
        ({"query": "a", "document": 3}, "wanted a text that is not empty as document, got 3"),
        ({"query": "a", "document": None}, "wanted a text that is not empty as document, got None"),
        (
            {"query": "a", "document": "b", "negatives": ["c", ""]},
            r"wanted a list of texts .* negatives, got \['c', ''\]",
        ),
        ({"query": "a", "document": "b", "negatives": "c"}, "wanted a list of texts .* negatives, got 'c'"),
    ],
)
def test_a_bad_record_is_named_on_opening(tmp_path, record, message):
    good = {"query": "a", "document": "b"}
    with pytest.raises(ValueError, match=rf"p.jsonl, line 3: {message}"):
        read_pairs(jsonl(tmp_path / "p.jsonl", [good, good, record]))
    where = "" if "question" in record else ", row 0"
    with pytest.raises(ValueError, match=rf"p.parquet{where}: {message}"):
        read_pairs(parquet(tmp_path / "p.parquet", [record]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", b'{"query": "a"', "p.jsonl, line 1: wanted one JSON object, got"),
        ("p.jsonl", b'{"query": "a\xff", "document": "b"}', "p.jsonl, line 1: wanted one JSON object, got"),
        ("p.jsonl", b'["a", "b"]', "line 1: wanted an object with the keys query and document, got list"),
        ("p.jsonl", b"\n \n", "p.jsonl: wanted one pair or more, got none"),
        ("p.jsonl", b"", "p.jsonl: wanted one pair or more, got none"),
        ("p.parquet", b"not parquet at all", "p.parquet: not a parquet file"),
        ("p.csv", b"query,document\n", r"p.csv: wanted a file of pairs ending in .jsonl or .parquet, got '.csv'"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / name)


def test_an_empty_parquet_file(tmp_path):
    pq.write_table(
        pa.table({"query": pa.array([], pa.string()), "document": pa.array([], pa.string())}), tmp_path / "p.parquet"
    )
    with pytest.raises(ValueError, match=r"p.parquet: wanted one pair or more, got none"):
        read_pairs(tmp_path / "p.parquet")


def test_a_file_that_is_not_there(tmp_path):
    for name in ("p.jsonl", "p.parquet"):
        with pytest.raises(FileNotFoundError):
            read_pairs(tmp_path / name)


def test_pairs_are_made_when_asked_for():
    asked = []
    pairs = Pairs(3, lambda row: asked.append(row) or PAIRS[row])
    assert asked == []
    assert pairs[1] == PAIRS[1]
    assert asked == [1]


def test_keys_tell_equal_documents_and_equal_queries():
    pairs = [Pair("a", "x", ("y", "z")), Pair("b", "y"), Pair("a", "z", ("x",))]
    keys = document_keys(pairs[:2], 0)
    assert keys.dtype == np.int32
    assert (keys >= 0).all()
    assert keys[0, 0] != keys[1, 0]
    both = document_keys([pairs[0], pairs[2]], 1)
    assert both[0, 1] == both[1, 1]  # the same query
    assert both[0, 0] == both[3, 0]  # the second pair's negative is the first one's document
    assert (both[2:, 1] == -1).all()  # negatives answer nothing
    assert len(document_keys([], 2)) == 0


BLOCKS = [Pair("a", "x", ("y", "z", "-")), Pair("b", "u", ("v", "w", "-")), Pair("c", "y", ("x", "u"))]


def test_documents_come_in_blocks():
    texts = documents_of(BLOCKS, 2)
    assert texts == ["x", "u", "y", "y", "v", "x", "z", "w", "u"]
    assert documents_of(BLOCKS) == ["x", "u", "y"]
    with pytest.raises(ValueError, match="wanted 3 negatives a pair, got 2 for 'c'"):
        documents_of(BLOCKS, 3)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_command_reads_documents_and_keys_in_one_order(groups):
    ids = lambda texts: SimpleNamespace(rows=[np.full(1 + row % 3, ord(text)) for row, text in enumerate(texts)])
    tokenizer = SimpleNamespace(ids=ids, max_length=None) if groups > 1 else lambda texts: texts
    made = _pairs(tokenizer, 2, groups, BLOCKS)
    read = made["document"]
    if groups > 1:
        joined = [chr(first) for group in read.groups for first in group.ids[:, 0]]
        read = [joined[place] for place in read.places]
    assert read == documents_of(BLOCKS, 2)
    alike = np.equal.outer(made["document_key"][:, 0], made["document_key"][:, 0])
    assert (alike == np.equal.outer(read, read)).all()
