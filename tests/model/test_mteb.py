"""What mteb calls, without mteb; `tests/parity/test_parity_mteb.py` lets mteb itself call it."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from jaxemb import checkpoint, model
from jaxemb.model.mteb import prompt_name

TINY = Path(__file__).parent.parent / "golden" / "bert" / "new"
PROMPTS = {
    "query": "q ",
    "passage": "p ",
    "STS": "s ",
    "Retrieval-query": "a b ",
    "SciFact": "f ",
    "SciFact-query": "g ",
}
SCIFACT = SimpleNamespace(name="SciFact", type="Retrieval")
A, B = np.array([[3.0, 4.0], [1.0, 0.0]], np.float32), np.array([[0.0, 2.0], [6.0, 8.0]], np.float32)


@pytest.fixture(scope="module")
def tiny():
    return model.load(TINY)


def adapted(one, **changed):
    return model.MtebEncoder(model=one._replace(spec=replace(one.spec, **changed)), name="some/model")


def encoded(adapter, texts, side=None, *, of=SCIFACT, **settings):
    batches = ({"text": texts[i : i + 2], "id": ["?"] * 2} for i in range(0, len(texts), 2))
    return adapter.encode(batches, task_metadata=of, hf_split="test", hf_subset="default", prompt_type=side, **settings)


@pytest.mark.parametrize(
    ("task", "kind", "side", "name"),
    [
        ("SciFact", "Retrieval", "query", "SciFact-query"),
        ("SciFact", "Retrieval", "document", "SciFact"),
        ("SciFact", "Retrieval", None, "SciFact"),
        ("FiQA", "Retrieval", "query", "Retrieval-query"),
        ("FiQA", "Retrieval", "document", "passage"),
        ("FiQA", "Retrieval", None, None),
        ("STS12", "STS", "query", "STS"),
        ("STS12", "STS", None, "STS"),
        ("ArguAna", "Reranking", "query", "query"),
    ],
)
def test_the_most_particular_prompt(task, kind, side, name):
    assert prompt_name(PROMPTS, task=task, kind=kind, side=side) == name


def test_no_prompt_is_better_than_another_side():
    assert (
        prompt_name({"query": "q ", "SciFact-query": "g "}, task="SciFact", kind="Retrieval", side="document") is None
    )
    with pytest.raises(ValueError, match="got 'image'"):
        prompt_name(PROMPTS, task="SciFact", kind="Retrieval", side="image")


def test_texts_of_all_batches_in_order_each_behind_its_prompt(tiny):
    adapter, texts = adapted(tiny, prompts=PROMPTS), ["a b c", "d", "e f g h", "i", "j k"]
    got = encoded(adapter, texts, "query", batch_size=32, show_progress_bar=False, precision="float32")
    np.testing.assert_allclose(got, model.encode(tiny, ["g " + text for text in texts]), atol=1e-6)
    assert np.abs(got - encoded(adapter, texts, "document")).max() > 1e-3


def test_similarity_is_the_models_own(tiny):
    cosine, dot = adapted(tiny, similarity="cosine"), adapted(tiny, similarity="dot")
    np.testing.assert_allclose(cosine.similarity(A, B), [[0.8, 1.0], [0.0, 0.6]], atol=1e-6)
    np.testing.assert_allclose(dot.similarity(A, B), [[8.0, 50.0], [0.0, 6.0]])
    for adapter in (cosine, dot):
        np.testing.assert_allclose(adapter.similarity_pairwise(A, B), np.diag(adapter.similarity(A, B)), atol=1e-6)
        np.testing.assert_allclose(adapter.similarity(A[0], B), adapter.similarity(A, B)[:1])
        assert float(adapter.similarity(A[0], B[0])) == adapter.similarity(A, B)[0, 0]  # not every NumPy takes [1, 1]


def test_what_it_tells_of_itself_claims_nothing_unknown(tiny, monkeypatch):
    class Meta(SimpleNamespace):
        model_fields = {  # noqa: RUF012 - as pydantic has it
            name: SimpleNamespace(is_required=lambda required=required: required)
            for name, required in {"name": True, "license": True, "contacts": False}.items()
        }

    fake = ModuleType("mteb.models")
    fake.ModelMeta = Meta
    monkeypatch.setitem(sys.modules, "mteb", ModuleType("mteb"))
    monkeypatch.setitem(sys.modules, "mteb.models", fake)
    told = adapted(tiny).mteb_model_meta
    assert told.name == "some/model"
    assert told.revision == model.fingerprint(tiny)
    assert (told.embed_dim, told.max_tokens, told.similarity_fn_name) == (16, tiny.spec.max_length, "cosine")
    assert told.n_parameters == sum(leaf.size for leaf in checkpoint.leaves(tiny.params).values()) > 1000
    assert told.license is None
    assert not hasattr(told, "contacts")
    assert told.experiment_kwargs is None
    half = model.MtebEncoder(model=model.in_precision(tiny, "bfloat16"), name="some/model", revision="7")
    assert (half.mteb_model_meta.experiment_kwargs, half.mteb_model_meta.revision) == ({"dtype": "bfloat16"}, "7")


def test_mteb_is_named_where_it_is_missing(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxemb\[parity\]'"):
        _ = adapted(tiny).mteb_model_meta


def test_bad_input_is_refused_by_name(tiny):
    adapter = adapted(tiny)
    with pytest.raises(ValueError, match=r"'organization/model', got the name 'tiny'"):
        model.MtebEncoder(model=tiny, name="tiny")
    with pytest.raises(ValueError, match=r"precision must be one of .*got 'int8'"):
        encoded(adapter, ["a"], precision="int8")
    with pytest.raises(ValueError, match="got 'normalise'"):
        encoded(adapter, ["a"], normalise=True)
    with pytest.raises(ValueError, match=r"wanted batches with 'text', got one with \['id', 'image'\]"):
        adapter.encode([{"image": [], "id": []}], task_metadata=SCIFACT, hf_split="test", hf_subset="default")


@pytest.mark.parametrize("wrong", ["ab", 3])
def test_a_text_where_a_list_is_wanted_is_refused(tiny, wrong):
    with pytest.raises(TypeError, match=f"'text' must be a list of texts, got {type(wrong).__name__} {wrong!r}"):
        adapted(tiny).encode([{"text": wrong}], task_metadata=SCIFACT, hf_split="test", hf_subset="default")
