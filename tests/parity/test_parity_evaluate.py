"""The protocols of `evaluate` and mteb's own tasks on the same vectors: equal numbers."""

import inspect

import numpy as np
import pytest

from jaxemb import evaluate
from jaxemb.evaluate.classification import samples

mteb = pytest.importorskip("mteb", reason="mteb is not installed: pip install 'jaxemb[parity]'")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

chance = np.random.default_rng(0)
LABELS = chance.integers(0, 4, 160)
TABLE = (chance.normal(size=(160, 8)) + 2 * np.eye(4, 8)[LABELS]).astype(np.float32)
TABLE[:40] *= chance.uniform(0.5, 2, (40, 1))  # so that dot and cosine differ
TEXTS = [str(row) for row in range(160)]  # a text is the row of its vector


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny fits by many threads take most of their time to meet."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


class Rows:
    """An encoder for mteb that knows the vectors already."""

    mteb_model_meta = mteb.models.ModelMeta.create_empty()

    def encode(self, inputs, **_):
        return TABLE[[int(text) for batch in inputs for text in batch["text"]]]

    def similarity(self, one, other):
        return mteb.similarity_functions.cos_sim(one, other)

    def similarity_pairwise(self, one, other):
        return mteb.similarity_functions.pairwise_cos_sim(one, other)


