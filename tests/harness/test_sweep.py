import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxemb import compress, evaluate, index
from jaxemb.evaluate import fidelity
from jaxemb.harness import (
    Pipeline,
    Swept,
    Vectors,
    held_out,
    job,
    load_vectors,
    pareto,
    rescored,
    sample,
    save_vectors,
    space,
    sweep,
    write_fronts,
)
from jaxemb.harness.panels import SWEEP, panels

pytestmark = pytest.mark.usefixtures("compiled_quickly")
QUICK = Swept(depth=10, fidelity_at=(10,), threads=(1,), calls=3, repeats=2, batch=16, metrics=("ndcg@10",))


def toy(n=40, q=12, dim=16, seed=0, judged=True):
    chance = np.random.default_rng(seed)
    document = chance.normal(size=(n, dim)).astype(np.float32)
    document /= np.linalg.norm(document, axis=1, keepdims=True)
    query = document[:q] + 0.15 * chance.normal(size=(q, dim)).astype(np.float32)
    judgements = {str(row): {str(row): 1} for row in range(q)} if judged else {}
    return Vectors(name="toy@1", split="test", encoder="random", query=query, document=document, judgements=judgements)


def faiss(factory):
    """Compiles nothing."""
    return Pipeline(kind="faiss", settings={"factory": factory})


def by_metric(records, label):
    return {record.metric: record for record in records if record.recipe == label}


def test_pareto_by_hand():
    points = np.array(
        [[1.0, 5.0, 0.0], [2.0, 4.0, 0.0], [2.0, 3.0, 0.0], [2.0, 3.0, 1.0], [2.0, 4.0, 0.0], [9, np.nan, 9]]
    )
    assert pareto(points).tolist() == [True, True, False, True, True, False]
    chance = np.random.default_rng(0).normal(size=(60, 2))
    kept = chance[pareto(chance)]
    assert pareto(kept).all()
    assert all((kept >= point).all(axis=1).any() for point in chance)


def test_rows_hold_what_searches_give(tmp_path, monkeypatch):
    given, pipelines = toy(), [Pipeline(), faiss("SQ8"), faiss("PQ2x4")]
    done, real = [], job.build
    monkeypatch.setattr(job, "build", lambda *all: done.append(all[1].label) or real(*all))
    sweep([given], pipelines[:2], tmp_path, settings=QUICK, processes=False)
    assert done == [one.label for one in pipelines[:2]]
    records = sweep([given], pipelines, tmp_path, settings=QUICK, processes=False)
    assert done == [one.label for one in pipelines]  # rows that were finished are used again
    wanted = {"ndcg@10", "fidelity@10", "bytes_per_vector", "index_bytes_disk", "index_bytes_resident"}
    wanted |= {"documents", "build_s", "search_ms_1t", "search_queries_per_s_1t"}
    exact = by_metric(records, "float32")
    assert set(exact) - {"search_compile_s_1t"} == wanted
    assert exact["fidelity@10"].values == (1.0,) * 12
    hits = index.exact.build(given.document).search(given.query, 10)
    judged = evaluate.retrieval(given.task, hits).values["ndcg@10"]
    np.testing.assert_allclose(exact["ndcg@10"].values, judged)
    small = by_metric(records, pipelines[2].label)
    assert small["bytes_per_vector"].values == (1.0,)
    assert np.mean(small["fidelity@10"].values) < 0.9
    assert small["fidelity@10"].config["pipeline"] == pipelines[2].plain

    board = write_fronts(records, tmp_path / "out")
    drawn = {(panel.column.key, panel.quality_column.key): panel for panel in panels(board, SWEEP)}
    assert list(drawn) == [(axes.across, axes.up) for axes in SWEEP]
    fastest = drawn["search_one_per_s_1t", "fidelity@10"]
    best = max(fastest.points, key=lambda point: point.cost)
    assert best.front
    assert fastest.steps[0] == (best.cost, best.quality.value)  # from the fastest, to what more time buys
    assert fastest.steps[-1][0] == fastest.cost[0]
    picture = ElementTree.parse(tmp_path / "out" / "fronts.svg")
    assert picture.getroot().tag.endswith("svg")
    told = (tmp_path / "out" / "fronts.md").read_text()
    assert told.count("## ") == 3
    assert f"| {pipelines[2].label} |" in told
    assert (tmp_path / "out" / "leaderboard.html").read_text().count("<figure>") == 3


def test_pipelines_that_differ_in_the_search_alone_share_an_index(tmp_path, monkeypatch):
    some = [Pipeline(kind="scann", search={"reorder": 10 * k}) for k in (1, 2)]
    built, real = [], job.build
    monkeypatch.setattr(job, "build", lambda *all: built.append(1) or real(*all))
    records = sweep([toy(judged=False)], some, tmp_path, settings=QUICK, processes=False)
    assert len(built) == 1
    assert {record.config["settings"]["reorder"] for record in records} == {10, 20}
    assert not any(record.metric == "ndcg@10" for record in records)


