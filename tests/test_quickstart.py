"""The main job on the real code of this machine, small, twice; and the package as it is imported and shown."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from jaxemb import data, evaluate, harness, index
from jaxemb.quickstart import Config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SMALL = {
    "pairs": 64,
    "choose": 60,
    "documents": 120,
    "queries": 60,
    "tokens": 24,
    "calls": 5,
    "student.steps": 8,
    "student.batch-size": 32,
}


def run(out: Path) -> str:
    """What a user would run, in a process with one device; returns what it said."""
    program = "import sys; from jaxemb import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "quickstart", "--out", str(out)]
    command += [f"--{name}={value}" for name, value in SMALL.items()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("quickstart") / "out"
    run(out)
    return out


def test_all_that_was_promised_is_there(done):
    wanted = {"leaderboard.html", "leaderboard.md", "leaderboard.csv", "leaderboard.png", "records.jsonl", "bundle"}
    assert wanted <= {path.name for path in done.iterdir()}
    board = harness.summarise(harness.record.read(done / "records.jsonl"))
    assert len(board.rows) == 18
    for row in board.rows:
        quality = row.cells["ndcg@10"]
        assert quality is not None
        assert quality.low <= quality.value <= quality.high
    assert {"BM25", "MiniLM", "token average", "merged student / scann"} <= {row.label for row in board.rows}


def test_the_pairs_of_this_environment(done):
    prepared = next((done / "data").iterdir())
    counts = data.python_code.counts(prepared)
    assert counts["pairs"] > 20_000
    assert counts["pairs to validation"] >= 1000
    assert counts["pairs to test"] >= 1500
    assert sum(path.stat().st_size for path in prepared.rglob("*") if path.is_file()) < 20e6
    packages = [
        {name.partition(":")[0].partition(".")[0] for name in data.python_code.task(prepared, split).document_ids}
        for split in data.python_code.SPLITS
    ]
    assert sum(map(len, packages)) == len(set.union(*packages))
    start = time.monotonic()
    assert data.python_code.prepare(done / "data") == prepared
    assert time.monotonic() - start < 10


def test_the_bundle_answers_from_another_place(done, tmp_path):
    shutil.copytree(done / "bundle", tmp_path / "moved")
    moved = index.bundle.load(tmp_path / "moved")
    found = index.bundle.search(moved, ["read a file"], 3)[0]
    task = data.cap(data.python_code.task(next((done / "data").iterdir()), "test"), documents=120, queries=60)
    texts = dict(zip(task.document_ids, task.documents, strict=True))
    assert len(found) == 3
    assert all(one.text == texts[one.id] for one in found)


def test_run_again_it_uses_what_is_there(done):
    before = {path: path.stat().st_mtime_ns for path in (done / "stages").rglob("*") if path.is_file()}
    bundle = (done / "bundle" / "manifest.json").stat().st_mtime_ns
    records = (done / "records.jsonl").read_bytes()
    told = [line for line in run(done).splitlines() if "used again" in line or "already prepared" in line]
    assert (done / "records.jsonl").read_bytes() == records
    assert {path: path.stat().st_mtime_ns for path in (done / "stages").rglob("*") if path.is_file()} == before
    assert (done / "bundle" / "manifest.json").stat().st_mtime_ns == bundle
    for what in ("python-code", "teacher", "student of seed 0", "student of seed 1", "measuring", "bundle"):
        assert any(what in line for line in told), (what, told)


def test_the_readme_shows_what_the_records_say():
    program = subprocess.run([sys.executable, str(ROOT / "tools" / "readme_table.py"), "--check"], check=False)
    assert program.returncode == 0, "run python tools/readme_table.py"


@pytest.fixture(scope="module")
def kept() -> list[harness.Record]:
    return harness.record.read(ROOT / "bench" / "results" / "quickstart.jsonl")


def test_the_kept_records_are_of_the_settings_as_they_ship(kept):
    settings = {json.dumps(one.config["quickstart"], sort_keys=True) for one in kept if "quickstart" in one.config}
    shipped = json.loads(json.dumps({name: value for name, value in asdict(Config()).items() if name != "out"}))
    assert settings == {json.dumps(shipped, sort_keys=True)}


def test_the_kept_records_hold_what_is_promised(kept):
    mean = {(one.recipe, one.metric): float(np.mean(one.values)) for one in kept}
    for encoder in ("MiniLM", "merged student"):
        assert mean[f"{encoder} / int8", "fidelity@10"] >= 0.98
        assert mean[f"{encoder} / scann", "fidelity@10"] >= 0.95
    values = {one.recipe: np.asarray(one.values) for one in kept if one.metric == "ndcg@10"}
    assert evaluate.paired_difference(values["merged student"], values["token average"]).low > 0


def test_importing_loads_nothing_heavy():
    program = (
        "import sys, jaxemb; heavy = {'jax', 'flax', 'optax', 'orbax', 'scann', 'tokenizers', 'tensorflow_datasets', "
        "'grain', 'numpy', 'pyarrow'} & sys.modules.keys(); sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_other_framework_is_loaded_by_any_part():
    program = (
        "import sys\nfrom jaxemb import compress, data, encode, evaluate, harness, index, losses, merge, model, train\n"
        "import jaxemb.quickstart\n"
        "sys.exit(', '.join({'torch', 'transformers', 'tensorflow'} & sys.modules.keys()) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
