"""Losses here and in sentence-transformers on the same vectors: value and gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sentence_transformers import util
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from jaxemb import losses

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]


def drawn(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)


@pytest.mark.parametrize("extra", [0, 8])
def test_info_nce_is_multiple_negatives_ranking(extra):
    query, document = drawn(8, 0), drawn(8 + extra, 1)
    reference = MultipleNegativesRankingLoss(torch.nn.Identity(), scale=20.0, similarity_fct=util.cos_sim)
    q, *parts = (torch.tensor(x, requires_grad=True) for x in (query, document[:8], document[8:]) if len(x))
    wanted = reference.compute_loss_from_embeddings([q, *parts], labels=None)
    wanted.backward()
    loss = partial(losses.info_nce, temperature=1 / 20)
    value, gradient = jax.value_and_grad(lambda a, b: loss(a, b).mean(), argnums=(0, 1))(
        jnp.asarray(query), jnp.asarray(document)
    )
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient[0], q.grad, atol=1e-6)
    np.testing.assert_allclose(gradient[1], np.concatenate([part.grad for part in parts]), atol=1e-6)


def test_score_distillation_is_the_divergence_of_torch():
    query, document, teacher = drawn(8, 0), drawn(12, 1), np.random.default_rng(2).normal(size=(8, 12))
    q, d = (torch.tensor(x, requires_grad=True) for x in (query, document))
    student = torch.log_softmax(util.cos_sim(q, d) / 0.1, dim=-1)
    target = torch.log_softmax(torch.tensor(teacher, dtype=torch.float32) / 0.1, dim=-1)
    wanted = torch.nn.functional.kl_div(student, target, reduction="batchmean", log_target=True)
    wanted.backward()
    scores = jnp.asarray(teacher, jnp.float32)
    value, gradient = jax.value_and_grad(
        lambda a: losses.score_distillation(a, jnp.asarray(document), teacher=scores, temperature=0.1).mean()
    )(jnp.asarray(query))
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, q.grad, atol=1e-5)


def test_embedding_distillation_is_the_cosine_embedding_loss_of_torch():
    student, teacher = drawn(8, 0), drawn(8, 1)
    s = torch.tensor(student, requires_grad=True)
    wanted = torch.nn.functional.cosine_embedding_loss(s, torch.tensor(teacher), torch.ones(8))
    wanted.backward()
    value, gradient = jax.value_and_grad(lambda a: losses.embedding_distillation(a, jnp.asarray(teacher)).mean())(
        jnp.asarray(student)
    )
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, s.grad, atol=1e-6)
