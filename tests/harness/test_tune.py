import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxemb import cli, index
from jaxemb.evaluate import Interval, fidelity, retrieval
from jaxemb.harness import Pipeline, Tuned, Vectors, Wanted, record, sample, tune
from jaxemb.harness.explained import explain, markdown
from jaxemb.harness.tune import Seen, Unmet, shares

GOLDEN = Path(__file__).parents[1] / "golden" / "bert" / "new"
pytestmark = pytest.mark.usefixtures("compiled_quickly")


def toy(split="validation", seed=0, n=150, q=64, dim=16, judged=True):
    chance = np.random.default_rng(seed)
    document = chance.normal(size=(n, dim)).astype(np.float32)
    document /= np.linalg.norm(document, axis=1, keepdims=True)
    query = (document[:q] + 0.2 * chance.normal(size=(q, dim))).astype(np.float32)
    judgements = {str(row): {str(row): 1} for row in range(q)} if judged else {}
    return Vectors(name="toy@1", split=split, encoder="random", query=query, document=document, judgements=judgements)


NAMES = ("Flat", "SQ8", "SQ4", "PQ2x4")
BYTES = {"Flat": 64, "SQ8": 16, "SQ4": 8, "PQ2x4": 1}


def quick(*names):
    """Indexes that compile nothing."""
    return lambda n, dim: [Pipeline(kind="faiss", settings={"factory": name}) for name in names or NAMES]


def factory(pipeline):
    return pipeline.settings["factory"]


def share_by_hand(given, name, metric):
    made = {one: index.build("faiss", given.document, factory=one) for one in ("Flat", name)}
    hits = {one: built.search(given.query, 10) for one, built in made.items()}
    if metric == "fidelity@10":
        return fidelity(hits[name].rows, given.truth(10), k=10).mean()
    found = {one: retrieval(given.task, some).values[metric].mean() for one, some in hits.items()}
    return found[name] / found["Flat"]


def test_the_smallest_that_keeps_the_quality():
    given, test = toy(), toy("test", seed=1, q=40)
    found = tune(given, Wanted(quality=0.9), test=test, pipelines=quick(), rounds=2, calls=2)
    last = {factory(one.pipeline): one for one in found.last}
    assert factory(found.chosen) == "SQ4"
    assert {name: one.bytes_per_vector for name, one in last.items()} == BYTES
    assert last["SQ4"].round == 2
    assert last["SQ4"].share.low >= 0.9
    assert last["SQ4"].share.estimate == pytest.approx(share_by_hand(given, "SQ4", "ndcg@10"), abs=1e-6)
    assert (last["PQ2x4"].round, last["PQ2x4"].queries, last["PQ2x4"].verdict) == (1, 32, "below the floor")
    assert found.tested.share.estimate == pytest.approx(share_by_hand(test, "SQ4", "ndcg@10"), abs=1e-6)
    assert (found.tested.queries, found.tested.documents) == (40, 150)
    again = tune(given, Wanted(quality=0.9), pipelines=quick(), rounds=2, calls=2)
    assert again.chosen == found.chosen
    assert [(one.pipeline, one.share) for one in again.seen] == [(one.pipeline, one.share) for one in found.seen]


def test_the_fastest_and_a_codes_own_score():
    # A score of codes beside the reference's own: equal, so that nothing is lost, whatever the clock says.
    found = tune(toy(), Wanted(least="ms", quality=1.0), pipelines=lambda n, dim: [Pipeline()], rounds=1, calls=2)
    assert found.chosen == Pipeline()
    assert tuple(found.seen[0].share) == (1.0, 1.0, 1.0)
    assert found.seen[0].bytes_per_vector == 64


def test_the_choice_never_looks_at_the_test_split():
    given, other = toy(), toy("test", seed=5)
    noise = np.random.default_rng(9).normal(size=other.query.shape).astype(np.float32)
    found = [
        tune(given, Wanted(quality=0.9), test=test, pipelines=quick("SQ4", "SQ8"), rounds=1, calls=1)
        for test in (other, dataclasses.replace(other, query=other.query + 0.5 * noise))
    ]
    assert [factory(one.chosen) for one in found] == ["SQ4"] * 2
    assert found[0].seen[0].values == found[1].seen[0].values
    assert found[0].tested.values != found[1].tested.values


def test_an_impossible_request_names_the_best_it_saw():
    given = toy(judged=False)
    wanted = Wanted(quality=0.99, max_bytes=4)
    with pytest.raises(Unmet, match=r"0.99 of float32's fidelity@10 within 4 bytes.*is .*PQ2x4: 0\.\d+") as none:
        tune(given, wanted, pipelines=quick(), rounds=1, calls=1)
    tuned = none.value.tuned
    assert {factory(one): why for one, why in tuned.refused} == {
        name: f"{count} bytes a vector" for name, count in BYTES.items() if count > 4
    }
    assert tuned.seen[0].share.estimate == pytest.approx(share_by_hand(given, "PQ2x4", "fidelity@10"))
    told = markdown(tuned, given)
    assert "**None meets the floor.** The best seen is **float32, faiss, factory=PQ2x4**" in told
    with pytest.raises(Unmet, match=r"none could be tried .float32: 64 bytes a vector or more"):
        tune(given, Wanted(max_bytes=1), pipelines=lambda n, dim: [Pipeline()], rounds=1)


