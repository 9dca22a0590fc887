"""Negatives that are mined anew are hard for the params of their time, and a stopped run goes on rightly."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from refreshable import DOCUMENTS, ENCODER, PAIRS, mine, read, run, vectors

from jaxemb import data, losses, train

HERE = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("compiled_quickly")


class StoppedError(Exception):
    """A run that ends early, as a kill would end it."""


def logged(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return [(json.loads(line)["step"], json.loads(line)["loss"]) for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped: three parts, of four, four and two steps."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, 10)


def test_what_is_mined_is_hard_for_the_params_of_its_time(tmp_path):
    """Harder than at random, and than what was mined before they learnt."""
    seen = {}

    def watched(params, step, file):
        mine(params, step, file)
        pairs = data.read_pairs(file)
        query = vectors(params, [pair.query for pair in PAIRS])

        def score(texts):
            return float((query * vectors(params, texts)).sum(axis=1).mean())

        drawn = np.random.default_rng(step).permutation(DOCUMENTS).tolist()
        before = seen[0]["texts"] if seen else drawn
        texts = [pair.negatives[0] for pair in pairs]
        seen[step] = {"texts": texts, "now": score(texts), "random": score(drawn), "before": score(before)}

    run(tmp_path, 31, mine=watched, refresh=30)
    assert list(seen) == [0, 30]
    assert seen[30]["now"] > seen[30]["random"] + 0.3
    assert seen[30]["now"] > seen[30]["before"] + 0.1
    assert [file.name for file in (tmp_path / "negatives").iterdir()] == ["step-00000030.jsonl"]


class Chain:
    """The batches of one part after another, as one run would have them."""

    def __init__(self, file: Path) -> None:
        self._file, self._taken = file, 0

    def __next__(self):
        if self._taken % 4 == 0:
            self._part = read(self._file, self._taken)
        self._taken += 1
        return next(self._part)

    def get_state(self): ...

    def set_state(self, state): ...


def test_parts_are_one_run(tmp_path):
    """With the same negatives in all parts, it is what `fit` makes of the same batches without a stop."""
    params = ENCODER.init(jax.random.key(0))
    mine(params, 0, tmp_path / "once.jsonl")

    def copied(params, step, file):
        file.write_bytes((tmp_path / "once.jsonl").read_bytes())

    parts = run(tmp_path / "parts", 6, mine=copied)
    objective = train.pairwise(ENCODER, partial(losses.info_nce, temperature=0.1))
    settings = {"steps": 6, "log": tmp_path / "losses.jsonl", "what": None}
    batches = Chain(tmp_path / "once.jsonl")
    one = train.fit(objective, optax.adam(0.02), batches, params, mesh=train.data_mesh(1), **settings)
    jax.tree.map(np.testing.assert_array_equal, parts, one)
    assert logged(tmp_path / "parts") == logged(tmp_path)


def test_stopped_anywhere_it_goes_on_to_the_same(tmp_path, whole):
    """Before any checkpoint, within a part, and while it mines, before the file is there and when it is."""
    mined = []

    def stepped(step, *, at):
        if step.number == at:
            raise StoppedError

    def mines(params, step, file, *, before=None, after=None):
        mined.append(step)
        if step == before:
            raise StoppedError
        mine(params, step, file)
        if step == after:
            raise StoppedError

    for stop in (
        {"watch": partial(stepped, at=1), "mine": mines},
        {"mine": partial(mines, before=4)},
        {"watch": partial(stepped, at=7), "mine": mines},
        {"mine": partial(mines, after=8)},
    ):
        with pytest.raises(StoppedError):
            run(tmp_path, 10, **stop)
    again = run(tmp_path, 10, mine=mines)
    assert mined == [0, 0, 4, 4, 8]
    jax.tree.map(np.testing.assert_array_equal, again, whole[1])
    assert logged(tmp_path) == logged(whole[0])


def test_a_finished_run_neither_mines_nor_trains_and_a_longer_one_goes_on(tmp_path, whole):
    def never(params, step, file):
        pytest.fail("it mined")

    shutil.copytree(whole[0], tmp_path / "more")
    again = run(tmp_path / "more", 10, mine=never)
    jax.tree.map(np.testing.assert_array_equal, again, whole[1])
    run(tmp_path / "more", 12, mine=never)  # the rest of the third part
    assert logged(tmp_path / "more")[:10] == logged(whole[0])
    assert len(logged(tmp_path / "more")) == 12
    with pytest.raises(ValueError, match="12 steps behind it, more than the 6 wanted"):
        run(tmp_path / "more", 6, mine=never)


def test_a_validation_that_ends_the_run_ends_it(tmp_path):
    mined = []

    def counted(params, step, file):
        mined.append(step)
        mine(params, step, file)

    validation = train.Validation(lambda params: -len(logged(tmp_path)), every=1, patience=2)  # ever worse
    run(tmp_path, 30, mine=counted, validation=validation)
    assert mined == [0]
    assert logged(tmp_path)[-1][0] == 3
    run(tmp_path, 30, mine=counted, validation=validation)
    assert logged(tmp_path)[-1][0] == 3


def test_bad_input(tmp_path, whole):
    with pytest.raises(ValueError, match="refresh must be 1 or more, got 10 and 0"):
        run(tmp_path, 10, refresh=0)
    with pytest.raises(FileNotFoundError, match=r"mine was to write .*step-00000000\.jsonl, and did not"):
        run(tmp_path, 10, mine=lambda params, step, file: None)
    shutil.copytree(whole[0], tmp_path / "gone")
    (tmp_path / "gone" / "negatives" / "step-00000008.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"checkpoint of step 10 goes on with .*00000008\.jsonl, which is gone"):
        run(tmp_path / "gone", 12)
    with pytest.raises(ValueError, match="of other batches than those from step 4"):
        train.refresh._Part(Chain(tmp_path), 4).set_state({"start": 8, "json": None})


@pytest.mark.grid
def test_killed_at_random_moments_it_ends_with_the_same_losses(tmp_path):
    """SIGKILL three times, whatever it is doing: mining, stepping or writing."""
    whole, killed, draw = tmp_path / "whole", tmp_path / "killed", random.Random(time.time_ns())

    def start(folder: Path) -> subprocess.Popen:
        command = [sys.executable, str(HERE / "refreshable.py"), str(folder), "60"]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def progress() -> int:
        file = killed / "losses.jsonl"
        return len(file.read_bytes().splitlines()) if file.is_file() else 0

    assert start(whole).wait() == 0
    kills: list[int] = []
    while len(kills) < 3:
        with start(killed) as process:
            while process.poll() is None and progress() < max([0, *kills]) + 5:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        kills.append(progress())
        assert process.returncode == -signal.SIGKILL, f"the run was over before kill {len(kills)} (at {kills})"
    assert start(killed).wait() == 0
    assert logged(killed) == logged(whole), f"killed with {kills} lines logged"
