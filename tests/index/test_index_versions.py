"""An index of an earlier model: searched by a later one through an adapter of exactly that pair, or not at all."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt, index, model
from jaxemb.index import bundle, versions
from jaxemb.model import encode


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def adapter(tiny_model, other_model, texts):
    """From the other model to the tiny one."""
    old, new = (jnp.asarray(encode(one, texts, report=lambda _: None)) for one in (tiny_model, other_model))
    between = adapt.ridge()
    return adapt.Adapter(between, between.fit(new, old), model.fingerprint(other_model), model.fingerprint(tiny_model))


@pytest.fixture
def old(tiny_model, texts, tmp_path):
    return bundle.write(tmp_path / "old", tiny_model, [f"doc-{i}" for i in range(len(texts))], texts, index="exact")


def test_a_new_model_finds_what_the_old_one_indexed(old, other_model, adapter, texts, tmp_path):
    made = bundle.upgrade(tmp_path / "new", old, other_model, adapter)
    for opened in (made, bundle.load(tmp_path / "new")):
        found = [answer[0].text for answer in bundle.search(opened, texts, 1)]
        assert np.mean([a == b for a, b in zip(found, texts, strict=True)]) > 0.8
        assert opened.manifest["chain"] == [adapter.target, adapter.source]
        assert opened.manifest["model"] == adapter.target


def test_without_the_adapter_of_that_pair_it_is_refused(old, other_model, tiny_model, adapter, tmp_path):
    other = adapter._replace(source="another")
    with pytest.raises(ValueError, match="of which the index is, got one from another to"):
        bundle.upgrade(tmp_path / "new", old, other_model, other)
    with pytest.raises(ValueError, match="wanted an adapter from"):
        bundle.upgrade(tmp_path / "new", old, tiny_model, adapter)
    assert not (tmp_path / "new").exists()
    made = bundle.upgrade(tmp_path / "new", old, other_model, adapter)
    with pytest.raises(ValueError, match="the old bundle has an adapter"):
        bundle.upgrade(tmp_path / "newer", made, other_model, adapter)


def test_an_adapter_is_read_as_it_was_written(adapter, tmp_path):
    adapt.save(tmp_path / "adapter", adapter)
    again = adapt.load(tmp_path / "adapter")
    assert (again.between.name, again.source, again.target) == ("ridge", adapter.source, adapter.target)
    assert again.nbytes == adapter.nbytes == 4 * (16 * 16 + 16)
    rows = jnp.asarray(unit(np.random.default_rng(0).normal(size=(3, 16))))
    got = adapt.brought(again, rows, of=adapter.source)
    np.testing.assert_array_equal(got, adapt.brought(adapter, rows, of=adapter.source))
    np.testing.assert_allclose(jnp.linalg.norm(got, axis=1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="already"):
        adapt.brought(again, got, of=adapter.target)
    with pytest.raises(ValueError, match="no map 'cubic' between models; there are identity, shift, procrustes"):
        adapt.by_name("cubic")
    (tmp_path / "adapter" / "adapter.json").write_text('{"format": 9}')
    with pytest.raises(ValueError, match="wanted adapter format 1, got 9"):
        adapt.load(tmp_path / "adapter")


def test_several_versions_are_searched_as_one():
    draw = np.random.default_rng(0)
    rows, turn = unit(draw.normal(size=(40, 8))), np.linalg.qr(draw.normal(size=(8, 8)))[0].astype(np.float32)
    query = unit(draw.normal(size=(5, 8)))
    parts = {
        "new": versions.Part(index.build("exact", rows[:15])),
        "old": versions.Part(index.build("exact", unit(rows[15:] @ turn)), lambda asked: asked @ turn),
    }
    found = versions.search(parts, query, 7)
    whole = index.build("exact", rows).search(query, 7)
    np.testing.assert_array_equal(np.where(found.parts == 0, found.rows, found.rows + 15), whole.rows)
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-5)
    with pytest.raises(ValueError, match="wanted k from 1 to the index's 40 rows, got 41"):
        versions.search(parts, query, 41)
    with pytest.raises(ValueError, match="wanted an index of one version or more"):
        versions.search({}, query, 1)
