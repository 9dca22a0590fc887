"""Documents from files, one by one."""

import gzip
import tracemalloc

import pytest

from jaxemb import data


def test_gzipped_or_not_the_documents_are_the_same(tmp_path):
    lines = '{"_id": "a", "title": "T", "text": "x"}\n\n{"id": 7, "text": "y\\u2028z"}\n'
    (tmp_path / "plain.jsonl").write_text(lines)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    wanted = [("a", "T x"), ("7", "y\u2028z")]
    assert list(data.stream_texts(tmp_path / "plain.jsonl")) == wanted
    assert list(data.stream_texts(tmp_path / "packed.jsonl.gz")) == wanted
    (tmp_path / "lines.txt.gz").write_bytes(gzip.compress(b"one\r\n \r\nthree"))
    assert list(data.stream_texts(str(tmp_path / "lines.txt.gz"))) == [("1", "one"), ("3", "three")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"id": "1", "text": "x"}\n\xff\n', "a.jsonl, line 2: not text in UTF-8"),
        ("a.jsonl", b'{"id": "1", "text": "x"}\n\n{"id"\n', "a.jsonl, line 3: not JSON"),
        ("a.txt.gz", b"plain", "a.txt.gz: not a whole gzip file"),
        ("a.txt.gz", gzip.compress(b"words " * 1000, mtime=0)[:-9], "a.txt.gz: not a whole gzip file"),
        ("a.gz", b"", r"wanted a .txt or .jsonl file, got .gz; either may be .gz"),
    ],
)
def test_broken_files_are_refused_by_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(data.stream_texts(tmp_path / name))


def test_a_file_is_not_read_whole(tmp_path):
    (tmp_path / "a.txt").write_text(("word " * 20 + "\n") * 50_000)
    tracemalloc.start()
    count = sum(1 for _ in data.stream_texts(tmp_path / "a.txt"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000
    assert peak < 500_000  # the file has five million bytes
