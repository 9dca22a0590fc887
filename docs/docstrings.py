"""Our docstrings as Markdown, for mkdocstrings: sections begin in one line, and fields are `name: meaning`."""

import re
from collections.abc import Iterator

import griffe

FIELD = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): +(.*)")
SECTION = re.compile(r"(Returns|Raises|Source|Sources|Differences): *(.*)")


def _pieces(text: str) -> Iterator[str]:
    begins, coded = True, False  # a paragraph; an example
    for line in text.splitlines():
        bare = line.strip()
        if coded and not bare:
            yield "```\n"
            coded = False
        if coded or (bare and begins and line.startswith("    ")):
            yield line
            continue
        if line.startswith(">>> "):
            yield f"\n```python\n{line}"
            coded = True
        elif line == "Args:":
            yield "\n**Args**\n"
        elif section := SECTION.fullmatch(line):
            yield f"\n**{section[1]}** {section[2]}"
        elif (begins or line.startswith("  ")) and (field := FIELD.fullmatch(bare)) and not line.startswith("   "):
            yield f"\n- `{field[1]}`: {field[2]}"
        elif not begins and (field := FIELD.fullmatch(line)):
            yield f"- `{field[1]}`: {field[2]}"
        elif begins and bare:
            yield line
        else:
            yield f"  {bare}" if line.startswith("  ") else line
        begins = not bare or line == "Args:" or (begins and FIELD.fullmatch(bare) is not None)
    if coded:
        yield "```"


def markdown(text: str) -> str:
    """One docstring."""
    return "\n".join(_pieces(text))


class Markdown(griffe.Extension):
    """Turns every docstring of a package, once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Called by griffe."""
        self._turn(pkg)

    def _turn(self, one: griffe.Object) -> None:
        if one.docstring is not None:
            one.docstring.value = markdown(one.docstring.value)
        for member in one.members.values():
            if not member.is_alias:
                self._turn(member)
