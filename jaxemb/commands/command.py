"""What every subcommand is."""

from typing import Any, Protocol

from rich.console import Console


class Command(Protocol):
    """A subcommand: its settings, and what it does."""

    def run(self) -> None:
        """Do it."""
        ...


class ClaimError(Exception):
    """A claim was measured, and what it says was not seen."""


def show(text: Any) -> None:
    """Results go to standard output; progress to standard error."""
    Console().print(text, highlight=False, markup=False, soft_wrap=True)
