import ast
import hashlib
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from jaxemb.data import functions

SOURCE = '''\
"""A module is no function."""
import typing


@decorated
def area(width, height):
    """Area of a   rectangle
    in squares.

    Not part of the query.
    """

    # a comment that stays
    return width * height


class Shape:
    """A class is no function, but its methods are."""

    class Inner:
        async def é_longest(self):
            'Find the longest side — in metres.' ; return max(self.sides)

    @property
    def sides(self):
        "All the sides."  # noqa
        def nested():
            """A function inside a function."""
            return 1
        return nested()

    @sides.setter
    def sides(self, value):
        """Set all the sides."""
        self._sides = """
text at the margin
"""

    def größer(self): "Add two numbers."; return 1 + 1

    def two_words(self):
        """Two words."""
        return 2

    def marks(self):
        """--- 1 2 3 ---"""
        return 2

    def undocumented(self):
        return 3

    def missing(self):
        """This is not written."""
        raise NotImplementedError("yet")

    def abstract(self):
        """This is for subclasses."""
        raise NotImplementedError

    def passing(self):
        """This does not do anything."""
        pass

    def dots(self):
        """This does not do anything."""
        ...

    def nothing(self):
        """This does not do anything."""


if typing.TYPE_CHECKING:
    try:
        def hidden():
            """Under two conditions here."""
            return "\\ud800"
    except ImportError:
        pass
'''

FUNCTIONS = [
    (
        "area",
        "Area of a rectangle in squares.",
        "def area(width, height):\n    # a comment that stays\n    return width * height",
    ),
    (
        "Shape.Inner.é_longest",
        "Find the longest side — in metres.",
        "async def é_longest(self):\n    return max(self.sides)",
    ),
    (
        "Shape.sides",
        "All the sides.",
        "def sides(self):\n    def nested():\n"
        '        """A function inside a function."""\n        return 1\n    return nested()',
    ),
    (
        "Shape.sides",
        "Set all the sides.",
        'def sides(self, value):\n    self._sides = """\ntext at the margin\n"""',
    ),
    ("Shape.größer", "Add two numbers.", "def größer(self): return 1 + 1"),
    ("hidden", "Under two conditions here.", 'def hidden():\n    return "\\ud800"'),
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_functions_by_hand(tmp_path, newline, encoding):
    content = SOURCE.replace("\n", newline).encode(encoding)
    (tmp_path / "shapes.py").write_bytes(content)
    found = functions.read(str(tmp_path / "shapes.py"))
    assert found.sha256 == hashlib.sha256(content).hexdigest() == functions.sha256(str(tmp_path / "shapes.py"))
    assert (found.problem, found.seen) == ("", 14)
    assert [tuple(function) for function in found.functions] == FUNCTIONS


def test_tabs_and_other_encodings(tmp_path):
    source = "# coding: latin-1\nclass A:\n\tdef f(self):\n\t\t'''Größe in Zoll angeben.'''\n\t\treturn 'ä'\n"
    (tmp_path / "german.py").write_bytes(source.encode("latin-1"))
    (function,) = functions.read(str(tmp_path / "german.py")).functions
    assert function == ("A.f", "Größe in Zoll angeben.", "def f(self):\n\treturn 'ä'")


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path):
    (tmp_path / "s.py").write_text('def f():\n    """Escape \\ud800 for XML."""\n    return 1\n')
    (function,) = functions.read(str(tmp_path / "s.py")).functions
    assert function.query == "Escape ? for XML."


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"def f(:\n", "not Python"),
        (b"x = " + b"(" * 5000 + b")" * 5000, "not Python"),
        (b"print 1\n", "not Python"),
        (b"x = '\xff'\n", "undecodable"),
        (b"# coding: klingon\n", "undecodable"),
        (b"\x7fELF\0\0\0", "undecodable"),
    ],
)
def test_bad_files_are_named_and_not_taken(tmp_path, content, problem):
    (tmp_path / "bad.py").write_bytes(content)
    assert functions.read(str(tmp_path / "bad.py")) == (hashlib.sha256(content).hexdigest(), problem, 0, [])


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "folder.py").mkdir()
    for name in ("gone.py", "folder.py"):
        assert functions.read(str(tmp_path / name)) == ("", "unreadable", 0, [])
        assert functions.sha256(str(tmp_path / name)) == ""


def test_as_a_script_it_says_the_same(tmp_path):
    (tmp_path / "shapes.py").write_text(SOURCE)
    (tmp_path / "bad.py").write_text("def f(:")
    paths = [str(tmp_path / "bad.py"), str(tmp_path / "shapes.py")]
    command = [sys.executable, "-I", "-S", functions.__file__]
    done = subprocess.run(command, input=json.dumps(paths).encode(), capture_output=True, check=True)
    expected = [json.loads(json.dumps(functions.read(path))) for path in paths]
    assert json.loads(done.stdout) == expected


def test_every_document_of_the_standard_library_is_one_function_without_docstring():
    root = Path(sysconfig.get_paths()["stdlib"])
    checked = 0
    for path in sorted([*root.glob("*.py"), *root.glob("email/*.py"), *root.glob("asyncio/*.py")]):
        for name, _, document in functions.read(str(path)).functions:
            (node,) = ast.parse(document).body
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef), (path, name)
            assert node.name == name.rpartition(".")[2]
            assert ast.get_docstring(node) is None, (path, name)
            checked += 1
    assert checked > 1000
