"""The pieces of `bench/encode` that need no other library."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxemb import data, encode, model
from jaxemb.harness import Record

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # bench is no part of the package

from bench.encode import table, texts  # noqa: E402
from bench.worker import Worker  # noqa: E402

TINY = ROOT / "tests" / "golden" / "bert" / "new"


def row(name, rates, *, peer, cosine=1.0, precision="float32", ms=(1.0, 3.0), threads=2):
    config = {"precision": precision, "peer": peer, "threads": threads, "batch": 0, "texts": 10, "tokens": 300}
    numbers = {
        "encode_texts_per_s": ("repeat", rates),
        "encode_tokens_per_s": ("repeat", tuple(30 * rate for rate in rates)),
        "encode_ms": ("query", ms),
        "cosine_mean": ("once", (cosine,)),
        "cosine_min": ("once", (cosine,)),
    }
    return [
        Record(
            recipe=name,
            config={**config, "max_length": 256},
            task="some@1",
            metric=metric,
            values=values,
            each=each,
            device="2-core CPU",
            versions={"jax": "1"},
        )
        for metric, (each, values) in numbers.items()
    ]


RECORDS = [
    *row("ours", (12.0, 30.0, 20.0), peer=False, ms=(2.0, 2.0)),
    *row("ours half", (40.0, 40.0, 44.0), peer=False, cosine=0.99999, precision="bfloat16"),
    *row("exact", (10.0, 10.0, 16.0), peer=True, ms=(4.0, 6.0)),
    *row("half", (20.0, 20.0, 20.0), peer=True, cosine=0.9999, precision="bfloat16", ms=(1.0, 1.0)),
    *row("coarse", (99.0, 99.0, 99.0), peer=True, cosine=0.99, precision="int8", ms=(0.1, 0.1)),
]


def test_turns_are_compared_one_by_one_and_what_differs_too_much_is_no_peer():
    (rows,) = table.blocks(RECORDS).values()
    assert table.verdicts(rows) == [
        "- corpus, float32, equal vectors: ours is 1.25 [1.20, 3.00] times as fast as exact",
        "- one text, float32, equal vectors: ours is 2.50 times as fast as exact at p50, 2.95 at p95",
        "- corpus, any precision, cosine >= 0.999: ours half is 2.00 [2.00, 2.20] times as fast as half",
        "- one text, any precision, cosine >= 0.999: ours is 0.50 times as fast as half at p50, 0.50 at p95",
    ]


def test_a_section_a_number_of_threads_fastest_first():
    made = table.table([*RECORDS, *row("alone", (5.0, 5.0, 5.0), peer=True, threads=1)])
    assert made.index("## some@1, 2 threads\n") < made.index("## some@1, 1 thread\n")
    names = [line.split(" | ")[0] for line in made.splitlines() if line.startswith("| ") and "system" not in line]
    assert names == ["| coarse", "| ours half", "| ours", "| half", "| exact", "| alone"]
    assert "| ours | planned | 20.0 [12.0, 30.0] | 600 | 1.25 [1.20, 3.00] | 1.00000 (1.00000) | 2.00 / 2.00 |" in made


def test_the_page_shows_what_the_records_say():
    program = subprocess.run([sys.executable, str(ROOT / "tools" / "page_tables.py"), "--check"], check=False)
    assert program.returncode == 0, "run python tools/page_tables.py"


def test_long_descriptions_once_each():
    read = (
        "Package: a\nDescription-md5: 0\nDescription-en: short\n long one\n .\n  * ends\n\n"
        "Package: b\nDescription-md5: 1\nDescription-en: other\n\n"
        "Package: c\nDescription-md5: 2\nDescription-en: third\n long one\n .\n  * ends\n\n"
    )
    assert texts.described(read) == ["long one\n\n * ends"]


def test_without_lists_it_says_what_brings_them(tmp_path, capsys):
    assert texts.descriptions(str(tmp_path)) == []
    assert "apt-get -o Acquire::Languages=en update" in capsys.readouterr().err


@pytest.fixture
def static(tmp_path):
    """A static model of the tiny tokenizer."""
    tokenizer = data.Tokenizer.load(TINY / "tokenizer.json")
    rows = np.random.default_rng(0).normal(size=(tokenizer.size, 8)).astype(np.float32)
    shape = encode.StaticConfig(vocab_size=tokenizer.size, hidden_size=8)
    spec = model.Spec(backbone=shape, pooling=None, normalize=True, max_length=None)
    made = model.make(spec, encode.from_table(rows), tokenizer)
    model.save(made, tmp_path / "table")
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="threads are pinned on Linux alone")
def test_a_system_works_in_a_process_that_is_stopped_when_it_has_answered(static, tmp_path):
    some = ["a b c", "d", "e f a"]
    (tmp_path / "texts.json").write_text(json.dumps(some), encoding="utf-8")
    folders = dict.fromkeys(("model", "onnx", "table"), str(tmp_path / "table"))
    worker = Worker("bench.encode.worker", "jaxemb static", folders, 1)
    try:
        worker.ready()
        job = {"texts": str(tmp_path / "texts.json"), "batch": 0}
        assert len(worker(**job, save=str(tmp_path / "got.npy"))["seconds"]) == 1
        assert len(worker(**job, singly=True)["seconds"]) == 3
        state = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state == "T"
    finally:
        worker.end()
    np.testing.assert_allclose(np.load(tmp_path / "got.npy"), model.encode(static, some), atol=1e-6)


def test_a_system_that_cannot_load_is_named(tmp_path):
    worker = Worker("bench.encode.worker", "jaxemb static", dict.fromkeys(("model", "onnx", "table"), str(tmp_path)), 1)
    try:
        with pytest.raises(RuntimeError, match="jaxemb static: ended with 1"):
            worker.ready()
    finally:
        worker.end()
