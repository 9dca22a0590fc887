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
from jaxemb.data.definitions import Definitions, dictionary, of_synsets, single_words, telling, word_ids
from jaxemb.data.filtering import above_quantile, check_negatives
from jaxemb.data.images import pixels
from jaxemb.data.instructed import ended, instruct, instructed, shots
from jaxemb.data.listed import Listed, check_listed, listed, of_labels
from jaxemb.data.mixture import Mixture, mixture, tempered
from jaxemb.data.near_duplicates import first_copies
from jaxemb.data.pairs import Pair, Pairs, document_keys, documents_of, read_pairs
from jaxemb.data.preprocessing import Preprocessing
from jaxemb.data.prompted import prompted
from jaxemb.data.remembered import Remembered
from jaxemb.data.streams import Stream, stream
from jaxemb.data.task import Task, cap
from jaxemb.data.texts import Documents, read_texts, stream_texts
from jaxemb.data.together import together
from jaxemb.data.tokenize import Tokenizer, grouped
from jaxemb.data.words import word_tokenizer

__all__ = [
    "Definitions",
    "Documents",
    "Listed",
    "Mixture",
    "Pair",
    "Pairs",
    "Preprocessing",
    "Remembered",
    "Stream",
    "Task",
    "Tokenizer",
    "above_quantile",
    "analogies",
    "apt",
    "byte_tokenizer",
    "cap",
    "character_tokenizer",
    "check_listed",
    "check_negatives",
    "debian",
    "dictionary",
    "document_keys",
    "documents_of",
    "ended",
    "first_copies",
    "grouped",
    "instruct",
    "instructed",
    "judged",
    "listed",
    "mixture",
    "negatives",
    "of_labels",
    "of_synsets",
    "pixels",
    "preprocessing",
    "prompted",
    "python_code",
    "read_beir",
    "read_pairs",
    "read_texts",
    "sentence_similarity",
    "shots",
    "single_words",
    "stream",
    "stream_texts",
    "telling",
    "tempered",
    "together",
    "word_ids",
    "word_similarity",
    "word_tokenizer",
    "wordnet",
]
