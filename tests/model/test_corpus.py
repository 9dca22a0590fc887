"""`encode_corpus`: what it writes, that a kill changes nothing, that memory is bounded, and what it refuses."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxemb import atomic, cli, extras, model
from jaxemb.model import corpus, encoding, shards

GOLDEN = Path(__file__).parent.parent / "golden" / "bert" / "new"


@pytest.fixture(scope="module")
def bert():
    return model.load(GOLDEN)


@pytest.fixture(scope="module")
def documents() -> list[tuple[str, str]]:
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefgh", k=draw.randrange(14))) for _ in range(300)]
    return [(f"dö-{i}", text) for i, text in enumerate(texts)]


def quiet(text: str) -> None:
    """Where a report goes that a test does not read."""


def one_device(one, documents, out, **settings):
    return model.encode_corpus(one, documents, out, **{"devices": jax.devices()[:1], "report": quiet, **settings})


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(bert, documents, tmp_path_factory) -> Path:
    """A corpus of 300 documents in shards of 10, written at once."""
    out = tmp_path_factory.mktemp("whole") / "out"
    one_device(bert, documents, out, shard_rows=10)
    return out


@pytest.mark.parametrize("format", ["safetensors", "parquet", "lance"])
def test_shards_hold_the_vectors_of_encode_with_their_ids(bert, documents, tmp_path, format):
    if format != "safetensors":
        pytest.importorskip({"parquet": "pyarrow", "lance": "lance"}[format])
    said = []
    found = one_device(bert, documents, tmp_path / "out", shard_rows=128, format=format, report=said.append)
    read = list(found.shards())
    assert [len(shard.ids) for shard in read] == [128, 128, 44]
    assert [name for shard in read for name in shard.ids] == [name for name, _ in documents]
    wanted = model.encode(bert, [text for _, text in documents], report=quiet)
    np.testing.assert_allclose(np.concatenate([shard.vectors for shard in read]), wanted, atol=2e-6)
    cut = [name for name, text in documents if len(text.split()) > 10]  # and two special tokens make 12
    assert list(found.truncated()) == cut
    empty = sum(not text for _, text in documents)
    assert (found.manifest["truncated"], found.manifest["empty"]) == (len(cut), empty)
    assert said == [
        "300 texts in 3 shards, 0 of them there; 1 programs to compile at most",
        f"{len(cut)} of 300 texts were longer than 12 tokens and lost their end",
        f"{empty} of 300 texts are empty; their vectors say nothing",
    ]
    again = model.open_corpus(tmp_path / "out")
    assert len(again) == 300
    assert again.manifest == found.manifest


def test_safetensors_are_readable_without_jaxemb(whole, documents):
    tensors = load_file(whole / "vectors-000002.safetensors")
    assert tensors["vectors"].dtype == np.float32
    assert tensors["vectors"].shape == (10, 16)
    ends = tensors["id_ends"].tolist()
    assert tensors["ids"].tobytes()[ends[3] : ends[4]].decode() == documents[24][0]


def test_half_precision_is_half_the_size_and_what_does_not_fit_is_named(bert, documents, whole, tmp_path):
    half = one_device(bert, documents, tmp_path / "half", stored="float16", shard_rows=300)
    (shard,) = half.shards()
    assert shard.vectors.dtype == np.float16
    wanted = np.concatenate([shard.vectors for shard in model.open_corpus(whole).shards()])
    np.testing.assert_allclose(shard.vectors.astype(np.float32), wanted, atol=1e-3)
    norm = {**bert.params["blocks"]["norm"], "scale": bert.params["blocks"]["norm"]["scale"] * 1e9}
    large = model.make(replace(bert.spec, normalize=False), bert.params, bert.tokenizer)
    large = large._replace(params={**bert.params, "blocks": {**bert.params["blocks"], "norm": norm}})
    with pytest.raises(FloatingPointError, match="the vector of document 'dö-0' is not finite in float16"):
        one_device(large, documents, tmp_path / "large", stored="float16")
    assert one_device(large, documents, tmp_path / "wide").manifest["settings"]["stored"] == "float32"


def test_a_prompt_is_read_and_counted_as_encode_does(bert, documents, tmp_path):
    spec = replace(bert.spec, prompts={"query": "a b "}, include_prompt=False)
    prompted, few = model.make(spec, bert.params, bert.tokenizer), documents[:40]
    (shard,) = one_device(prompted, few, tmp_path / "out", prompt="query").shards()
    wanted = model.encode(prompted, [text for _, text in few], prompt="query", report=quiet)
    np.testing.assert_allclose(shard.vectors, wanted, atol=2e-6)


CHILD = """
import sys
from jaxemb import model
bert = model.load(sys.argv[1])
print("loaded", flush=True)
model.encode_corpus(bert, sys.argv[2], sys.argv[3], shard_rows=10)
"""


@pytest.mark.slow
def test_killed_at_random_and_run_again_it_writes_the_same_bytes(whole, documents, tmp_path):
    file, out = tmp_path / "documents.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in documents))
    command = [sys.executable, "-c", CHILD, str(GOLDEN), str(file), str(out)]
    draw, done = random.Random(time.time_ns()), []
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdout.readline() == b"loaded\n"
            started = time.monotonic()
            while len(list(out.glob("vectors-*"))) <= (done[-1] if done else 0) and time.monotonic() < started + 60:
                time.sleep(0.002)  # until the first new shard, and then a moment more
            time.sleep(draw.uniform(0, 0.05))
            child.kill()
        done.append(len(list(out.glob("vectors-*"))))
    assert 0 < done[0] < 30  # at least the first kill met it at work
    subprocess.run(command, check=True, capture_output=True)
    assert content(out) == content(whole)


def watched(one: model.Model, seen: list[tuple[int, int]]) -> model.Model:
    """The same model; the shape of every batch it reads goes to `seen`."""
    apply = one.encoder.apply
    return one._replace(encoder=one.encoder._replace(apply=lambda p, t: seen.append(t.ids.shape) or apply(p, t)))


def test_an_interrupt_after_any_write_changes_nothing(bert, documents, tmp_path, monkeypatch):
    few, wanted, write = documents[:30], tmp_path / "wanted", atomic.file
    one_device(bert, few, wanted, shard_rows=10)
    for stop in range(8):  # manifest, then shard and manifest three times, then the manifest with its totals
        out, left, seen = tmp_path / f"out-{stop}", iter(range(stop)), []

        def writes(path, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return write(path)

        monkeypatch.setattr(atomic, "file", writes)
        with pytest.raises(KeyboardInterrupt):
            one_device(bert, few, out, shard_rows=10)
        monkeypatch.setattr(atomic, "file", write)
        one_device(watched(bert, seen), few, out, shard_rows=10)
        assert content(out) == content(wanted)
        listed = max(0, stop - 1) // 2
        assert len(seen) == 3 - listed  # what the manifest lists is not encoded again


def test_a_finished_corpus_is_left_alone_and_a_broken_shard_mended(bert, documents, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    one_device(bert, documents, out, shard_rows=10)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    changed, gone = out / "vectors-000003.safetensors", out / "vectors-000017.safetensors"
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    gone.unlink()
    with pytest.raises(ValueError, match=r"vectors-000003\.safetensors: is missing or has changed"):
        list(model.open_corpus(out).shards())
    said = []
    one_device(bert, documents, out, shard_rows=10, report=said.append)
    assert [line.partition(": ")[0] for line in said[:2]] == [str(changed), str(gone)]
    assert "300 texts in 30 shards, 28 of them there" in said[2]
    assert content(out) == content(whole)


def test_another_run_is_refused_by_what_differs(bert, documents, whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    other = bert._replace(params=jax.tree.map(lambda leaf: leaf * 1.5, bert.params))
    prompted = model.make(replace(bert.spec, prompts={"query": "a "}), bert.params, bert.tokenizer)
    for one, some, settings, named in (
        (bert, documents, {"shard_rows": 11}, "shard_rows 10, now 11"),
        (bert, documents, {"format": "parquet"}, "format 'safetensors', now 'parquet'"),
        (bert, documents, {"stored": "float16"}, "stored 'float32', now 'float16'"),
        (bert, documents, {"prefix": "b "}, "prompt '', now 'b '"),
        (prompted, documents, {"prompt": "query"}, "model '.*', now '.*'; prompt '', now 'a '"),
        (model.in_precision(bert, "bfloat16"), documents, {}, "products 'float32', now 'bfloat16'"),
        (other, documents, {}, f"model '{model.fingerprint(bert)}', now '{model.fingerprint(other)}'; write"),
        (bert, documents[::-1], {}, "texts '.*', now '.*'; write"),
        (bert, documents[:-1], {}, "texts '.*', now '.*'; documents 300, now 299"),
        (bert, documents, {"devices": jax.devices()[:2]}, "devices '1 cpu', now '2 cpu'"),
    ):
        with pytest.raises(ValueError, match=f"was begun with other settings: .*{named}"):
            one_device(one, some, out, **{"shard_rows": 10, **settings})
    assert content(out) == content(whole)


def test_folders_of_others_are_refused(bert, documents, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"wanted nothing there or a folder with manifest.json, got .*chapter"):
        one_device(bert, documents, tmp_path / "thesis")
    (tmp_path / "thesis" / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="wanted the manifest of an encoded corpus, 'jaxemb-corpus-1', got None"):
        one_device(bert, documents, tmp_path / "thesis")
    (tmp_path / "thesis" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json: not JSON"):
        one_device(bert, documents, tmp_path / "thesis")
    with pytest.raises(NotADirectoryError, match="wanted a folder or nothing there, got a file"):
        one_device(bert, documents, tmp_path / "thesis" / "chapter.txt")
    with pytest.raises(FileNotFoundError, match="no encoded corpus there"):
        model.open_corpus(tmp_path)


def test_an_unfinished_corpus_is_not_opened(bert, documents, tmp_path, monkeypatch):
    class FullError(OSError):
        pass

    def full(*inputs):
        raise FullError

    monkeypatch.setitem(shards.FORMATS, "safetensors", shards.FORMATS["safetensors"]._replace(write=full))
    with pytest.raises(FullError):
        one_device(bert, documents, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
    with pytest.raises(ValueError, match="is not finished, it has 0 of 1 shards"):
        model.open_corpus(tmp_path / "out")


@pytest.mark.parametrize(
    ("documents", "settings", "error", "message"),
    [
        ([], {}, ValueError, "wanted one document or more, got none"),
        (iter([("1", "a")]), {}, TypeError, "documents are read twice, got a list_iterator"),
        (["a", "b"], {}, TypeError, "document 0: wanted an id and a text, got 'a'"),
        ([("1", "a"), (2, "b")], {}, TypeError, r"document 1: wanted an id and a text, got \(2, 'b'\)"),
        ([("1", "a\ud800")], {}, ValueError, "document '1': wanted Unicode text, got surrogates not allowed"),
        ([("1", "a")], {"shard_rows": 0}, ValueError, "shard_rows must be 1 or more, got 0"),
        ([("1", "a")], {"devices": []}, ValueError, "wanted one device or more, got none"),
        ([("1", "a")], {"stored": "int8"}, ValueError, "stored as float32 or float16, got 'int8'"),
        ([("1", "a")], {"format": "csv"}, ValueError, "'csv' is unknown; there is safetensors, parquet, lance"),
        ([("1", "a")], {"prompt": "poem"}, ValueError, "no prompt 'poem'"),
        ("none.txt", {}, FileNotFoundError, "none.txt: no such file"),
    ],
)
def test_bad_input_is_named_and_nothing_written(bert, as_users_call, tmp_path, documents, settings, error, message):
    with pytest.raises(error, match=message):
        one_device(bert, documents, tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_documents_that_change_while_they_are_read_are_refused(bert, documents, tmp_path):
    opened = []

    def source():
        opened.append(True)
        return documents[:20] if len(opened) == 1 else [*documents[:19], ("another", "a b")]

    with pytest.raises(ValueError, match="the documents changed while they were encoded"):
        one_device(bert, source, tmp_path / "out", shard_rows=10)
    with pytest.raises(ValueError, match="is not finished"):
        model.open_corpus(tmp_path / "out")


def test_a_missing_package_is_named_with_its_extra(bert, documents, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    monkeypatch.delitem(sys.modules, "lance.file", raising=False)
    with pytest.raises(ImportError):
        one_device(bert, documents, tmp_path / "out", format="lance")
    assert extras.EXTRA["lance"] == "scale"
    assert list(tmp_path.iterdir()) == []


def test_what_is_compiled_is_known_beforehand(bert, documents, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "TOKENS", 120)
    monkeypatch.setattr(encoding, "WORTH", 0.0)
    traced = []

    def counted(params, tokens):
        traced.append(list(tokens.ids.shape))
        return bert.encoder.apply(params, tokens)

    fresh = bert._replace(encoder=bert.encoder._replace(apply=jax.jit(counted)))
    told = one_device(fresh, documents, tmp_path / "out", shard_rows=50, compile_s=1e-6).manifest
    assert told["settings"]["shapes"] == [[60, 2], [30, 4], [20, 6], [15, 8], [12, 10], [10, 12]]
    assert len(traced) > 3
    assert all(shape in told["settings"]["shapes"] for shape in traced)
    assert traced == [shape for i, shape in enumerate(traced) if shape not in traced[:i]]  # each once


def test_a_text_longer_than_any_of_the_sample_has_a_shape(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SAMPLE", 5)
    documents = [(f"{i}", "a b") for i in range(60)] + [("last", "a " * 30)]
    found = one_device(bert, documents, tmp_path / "out")
    assert found.manifest["settings"]["shapes"] == [[1250, 4], [416, 12]]
    (shard,) = found.shards()
    np.testing.assert_allclose(shard.vectors[-1:], model.encode(bert, ["a " * 30], report=quiet), atol=2e-6)


def test_the_sample_is_even_and_always_the_same():
    source = lambda: ((str(i), str(i)) for i in range(40_000))
    first, second = corpus._survey(source), corpus._survey(source)
    assert first == second
    drawn = np.array([int(text) for text in first.sample])
    assert len(set(first.sample)) == corpus.SAMPLE
    assert abs(drawn.mean() / 20_000 - 1) < 0.05


def test_devices_write_what_one_does(bert, documents, whole, tmp_path):
    spread = model.encode_corpus(bert, documents, tmp_path / "out", shard_rows=100, report=quiet)
    assert spread.manifest["settings"]["devices"] == "8 cpu"
    assert spread.manifest["settings"]["shapes"] == [[8 * 416, 12]]
    wanted = np.concatenate([shard.vectors for shard in model.open_corpus(whole).shards()])
    np.testing.assert_allclose(np.concatenate([shard.vectors for shard in spread.shards()]), wanted, atol=2e-6)


def test_from_the_command_line(bert, documents, whole, tmp_path, capsys):
    file, out = tmp_path / "documents.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in documents))
    command = ["encode", str(GOLDEN), str(file), str(out), "--shard-rows", "100", "--prompt", "document"]
    assert cli.main([*command, "--truncated", str(tmp_path / "cut.txt")]) == 0
    assert "300 vectors of 16 dimensions" in capsys.readouterr().out
    found = model.open_corpus(out)
    assert (tmp_path / "cut.txt").read_text().splitlines() == list(found.truncated())
    wanted = np.concatenate([shard.vectors for shard in model.open_corpus(whole).shards()])
    np.testing.assert_allclose(np.concatenate([shard.vectors for shard in found.shards()]), wanted, atol=2e-6)
    assert cli.main([*command, "--dtype", "bfloat16"]) == 2
    assert "products 'float32', now 'bfloat16'" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*command[:3], str(tmp_path / "v.npy"), "--stored", "float16", "--shard-rows", "9"]) == 2
    assert "--stored, --shard-rows: only for a folder of shards" in " ".join(capsys.readouterr().err.split())


MEMORY = """
import random, sys
from pathlib import Path
from jaxemb import model
def documents():
    draw = random.Random(0)
    for i in range(int(sys.argv[1])):
        yield f"d{i}", " ".join(draw.choices("abcdefgh", k=draw.randrange(1, 10)))
