"""Hard negatives: documents that a search finds for a query, and that do not answer it."""

from jaxemb.data.negatives.candidates import Search, hybrid
from jaxemb.data.negatives.mine import Teacher, mine
from jaxemb.data.negatives.report import Mined
from jaxemb.data.negatives.rules import Pick, Rule, absolute_margin, at_most, relative_margin, top, uniform
from jaxemb.data.negatives.tfidf import tfidf

__all__ = [
    "Mined",
    "Pick",
    "Rule",
    "Search",
    "Teacher",
    "absolute_margin",
    "at_most",
    "hybrid",
    "mine",
    "relative_margin",
    "tfidf",
    "top",
    "uniform",
]