def test_who_was_left_behind_gets_a_chance():
    given = toy(q=120)
    easy = [int(name) for name in sample(given, queries=30, documents=150, seed=0).query_ids]
    given.query[:] += 0.3 * np.random.default_rng(7).normal(size=given.query.shape).astype(np.float32)
    given.query[easy] = given.document[easy]
    # On the first queries nothing is lost, so only the smaller one goes on; on all of them it loses.
    found = tune(given, Wanted(quality=1.0), pipelines=quick("SQ4", "Flat"), rounds=3, calls=1)
    assert factory(found.chosen) == "Flat"
    rounds = {name: [one.round for one in found.seen if factory(one.pipeline) == name] for name in ("SQ4", "Flat")}
    assert rounds["SQ4"][:2] == [1, 2]
    assert rounds["Flat"] == [1, 3]


def test_shares_by_hand(as_users_call):
    values, reference = np.array([0.0, 1.0, 0.5, 0.5]), np.array([0.5, 1.0, 0.5, 0.5])
    found = shares(values, reference, level=0.9)
    assert found.estimate == pytest.approx(2.0 / 2.5)
    assert 0.4 < found.low < 0.8 < found.high == 1.0
    assert shares(values, reference, level=0.99).low < found.low
    with pytest.raises(ValueError, match="same queries"):
        shares(values[:3], reference)
    with pytest.raises(ValueError, match="above 0"):
        shares(values, np.zeros(4))


def test_bad_requests_are_refused():
    for wrong in ({"quality": 0.0}, {"quality": 1.1}, {"max_bytes": 0}, {"metric": "speed"}, {"level": 1.0}):
        with pytest.raises(ValueError, match="tune: wanted"):
            Wanted(**wrong)
    with pytest.raises(ValueError, match="30 queries and 1 round or more, got 20"):
        tune(toy(q=20), pipelines=quick())
    with pytest.raises(ValueError, match="needs judgements, and toy@1/validation has none"):
        tune(toy(judged=False), Wanted(metric="mrr@10"), pipelines=quick())


def test_the_explanation_is_of_what_was_seen(tmp_path):
    given = toy()
    chosen, smaller = Pipeline(compressor="int8"), Pipeline(compressor="bits")
    seen = [
        Seen(
            chosen,
            "toy@1/validation",
            1,
            64,
            150,
            16,
            0.5,
            Interval(0.985, 0.99, 1.0),
            (1.0,) * 64,
            (1.0,) * 64,
            "meets the floor",
        ),
        Seen(
            smaller,
            "toy@1/validation",
            1,
            64,
            150,
            2,
            0.7,
            Interval(0.7, 0.8, 0.9),
            (0.8,) * 64,
            (1.0,) * 64,
            "below the floor",
        ),
    ]
    tuned = Tuned(Wanted(), "ndcg@10", chosen, tuple(seen), (), seen[0]._replace(round=0, task="toy@1/test"))
    explain(tuned, given, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tune.jsonl", "tune.md", "tune.svg"]
    told = markdown(tuned, given)
    assert "**Chosen: int8**, 16 bytes a vector, 0.500 ms a search, which keeps 0.9900 [0.9850, 1.0000]." in told
    assert "Of 1 that cost less the best is bits: 0.8000 [0.7000, 0.9000], below the floor." in told
    assert "had no part in this" in told
    assert ElementTree.parse(tmp_path / "tune.svg").getroot().tag.endswith("svg")
    lines = record.read(tmp_path / "tune.jsonl")
    assert {(one.task, one.config["round"]) for one in lines} == {("toy@1/validation", 1), ("toy@1/test", 0)}
    assert json.loads((tmp_path / "tune.jsonl").read_text().splitlines()[0])["recipe"] == "int8"


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    letters = "abcdefghijklmnopqrst"
    texts = {f"d-{one}{other}": f"{one} {other} {one}" for one in letters[:10] for other in letters[:6]}
    rows = [json.dumps({"_id": name, "text": text}) for name, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    rows = [json.dumps({"_id": name.replace("d", "q"), "text": text[:3]}) for name, text in texts.items()]
    (folder / "queries.jsonl").write_text("\n".join(rows) + "\n")
    for split, some in (("validation", list(texts)[:35]), ("test", list(texts)[35:])):
        lines = ["query-id\tcorpus-id\tscore", *(f"{name.replace('d', 'q')}\t{name}\t1" for name in some)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_command_writes_a_bundle_and_tells_why(beir, tmp_path, capsys, monkeypatch):
    from jaxemb.harness import tune as library

    spaces = quick("SQ8", "Flat")
    monkeypatch.setattr("jaxemb.harness.tune", lambda *all, **named: library(*all, pipelines=spaces, **named))
    out, model = tmp_path / "out", GOLDEN
    asked = ["tune", str(model), str(out), "--task", str(beir), "--rounds", "1", "--quality", "0.7"]
    assert cli.main(asked) == 0
    opened = index.bundle.load(out / "bundle")
    assert opened.manifest["made"]["pipeline"]["settings"]["factory"] in ("SQ8", "Flat")
    assert len(opened.documents) == 60
    assert "had no part in this" in (out / "tune.md").read_text()
    assert cli.main([*asked, "--max-bytes", "1"]) == 1
    assert "no pipeline keeps 0.7 of float32's ndcg@10 within 1 bytes" in " ".join(capsys.readouterr().err.split())
    assert "**None meets the floor.**" in (out / "tune.md").read_text()
    assert cli.main([*asked, "--validation", "test"]) == 2
    assert cli.main([*asked, "--quality", "2"]) == 2
