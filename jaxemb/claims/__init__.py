"""The central claims of papers, each measured against its baselines in one run: `jaxemb claim NAME`.

A module of this folder is one claim: it takes the recipe of the same name, real data, and the baselines that its paper
names, and leaves records. What has to hold stands beside it as margins, which come from the method and not
from the run; what was chosen after a look at data stands beside them, too.
"""

from jaxemb.claims.book import CLAIMS, claim
from jaxemb.claims.claim import FEWEST_SEEDS, Claim, Finding, Margin, Where, judged, over_seeds
from jaxemb.claims.report import page, planned, table, told, took
from jaxemb.claims.rows import measured

__all__ = [
    "CLAIMS",
    "FEWEST_SEEDS",
    "Claim",
    "Finding",
    "Margin",
    "Where",
    "claim",
    "judged",
    "measured",
    "over_seeds",
    "page",
    "planned",
    "table",
    "told",
    "took",
]
