"""Programs that are compiled ahead are found by the next process."""

import subprocess
import sys
from pathlib import Path

import pytest

from jaxemb import cli, model

GOLDEN = Path(__file__).parent.parent / "golden" / "bert" / "new"

SECOND = """
import sys
import jax, numpy
from collections import Counter
from jaxemb import model
seen = Counter()
jax.monitoring.register_event_listener(lambda name, **_: seen.update([name.rpartition("/")[2]]))
model.cached(sys.argv[2])
bert = model.load(sys.argv[1])
before = dict(seen)
vectors = model.encode(bert, ["a b c"])
assert vectors.shape == (1, 16)
print(seen["cache_hits"], seen["cache_misses"], before)
model.encode(bert, ["a b c"] * 5)
print(seen["cache_misses"])
"""


def test_a_second_process_compiles_nothing(tmp_path):
    command = ["warm-up", str(GOLDEN), "--shapes", "1x8", "--cache", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-c", f"from jaxemb import cli; raise SystemExit(cli.main({command!r}))"],
        check=True,
        capture_output=True,
    )
    second = [sys.executable, "-c", SECOND, str(GOLDEN), str(tmp_path)]
    ran = subprocess.run(second, check=True, capture_output=True, text=True)
    hits, misses = ran.stdout.split()[:2]
    assert int(hits) > 0
    assert int(misses) == 0
    assert int(ran.stdout.split()[-1]) > 0  # a batch of five was not compiled ahead
    assert "error" not in ran.stderr.lower()


def test_the_fixed_shapes_are_all_that_few_texts_need():
    seen = []
    bert = model.load(GOLDEN)
    apply = bert.encoder.apply
    watched = bert._replace(encoder=bert.encoder._replace(apply=lambda p, t: seen.append(t.ids.shape) or apply(p, t)))
    assert model.warm_up(watched, [(1, 8), (4, 12), (1, 8)]) == [(1, 8), (4, 12)]
    assert seen == [(1, 8), (4, 12)]
    for texts in (["a"], ["a b", "c d e", "e " * 9]):
        model.encode(watched, texts)
    assert seen[2:] == seen[:2]
    assert set(seen) <= set(model.fixed(12))


@pytest.mark.parametrize("shape", [(0, 8), (1, 0), (1, 13)])
def test_shapes_that_no_batch_has_are_refused(shape):
    with pytest.raises(ValueError, match=f"a length of 1 or more up to 12, got {shape[0]}x{shape[1]}"):
        model.warm_up(model.load(GOLDEN), [shape])


def test_shapes_on_the_command_line(capsys, tmp_path):
    assert cli.main(["warm-up", str(GOLDEN), "--shapes", "8", "--cache", str(tmp_path / "c")]) == 2
    assert "--shapes: wanted rows x tokens, as 16x128, got '8'" in capsys.readouterr().err


def test_where_programs_are_kept(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert model.cache_folder() == Path("/somewhere/jaxemb/compiled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert model.cache_folder() == Path("/home/ada/.cache/jaxemb/compiled")
