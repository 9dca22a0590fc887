import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from jaxemb import compress, index, model
from jaxemb.index import bundle, manifest


def ids_of(texts):
    return [f"doc-{i}" for i in range(len(texts))]


def make(folder, encoder, texts, **settings):
    return bundle.write(folder, encoder, ids_of(texts), texts, **{"index": "exact", **settings})


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_from_texts_to_answers(tiny_model, texts, kind, tmp_path):
    made = make(tmp_path / "here", tiny_model, texts, index=kind, made={"by": "a test"})
    (tmp_path / "here").rename(tmp_path / "there")
    shutil.copytree(tmp_path / "there", tmp_path / "copy")
    for opened in (made, bundle.load(tmp_path / "there"), bundle.load(tmp_path / "copy", verify=False)):
        answers = bundle.search(opened, ["fish red", "stone stone"], 3)
        assert [answer[0].text for answer in answers] == ["fish red", "stone stone"]
        assert answers[0][0].id == f"doc-{texts.index('fish red')}"
        assert answers[0][0].score == pytest.approx(1, rel=1e-6)
        assert [len(answer) for answer in answers] == [3, 3]
        assert all(a.score >= b.score for answer in answers for a, b in itertools.pairwise(answer))
        assert bundle.search(opened, [], 3) == []
    said = json.loads((tmp_path / "there" / "manifest.json").read_text())
    assert said == opened.manifest
    assert (said["kind"], said["size"], said["dim"], said["compressor"]) == (kind, len(texts), 16, "float32")
    assert said["made"] == {"by": "a test"}
    assert said["model"] == model.fingerprint(tiny_model)
    assert said["versions"]["jax"]
    listed = sum(file["bytes"] for file in said["files"].values())
    assert index.bytes_on_disk(tmp_path / "copy") == listed + (tmp_path / "copy" / "manifest.json").stat().st_size
    assert opened.resident_bytes == opened.index.resident_bytes + 8 * (len(texts) + 1)
    assert not list((tmp_path / "copy").rglob("*.pkl"))
    assert str(tmp_path) not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "copy").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("name", ["truncate-8", "int8", "bits", "truncate-8+int8"])
def test_compressed(tiny_model, texts, name, tmp_path):
    make(tmp_path / "bundle", tiny_model, texts, compressor=compress.by_name(name))
    opened = bundle.load(tmp_path / "bundle")
    assert (opened.index.compressor.name, opened.manifest["compressor"]) == (name, name)
    codes = np.load(tmp_path / "bundle" / "index" / "codes.npy")
    assert codes.nbytes == len(texts) * compress.by_name(name).bytes_per_vector(16)
    found = [answer[0].text for answer in bundle.search(opened, texts, 1)]
    assert np.mean([a == b for a, b in zip(found, texts, strict=True)]) > 0.8


def test_compressed_for_scann(tiny_model, texts, tmp_path):
    make(tmp_path / "bundle", tiny_model, texts, index="scann", compressor=compress.truncate(8))
    opened = bundle.load(tmp_path / "bundle")
    assert bundle.search(opened, ["river bird"], 1)[0][0].text == "river bird"
    with pytest.raises(ValueError, match="int8 stores int8, which kind 'exact' can search"):
        make(tmp_path / "other", tiny_model, texts, index="scann", compressor=compress.int8())
    assert not (tmp_path / "other").exists()


def test_vectors_and_settings_given(tiny_model, texts, tmp_path):
    vectors = model.encode(tiny_model, texts)
    given = make(tmp_path / "given", tiny_model, texts, vectors=vectors, settings={"block": 5})
    plain = make(tmp_path / "plain", tiny_model, texts)
    assert (given.index.settings["block"], given.manifest["settings"]["block"]) == (5, 5)
    for one, other in zip(bundle.search(given, texts, 3), bundle.search(plain, texts, 3), strict=True):
        assert one[0].text == other[0].text
        np.testing.assert_allclose([found.score for found in one], [found.score for found in other], rtol=1e-5)


def test_where_scann_looked_at_too_few_the_answer_is_short(tiny_model, texts, tmp_path):
    settings = {"leaves": 9, "leaves_to_search": 1}
    made = make(tmp_path / "bundle", tiny_model, texts, index="scann", settings=settings)
    answer = bundle.search(made, ["fish red"], len(texts))[0]
    assert 0 < len(answer) < len(texts)
    assert all(found.score > -1.1 for found in answer)


