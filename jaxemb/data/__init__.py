"""Text on its way to an encoder: tasks to measure on, pairs to train on, and the stream of batches between."""

from jaxemb.data import negatives, preprocessing, python_code, word_similarity
from jaxemb.data.beir import read_beir
from jaxemb.data.characters import byte_tokenizer, character_tokenizer
from jaxemb.data.images import pixels
from jaxemb.data.mixture import Mixture, mixture, tempered
from jaxemb.data.near_duplicates import first_copies
from jaxemb.data.pairs import Pair, Pairs, document_keys, read_pairs
from jaxemb.data.preprocessing import Preprocessing
from jaxemb.data.streams import Stream, stream
from jaxemb.data.task import Task, cap
from jaxemb.data.texts import Documents, read_texts, stream_texts
from jaxemb.data.tokenize import Tokenizer, grouped

__all__ = [
    "Documents",
    "Mixture",
    "Pair",
    "Pairs",
    "Preprocessing",
    "Stream",
    "Task",
    "Tokenizer",
    "byte_tokenizer",
    "cap",
    "character_tokenizer",
    "document_keys",
    "first_copies",
    "grouped",
    "mixture",
    "negatives",
    "pixels",
    "preprocessing",
    "python_code",
    "read_beir",
    "read_pairs",
    "read_texts",
    "stream",
    "stream_texts",
    "tempered",
    "word_similarity",
]
