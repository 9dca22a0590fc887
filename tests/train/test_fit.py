"""Training learns, resumes to the bit, and is the same on several devices."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killable import batch, run, source

from jaxemb import checkpoint, data, encode, losses, train


class StoppedError(Exception):
    """A run that ends early, as a kill would end it."""


HERE = Path(__file__).parent


def logged(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_training_beats_chance_and_logs_every_step(tmp_path):
    run(tmp_path, 40)
    told = logged(tmp_path)
    assert len(told) == 40
    assert told[0] > 0.8 * np.log(16)  # untrained, it can only guess among sixteen
    assert told[-1] < 0.5 * told[0]
    first = json.loads((tmp_path / "losses.jsonl").read_text().splitlines()[0])
    assert first["negatives"] == 15
    assert first["step"] == 1


def test_stopping_and_going_on_gives_the_same_losses_and_params(tmp_path):
    whole = run(tmp_path / "whole", 12)
    part = tmp_path / "part"

    def stop(step):
        if step.number == 8:  # two steps after a checkpoint: they must run again
            raise StoppedError

    with pytest.raises(StoppedError):
        run(part, 12, watch=stop)
    resumed = run(part, 12)
    assert logged(part) == logged(tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


def test_a_finished_run_is_not_run_again(tmp_path):
    whole = run(tmp_path, 6)
    again = run(tmp_path, 6, watch=lambda step: pytest.fail("a step ran"))
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    with pytest.raises(ValueError, match="6 steps behind it, more than the 3 wanted"):
        run(tmp_path, 3)


def test_four_devices_give_the_losses_of_one(tmp_path):
    run(tmp_path / "one", 6, mesh=train.data_mesh(1))
    run(tmp_path / "four", 6, mesh=train.data_mesh(4))
    np.testing.assert_allclose(logged(tmp_path / "four"), logged(tmp_path / "one"), rtol=1e-4)


@pytest.mark.slow
def test_a_checkpoint_of_four_devices_goes_on_with_one(tmp_path):
    run(tmp_path / "one", 6, mesh=train.data_mesh(1))

    def stop(step):
        if step.number == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path / "both", 6, mesh=train.data_mesh(4), watch=stop)
    run(tmp_path / "both", 6, mesh=train.data_mesh(1))
    np.testing.assert_allclose(logged(tmp_path / "both"), logged(tmp_path / "one"), rtol=1e-4)


def test_what_is_carried_goes_from_step_to_step_and_through_a_checkpoint(tmp_path):
    def objective(params, batch):
        return params["w"] * 0 + batch["sum"] + jnp.zeros(16), {"sum": 2 * batch["sum"] + 1}

    def go(steps, start=1.0):
        told = []
        train.fit(
            objective,
            optax.sgd(0.1),
            data.stream(source(), batch_size=16, seed=3, make=batch),
            {"w": np.float32(1.0)},
            steps=steps,
            carried={"sum": np.float32(start)},
            checkpoints=tmp_path,
            watch=lambda step: told.append((step.loss, sorted(step.metrics))),
            what=None,
        )
        return told

    assert go(2) == [(1.0, ["gradient_norm"]), (3.0, ["gradient_norm"])]
    assert [loss for loss, _ in go(4, start=100.0)] == [7.0, 15.0]  # the checkpoint's, not the one given


@pytest.mark.parametrize(
    ("name", "message"), [("other", r"\['other'\] are carried, but .* shows \['sum'\]"), ("query", "in the batch, too")]
)
def test_what_is_carried_and_not_shown_is_named(name, message):
    def objective(params, batch):
        return params["w"] + jnp.zeros(16), {"sum": jnp.zeros(())}

    with pytest.raises(ValueError, match=message):
        steps_of(objective, carried={name: np.float32(1.0)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "times"), [pytest.param("plain", 3, marks=pytest.mark.grid), ("adapters, gradient cache", 1)]
)
def test_killed_at_random_moments_a_run_ends_with_the_same_losses(tmp_path, variant, times):
    """SIGKILL, whatever it is doing: starting, stepping or writing a checkpoint."""
    whole, killed, draw = tmp_path / "whole", tmp_path / "killed", random.Random(time.time_ns())

    def start(folder: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(HERE / "killable.py"), str(folder), "90", variant], stderr=subprocess.DEVNULL
        )

    assert start(whole).wait() == 0
    kills = []
    while len(kills) < times:
        with start(killed) as process:
            while process.poll() is None and progress(killed) < max([0, *kills]) + 5:
                time.sleep(0.005)  # past the last kill, so that each is at another place
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        kills.append(progress(killed))
        assert process.returncode == -signal.SIGKILL, f"the run was over before kill {len(kills)} (at {kills})"
    assert start(killed).wait() == 0
    assert logged(killed) == logged(whole), f"killed with {kills} lines logged"


def progress(folder: Path) -> int:
    file = folder / "losses.jsonl"
    return len(file.read_bytes().splitlines()) if file.is_file() else 0


def test_params_given_are_left_as_they_were(tmp_path):
    encoder = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))
    params = encoder.init(jax.random.key(0))
    before = jax.tree.map(np.array, params)
    stream = data.stream(source(), batch_size=16, seed=3, make=batch)
    after = train.fit(train.pairwise(encoder, losses.info_nce), optax.sgd(1.0), stream, params, steps=2, what=None)
    jax.tree.map(np.testing.assert_array_equal, params, before)
    assert not np.array_equal(after["table"], before["table"])


def test_a_key_is_another_each_step_and_the_same_when_run_again():
    seen = []

    def objective(params, batch):
        noise = jax.random.normal(batch["key"], (16,))
        return params["w"] * 0 + noise, {}

    def go():
        got = []
        train.fit(
            objective,
            optax.sgd(0.1),
            data.stream(source(), batch_size=16, seed=3, make=batch),
            {"w": np.float32(1.0)},
            steps=3,
            key=jax.random.key(5),
            watch=lambda step: got.append(step.loss),
            what=None,
        )
        return got

    seen = go()
    assert len(set(seen)) == 3
    assert go() == seen


def steps_of(objective, **kwargs) -> float:
    """How far one step of plain descent at rate 1 moves a weight that starts at 0."""
    stream = data.stream(source(), batch_size=16, seed=3, make=batch)
    params = {"w": np.float32(0.0)}
    return float(train.fit(objective, optax.sgd(1.0), stream, params, steps=1, what=None, **kwargs)["w"])


def test_a_gradient_is_clipped_to_its_largest_norm():
    def steep(params, batch):
        return params["w"] * jnp.full(16, 5.0), {}

    assert steps_of(steep) == pytest.approx(-1.0)
    assert steps_of(steep, clip=0.25) == pytest.approx(-0.25)
    assert steps_of(steep, clip=None) == pytest.approx(-5.0)


def test_a_gradient_that_is_not_finite_is_named_and_never_saved(tmp_path):
    def edge(params, batch):
        return jnp.sqrt(params["w"]) + jnp.zeros(16), {}

    with pytest.raises(FloatingPointError, match=r"step 1 is 0\.0"):
        steps_of(edge, checkpoints=tmp_path)
    assert checkpoint.Checkpoints(tmp_path).latest() is None


def test_checkpoints_of_another_run_are_refused(tmp_path):
    run(tmp_path, 3, run="first")
    with pytest.raises(ValueError, match=r"another run \('first', wanted 'second'\)"):
        run(tmp_path, 6, run="second")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps and every must be 1 or more, got 0"),
        ({"every": 0}, ValueError, "steps and every must be 1 or more, got 3 and 0"),
        ({"clip": 0.0}, ValueError, "clip must be above 0, or None for no limit, got 0.0"),
        ({"clip": float("nan")}, ValueError, "clip must be above 0, .* got nan"),
        ({"mesh": 3}, ValueError, "document.ids has 16 rows, wanted a multiple of 3 devices"),
        ({"rate": float("nan")}, FloatingPointError, "the loss of step 2 is nan"),
    ],
)
def test_bad_input(change, error, message):
    encoder = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))
    stream = data.stream(source(), batch_size=16, seed=3, make=batch)
    mesh = train.data_mesh(change.get("mesh", 1))
    with pytest.raises(error, match=message):
        train.fit(
            train.pairwise(encoder, losses.info_nce),
            optax.sgd(change.get("rate", 0.1)),
            stream,
            encoder.init(jax.random.key(0)),
            steps=change.get("steps", 3),
            mesh=mesh,
            what=None,
            **{name: value for name, value in change.items() if name in ("every", "clip")},
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peak": -1.0}, r"a peak above 0 .* got -1\.0"),
        ({"peak": float("nan")}, "got nan"),
        ({"end": -0.1}, r"an end of 0 or more, got 1\.0 and -0\.1"),
        ({"steps": 0}, "1 step or more"),
        ({"warmup": 1.0}, r"a share in \[0, 1\), got 10 and 1\.0"),
    ],
)
def test_a_rate_that_would_climb_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        train.warmup_cosine(**{"peak": 1.0, "steps": 10, **settings})


def test_when_batches_end_early_the_steps_so_far_are_saved(tmp_path):
    def go(steps, **kwargs):
        batches = data.stream(source(), batch_size=16, seed=3, make=batch, epochs=1)  # four
        objective = lambda params, batch: (params["w"] + jnp.zeros(16), {})
        return train.fit(objective, optax.sgd(1.0), batches, {"w": np.float32(0.0)}, steps=steps, what=None, **kwargs)

    message = "ended after 4 steps, 10 were wanted; .* with steps=4 the same call gives their params"
    for _ in range(2):  # the second time from the checkpoint, which is there already
        with pytest.raises(ValueError, match=message):
            go(10, checkpoints=tmp_path)
    assert go(4, checkpoints=tmp_path)["w"] == -4
    with pytest.raises(ValueError, match=r"ended after 4 steps, 10 were wanted$"):
        go(10)


@pytest.mark.parametrize(
    ("batches", "saved", "message"),
    [
        (iter([{}]), True, r"got list_iterator without \['get_state', 'set_state'\]"),
        ([{}], False, r"got list without \['__next__'\]"),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_batches_without_a_place_are_refused_at_the_start(batches, saved, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        train.fit(
            lambda params, batch: pytest.fail("a step ran"), optax.sgd(1.0), batches, {"w": np.float32(0.0)}, steps=1,
            checkpoints=tmp_path if saved else None, what=None,
        )  # fmt: skip


def test_checkpoints_of_another_optimizer_are_refused(tmp_path):
    def go(optimizer, size=1, **settings):
        batches = data.stream(source(), batch_size=16, seed=3, make=batch)
        objective = lambda params, batch: (params["w"].sum() + jnp.zeros(16), {})
        params = {"w": np.ones(size, np.float32)}
        train.fit(objective, optimizer, batches, params, steps=1, checkpoints=tmp_path, what=None, **settings)

    go(optax.sgd(0.1))
    for other in ({"clip": None}, {"optimizer": optax.adam(0.1)}, {"size": 2}):
        with pytest.raises(ValueError, match=r"step 1 in .* does not fit this run: .* another optimizer, clip"):
            go(**{"optimizer": optax.sgd(0.1), **other})


def test_a_key_of_the_batch_is_not_overwritten():
    batches = data.stream(range(16), batch_size=16, seed=0, make=lambda rows: {"key": np.array(rows)})
    with pytest.raises(ValueError, match="has an entry 'key' already"):
        train.fit(
            lambda params, batch: (params["w"] + jnp.zeros(16), {}), optax.sgd(1.0), batches,
            {"w": np.float32(0.0)}, steps=1, key=jax.random.key(0), what=None,
        )  # fmt: skip


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wanted a checkpoint, found steps \[\]"):
        checkpoint.Checkpoints(tmp_path / "none").restore({"w": np.zeros(2)})
    saved = checkpoint.Checkpoints(tmp_path / "some")
    saved.save(4, {"w": np.ones(2)}, {"seen": 1})
    with pytest.raises(FileNotFoundError, match=r"wanted a checkpoint of step 3, found steps \[4\]"):
        saved.restore({"w": np.zeros(2)}, 3)
    got = saved.restore({"w": np.zeros(2)})
    np.testing.assert_array_equal(got.tree["w"], np.ones(2))
    assert got.notes == {"seen": 1}
