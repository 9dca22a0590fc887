"""The pieces of `bench/search`, on a few vectors."""

import sys
from pathlib import Path

import numpy as np
import pytest

from jaxemb import index
from jaxemb.harness import Record

sys.path.insert(0, str(Path(__file__).parents[2]))  # bench is no part of the package

from bench.search import data
from bench.search.__main__ import Run, chosen, measured, of_decoded, of_peers, smaller
from bench.search.rows import EQUAL_BITS, ROWS
from bench.search.table import per_second, table


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    file = tmp_path_factory.mktemp("glove") / "vectors.npy"
    np.save(file, np.random.default_rng(0).normal(size=(450, 50)).astype(np.float32))
    return data.glove(400, file)


def test_every_row_is_one_that_can_be_built():
    for name, one in {**ROWS, **EQUAL_BITS}.items():
        assert one.kind in index.kinds.BUILD, name
    labels = [one.label for one in ROWS.values()]
    assert len(set(labels)) == len(labels)


def test_rows_are_chosen_by_name():
    assert set(chosen(ROWS, ["hnswlib", "usearch *"])) == {"hnswlib", "usearch f32", "usearch i8", "usearch b1"}


def test_for_fewer_vectors_there_are_fewer_parts():
    assert smaller(ROWS["ScaNN tree, 80 of 632"], 400).settings == {"leaves": 20}
    assert smaller(ROWS["ScaNN tree, 80 of 632"], 400).search == {"leaves_to_search": 2, "reorder": 100}
    assert smaller(ROWS["FAISS IVF-PQ fast-scan"], 400).settings == {"factory": "IVF20,PQ25x4fs,RFlat"}
    assert smaller(ROWS["hnswlib"], 400) == ROWS["hnswlib"]


def test_vectors_are_of_unit_length_and_apart(toy):
    assert (toy.query.shape, toy.document.shape) == ((20, 50), (380, 50))
    np.testing.assert_allclose(np.linalg.norm(toy.document, axis=1), 1, rtol=1e-6)
    assert toy.name == "glove-6b-50d@1.0.0[400]"


def test_rows_become_records_and_a_table(toy, tmp_path):
    run = Run(work=tmp_path, first=400, here=True)
    rows = chosen(ROWS, ["FAISS flat", "int4-0.01 > int8, 80*"])
    records = [*measured(toy, rows, run), *of_peers(toy, ["*int8"])]
    assert {one.recipe for one in records} == {*rows, "sentence-transformers int8"}
    by = {(one.recipe, one.metric): one for one in records}
    assert np.mean(by["FAISS flat", "fidelity@10"].values) == 1
    assert len(by["FAISS flat", "search_ms_1t"].values) == 20
    told = table(records)
    assert "| FAISS flat | 1.000 |" in told
    assert "| sentence-transformers int8 |" in told


def test_sdc_finds_what_a_scan_over_decoded_codes_finds():
    few = data.normal(400)
    (found,) = of_decoded(few, {"SDC": EQUAL_BITS["SDC bebr-128x2"]}, queries=10)
    assert (found.metric, np.mean(found.values)) == ("decoded@10", 1)


def test_queries_a_second_are_of_all_calls():
    assert per_second((1.0, 3.0)) == 500
    kept = {"config": {}, "task": "t", "device": "d", "versions": {}}
    rows = [
        Record(recipe=name, metric="search_ms_1t", values=(ms,), each="query", **kept)
        for name, ms in (("slow", 2.0), ("quick", 0.5))
    ]
    lines = table(rows).splitlines()
    assert lines[4].startswith("| quick |  | 2,000 | 0.500 |")
    assert lines[5].startswith("| slow |  | 500 |")
