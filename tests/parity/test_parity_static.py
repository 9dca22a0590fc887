"""Static tables here, in model2vec and in sentence-transformers: the same vectors, and folders that go all ways."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxemb import encode, model

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

GOLDEN = Path(__file__).parent.parent / "golden" / "static"


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("model2vec").StaticModel


@pytest.fixture(scope="module")
def static(ours):
    """A table of the real MiniLM's tokens, as model2vec reads one."""
    table = np.asarray(ours.params["embeddings"]["tokens"]["table"][:, :64])
    weight = np.random.default_rng(0).uniform(0.2, 2, size=len(table)).astype(np.float32)
    median = int(np.median([len(token) for token in ours.tokenizer.vocabulary]))
    spec = model.Spec(
        backbone=encode.StaticConfig(vocab_size=len(table), hidden_size=64, unknown=ours.tokenizer.unknown),
        pooling=None,
        normalize=True,
        max_length=128,
        max_characters=128 * median,
    )
    return model.make(spec, {"table": table, "weight": weight}, ours.tokenizer)


def test_what_we_save_model2vec_loads(theirs, static, texts, tmp_path):
    model.save(static, tmp_path / "m", layout="model2vec")
    there = theirs.from_pretrained(tmp_path / "m")
    assert there.median_token_length * 128 == static.spec.max_characters
    texts = [*texts, "字 unknown " * 3, "", "x" * 4000]
    vectors = model.encode(static, texts, report=quiet)
    np.testing.assert_allclose(vectors, there.encode(texts), atol=1e-6)
    lengths = [len(row) for row in static.tokenizer.ids(texts).rows]
    assert max(lengths) == 128
    assert any(len(text) > static.spec.max_characters for text in texts)


def test_what_model2vec_saves_we_load(theirs, static, texts, tmp_path):
    model.save(static, tmp_path / "m", layout="model2vec")
    theirs.from_pretrained(tmp_path / "m").save_pretrained(tmp_path / "again")
    again = model.load(tmp_path / "again")
    assert again.spec == static.spec
    got, wanted = (model.encode(one, texts, report=quiet) for one in (again, static))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("bits", ["float16", "int8"])
def test_fewer_bits_and_shared_rows(theirs, static, texts, tmp_path, bits):
    table = np.asarray(encode.folded(static.params))
    table = (table / np.abs(table).max() * 127).round().astype(bits)[:1000]
    mapping = np.random.default_rng(1).integers(0, 1000, size=static.spec.backbone.vocab_size)
    weights = np.asarray(static.params["weight"])
    model.save(static, tmp_path / "m", layout="model2vec")
    backend = theirs.from_pretrained(tmp_path / "m").tokenizer
    there = theirs(table, backend, weights=weights, token_mapping=mapping, normalize=False, max_length=None)
    there.save_pretrained(tmp_path / "there")
    got = model.encode(model.load(tmp_path / "there"), texts, report=quiet)
    # model2vec gives halves back as halves
    wanted = there.encode(texts)
    np.testing.assert_allclose(got, wanted, rtol=2e-3 if bits == "float16" else 1e-5, atol=1e-4)


def test_sentence_transformers_reads_texts_whole(static, texts, tmp_path):
    from sentence_transformers import SentenceTransformer

    counted = replace(static.spec, max_characters=None, backbone=replace(static.spec.backbone, unknown=None))
    here = model.make(counted, static.params, static.tokenizer)
    model.save(here, tmp_path / "m")
    there = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    np.testing.assert_allclose(model.encode(here, texts, report=quiet), there.encode(texts), atol=2e-6)
    there.save(str(tmp_path / "there"))
    assert model.load(tmp_path / "there").spec == counted
    # A folder for model2vec it reads, too; what model2vec would not read it reads as well.
    model.save(static, tmp_path / "m2v", layout="model2vec")
    other = SentenceTransformer(str(tmp_path / "m2v"), device="cpu")
    np.testing.assert_allclose(other.encode(texts), there.encode(texts), atol=2e-6)


@pytest.mark.parametrize("name", ["plain", "shared"])
def test_kept_values_are_still_theirs(theirs, name):
    values = np.load(GOLDEN / f"{name}.npz")
    np.testing.assert_allclose(
        theirs.from_pretrained(GOLDEN / name).encode(values["texts"].tolist()), values["vectors"]
    )
