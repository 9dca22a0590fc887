"""The subcommands of `jaxemb`: each a frozen dataclass of settings, and `run`, a thin door to library functions.

Everything that loads JAX is imported where it is used: `jaxemb --help` answers at once.
"""

from jaxemb.commands.adapt import Adapt
from jaxemb.commands.claim import Claim
from jaxemb.commands.command import ClaimError, Command, show
from jaxemb.commands.encode import Encode, WarmUp
from jaxemb.commands.measure import Bench, Leaderboard
from jaxemb.commands.merge import Merge
from jaxemb.commands.search import Compress, Index, Search
from jaxemb.commands.train import Train
from jaxemb.commands.tune import Tune

__all__ = [
    "Adapt",
    "Bench",
    "Claim",
    "ClaimError",
    "Command",
    "Compress",
    "Encode",
    "Index",
    "Leaderboard",
    "Merge",
    "Search",
    "Train",
    "Tune",
    "WarmUp",
    "show",
]