def test_bad_documents_and_vectors(tiny_model, other_model, texts, tmp_path):
    vectors = model.encode(tiny_model, texts)
    strange = model.encode(other_model, texts)
    for ids, passages, settings, message in [
        (["a"], texts, {}, "got 1 ids and 55 texts"),
        (["a"] * 55, texts, {}, "wanted unique ids, got 'a' more than once"),
        (ids_of(texts), texts, {"vectors": vectors[:9]}, r"wanted a vector for each of 55 texts, got \[9, 16\]"),
        (ids_of(texts), texts, {"vectors": vectors[:, :8]}, r"wanted float32 \[n, 16\], got float32 \[55, 8\]"),
        (ids_of(texts), texts, {"vectors": strange}, "vectors of another model: that of text"),
        (ids_of(texts), texts, {"vectors": vectors * np.nan}, "wanted finite numbers"),
        (ids_of(texts), texts, {"index": "hnsw"}, "no index of kind 'hnsw'; there are exact, scann"),
    ]:
        with pytest.raises(ValueError, match=message):
            bundle.write(tmp_path / "bundle", tiny_model, ids, passages, **{"index": "exact", **settings})
    with pytest.raises(TypeError, match="not JSON serializable"):
        make(tmp_path / "bundle", tiny_model, texts, made={"by": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_text_without_known_words_does_not_look_like_another_model(tiny_model, tmp_path):
    passages = ["", "red fish"]
    vectors = model.encode(tiny_model, passages, report=lambda _: None)
    assert not vectors[0].any()
    made = bundle.write(tmp_path / "bundle", tiny_model, ["a", "b"], passages, vectors=vectors, index="exact")
    assert bundle.search(made, ["fish"], 1)[0][0].id == "b"


def test_bad_search(tiny_model, texts, tmp_path):
    made = make(tmp_path / "bundle", tiny_model, texts)
    for k in (0, 56):
        with pytest.raises(ValueError, match=f"wanted k from 1 to the index's 55 rows, got {k}"):
            bundle.search(made, ["red"], k)


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_any_changed_byte_is_refused_by_name(tiny_model, texts, kind, tmp_path):
    folder = tmp_path / "bundle"
    make(folder, tiny_model, texts, index=kind)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for at in {0, len(content) // 2, len(content) - 1}:
            flipped = bytearray(content)
            flipped[at] ^= 0b100
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match=rf"{path}: (has changed|wanted bundle format)"):
                bundle.load(folder)
        path.write_bytes(content + b" ")
        with pytest.raises(ValueError, match=f"{path}: has changed"):
            bundle.load(folder, verify=False)
        path.unlink()
        with pytest.raises((ValueError, FileNotFoundError), match=f"{path}: is missing|no bundle there, for it has no"):
            bundle.load(folder, verify=False)
        path.write_bytes(content)
    bundle.load(folder)


def test_what_does_not_belong_is_refused(tiny_model, texts, tmp_path):
    folder = tmp_path / "bundle"
    make(folder, tiny_model, texts)
    (folder / "index" / "scann_docids.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"scann_docids\.pkl: is not in the manifest"):
        bundle.load(folder)
    (folder / "index" / "scann_docids.pkl").unlink()
    (folder / "index" / "codes.npy").rename(tmp_path / "codes.npy")
    (folder / "index" / "codes.npy").symlink_to(tmp_path / "codes.npy")
    with pytest.raises(ValueError, match=r"codes\.npy: wanted a file, got a link"):
        bundle.load(folder)


def remade(folder, **changes):
    """The manifest as if the folder had always been so."""
    said = json.loads((folder / "manifest.json").read_text())
    manifest.write(folder, {**said, **changes})


def test_an_index_from_another_model_is_refused(tiny_model, other_model, texts, tmp_path):
    make(tmp_path / "one", tiny_model, texts)
    make(tmp_path / "other", other_model, texts)
    shutil.rmtree(tmp_path / "one" / "encoder")
    shutil.copytree(tmp_path / "other" / "encoder", tmp_path / "one" / "encoder")
    with pytest.raises(ValueError, match="has changed"):
        bundle.load(tmp_path / "one")
    remade(tmp_path / "one")
    wanted, got = model.fingerprint(tiny_model), model.fingerprint(other_model)
    for verify in (True, False):
        with pytest.raises(ValueError, match=f"index from another model: it was made with {wanted}, encoder/ is {got}"):
            bundle.load(tmp_path / "one", verify=verify)


def test_rows_must_be_as_many_as_texts(tiny_model, texts, tmp_path):
    make(tmp_path / "one", tiny_model, texts)
    make(tmp_path / "other", tiny_model, texts[:9])
    shutil.rmtree(tmp_path / "one" / "documents")
    shutil.copytree(tmp_path / "other" / "documents", tmp_path / "one" / "documents")
    remade(tmp_path / "one")
    with pytest.raises(ValueError, match="wanted 55 rows, got 55 vectors and 9 texts"):
        bundle.load(tmp_path / "one")


def test_a_format_from_the_future_and_no_bundle(tiny_model, texts, tmp_path):
    folder = tmp_path / "bundle"
    make(folder, tiny_model, texts)
    said = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**said, "format": 2}))
    with pytest.raises(ValueError, match=r"manifest\.json: wanted bundle format 1, got 2"):
        bundle.load(folder)
    with pytest.raises(FileNotFoundError, match=r"no bundle there, for it has no manifest\.json"):
        bundle.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no bundle there"):
        bundle.load(tmp_path / "missing")


