"""Tokens to vectors: encoders as pure `(init, apply)` pairs, each with the map of its keys to foreign checkpoints."""

from jaxemb.encode import image
from jaxemb.encode.concepts import activation, concept_logits, strongest, weighed, weighted_dot, with_shares
from jaxemb.encode.entries import entry_matrix, entry_means
from jaxemb.encode.exits import Exit, depth, exits, first_layers, prefix, shortened, sized
from jaxemb.encode.families import FAMILIES
from jaxemb.encode.families import by_name as family_named
from jaxemb.encode.families import of as family_of
from jaxemb.encode.family import Family
from jaxemb.encode.functional import functional
from jaxemb.encode.lexical import Sparse, hashed, largest, sparse_dot
from jaxemb.encode.pair_head import PairHead, both_ways, dot_head, feature_head
from jaxemb.encode.pool import (
    POOLINGS,
    Pooling,
    cls,
    joined,
    last,
    maximum,
    mean,
    mean_sqrt_length,
    normalized,
    pooled,
    weighted_mean,
)
from jaxemb.encode.project import DenseConfig, LayerNormConfig, Module, NormalizeConfig, followed
from jaxemb.encode.small.attentive import (
    apart,
    by_place,
    feature_attention,
    feature_weights,
    gated_mean,
    hop_penalty,
    hops,
    self_attentive,
)
from jaxemb.encode.small.convolution import convolution, scales, windows
from jaxemb.encode.small.depth import averaged, mixed, side_by_side, without_first
from jaxemb.encode.small.explicit import concept_table
from jaxemb.encode.small.extended import Layer, extended, positions
from jaxemb.encode.small.learnt import LearntPooling, pooled_by
from jaxemb.encode.small.ngrams import Grams, KnownGrams, count_ngrams, hashed_ngrams, known_ngrams
from jaxemb.encode.small.recurrent import ends, gru, lstm
from jaxemb.encode.small.residual import residual
from jaxemb.encode.small.static import StaticConfig, folded, from_table, plain, static
from jaxemb.encode.small.transformer import self_attention
from jaxemb.encode.small.words import distinct, reading, total, without, words
from jaxemb.encode.stack import Stack, stack
from jaxemb.encode.text.bert import BertConfig, bert
from jaxemb.encode.text.decoder import next_token
from jaxemb.encode.text.distilbert import DistilBertConfig, distilbert
from jaxemb.encode.text.enhanced import EnhancedDecoder, enhanced_decoder
from jaxemb.encode.text.gemma3 import Gemma3Config, gemma3
from jaxemb.encode.text.gpt2 import GPT2Config, gpt2
from jaxemb.encode.text.head_names import classifier_keys, masked_lm_keys, read_classifier, read_word_scorer
from jaxemb.encode.text.heads import Classifier, Headed, WordScorer, classified, masked_lm, word_head
from jaxemb.encode.text.llama import LlamaConfig, llama
from jaxemb.encode.text.modernbert import ModernBertConfig, modernbert
from jaxemb.encode.text.mpnet import MPNetConfig, mpnet
from jaxemb.encode.text.nomic_bert import NomicBertConfig, nomic_bert
from jaxemb.encode.text.roberta import RobertaConfig, roberta
from jaxemb.encode.text.rope import Rope

__all__ = [
    "FAMILIES",
    "POOLINGS",
    "BertConfig",
    "Classifier",
    "DenseConfig",
    "DistilBertConfig",
    "EnhancedDecoder",
    "Exit",
    "Family",
    "GPT2Config",
    "Gemma3Config",
    "Grams",
    "Headed",
    "KnownGrams",
    "Layer",
    "LayerNormConfig",
    "LearntPooling",
    "LlamaConfig",
    "MPNetConfig",
    "ModernBertConfig",
    "Module",
    "NomicBertConfig",
    "NormalizeConfig",
    "PairHead",
    "Pooling",
    "RobertaConfig",
    "Rope",
    "Sparse",
    "Stack",
    "StaticConfig",
    "WordScorer",
    "activation",
    "apart",
    "averaged",
    "bert",
    "both_ways",
    "by_place",
    "classified",
    "classifier_keys",
    "cls",
    "concept_logits",
    "concept_table",
    "convolution",
    "count_ngrams",
    "depth",
    "distilbert",
    "distinct",
    "dot_head",
    "ends",
    "enhanced_decoder",
    "entry_matrix",
    "entry_means",
    "exits",
    "extended",
    "family_named",
    "family_of",
    "feature_attention",
    "feature_head",
    "feature_weights",
    "first_layers",
    "folded",
    "followed",
    "from_table",
    "functional",
    "gated_mean",
    "gemma3",
    "gpt2",
    "gru",
    "hashed",
    "hashed_ngrams",
    "hop_penalty",
    "hops",
    "image",
    "joined",
    "known_ngrams",
    "largest",
    "last",
    "llama",
    "lstm",
    "masked_lm",
    "masked_lm_keys",
    "maximum",
    "mean",
    "mean_sqrt_length",
    "mixed",
    "modernbert",
    "mpnet",
    "next_token",
    "nomic_bert",
    "normalized",
    "plain",
    "pooled",
    "pooled_by",
    "positions",
    "prefix",
    "read_classifier",
    "read_word_scorer",
    "reading",
    "residual",
    "roberta",
    "scales",
    "self_attention",
    "self_attentive",
    "shortened",
    "side_by_side",
    "sized",
    "sparse_dot",
    "stack",
    "static",
    "strongest",
    "total",
    "weighed",
    "weighted_dot",
    "weighted_mean",
    "windows",
    "with_shares",
    "without",
    "without_first",
    "word_head",
    "words",
]
