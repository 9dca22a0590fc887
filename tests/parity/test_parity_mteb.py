"""mteb itself, on tasks that are made here: our encoder and sentence-transformers' of the same folder score alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxemb import encode, model

mteb = pytest.importorskip("mteb", reason="mteb is not installed: pip install 'jaxemb[parity]'")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

TINY = Path(__file__).parent.parent / "golden" / "bert" / "new"
PROMPTS = {"query": "q r ", "document": "d ", "STS": "s t ", "Retrieval-query": "a b c "}


def drawn(n: int, seed: int) -> list[str]:
    """Texts of the tiny tokenizer's one-letter words, some longer than the model reads."""
    chance = np.random.default_rng(seed)
    return [" ".join(chance.choice(list("abcdefghijklmnopqrst"), chance.integers(1, 14))) for _ in range(n)]


def metadata(name: str, kind: str, score: str):
    return mteb.TaskMetadata(
        name=name,
        type=kind,
        main_score=score,
        description="Texts made for a test.",
        dataset={"path": "none", "revision": "0"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
    )


class Alike(mteb.abstasks.AbsTaskSTS):
    metadata = metadata("JaxembAlike", "STS", "cosine_spearman")
    min_score, max_score = 0, 5

    def load_data(self, **_):
        from datasets import Dataset, DatasetDict

        scores = np.random.default_rng(2).uniform(0, 5, 40).round(1).tolist()
        rows = {"sentence1": drawn(40, 0), "sentence2": drawn(40, 1), "score": scores}
        self.dataset, self.data_loaded = DatasetDict(test=Dataset.from_dict(rows)), True


class Found(mteb.abstasks.AbsTaskRetrieval):
    metadata = metadata("JaxembFound", "Retrieval", "ndcg_at_10")

    def load_data(self, **_):
        from datasets import Dataset

        corpus = {"id": [f"d{i}" for i in range(60)], "title": drawn(60, 3), "text": drawn(60, 4)}
        queries = {"id": [f"q{i}" for i in range(30)], "text": drawn(30, 5)}
        judged = {f"q{i}": {f"d{i}": 2, f"d{2 * i}": 1} for i in range(30)}
        split = {"corpus": Dataset.from_dict(corpus), "queries": Dataset.from_dict(queries), "relevant_docs": judged}
        self.dataset, self.data_loaded = {"default": {"test": {**split, "top_ranked": None}}}, True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny model with prompts of its own, and tokens so unlike that its similarities are not all 0.99."""
    tiny, place = model.load(TINY), tmp_path_factory.mktemp("model") / "tiny"
    params = {**tiny.params, "embeddings": {**tiny.params["embeddings"]}}
    params["embeddings"]["tokens"] = {"table": 50 * tiny.params["embeddings"]["tokens"]["table"]}
    model.save(tiny._replace(params=params, spec=replace(tiny.spec, prompts=PROMPTS)), place)
    return place


def scored(encoder, task) -> dict[str, float]:
    result = mteb.evaluate(encoder, task(), cache=None, show_progress_bar=False).task_results[0]
    (scores,) = result.scores["test"]
    return {name: value for name, value in scores.items() if isinstance(value, float)}


@pytest.mark.parametrize("task", [Alike, Found])
def test_scores_equal_those_of_sentence_transformers(folder, task):
    from sentence_transformers import SentenceTransformer

    ours = scored(model.MtebEncoder(model=model.load(folder), name="jaxemb/tiny"), task)
    wanted = scored(SentenceTransformer(str(folder), device="cpu"), task)
    assert len(wanted) > 8
    assert ours == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    bare = model.load(folder)
    bare = bare._replace(spec=replace(bare.spec, prompts={}))
    assert scored(model.MtebEncoder(model=bare, name="jaxemb/bare"), task) != pytest.approx(wanted, abs=1e-3)


@pytest.mark.slow
def test_every_kind_of_text_task_runs(ours):
    table = ours.params["embeddings"]["tokens"]["table"]
    shape = encode.StaticConfig(vocab_size=table.shape[0], hidden_size=table.shape[1])
    spec = model.Spec(backbone=shape, pooling=None, normalize=True, max_length=None)
    quick = model.make(spec, encode.from_table(table), ours.tokenizer)
    results = mteb.mock_run(model.MtebEncoder(model=quick, name="jaxemb/table")).task_results
    failed = {name: result.exception for name, result in results.items() if hasattr(result, "exception")}
    assert failed == {}
    assert sum(result is not None for result in results.values()) >= 20


def test_mteb_takes_it_for_an_encoder(folder):
    encoder = model.MtebEncoder(model=model.load(folder), name="jaxemb/tiny")
    assert isinstance(encoder, mteb.EncoderProtocol)
    meta = encoder.mteb_model_meta
    assert isinstance(meta, mteb.models.ModelMeta)
    assert (meta.embed_dim, str(meta.similarity_fn_name), meta.framework) == (16, "cosine", ["JAX"])
    assert meta.to_dict()["license"] is None
