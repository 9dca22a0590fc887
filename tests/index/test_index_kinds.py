import json

import numpy as np
import pytest

from jaxemb import compress, index

KINDS = ["exact", "scann"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_an_index(clustered, kind, tmp_path):
    vectors, query = clustered
    built = index.build(kind, vectors[:900], compressor=compress.truncate(12))
    assert isinstance(built, index.Index)
    assert (built.kind, built.size, built.dim, built.compressor.name) == (kind, 900, 24, "truncate-12")
    assert built.resident_bytes >= 900 * 12 * 4
    json.dumps(built.settings)
    built.save(tmp_path / "index")
    loaded = index.load(tmp_path / "index", compressor=built.compressor, state=built.state)
    assert loaded.kind == kind
    np.testing.assert_array_equal(loaded.search(query, 5).rows, built.search(query, 5).rows)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_replaces_an_old_one(clustered, kind, tmp_path):
    index.build(kind, clustered[0][:900]).save(tmp_path / "index")
    index.build(kind, clustered[0][:50]).save(tmp_path / "index")
    assert index.load(tmp_path / "index").size == 50
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_unknown_kind(tmp_path):
    with pytest.raises(ValueError, match="no index of kind 'hnsw'; there are exact, scann"):
        index.build("hnsw", np.eye(2, dtype=np.float32))
    index.build("exact", np.eye(2, dtype=np.float32)).save(tmp_path / "index")
    said = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps({**said, "kind": "hnsw"}))
    with pytest.raises(ValueError, match="no index of kind 'hnsw'; there are exact, scann"):
        index.load(tmp_path / "index")
    (tmp_path / "index" / "index.json").write_text(json.dumps({**said, "format": 9}))
    with pytest.raises(ValueError, match="wanted index format 1, got 9"):
        index.load(tmp_path / "index")
