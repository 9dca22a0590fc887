import errno
import subprocess
import sys
import threading
from functools import partial

import pytest

from jaxemb import atomic

# Runs in a process without JAX, which does not survive a fork.  A child dies at its n-th call into the system; n grows
# until a child lives to the end.  Whenever it died, `path` is as before or as after, and the next writer cleans up.
KILLED = """
import os, signal, sys
from pathlib import Path
from jaxemb import atomic

base, kind, exchange = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "exchange"
if not exchange:
    atomic._exchange = lambda one, other: False

def write(path, text):
    if kind == "file":
        with atomic.file(path) as partial:
            partial.write_text(text)
        return
    with atomic.folder(path, replaces="a") as partial:
        (partial / "inner").mkdir()
        for name in ("a", "inner/b"):
            (partial / name).write_text(text)

def read(path):
    if kind == "file":
        return path.read_text() if path.exists() else None
    found = sorted(str(p.relative_to(path)) for p in path.rglob("*"))
    assert found in ([], ["a", "inner", "inner/b"]), found
    texts = {(path / name).read_text() for name in ("a", "inner/b")} if found else {None}
    assert len(texts) == 1, texts
    return texts.pop()

def dies_at(moment):
    left = moment
    def count(event, arguments):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)

seen, moment = set(), 0
for old in (None, "old"):
    moment, dead = 0, True
    while dead:
        path = base / f"{kind}-{old}-{moment}" / "name"
        path.parent.mkdir()
        if old:
            write(path, old)
        child = os.fork()
        if child == 0:
            dies_at(moment)
            write(path, "new")
            os._exit(0)
        dead = os.waitpid(child, 0)[1] != 0
        got = read(path)
        allowed = {old, "new"} if (exchange and sys.platform == "linux") or kind == "file" else {None, old, "new"}
        assert got in allowed if dead else got == "new", (old, moment, got)
        seen.add((old, got))
        write(path, "later")
        assert read(path) == "later"
        assert [p.name for p in path.parent.iterdir()] == ["name"], list(path.parent.iterdir())
        moment += 1
    assert moment > 5, moment
assert {(None, None), (None, "new"), ("old", "old"), ("old", "new")} <= seen, seen
assert exchange or kind == "file" or ("old", None) in seen, seen
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("exchange", ["exchange", "set aside"])
def test_killed_at_any_moment(tmp_path, kind, exchange):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, kind, exchange], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps two folders in one step")
def test_a_reader_always_finds_a_folder(tmp_path):
    path, stop, missing = tmp_path / "name", threading.Event(), []
    with atomic.folder(path, replaces="a"):
        pass

    def look():
        while not stop.is_set():
            if not path.exists():
                missing.append(True)

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(200):
        with atomic.folder(path, replaces="a"):
            pass
    stop.set()
    looking.join()
    assert not missing


@pytest.mark.parametrize("failed", [errno.ENOSYS, errno.EINVAL])
def test_without_the_system_call_the_old_folder_is_set_aside(tmp_path, monkeypatch, failed):
    monkeypatch.setattr(atomic.ctypes, "get_errno", lambda: failed)
    monkeypatch.setattr(atomic.ctypes, "CDLL", lambda *_, **__: type("Libc", (), {"renameat2": lambda *_: -1}))
    for text in ("old", "new"):
        with atomic.folder(tmp_path / "name", replaces="a") as partial:
            (partial / "a").write_text(text)
    assert (tmp_path / "name" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_other_failures_of_the_system_call_are_raised(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        atomic._exchange(tmp_path / "nothing", tmp_path)


@pytest.mark.parametrize("write", [atomic.file, partial(atomic.folder, replaces="a")])
def test_an_error_inside_leaves_nothing(tmp_path, write):
    class StopError(Exception):
        pass

    with pytest.raises(StopError), write(tmp_path / "deep" / "name"):
        raise StopError
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_error_inside_leaves_the_old_one(tmp_path):
    with atomic.folder(tmp_path / "name", replaces="a") as partial:
        (partial / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic.folder(tmp_path / "name", replaces="a"):
        raise KeyboardInterrupt
    assert (tmp_path / "name" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_others_may_read_what_was_written(tmp_path):
    with atomic.file(tmp_path / "file") as partial:
        partial.write_text("text")
    with atomic.folder(tmp_path / "folder", replaces="a"):
        pass
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_only_a_folder_of_the_same_kind_is_replaced(tmp_path):
    (tmp_path / "name").mkdir()
    with atomic.folder(tmp_path / "name", replaces="a"):
        pass  # an empty one is nobody's
    (tmp_path / "name" / "thesis").write_text("precious")
    with (
        pytest.raises(FileExistsError, match=r"wanted nothing there or a folder with a, got one with \['thesis'\]"),
        atomic.folder(tmp_path / "name", replaces="a"),
    ):
        pass
    assert (tmp_path / "name" / "thesis").read_text() == "precious"


def test_what_says_that_a_folder_is_another_keeps_it(tmp_path):
    (tmp_path / "name").mkdir()
    with atomic.folder(tmp_path / "name", replaces="a", other=lambda path: "a thesis") as partial:
        (partial / "a").write_text("precious")  # an empty one is not asked about
    with (
        pytest.raises(FileExistsError, match=r"a folder of the same kind, got a thesis \(\['a'\]\)"),
        atomic.folder(tmp_path / "name", replaces="a", other=lambda path: "a thesis"),
    ):
        pass
    with atomic.folder(tmp_path / "name", replaces="a", other=lambda path: None):
        assert (tmp_path / "name" / "a").read_text() == "precious"


def test_a_folder_does_not_replace_a_file(tmp_path):
    (tmp_path / "name").write_text("precious")
    with (
        pytest.raises(NotADirectoryError, match="wanted a folder or nothing there, got a file"),
        atomic.folder(tmp_path / "name", replaces="a"),
    ):
        pass
    assert (tmp_path / "name").read_text() == "precious"


def test_a_link_is_replaced_and_its_folder_left_alone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a").write_text("precious")
    (tmp_path / "name").symlink_to(tmp_path / "kept")
    with atomic.folder(tmp_path / "name", replaces="a") as partial:
        (partial / "a").write_text("new")
    assert not (tmp_path / "name").is_symlink()
    assert [(tmp_path / name / "a").read_text() for name in ("name", "kept")] == ["new", "precious"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "name"]


def test_left_overs_are_swept_whatever_the_name_is_spelt_with(tmp_path):
    for name in ("[a-z]*", "plain"):
        left = tmp_path / f".{name}{atomic.MARK}x1"
        left.mkdir()
        other = tmp_path / f".b{atomic.MARK}x1"
        other.mkdir()
        with atomic.folder(tmp_path / name, replaces="a"):
            pass
        assert not left.exists()
        assert other.exists()
        other.rmdir()
