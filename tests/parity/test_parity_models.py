"""Real MiniLM here and in sentence-transformers: the same vectors, and folders that go both ways."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from jaxemb import encode, model

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


def test_float32_vectors_of_real_texts(ours, theirs, texts):
    lengths = [len(row) for row in ours.tokenizer.ids(texts).rows]
    assert min(lengths) < 10
    assert max(lengths) == 256  # some are cut, as there
    difference = np.abs(model.encode(ours, texts, report=quiet) - theirs.encode(texts)).max()
    assert difference <= 2e-6, difference


def test_bfloat16_keeps_the_direction_of_real_texts(ours, theirs, texts):
    some = texts[:120:3]  # the shorter ones: long texts are compared above
    half = model.encode(model.in_precision(ours, "bfloat16"), some, report=quiet)
    wanted = theirs.encode(some)
    cosine = (half * wanted).sum(axis=1) / np.linalg.norm(half, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() >= 0.999, cosine.min()


def test_order_batch_and_bucket_do_not_matter(ours, texts):
    some = texts[::8]
    together = model.encode(ours, some, report=quiet)
    turned = np.random.default_rng(0).permutation(len(some))
    shuffled = model.encode(ours, [some[i] for i in turned], report=quiet)
    np.testing.assert_allclose(shuffled, together[turned], atol=2e-6)
    alone = np.concatenate([model.encode(ours, [text], report=quiet) for text in some[::5]])
    np.testing.assert_allclose(alone, together[::5], atol=2e-6)


def test_what_we_save_loads_there(ours, theirs, texts, tmp_path):
    model.save(ours, tmp_path / "saved")
    there = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert there.max_seq_length == 256
    np.testing.assert_allclose(there.encode(texts[:120:6]), theirs.encode(texts[:120:6]), atol=2e-6)


def test_what_it_saves_loads_here(ours, theirs, texts, tmp_path):
    theirs.save(str(tmp_path / "saved"))
    here = model.load(tmp_path / "saved")
    assert model.fingerprint(here) == model.fingerprint(ours)


def test_a_static_model_goes_both_ways(ours, texts, tmp_path):
    table = ours.params["embeddings"]["tokens"]["table"][:, :64]
    spec = model.Spec(
        backbone=encode.StaticConfig(vocab_size=table.shape[0], hidden_size=64),
        pooling=None,
        normalize=True,
        max_length=None,
    )
    weight = np.random.default_rng(0).uniform(0.2, 2, size=table.shape[0]).astype(np.float32)
    static = model.make(spec, {"table": table, "weight": weight}, ours.tokenizer)
    model.save(static, tmp_path / "ours")
    there = SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    vectors = model.encode(static, texts)
    np.testing.assert_allclose(there.encode(texts), vectors, atol=2e-6)
    there.save(str(tmp_path / "theirs"))
    np.testing.assert_allclose(model.encode(model.load(tmp_path / "theirs"), texts), vectors, atol=2e-6)


@pytest.mark.parametrize(
    "pooling", ["cls", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mean", "max", "lasttoken"))]
)
def test_poolings_of_the_real_model(ours, theirs, texts, pooling):
    from sentence_transformers.sentence_transformer.modules import Pooling

    there = SentenceTransformer(modules=[theirs[0], Pooling(384, pooling_mode=pooling)], device="cpu")
    spec = model.Spec(backbone=ours.spec.backbone, pooling=pooling, normalize=False, max_length=256)
    here = model.make(spec, ours.params, ours.tokenizer)
    some = texts[:120:6]
    with torch.no_grad():
        wanted = there.encode(some)
    # Not scaled to length one, so the tolerance is on numbers up to about ten times as large.
    np.testing.assert_allclose(model.encode(here, some, report=quiet), wanted, atol=2e-5)