def test_a_second_look_shares_the_first_index():
    given = toy(judged=False)
    lists = Pipeline(kind="fast_scan", compressor="pq-4x4", settings={"lists": 5}, search={"probes": 1})
    few, all_ = (rescored(dataclasses.replace(lists, search={"probes": probes}), fetch=9) for probes in (1, 5))
    built = few.untuned.built(given.document)
    found = [fidelity(one.tuned(built).search(given.query, 5).rows, given.truth(5), k=5).mean() for one in (few, all_)]
    assert found[0] < found[1]
    again = index.build(all_.kind, given.document, compressor=compress.int8(), **all_.whole)
    np.testing.assert_array_equal(again.search(given.query, 5).rows, all_.tuned(built).search(given.query, 5).rows)
    assert all_.tuned(built).settings["first"]["probes"] == 5


def test_a_row_that_fails_is_named_and_the_others_are_kept(tmp_path):
    with pytest.raises(RuntimeError, match=r"1 rows failed.*\ntruncate-99: .*99"):
        sweep([toy()], [Pipeline(compressor="truncate-99"), Pipeline()], tmp_path, settings=QUICK, processes=False)
    assert len(list((tmp_path / "rows").iterdir())) == 1
    with pytest.raises(ValueError, match="different pipelines, got twice"):
        sweep([toy()], [Pipeline(), Pipeline()], tmp_path, settings=QUICK, processes=False)
    with pytest.raises(ValueError, match="different encoders"):
        sweep([toy(), toy()], [Pipeline()], tmp_path, settings=QUICK, processes=False)


def test_a_process_of_its_own_finds_the_same(tmp_path):
    given = toy()
    save_vectors(tmp_path / "vectors", given)
    known = given.truth(10)
    np.savez(tmp_path / "truth.npz", rows=known.rows, scores=known.scores)
    (tmp_path / "kept").mkdir()
    asked = {"scratch": str(tmp_path), "kept": str(tmp_path / "kept"), "pipeline": faiss("SQ8").plain}
    asked["settings"] = {"depth": 10, "fidelity_at": [1, 10], "calls": 3, "repeats": 2, "batch": 16}
    job.here({**asked, "do": "build"}, None)
    here, apart = (do({**asked, "do": "search"}, 1, judged=True) for do in (job.here, job.apart))
    values = [{name: list(values) for name, each, values in found["numbers"] if "@" in name} for found in (here, apart)]
    assert values[0] == values[1]
    assert {"fidelity@1", "fidelity@10", "ndcg@10", "recall@100"} <= set(values[0])
    with pytest.raises(ValueError, match="wanted 999 cores"):
        job.apart({**asked, "do": "search"}, 999)


def test_vectors_on_disk_and_samples_of_them(tmp_path, as_users_call):
    given = toy()
    save_vectors(tmp_path / "vectors", given)
    again = load_vectors(tmp_path / "vectors")
    assert again.fingerprint == given.fingerprint
    assert again.task == given.task
    few, more = (sample(given, queries=q, documents=n, seed=3) for q, n in ((4, 10), (8, 20)))
    assert set(few.query_ids) <= set(more.query_ids)
    assert (len(few.document), len(more.document)) == (10, 20)
    assert all(set(judged) <= set(few.document_ids) for judged in few.judgements.values())
    assert [len(judged) for judged in few.judgements.values()] == [1] * 4
    row = list(given.document_ids).index(few.document_ids[5])
    np.testing.assert_array_equal(few.document[5], given.document[row])
    with pytest.raises(ValueError, match="judgements name a document that is not in the task"):
        dataclasses.replace(given, judgements={"0": {"99": 1}})
    with pytest.raises(ValueError, match="from 1 to 39 queries, got 40"):
        held_out(given.document, queries=40, name="a", encoder="b")
    with pytest.raises(FileNotFoundError, match=r"no vectors\.json"):
        load_vectors(tmp_path)
    with pytest.raises(ValueError, match=r"wanted float32 \[n, 16\], got float32 \[3, 8\]"):
        Vectors(name="a", split="b", encoder="c", document=given.document, query=np.ones((3, 8), np.float32))


def test_pipelines_are_plain_data():
    first = Pipeline(kind="scann", settings={"leaves": 7}, search={"reorder": 5})
    twice = rescored(first, "int8", fetch=40)
    assert Pipeline(**twice.plain) == twice
    assert twice.label == "float32, scann, leaves=7, reorder=5 > int8, fetch=40"
    assert twice.group == "scann, rescored"
    assert twice.key() != rescored(first, "int8", fetch=41).key()
    assert twice.untuned.key() == rescored(first, "int8", fetch=41).untuned.key()
    wider = Pipeline(kind="scann", settings={"leaves": 7}, search={"reorder": 6})
    assert rescored(wider, "int8").untuned.key() == twice.untuned.key()
    assert twice.whole == {
        "first": {"kind": "scann", "compressor": "float32", "leaves": 7, "reorder": 5},
        "fetch": 40,
    }
    assert Pipeline(compressor="pca-8+int8").least_bytes(16) == 8
    with pytest.raises(ValueError, match="must be plain JSON"):
        Pipeline(settings={"mesh": object()})


@pytest.mark.parametrize("dim", [16, 50, 384])
def test_the_space_is_the_same_for_every_number_of_vectors(dim):
    small, large = space(5000, dim), space(400_000, dim)
    assert [(one.kind, one.compressor) for one in small] == [(one.kind, one.compressor) for one in large]
    assert len({one.label for one in large}) == len(large)
    assert all(one.least_bytes(dim) >= 0 for one in large)  # every name is one that there is