def told(base, kind, columns, **settings):
    """The scores of a task of mteb on these columns; a dict of columns has a split for each key."""
    from datasets import Dataset, DatasetDict

    meta = mteb.TaskMetadata(
        name="JaxembRows",
        type=kind,
        main_score="main",
        description="Rows of a table.",
        dataset={"path": "none", "revision": "0"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
    )
    task = type("Task", (base,), {"metadata": meta, "_add_main_score": lambda self, scores: None, **settings})()
    task.dataset, task.data_loaded = DatasetDict({k: Dataset.from_dict(v) for k, v in columns.items()}), True
    return task.evaluate(Rows(), "test", encode_kwargs={})["default"]


def test_classification():
    train, test = slice(100), slice(100, None)
    for labels in (LABELS, LABELS % 2):  # average precision is told of two labels only
        split = [{"text": TEXTS[part], "label": labels[part].tolist()} for part in (train, test)]
        want = told(
            mteb.abstasks.AbsTaskClassification,
            "Classification",
            dict(zip(["train", "test"], split, strict=True)),
            n_experiments=4,
        )
        got = evaluate.classification(TABLE[train], labels[train], TABLE[test], labels[test], experiments=4)
        assert got.mean._asdict() == pytest.approx({k: want[k] for k in got.mean._fields}, abs=1e-6, nan_ok=True)
        assert [one.accuracy for one in got.experiments] == pytest.approx(
            [one["accuracy"] for one in want["scores_per_experiment"]], abs=1e-6
        )
        assert 0.5 < got.right.mean() == pytest.approx(want["accuracy"], abs=1e-6)
        assert len({one.accuracy for one in got.experiments}) > 1


def test_samples_of_rare_labels():
    from datasets import Dataset

    labels = np.array([0, 1, 1, 2, 2, 2, 2, 0, 1, 1, 2])
    task = type("Task", (mteb.abstasks.AbsTaskClassification,), {"seed": 7, "samples_per_label": 3})
    task, order, want = task.__new__(task), None, []
    for place in range(4):
        _, order, rows = task._undersample_data(Dataset.from_dict({"label": labels.tolist()}), place, order)
        want.append(rows)
    assert [rows.tolist() for rows in samples(labels, per_label=3, experiments=4, seed=7)] == want


def test_clustering():
    columns = {"test": {"sentences": TEXTS, "labels": LABELS.tolist()}}
    base, fewer = mteb.abstasks.AbsTaskClustering, {"max_documents_per_cluster": 90, "n_clusters": 3}
    want = told(base, "Clustering", columns, max_fraction_of_documents_to_embed=0.5, **fewer)
    got = evaluate.clustering(TABLE, LABELS, limit=80, size=90, experiments=3)
    assert got.values[0].tolist() == pytest.approx(want["v_measures"]["Level 0"], abs=1e-6)
    assert got.v_measure == pytest.approx(want["v_measure"], abs=1e-6)

    levels = np.stack([LABELS % 2, np.where(np.arange(160) % 5, LABELS, -1)], axis=1)  # some have no second level
    columns["test"]["labels"] = [[one, other] if other >= 0 else [one] for one, other in levels.tolist()]
    want = told(base, "Clustering", columns, max_fraction_of_documents_to_embed=None, **fewer)
    got = evaluate.clustering(TABLE, levels, size=90, experiments=3)
    assert got.v_measure == pytest.approx(want["v_measure"], abs=1e-6)
    assert got.values.tolist() == [pytest.approx(want["v_measures"][f"Level {level}"], abs=1e-6) for level in range(2)]


def test_clustering_of_one_set_as_before():
    columns = {"test": {"sentences": [TEXTS], "labels": [LABELS.tolist()]}}
    want = told(mteb.abstasks.AbsTaskClusteringLegacy, "Clustering", columns)
    clusters = evaluate.minibatch_kmeans(TABLE, count=4, batch_size=500, seed=42)
    assert evaluate.v_measure(LABELS, clusters) == pytest.approx(want["v_measure"], abs=1e-6)


def test_pair_classification():
    first, second = np.arange(80), np.arange(80, 160)
    labels = (LABELS[first] == LABELS[second]).astype(int)
    columns = {"sentence1": TEXTS[:80], "sentence2": TEXTS[80:], "labels": labels.tolist()}
    want = told(mteb.abstasks.AbsTaskPairClassification, "PairClassification", {"test": columns})
    got = evaluate.pair_classification(TABLE[first], TABLE[second], labels)
    for name, found in got.items():
        for field in ("ap", "accuracy", "f1", "precision", "recall"):
            assert getattr(found, field) == pytest.approx(want[f"{name}_{field}"], abs=1e-6), (name, field)
    assert len({found.ap for found in got.values()}) == 4
    assert max(found.ap for found in got.values()) == pytest.approx(want["max_ap"], abs=1e-6)


def test_pairs_with_equal_scores():
    scores, labels = np.round(TABLE[:, 0].astype(np.float64), 0), (LABELS == 0).astype(int)
    base = mteb.abstasks.AbsTaskPairClassification
    for some in (slice(None), slice(0, 1), slice(0, 2)):
        if len(set(labels[some])) < 2:
            continue
        want = base._compute_metrics_values(base.__new__(base), scores[some].tolist(), labels[some], True)
        given = {"given": lambda one, other, some=some: scores[some]}
        found = evaluate.pair_classification(TABLE[some], TABLE[some], labels[some], given)["given"]
        assert {k: getattr(found, k) for k in want} == pytest.approx(want, abs=1e-6)


def test_bitext_mining():
    noisy = {"sentence1": TEXTS[:60], "sentence2": [*TEXTS[40:60], *TEXTS[:40]]}
    want = told(mteb.abstasks.AbsTaskBitextMining, "BitextMining", {"test": noisy})
    assert want["accuracy"] == 0.0
    near = TEXTS[:20] + TEXTS[100:140]  # a third are themselves
    want = told(mteb.abstasks.AbsTaskBitextMining, "BitextMining", {"test": {**noisy, "sentence2": near}})
    got = evaluate.bitext(TABLE[:60], TABLE[[int(text) for text in near]])
    assert 0.1 < got.f1 < got.accuracy
    for field in ("f1", "precision", "recall", "accuracy"):
        assert getattr(got, field) == pytest.approx(want[field], abs=1e-6)


def test_bitext_with_a_sentence_that_is_right_twice():
    gold = chance.integers(0, 30, 60)
    got = evaluate.bitext(TABLE[:60], TABLE[60:90], gold)
    base = mteb.abstasks.AbsTaskBitextMining
    found = [{"corpus_id": int(row)} for row in got.nearest]
    want = base._compute_metrics(base.__new__(base), found, list(enumerate(gold.tolist())))
    assert {k: getattr(got, k) for k in want} == pytest.approx(want, abs=1e-6)


def test_likeness():
    scores = chance.uniform(0, 5, 80) + (LABELS[:80] == LABELS[80:])
    columns = {"sentence1": TEXTS[:80], "sentence2": TEXTS[80:], "score": scores.tolist()}
    want = told(mteb.abstasks.AbsTaskSTS, "STS", {"test": columns}, min_score=0, max_score=6)
    for name in ("cosine", "euclidean", "manhattan"):
        alike = evaluate.PAIRWISE[name]
        got = evaluate.likeness(TABLE, np.arange(80), np.arange(80, 160), scores, similarity=alike)
        assert (got.pearson, got.spearman) == pytest.approx(
            (want[f"{name}_pearson"], want[f"{name}_spearman"]), abs=1e-6
        )


def judged(seed):
    """30 queries with 12 candidates each, their grades from 0 to 3, and the cosines as mteb's run."""
    draw = np.random.default_rng(seed)
    candidates = [draw.choice(np.arange(40, 160), 12, replace=False) for _ in range(30)]
    grades = [draw.integers(0, 4, 12) * draw.integers(0, 2, 12) for _ in candidates]
    scores = [evaluate.cosines(np.repeat(TABLE[i : i + 1], 12, 0), TABLE[rows]) for i, rows in enumerate(candidates)]
    qrels = {f"q{i}": {f"d{r}": int(g) for r, g in zip(candidates[i], grades[i], strict=True)} for i in range(30)}
    run = {f"q{i}": {f"d{r}": float(s) for r, s in zip(candidates[i], scores[i], strict=True)} for i in range(30)}
    return candidates, grades, qrels, run


def test_reranking_and_graded_retrieval():
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    candidates, grades, qrels, run = judged(3)
    want = calculate_retrieval_scores(run, qrels, [1, 5, 10, 1000])
    each = [want.all_scores[query] for query in qrels]
    got = evaluate.reranking(TABLE[:30], TABLE, candidates, grades)
    assert got.values["map"].tolist() == pytest.approx([one["map_cut_1000"] for one in each], abs=1e-6)
    assert got.values["mrr"].mean() == pytest.approx(want.mrr["MRR@1000"], abs=1e-6)

    ids = tuple(f"d{row}" for row in range(160))
    task = type("Toy", (), {"name": "toy", "document_ids": ids, "query_ids": tuple(qrels), "judgements": qrels})()
    metrics = {
        f"{name}_{k}": lambda one, metric=metric, k=k: metric(one, k=k)
        for name, metric in (("ndcg_cut", evaluate.ndcg), ("map_cut", evaluate.average_precision))
        for k in (1, 5, 10)
    }
    found = evaluate.retrieval(task, run, metrics)
    for name, values in found.values.items():
        assert values.tolist() == pytest.approx([one[name] for one in each], abs=1e-6)
    rounded = {query: {name: round(score, 1) for name, score in of.items()} for query, of in run.items()}
    broken = {"map_cut_5": lambda one: evaluate.as_trec_eval(evaluate.average_precision)(one, k=5)}
    want = calculate_retrieval_scores(rounded, qrels, [5]).all_scores
    assert evaluate.retrieval(task, rounded, broken).values["map_cut_5"].tolist() == pytest.approx(
        [want[query]["map_cut_5"] for query in qrels], abs=1e-6
    )


def test_settings_are_those_of_mteb():
    probe, cluster = mteb.abstasks.AbsTaskClassification, mteb.abstasks.AbsTaskClustering
    ours = [
        {name: one.default for name, one in inspect.signature(each).parameters.items()}
        for each in (evaluate.classification, evaluate.clustering)
    ]
    assert (ours[0]["per_label"], ours[0]["experiments"]) == (probe.samples_per_label, probe.n_experiments)
    theirs = (cluster.max_documents_per_cluster, cluster.n_clusters, cluster.k_mean_batch_size)
    assert (ours[1]["size"], ours[1]["experiments"], ours[1]["batch_size"]) == theirs
    assert {one["seed"] for one in ours} == {inspect.signature(mteb.AbsTask.__init__).parameters["seed"].default}