KILLED = """
import os, signal, sys
from jaxemb import model
from jaxemb.index import bundle

folder, encoder, marker = sys.argv[1:]
encoder = model.load(encoder)

def dies(event, arguments):
    said = f"{event} {arguments}"
    if marker in said and ".bundle.partial-" in said:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(dies)
bundle.write(folder, encoder, ["x", "y"], ["red fish", "blue bird"], index="exact", made={"version": "new"})
"""


def test_killed_while_writing_there_is_a_whole_one(tiny_model, texts, tmp_path):
    model.save(tiny_model, tmp_path / "encoder")
    running = []
    # The last is the removal of the old one, when the new one is in its place.
    for i, moment in enumerate(["tokenizer.json", "codes.npy", "manifest.json", "shutil.rmtree"]):
        folder = tmp_path / str(i) / "bundle"
        make(folder, tiny_model, texts, made={"version": "old"})
        command = [sys.executable, "-c", KILLED, folder, tmp_path / "encoder", moment]
        running.append((folder, subprocess.Popen(command, stderr=subprocess.PIPE)))
    seen = set()
    errors = [child.communicate()[1] for _, child in running]
    for (folder, child), error in zip(running, errors, strict=True):
        assert child.returncode == -signal.SIGKILL, error
        opened = bundle.load(folder)
        seen.add(opened.manifest["made"]["version"])
        assert bundle.search(opened, ["fish red"], 1)[0][0].text in ("fish red", "red fish")
        assert len(os.listdir(folder.parent)) == 2  # what the dead one left beside it
        make(folder, tiny_model, texts[:7], made={"version": "next"})
        assert bundle.load(folder).manifest["made"]["version"] == "next"
        assert os.listdir(folder.parent) == ["bundle"]
    assert seen == {"old", "new"}


def test_replaced_while_it_is_read(tiny_model, texts, tmp_path, monkeypatch):
    make(tmp_path / "bundle", tiny_model, texts, made={"version": "old"})
    load, calls = compress.load, []

    def late(folder):
        if not calls:  # the manifest and the encoder of the old one have been read
            make(tmp_path / "bundle", tiny_model, texts[::-1], made={"version": "new"})
        calls.append(folder)
        return load(folder)

    monkeypatch.setattr(bundle.compress, "load", late)
    opened = bundle.load(tmp_path / "bundle")
    assert len(calls) == 2
    assert (opened.manifest["made"]["version"], opened.documents[0][1]) == ("new", texts[-1])


def test_a_reader_beside_a_writer_never_sees_a_mixture(tiny_model, other_model, texts, tmp_path):
    folder, stop, wrong = tmp_path / "bundle", threading.Event(), []
    versions = [(tiny_model, texts[:5]), (other_model, texts)]
    make(folder, *versions[0])
    looks = 0

    def read():
        nonlocal looks
        while not stop.is_set():
            opened = bundle.load(folder)
            looks += 1
            sizes = {opened.index.size, len(opened.documents), opened.manifest["size"]}
            if len(sizes) != 1 or model.fingerprint(opened.model) != opened.manifest["model"]:
                wrong.append(sizes)

    def guarded():
        try:
            read()
        except Exception as error:
            wrong.append(error)

    reader = threading.Thread(target=guarded)
    reader.start()
    for i in range(12):
        make(folder, *versions[i % 2])
    stop.set()
    reader.join()
    assert not wrong
    assert looks > 1


def test_prompts_of_the_model_are_put_before_texts(tiny_model, tmp_path):
    prompts = {"query": "fish ", "document": "bird "}
    prompted = tiny_model._replace(spec=dataclasses.replace(tiny_model.spec, prompts=prompts))
    bundle.write(tmp_path / "bundle", prompted, ["a", "b"], ["red", "blue"], index="exact")
    opened = bundle.load(tmp_path / "bundle")
    documents = model.encode(tiny_model, ["bird red", "bird blue"])
    np.testing.assert_allclose(opened.index.codes, documents, atol=1e-6)
    wanted = float(documents[0] @ model.encode(tiny_model, ["fish red"])[0])
    assert bundle.search(opened, ["red"], 2)[0][0].score == pytest.approx(wanted, abs=1e-5)
