import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import record

from jaxemb.harness import Record
from jaxemb.harness import record as records


@given(values=st.lists(st.floats(allow_infinity=False), min_size=1, max_size=5), text=st.text())
def test_a_record_comes_back(values, text):
    one = record(text, "ndcg@10", values, "query", {"sizes": (64, 256), "name": text})
    line = records.line(one)
    assert "\n" not in line
    back = records.parse(line)
    assert back.config == {"sizes": [64, 256], "name": text}
    assert repr(back) == repr(one)  # NaN is not equal to itself, but reads alike


def test_nan_is_null_so_that_every_line_is_json():
    content = json.loads(records.line(record("r", "m", [math.nan, 1], "query")))
    assert content["values"] == [None, 1.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": ()}, "wanted one value once, got 0"),
        ({"values": (1.0, 2.0)}, "wanted one value once, got 2"),
        ({"values": (math.inf,)}, "infinity is no measurement"),
        ({"config": {"path": object()}}, "plain JSON"),
        ({"config": {"rate": math.nan}}, "plain JSON"),
    ],
)
def test_bad_records_are_refused(changed, message):
    content = {"recipe": "r", "config": {}, "task": "t", "metric": "m", "values": (1.0,), "each": "once"}
    with pytest.raises(ValueError, match=message):
        Record(**{**content, "device": "d", "versions": {}, **changed})


def test_each_is_one_of_four():
    with pytest.raises((ValueError, TypeError), match="each"):  # whoever looks first: the record or the type checker
        record("r", "m", [1], "row")


def test_append_keeps_what_was_there(tmp_path):
    path = tmp_path / "results" / "run.jsonl"
    records.append(path, [record("a", "m", [1])])
    records.append(path, [record("b", "m", [2]), record("c", "m", [3])])
    assert [one.recipe for one in records.read(path)] == ["a", "b", "c"]
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"recipe": "r", "con', "line 2: not a whole line of JSON"),
        ('{"recipe": "r"}', "line 2: a record has the fields"),
        ("[]", "got list"),
        ("", "line 2: not a whole line"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, bad, message):
    path = tmp_path / "run.jsonl"
    path.write_text(records.line(record("a", "m", [1])) + "\n" + bad + "\n")
    with pytest.raises(ValueError, match=message):
        records.read(path)
    with pytest.raises(ValueError, match="line 2"):
        records.append(path, [record("b", "m", [1])])  # nothing is written behind what cannot be read


WRITER = """
import sys
from synthetic_records import record
from jaxemb.harness import record as records
print("ready", flush=True)
while True:
    records.append(sys.argv[1], [record("r", "ndcg@10", [0.5] * 3000, "query")] * 20)
"""


def test_a_killed_writer_leaves_no_half_line(tmp_path):
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-c", WRITER, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    for delay in (0.05, 0.11):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            while not path.exists():
                time.sleep(0.01)
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        assert len(records.read(path)) % 20 == 0
