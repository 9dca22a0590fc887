"""What the bench of sweeps adds to the harness: int8 codes scored without their steps, and its table."""

import sys
from pathlib import Path

import numpy as np
import pytest

from jaxemb.harness import held_out
from jaxemb.harness.record import Record

sys.path.insert(0, str(Path(__file__).parents[2]))  # bench is no part of the package

from bench.sweep import raw_int8, table
from bench.sweep.sets import Given, made


def test_raw_hits_by_hand():
    document = np.array([[3, 0], [0, 4], [3, 0], [-5, 1]], np.int8)
    assert raw_int8.raw_hits(np.array([[1, 0], [0, 2]], np.int8), document, 3).tolist() == [[0, 2, 1], [1, 3, 0]]
    chance = np.random.default_rng(0)
    query, document = (chance.integers(-128, 128, (n, 384)).astype(np.int8) for n in (5, 70))
    scores = query.astype(np.int64) @ document.astype(np.int64).T
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(raw_int8.raw_hits(query, document, 9, block=140), wanted)


def test_raw_scores_lose_what_the_steps_say():
    # One dimension is a hundred times as wide as the others: its codes count no more than theirs.
    rows = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    rows[:, 0] *= 100
    records = raw_int8.records(held_out(rows, queries=30, name="toy@1", encoder="random"), at=(1, 10))
    found = {record.metric: record.values for record in records}
    assert set(found) == {"fidelity@1", "fidelity@10", "bytes_per_vector", "documents"}
    assert np.mean(found["fidelity@10"]) < 0.7
    ours = [
        Record(**{**vars(record), "recipe": "int8", "values": (1.0,) * len(record.values)})
        if record.each == "query"
        else Record(**{**vars(record), "recipe": "int8"})
        for record in records
    ]
    told = table.int8([[*ours, *records]]).splitlines()
    assert told[2].startswith("| random, toy@1/test | 170 | 8 | 1.0000 [1.0000, 1.0000] | 0.")
    assert told[2].endswith("| yes |")
    with pytest.raises(ValueError, match="wanted one record of fidelity@10 of int8, got 0"):
        table.int8([records])


def test_a_set_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match="no set 'sift'; there are glove, debian, python-code, images"):
        made("sift", Given(work=tmp_path))
    with pytest.raises(FileNotFoundError, match="wanted --images"):
        made("images", Given(work=tmp_path))
