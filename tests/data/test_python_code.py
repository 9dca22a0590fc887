import random
import re
import signal
import subprocess
import sys

import pytest

from jaxemb.data import Pair, python_code, sources


def package_in(split: str, start: str) -> str:
    return next(name for name in (f"{start}{number}" for number in range(1000)) if python_code.split_of(name) == split)


# Of copies the first by id stays, so the names say which.
VALIDATION, TEST, TRAIN = package_in("validation", "a"), package_in("test", "b"), package_in("train", "c")
TOTAL = """def total(values):
    result = 0
    for value in values:
        result += value
    return result"""
FILES = {
    f"{TRAIN}/__init__.py": b'def area(w, h):\n    """Area of a rectangle."""\n    return w * h\n',
    f"{TRAIN}/deep/sets.py": b'''class Set:
    @property
    def size(self):
        """How many members it has."""
        return len(self._members)

    @size.setter
    def size(self, value):
        """Keep only this many."""
        self._members = self._members[:value]
''',
    f"{TRAIN}/tests/test_sets.py": b'def test_it():\n    """This is left out."""\n    assert area(2, 3) == 6\n',
    f"{VALIDATION}.py": TOTAL.replace(":", ':\n    """Sum of all values."""', 1).encode(),
    f"{TEST}.py": b'''def largest(values):
    """Largest of all values."""
    return sorted(values)[-1]

def area_again(w, h):
    """area of a RECTANGLE"""
    return h * w

'''
    + TOTAL.replace(":", ':\n    """The vendored copy."""', 1).encode()
    + b"\n\n"
    + TOTAL.replace(":", ':\n    """The copy with a change."""', 1).encode()
    + b"  # done",
    f"{TEST}_broken.py": b"def f(:\n",
    f"{TEST}_binary.py": b"\0\1\2",
}


@pytest.fixture
def tree(tmp_path):
    return fill(tmp_path / "tree")


def fill(root):
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def texts(prepared):
    return {split: list(python_code.pairs(prepared, split)) for split in python_code.SPLITS}


def test_by_hand(tree, tmp_path, capfd):
    (tree / f"{TEST}_gone.py").symlink_to(tree / "nowhere.py")
    prepared = python_code.prepare(tmp_path / "data", sources.folder(tree))
    assert re.fullmatch(r"python-code@[0-9a-f]{12}", prepared.name)
    assert texts(prepared) == {
        "train": [
            Pair("How many members it has.", "def size(self):\n    return len(self._members)"),
            Pair("Keep only this many.", "def size(self, value):\n    self._members = self._members[:value]"),
        ],
        "validation": [Pair("Sum of all values.", TOTAL)],
        "test": [
            Pair("area of a RECTANGLE", "def area_again(w, h):\n    return h * w"),
            Pair("Largest of all values.", "def largest(values):\n    return sorted(values)[-1]"),
        ],
    }
    assert python_code.counts(prepared) == {
        "files": 7,
        "files not Python": 1,
        "files undecodable": 1,
        "files unreadable": 1,
        "functions": 8,
        "documented": 8,
        "with the docstring of another": 1,
        "with the source of another": 1,
        "nearly the source of another": 1,
        "pairs": 5,
        "pairs to train": 2,
        "pairs to validation": 1,
        "pairs to test": 2,
    }
    said = capfd.readouterr()
    assert said.out == ""
    report = " ".join(said.err.split())
    assert report.count("1 files not Python, 1 files undecodable, 1 files unreadable") == 1
    task = python_code.task(prepared, "train")
    assert (task.name, task.split) == (prepared.name, "train")
    assert task.document_ids == [f"{TRAIN}.deep.sets:Set.size", f"{TRAIN}.deep.sets:Set.size#2"]
    assert task.queries == [pair.query for pair in python_code.pairs(prepared, "train")]
    assert task.documents == [pair.document for pair in python_code.pairs(prepared, "train")]
    assert task.judgements == {each: {each: 1} for each in task.query_ids}


def test_the_revision_is_of_the_sources_alone(tree, tmp_path):
    first = python_code.prepare(tmp_path / "first", sources.folder(tree))
    shuffled = sources.folder(fill(tmp_path / "moved"))
    random.Random(0).shuffle(shuffled)
    moved = python_code.prepare(tmp_path / "second", shuffled)
    assert moved.name == first.name
    assert texts(moved) == texts(first)
    changed = tree / f"{TEST}.py"
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert python_code.prepare(tmp_path / "first", sources.folder(tree)).name != first.name
    changed.rename(tree / f"{TEST}_.py")
    assert python_code.revision(python_code._digests(sources.folder(tree))) not in first.name


def test_what_is_prepared_is_used_again(tree, tmp_path, capfd):
    first = python_code.prepare(tmp_path / "data", sources.folder(tree))
    written = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    capfd.readouterr()
    assert python_code.prepare(tmp_path / "data", sources.folder(tree)) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == written
    assert capfd.readouterr().err == f"{first.name}: already prepared\n"


def test_a_split_is_of_the_packages_name():
    names = [f"package{number}" for number in range(3000)]
    shares = [sum(python_code.split_of(name) == split for name in names) / 3000 for split in python_code.SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    # Fixed for ever, as long as `VERSION` and `SALT` are: these move only with a new revision.
    assert [python_code.split_of(name) for name in ("numpy", "scipy", "asyncio", "urllib")] == [
        "train",
        "train",
        "validation",
        "test",
    ]


def test_too_few_packages(tree, tmp_path):
    few = [source for source in sources.folder(tree) if source.package == TRAIN]
    with pytest.raises(ValueError, match="no pair for validation and test among 3; it needs more packages"):
        python_code.prepare(tmp_path / "data", few)
    assert not list((tmp_path / "data").glob("*")) if (tmp_path / "data").exists() else True


def test_reading_what_is_not_there(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="no prepared python-code data set"):
        python_code.pairs(tmp_path, "test")
    prepared = python_code.prepare(tmp_path / "data", sources.folder(tree))
    with pytest.raises(ValueError, match="wanted a split of train, validation, test, got 'dev'"):
        python_code.task(prepared, "dev")


KILLED = {
    "while rows are written": """
builder = python_code._builder_class()
generate = builder._generate_examples
def dying(self, rows):
    yield from generate(self, rows[:1])
    os.kill(os.getpid(), signal.SIGKILL)
builder._generate_examples = dying
""",
    "before the rename": """
atomic._flush = lambda path: os.kill(os.getpid(), signal.SIGKILL)
""",
}


@pytest.mark.parametrize("moment", KILLED)
def test_a_killed_build_leaves_nothing_that_counts(tree, tmp_path, moment):
    program = f"""
import os, signal, sys
from jaxemb import atomic
from jaxemb.data import python_code, sources
{KILLED[moment]}
python_code.prepare(sys.argv[1], sources.folder(sys.argv[2]))
"""
    data = tmp_path / "data"
    done = subprocess.run([sys.executable, "-c", program, str(data), str(tree)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert [path.name[0] for path in data.iterdir()] == ["."]  # only the left-over
    prepared = python_code.prepare(data, sources.folder(tree))
    assert list(data.iterdir()) == [prepared]
    assert texts(prepared) == texts(python_code.prepare(tmp_path / "whole", sources.folder(tree)))
