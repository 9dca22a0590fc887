"""The command `jaxemb`: which subcommand is meant, and how it ends.

Exit codes: 0 done, 1 a claim or check did not hold, 2 bad input, 130 stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence

import tyro
from rich.console import Console

from jaxemb import commands

COMMANDS: dict[str, type[commands.Command]] = {
    "train": commands.Train,
    "encode": commands.Encode,
    "warm-up": commands.WarmUp,
    "merge": commands.Merge,
    "adapt": commands.Adapt,
    "compress": commands.Compress,
    "index": commands.Index,
    "search": commands.Search,
    "bench": commands.Bench,
    "leaderboard": commands.Leaderboard,
    "claim": commands.Claim,
    "tune": commands.Tune,
}

AGAIN = {
    "quickstart": "run it again: what is there is used",
    "train": "run it again: it goes on from its last checkpoint",
    "encode": "run it again: a folder of shards goes on where it was",
    "tune": "run it again: vectors that are finished are used",
}
"""What becomes of a command that is stopped, where something does."""


def _quickstart(arguments: Sequence[str]) -> None:
    from jaxemb.quickstart import Config, quickstart

    quickstart(tyro.cli(Config, args=arguments, prog="jaxemb quickstart", description=quickstart.__doc__))


def _usage() -> str:
    told = {"quickstart": "The main job: from the code on this machine to a leaderboard and a bundle."}
    told |= {name: (command.__doc__ or "").splitlines()[0] for name, command in COMMANDS.items()}
    lines = [f"  {name:12} {text}" for name, text in told.items()]
    return "\n".join(["usage: jaxemb COMMAND ...", "", *lines, "", "jaxemb COMMAND --help tells the settings of one."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = (given[0], given[1:]) if given else ("", [])
    if name in {"", "-h", "--help"}:
        commands.show(_usage())
        return 0 if name else 2
    if name == "--version":
        from jaxemb import __version__

        commands.show(f"jaxemb {__version__}")
        return 0
    complain = Console(stderr=True).print
    if name != "quickstart" and name not in COMMANDS:
        complain(
            f"jaxemb: no command {name!r}; there are quickstart, {', '.join(COMMANDS)}", highlight=False, markup=False
        )
        return 2
    try:
        if name == "quickstart":
            _quickstart(rest)
        else:
            tyro.cli(COMMANDS[name], args=rest, prog=f"jaxemb {name}").run()
    except commands.ClaimError as error:
        complain(f"jaxemb {name}: {error}", highlight=False, markup=False, soft_wrap=True)
        return 1
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        complain(f"jaxemb {name}: {error}", highlight=False, markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        told = f"stopped; {AGAIN[name]}" if name in AGAIN else "stopped"
        complain(f"jaxemb {name}: {told}", highlight=False, markup=False, soft_wrap=True)
        return 130
    return 0
