"""Texts to vectors: a tokenizer, an encoder and its params that belong together, in a sentence-transformers folder.

The folder is the exchange format: what is written here the sentence-transformers library loads and embeds alike, and
what it writes, in either generation of its files, is read here.
"""

from jaxemb.model.concepts import Concepts, Reason, contributions, explain, load_concepts, save_concepts, used_concepts
from jaxemb.model.corpus import corpus_shapes, encode_corpus
from jaxemb.model.corpus_folder import Corpus, open_corpus
from jaxemb.model.cross import CrossModel, CrossSpec, Ranking, logits, make_cross, rank, score
from jaxemb.model.cross_folder import load_cross, save_cross
from jaxemb.model.encoding import ROWS, TOKENS, Batch, Machine, Plan, encode, fixed, machine, plan, reader
from jaxemb.model.folder import demo_folder, load, save
from jaxemb.model.gguf import load as load_gguf
from jaxemb.model.image_folder import load_images, load_text_images, save_images, save_text_images
from jaxemb.model.images import (
    IMAGES,
    ImageModel,
    ImageSpec,
    TextImage,
    build_images,
    encode_images,
    images_in_precision,
    make_images,
)
from jaxemb.model.kept import kept_vectors
from jaxemb.model.late import Expansion, LateModel, LateSpec, TokenVectors, encode_late, make_late, stacked
from jaxemb.model.late_folder import load_late, save_late
from jaxemb.model.masked import MaskedModel, fill, load_masked, make_masked, save_masked
from jaxemb.model.mteb import MtebEncoder
from jaxemb.model.onnx import load_onnx, load_onnx_cross
from jaxemb.model.spec import (
    Model,
    Spec,
    build,
    combined,
    fingerprint,
    in_precision,
    make,
    searchable,
    shortened,
)
from jaxemb.model.warm import cache_folder, cached, warm_up
from jaxemb.model.words import word_table, word_vectors

__all__ = [
    "IMAGES",
    "ROWS",
    "TOKENS",
    "Batch",
    "Concepts",
    "Corpus",
    "CrossModel",
    "CrossSpec",
    "Expansion",
    "ImageModel",
    "ImageSpec",
    "LateModel",
    "LateSpec",
    "Machine",
    "MaskedModel",
    "Model",
    "MtebEncoder",
    "Plan",
    "Ranking",
    "Reason",
    "Spec",
    "TextImage",
    "TokenVectors",
    "build",
    "build_images",
    "cache_folder",
    "cached",
    "combined",
    "contributions",
    "corpus_shapes",
    "demo_folder",
    "encode",
    "encode_corpus",
    "encode_images",
    "encode_late",
    "explain",
    "fill",
    "fingerprint",
    "fixed",
    "images_in_precision",
    "in_precision",
    "kept_vectors",
    "load",
    "load_concepts",
    "load_cross",
    "load_gguf",
    "load_images",
    "load_late",
    "load_masked",
    "load_onnx",
    "load_onnx_cross",
    "load_text_images",
    "logits",
    "machine",
    "make",
    "make_cross",
    "make_images",
    "make_late",
    "make_masked",
    "open_corpus",
    "plan",
    "rank",
    "reader",
    "save",
    "save_concepts",
    "save_cross",
    "save_images",
    "save_late",
    "save_masked",
    "save_text_images",
    "score",
    "searchable",
    "shortened",
    "stacked",
    "used_concepts",
    "warm_up",
    "word_table",
    "word_vectors",
]
