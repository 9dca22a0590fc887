"""One system on one task to records, and records to a leaderboard.

`measure` takes a system (a function from queries to hits, and what it costs to
keep) and gives records; `record` keeps them as JSON lines; `leaderboard` makes
the table, the plots and the page from the records alone.  `of_index` and
`bm25`, the row that every table has, make systems.
"""

from jaxemb.harness import bm25, leaderboard, machine, record
from jaxemb.harness.explained import explain
from jaxemb.harness.geometry import pareto
from jaxemb.harness.job import Swept
from jaxemb.harness.measure import Encoded, Settings, System, Timing, encode_queries, measure, time_queries
from jaxemb.harness.pipeline import Pipeline, codes, rescored, space
from jaxemb.harness.record import Record
from jaxemb.harness.suite import Embedded, Variant, embed, row, suite
from jaxemb.harness.summary import Board, summarise
from jaxemb.harness.sweep import sweep, write_fronts
from jaxemb.harness.systems import of_index
from jaxemb.harness.tables import terminal
from jaxemb.harness.tune import Tuned, Unmet, Wanted, tune
from jaxemb.harness.vectors import Vectors, held_out, load_vectors, sample, save_vectors, vectors_of

__all__ = [
    "Board",
    "Embedded",
    "Encoded",
    "Pipeline",
    "Record",
    "Settings",
    "Swept",
    "System",
    "Timing",
    "Tuned",
    "Unmet",
    "Variant",
    "Vectors",
    "Wanted",
    "bm25",
    "codes",
    "embed",
    "encode_queries",
    "explain",
    "held_out",
    "leaderboard",
    "load_vectors",
    "machine",
    "measure",
    "of_index",
    "pareto",
    "record",
    "rescored",
    "row",
    "sample",
    "save_vectors",
    "space",
    "suite",
    "summarise",
    "sweep",
    "terminal",
    "time_queries",
    "tune",
    "vectors_of",
    "write_fronts",
]
