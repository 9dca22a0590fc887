"""The command line from end to end on a tiny model, and its exit codes."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemb import cli, index, model, train

GOLDEN = Path(__file__).parent / "golden" / "bert" / "new"


@pytest.fixture
def texts(tmp_path) -> Path:
    file = tmp_path / "texts.jsonl"
    rows = [{"id": f"doc-{letter}", "text": f"{letter} {letter} a"} for letter in "bcdefghijk"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(("kind", "compressor"), [("exact", "int8"), ("exact", "float32"), ("scann", "float32")])
def test_index_and_search(texts, tmp_path, capsys, kind, compressor):
    bundle = tmp_path / "bundle"
    assert run("index", GOLDEN, texts, bundle, "--kind", kind, "--compressor", compressor) == 0
    assert index.bundle.load(bundle).manifest["made"] == {"texts": "texts.jsonl", "model": "new"}
    capsys.readouterr()
    assert run("search", bundle, "e e a", "--k", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1. ")
    assert lines[0].endswith("  doc-e")
    assert lines[1].strip() == "e e a"
    assert lines[2].startswith("2. ")


def test_encode_and_compress(texts, tmp_path, capsys):
    assert run("encode", GOLDEN, texts, tmp_path / "v.npy") == 0
    vectors = np.load(tmp_path / "v.npy")
    wanted = model.encode(model.load(GOLDEN), [json.loads(row)["text"] for row in texts.read_text().splitlines()])
    np.testing.assert_array_equal(vectors, wanted)
    assert run("compress", tmp_path / "v.npy", tmp_path / "codes", "--compressor", "bits") == 0
    assert np.load(tmp_path / "codes" / "codes.npy").shape == (10, 2)
    np.save(tmp_path / "wide.npy", np.zeros((3, 4)))
    assert run("compress", tmp_path / "wide.npy", tmp_path / "none") == 2
    assert "wanted float32 [n, d], got float64 [3, 4]" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("texts.jsonl", "the texts to read"),
        ("vectors", "in what is written"),
        ("vectors/manifest.json", "in what is written"),
        (".", "a folder"),
    ],
)
def test_a_list_of_cut_documents_replaces_nothing(texts, tmp_path, capsys, place, message):
    before = texts.read_bytes()
    assert run("encode", GOLDEN, texts, tmp_path / "vectors", "--truncated", tmp_path / place) == 2
    said = "".join(capsys.readouterr().err.split())
    assert "--truncated:wantedafileofitsown,got" in said
    assert message.replace(" ", "") in said
    assert texts.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["texts.jsonl"]  # before anything is encoded


@pytest.mark.slow
def test_train_then_merge(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"query": f"{a} {b}", "document": f"{b} {a} {a}", "negatives": [b]} for a in "abcdefgh" for b in "ijkl"]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("--steps", 4, "--negatives", 1, "--batch-size", 8, "--learning-rate", 0.01)
    settings = (*settings, "--matryoshka", 8, 16, "--chunk", 4)
    for seed in (0, 1):
        assert run("train", GOLDEN, pairs, tmp_path / f"m{seed}", "--seed", seed, *settings) == 0
    assert len((tmp_path / "m0.log.jsonl").read_text().splitlines()) == 4
    # Other settings are another run: its checkpoints are not taken for this one's.
    assert run("train", GOLDEN, pairs, tmp_path / "m0", "--seed", 7, *settings) == 2
    for operator, more in (("average", ()), ("task-arithmetic", ("--base", GOLDEN))):
        out = tmp_path / operator
        assert run("merge", tmp_path / "m0", tmp_path / "m1", "--out", out, "--operator", operator, *more) == 0
        assert model.fingerprint(model.load(out)) not in {
            model.fingerprint(model.load(tmp_path / f"m{seed}")) for seed in (0, 1)
        }


def test_train_reads_groups_and_says_what_is_cut(tmp_path, capsys, monkeypatch):
    seen = []

    def fit(objective, optimizer, batches, params, **settings):
        seen.append(next(batches))
        return params

    monkeypatch.setattr(train, "fit", fit)  # what it makes of groups is tested with it
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"query": a, "document": f"{a} {b}", "negatives": [f"{a} {a} {a} {b}"]} for a in "abcdefgh" for b in "ij"]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("--negatives", 1, "--batch-size", 16, "--groups", 2, "--tokens", 4)
    assert run("train", GOLDEN, pairs, tmp_path / "tuned", *settings) == 0
    assert "16 of 48 texts were longer than 4 tokens and lost their end" in " ".join(capsys.readouterr().err.split())
    (batch,) = seen
    assert [len(group.ids) for group in batch["query"].groups] == [8, 8]
    assert [len(group.ids) for group in batch["document"].groups] == [16, 16]  # hard negatives are the longer half
    assert sorted(model.load(tmp_path / "tuned").spec.prompts) == sorted(model.load(GOLDEN).spec.prompts)


def test_a_pair_with_too_few_negatives_is_named_before_training(tmp_path, capsys):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f'{{"query": "{a}", "document": "b", "negatives": ["a"]}}\n' for a in "abc"))
    assert run("train", GOLDEN, pairs, tmp_path / "tuned", "--negatives", 2, "--batch-size", 1) == 2
    assert "pair 0: wanted 2 negatives, got 1 for 'a'" in " ".join(capsys.readouterr().err.split())
    assert [file.name for file in tmp_path.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (("--negatives", -1), "--negatives: wanted 0 or more, got -1"),
        (("--batch-size", 1), "--batch-size: wanted 2 or more without --negatives, got 1"),
        (("--learning-rate", -1), "--learning-rate: wanted a number above 0, got -1.0"),
        (("--temperature", "nan"), "--temperature: wanted a number above 0, got nan"),
        (("--groups", 0), "--groups: wanted 1 or more, got 0"),
    ],
)
def test_settings_of_training_are_refused_before_anything_is_read(setting, message, capsys):
    assert run("train", "no-model", "no-pairs.jsonl", "out", *setting) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_merge_weighs_and_never_touches_its_models(tmp_path):
    start = model.load(GOLDEN)
    double = start._replace(params=jax.tree.map(lambda leaf: 2 * leaf, start.params))
    model.save(double, tmp_path / "double")
    for operator in ("average", "slerp"):
        out = tmp_path / operator
        weights = ("0.25", "0.75") if operator == "average" else ("0.75",)
        assert (
            run("merge", GOLDEN, tmp_path / "double", "--out", out, "--operator", operator, "--weights", *weights) == 0
        )
        merged = model.load(out).params
        jax.tree.map(lambda m, s: np.testing.assert_allclose(m, 1.75 * s, rtol=1e-5, atol=1e-6), merged, start.params)
    before = model.fingerprint(model.load(tmp_path / "double"))
    assert run("merge", GOLDEN, tmp_path / "double", "--out", tmp_path / "double") == 2
    assert run("merge", GOLDEN, "--out", tmp_path / "one") == 2
    assert run("merge", GOLDEN, tmp_path / "double", "--out", tmp_path / "two", "--base", GOLDEN) == 2
    assert model.fingerprint(model.load(tmp_path / "double")) == before


def test_adapt_writes_a_bundle_that_a_new_model_can_ask(texts, tmp_path, capsys):
    bundle, out, queries = tmp_path / "bundle", tmp_path / "adapted", tmp_path / "queries.txt"
    assert run("index", GOLDEN, texts, bundle, "--kind", "exact") == 0
    start = model.load(GOLDEN)
    model.save(start._replace(params=jax.tree.map(lambda leaf: 1.1 * leaf, start.params)), tmp_path / "new")
    queries.write_text("".join(f"{letter} {letter}\n" for letter in "bcdefghijk" * 4))
    assert run("adapt", bundle, tmp_path / "new", queries, out, "--option", "procrustes") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("old model", "identity", "shift", "procrustes", "index made again"))
    assert index.bundle.load(out).adapter.between.name == "procrustes"
    assert run("search", out, "e e a", "--k", 2) == 0
    assert run("adapt", bundle, tmp_path / "new", queries, tmp_path / "no", "--option", "cubic") == 2
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_bench_and_leaderboard(tmp_path, capsys):
    task = tmp_path / "letters"
    (task / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{letter}", "title": "", "text": f"{letter} {letter} a"} for letter in "bcdefghijk"]
    (task / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": f"q{letter}", "text": f"{letter} {letter}"} for letter in "bcdefghijk"]
    (task / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    judged = "".join(f"q{letter}\td{letter}\t1\n" for letter in "bcdefghijk")
    (task / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    assert run("bench", tmp_path / "out", GOLDEN, "--task", task, "--compressors", "float32", "int8") == 0
    made = tmp_path / "out"
    first = (made / "leaderboard.md").read_text()
    assert "new / int8" in first
    assert "BM25" in first
    assert run("leaderboard", made / "records.jsonl", tmp_path / "again") == 0
    assert (tmp_path / "again" / "leaderboard.md").read_text() == first


def test_help_is_not_an_error(capsys):
    assert run("--help") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("quickstart", *cli.COMMANDS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("frobnicate",), "no command 'frobnicate'; there are quickstart, train"),
        (("search", "nowhere", "words"), "nowhere: no bundle there"),
        (("index", GOLDEN, "none.jsonl", "out"), "none.jsonl: no such file"),
        (("encode", "no-model", "none.txt", "out.npy"), "no-model: no such model folder"),
        (("merge", GOLDEN, GOLDEN, "--out", "out", "--operator", "task-arithmetic"), "wanted --base"),
        (("leaderboard", "none.jsonl", "out"), "none.jsonl"),
    ],
)
def test_bad_input_ends_with_2_and_says_why(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "wanted one document or more, got none"),
        ("a.csv", "x", "wanted a .txt or .jsonl file, got .csv"),
        ("a.jsonl", '{"id": "1", "text": "x"}\n{"id": "2"}\n', r"line 2: wanted .*got \['id'\]"),
        ("a.jsonl", "{\n", "line 1: not JSON"),
        ("a.jsonl", '{"id": "1", "title": 5, "text": "x"}\n', "line 1: wanted"),
    ],
)
def test_files_of_texts_are_refused_by_line(tmp_path, capsys, name, content, message):
    from jaxemb import data

    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        data.read_texts(tmp_path / name)
    assert run("index", GOLDEN, tmp_path / name, tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_bytes_that_are_no_text_are_refused(tmp_path):
    from jaxemb import data

    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        data.read_texts(tmp_path / "a.txt")
    (tmp_path / "c.jsonl").write_text('{"id": "1", "text": "a\u2028b\x85c"}\n', encoding="utf-8")
    assert data.read_texts(tmp_path / "c.jsonl") == (["1"], ["a\u2028b\x85c"])
    (tmp_path / "b.txt").write_text("one\n\nthree\n")
    assert data.read_texts(tmp_path / "b.txt") == (["1", "3"], ["one", "three"])


def test_half_a_surrogate_pair_ends_with_one_line(tmp_path, capsys):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"id": "x", "text": "a"}\n{"id": "y", "text": "a \\ud800"}\n')
    assert run("encode", GOLDEN, file, tmp_path / "v.npy") == 2
    assert "text 1: wanted Unicode text, got '\\ud800' at character 2" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "more"), [("encode", "a folder of shards goes on where it was"), ("search", "")])
def test_what_is_stopped_says_so_in_one_line(monkeypatch, capsys, command, more):
    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.COMMANDS[command], "run", stopped)
    assert run(command, *"abc"[: 3 if command == "encode" else 2]) == 130
    said = capsys.readouterr().err
    assert said == f"jaxemb {command}: stopped" + (f"; run it again: {more}" if more else "") + "\n"
