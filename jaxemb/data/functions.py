"""Python source files to their documented functions.

Only the standard library is used and this file runs as a script, `functions.py < paths > found`, both JSON: a worker
process then loads neither JAX nor the program that started it.
"""

import ast
import contextlib
import gc
import hashlib
import io
import json
import pathlib
import re
import sys
import tokenize
from collections.abc import Iterator
from typing import NamedTuple


class Function(NamedTuple):
    """A documented function.

    name: qualified by its classes, as `JSONDecoder.decode`.
    query: the first paragraph of its docstring, on one line.
    document: its source from `def` on, without the docstring and indented by nothing.
    """

    name: str
    query: str
    document: str


class Found(NamedTuple):
    """What one file held.

    sha256: of its bytes, in hexadecimal; "" when it could not be read.
    problem: "", or why nothing was taken: "unreadable", "undecodable" (binary files too) or "not Python".
    seen: how many functions there are, documented or not, functions inside functions left out.
    functions: those with a docstring of three words or more, and something to do.
    """

    sha256: str
    problem: str
    seen: int
    functions: list[Function]


def read(path: str) -> Found:
    """Read one file.  Nothing about its content is an error: a problem is named in the result."""
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError:
        return Found("", "unreadable", 0, [])
    digest = hashlib.sha256(content).hexdigest()
    try:
        text = _decode(content)
    except (SyntaxError, UnicodeError):  # tokenize raises SyntaxError for an unknown or a wrong encoding
        return Found(digest, "undecodable", 0, [])
    try:
        tree = ast.parse(text)
        every = list(_definitions(tree, ""))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply for the parser
        return Found(digest, "not Python", 0, [])
    lines = text.split("\n")
    functions = [function for name, node in every if (function := _documented(name, node, lines)) is not None]
    return Found(digest, "", len(every), functions)


def sha256(path: str) -> str:
    """What `read` says of the file's bytes, without looking into them."""
    try:
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _decode(content: bytes) -> str:
    if b"\0" in content:
        raise UnicodeError("a zero byte: not a text")
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


Definition = ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(parent: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, Definition):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _definitions(node, prefix)


def _documented(name: str, node: Definition, lines: list[str]) -> Function | None:
    docstring = ast.get_docstring(node)
    if docstring is None or _trivial(node.body[1:]):
        return None
    query = first_paragraph(docstring)
    if sum(any(letter.isalpha() for letter in word) for word in query.split()) < 3:
        return None
    return Function(name, query, _without_docstring(node, lines))


def first_paragraph(docstring: str) -> str:
    """Up to the first blank line, white space made single spaces.

    >>> first_paragraph("Add two\\n  numbers.\\n\\nSlowly.")
    'Add two numbers.'
    """
    paragraph = re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0]
    return " ".join(paragraph.split()).encode("utf-8", "replace").decode()  # an escape can spell half a surrogate pair


def _trivial(body: list[ast.stmt]) -> bool:
    """Nothing, `pass`, `...` or another constant, `raise NotImplementedError`: nothing that a query could ask for."""
    match body:
        case [] | [ast.Pass()] | [ast.Expr(value=ast.Constant())]:
            return True
        case [ast.Raise(exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError")))]:
            return True
    return False


def _without_docstring(node: Definition, lines: list[str]) -> str:
    docstring = node.body[0]
    assert docstring.end_lineno is not None  # set by every parse
    # Columns count the bytes of UTF-8, not letters.
    before = lines[docstring.lineno - 1].encode()[: docstring.col_offset].decode()
    after = lines[docstring.end_lineno - 1].encode()[docstring.end_col_offset :].decode().lstrip(" \t;")
    rest = lines[docstring.end_lineno : node.end_lineno]
    if after.startswith("#") or not after:  # the docstring had its lines to itself
        while rest and not rest[0].strip():
            rest = rest[1:]
        between = [before] if before.strip() else []
    else:
        between = [before + after]
    kept = lines[node.lineno - 1 : docstring.lineno - 1] + between + rest
    indent = lines[node.lineno - 1].encode()[: node.col_offset].decode()
    return "\n".join(line.removeprefix(indent).rstrip() for line in kept)


if __name__ == "__main__":
    gc.disable()  # syntax trees hold no cycles, and looking for some takes two fifths of the time to parse
    with contextlib.redirect_stdout(sys.stderr):
        found = [read(path) for path in json.load(sys.stdin)]
    json.dump(found, sys.stdout)
