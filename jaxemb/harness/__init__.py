"""One system on one task to records, and records to a leaderboard.

`measure` takes a system (a function from queries to hits, and what it costs to
keep) and gives records; `record` keeps them as JSON lines; `leaderboard` makes
the table, the plots and the page from the records alone.  `of_index` and
`bm25`, the row that every table has, make systems.
"""

from jaxemb.harness import bm25, leaderboard, machine, record
from jaxemb.harness.measure import Encoded, Settings, System, Timing, encode_queries, measure, time_queries
from jaxemb.harness.record import Record
from jaxemb.harness.suite import Embedded, Variant, embed, row, suite
from jaxemb.harness.summary import Board, summarise
from jaxemb.harness.systems import of_index
from jaxemb.harness.tables import terminal

__all__ = [
    "Board",
    "Embedded",
    "Encoded",
    "Record",
    "Settings",
    "System",
    "Timing",
    "Variant",
    "bm25",
    "embed",
    "encode_queries",
    "leaderboard",
    "machine",
    "measure",
    "of_index",
    "record",
    "row",
    "suite",
    "summarise",
    "terminal",
    "time_queries",
]
