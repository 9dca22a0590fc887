"""Remake tests/golden/folders: tiny random models with every kind of module, and the vectors the reference gives.

Needs torch, transformers and sentence-transformers 6 (the extra `parity`); run from the repository's root:

    python tools/golden_folders.py

Writes, under tests/golden/folders/<name>: the folder as sentence-transformers saves it (`pylate` as PyLate does), and
beside each <name>.npz with texts and vectors, by what was asked for.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent.parent / "tests" / "golden" / "folders"
TEXTS = ["a b c", "d", "e f g h i j k l m n o p q r s t a b c", "b , c . c", "", "a unknown . b"]


def tokenizer() -> PreTrainedTokenizerFast:
    """Letters are words, and so is some punctuation; [unused0] and [unused1] are tokens, but not marked as such."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {
        token: i for i, token in enumerate([*special, "[unused0]", "[unused1]", ".", ",", *"abcdefghijklmnopqrst"])
    }
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", model_max_length=16, **names)


def randomised(module: nn.Module) -> nn.Module:
    """Every weight random, biases and norms too, so that none can be forgotten unseen."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return module.eval()


def body(parts: Path, **settings: object) -> Transformer:
    """A BERT of one layer."""
    config = BertConfig(
        vocab_size=29,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
    )
    tokenizer().save_pretrained(parts)
    randomised(BertModel(config)).save_pretrained(parts)
    return Transformer(str(parts), **settings)


def dense(parts: Path) -> None:
    """Two projections and a norm, as EmbeddingGemma has them."""
    whole = SentenceTransformer(
        modules=[
            body(parts),
            Pooling(8, pooling_mode="mean"),
            randomised(Dense(8, 12, activation_function=nn.Tanh())),
            randomised(Dense(12, 6, bias=False, activation_function=nn.Identity())),
            Normalize(),
        ],
        device="cpu",
    )
    keep("dense", whole, plain=whole.encode(TEXTS))


def joined(parts: Path) -> None:
    """Every module in an odd order, two poolings, prompts that are not pooled, and one of them by default."""
    whole = SentenceTransformer(
        modules=[
            body(parts),
            Pooling(8, pooling_mode=("weightedmean", "cls"), include_prompt=False),
            randomised(LayerNorm(16)),
            Normalize(),
            randomised(Dense(16, 5, activation_function=nn.GELU(), use_residual=True)),
        ],
        prompts={"query": "a b ", "task": "q r s "},
        default_prompt_name="task",
        similarity_fn_name="dot",
        device="cpu",
    )
    keep(
        "joined",
        whole,
        plain=whole.encode(TEXTS),
        query=whole.encode_query(TEXTS),
        document=whole.encode_document(TEXTS),
        prefix=whole.encode(TEXTS, prompt="c "),
        nothing=whole.encode(TEXTS, prompt=""),
    )


def late(parts: Path) -> None:
    """A vector for every token, by both libraries' files."""
    settings = {"document_length": 11, "query_expansion": {"strategy": "fixed", "attend": False, "length": 9}}
    whole = MultiVectorEncoder(
        modules=[
            body(parts, **settings),
            randomised(
                Dense(8, 6, bias=False, activation_function=nn.Identity(), module_input_name="token_embeddings")
            ),
            MultiVectorMask(skiplist_words=[".", ",", "absent"]),
            Normalize(module_input_name="token_embeddings"),
        ],
        prompts={"query": "q ", "document": "d "},
        device="cpu",
    )
    keep("late", whole, **sides(whole))
    pylate(HERE / "late", HERE / "pylate")
    there = MultiVectorEncoder(str(HERE / "pylate"), device="cpu")
    np.savez(HERE / "pylate.npz", allow_pickle=False, texts=np.array(TEXTS), **sides(there))


def sides(whole: MultiVectorEncoder) -> dict[str, np.ndarray]:
    """The vectors of both sides, all texts' one after the other, and how many each has; scores of all pairs."""
    query, document = whole.encode_query(TEXTS), whole.encode_document(TEXTS)
    return {
        "query": torch.cat(query).numpy(),
        "document": torch.cat(document).numpy(),
        "query_counts": np.array([len(one) for one in query]),
        "document_counts": np.array([len(one) for one in document]),
        "scores": whole.similarity(query, document).numpy(),
    }


def pylate(made: Path, folder: Path) -> None:
    """The same weights with PyLate's settings: its modules are two, the rest stands in one file."""
    shutil.copytree(made, folder)
    for name in ("2_MultiVectorMask", "3_Normalize"):
        shutil.rmtree(folder / name)
    types = ("sentence_transformers.models.Transformer.Transformer", "pylate.models.Dense.Dense")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": kind}
        for i, (path, kind) in enumerate(zip(("", "1_Dense"), types, strict=True))
    ]
    projection = {
        "in_features": 8,
        "out_features": 6,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
        "use_residual": False,
    }
    use = {
        "__version__": {"sentence_transformers": "4.0.2"},
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "query_prefix": "[unused0]",
        "document_prefix": "[unused1]",
        "query_length": 8,
        "document_length": 10,
        "attend_to_expansion_tokens": True,
        "skiplist_words": [".", "!"],
        "do_query_expansion": True,
        "model_type": "ColBERT",
    }
    for name, content in (
        ("modules.json", modules),
        ("1_Dense/config.json", projection),
        ("sentence_bert_config.json", {"max_seq_length": 15, "do_lower_case": False}),
        ("config_sentence_transformers.json", use),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def keep(name: str, whole: SentenceTransformer | MultiVectorEncoder, **values: np.ndarray) -> None:
    """Save a model and what it computes."""
    whole.save_pretrained(str(HERE / name), create_model_card=False)
    np.savez(HERE / f"{name}.npz", allow_pickle=False, texts=np.array(TEXTS), **values)


def main() -> None:
    """Make all models."""
    shutil.rmtree(HERE, ignore_errors=True)
    for make in (dense, joined, late):
        torch.manual_seed(0)
        make(HERE / "parts")
        shutil.rmtree(HERE / "parts")


if __name__ == "__main__":
    main()