model.encode_corpus(model.load(sys.argv[2]), documents, sys.argv[3], shard_rows=5000, report=lambda _: None)
# Not `getrusage`: a new process inherits its parent's maximum there, and this parent is large.
print(*(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory that was held is told by Linux")
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def peak(count: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(count), str(GOLDEN), str(tmp_path / str(count))]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(100_000) < 1.1 * peak(10_000)


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        ((), {"shards": None}, "lacks shards"),
        ((), {"settings": None}, "lacks settings"),
        ((), {"truncated": None}, "lacks truncated"),
        ((), {"truncated": "2"}, "truncated must be int or NoneType, and no number below 0, got '2'"),
        (("settings",), {"documents": None}, "settings: lacks documents"),
        (("settings",), {"shard_rows": 0}, "shard_rows must be 1 or more, got 0"),
        (("shards", 1), {"sha256": None, "bytes": None}, "shard 1: lacks bytes, sha256"),
        (("shards", 1), {"rows": True}, "shard 1: rows must be int, and no number below 0, got True"),
    ],
)
def test_a_manifest_that_lacks_something_is_refused_by_name(whole, tmp_path, at, change, message):
    told = json.loads((whole / "manifest.json").read_text())
    changed = told
    for key in at:
        changed = changed[key]
    for key, value in change.items():
        changed.pop(key) if value is None else changed.update({key: value})
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=f"manifest.json: .*{message}"):
        model.open_corpus(tmp_path)


def test_a_file_without_documents_is_named(bert, tmp_path):
    file = tmp_path / "none.jsonl"
    file.write_text("")
    with pytest.raises(ValueError, match=r"none\.jsonl: wanted one document or more, got none"):
        one_device(bert, file, tmp_path / "out")
