"""Text on its way to an encoder: tasks to measure on, pairs to train on, and the stream of batches between."""

from jaxemb.data import (
    analogies,
    apt,
    debian,
    judged,
    negatives,
    preprocessing,
    python_code,
    sentence_similarity,
    word_similarity,
    wordnet,
)
from jaxemb.data.beir import read_beir
from jaxemb.data.characters import byte_tokenizer, character_tokenizer
from jaxemb.data.images import pixels
from jaxemb.data.mixture import Mixture, mixture, tempered
from jaxemb.data.near_duplicates import first_copies
from jaxemb.data.pairs import Pair, Pairs, document_keys, documents_of, read_pairs
from jaxemb.data.preprocessing import Preprocessing
from jaxemb.data.streams import Stream, stream
from jaxemb.data.task import Task, cap
from jaxemb.data.texts import Documents, read_texts, stream_texts
from jaxemb.data.together import together
from jaxemb.data.tokenize import Tokenizer, grouped
from jaxemb.data.words import word_tokenizer

__all__ = [
    "Documents",
    "Mixture",
    "Pair",
    "Pairs",
    "Preprocessing",
    "Stream",
    "Task",
    "Tokenizer",
    "analogies",
    "apt",
    "byte_tokenizer",
    "cap",
    "character_tokenizer",
    "debian",
    "document_keys",
    "documents_of",
    "first_copies",
    "grouped",
    "judged",
    "mixture",
    "negatives",
    "pixels",
    "preprocessing",
    "python_code",
    "read_beir",
    "read_pairs",
    "read_texts",
    "sentence_similarity",
    "stream",
    "stream_texts",
    "tempered",
    "together",
    "word_similarity",
    "word_tokenizer",
    "wordnet",
]
