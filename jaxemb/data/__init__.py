"""Text on its way to an encoder: tasks to measure on, pairs to train on, and the stream of batches between."""

from jaxemb.data import python_code
from jaxemb.data.beir import read_beir
from jaxemb.data.near_duplicates import first_copies
from jaxemb.data.pairs import Pair, Pairs, read_pairs
from jaxemb.data.streams import Stream, stream
from jaxemb.data.task import Task, cap
from jaxemb.data.texts import Documents, read_texts
from jaxemb.data.tokenize import Tokenizer

__all__ = [
    "Documents",
    "Pair",
    "Pairs",
    "Stream",
    "Task",
    "Tokenizer",
    "cap",
    "first_copies",
    "python_code",
    "read_beir",
    "read_pairs",
    "read_texts",
    "stream",
]
