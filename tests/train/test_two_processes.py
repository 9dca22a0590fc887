"""Two real processes joined by `jax.distributed` give what one gives."""

import json
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from killable import batch, source

from jaxemb import data, encode, losses, train

pytestmark = pytest.mark.slow

B, D = 8, 4


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> dict:
    """What rank 0 of two processes wrote."""
    out = tmp_path_factory.mktemp("two") / "values.json"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).with_name("two_processes.py")
    both = [
        subprocess.Popen(
            [sys.executable, str(program), str(rank), str(port), str(out)], stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    ended = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(ended)[-4000:]
    return json.loads(out.read_text())


def inputs():
    draw = np.random.default_rng(11)
    query, document, teacher = (draw.normal(size=size).astype(np.float32) for size in ((B, D), (B, D), (B, B)))
    return jnp.asarray(query), jnp.asarray(document), {"teacher": teacher, "ignore": draw.random((B, B)) < 0.3}


@pytest.mark.parametrize("way", ["shard_map", "auto", "explicit"])
@pytest.mark.parametrize(
    ("name", "loss", "names"),
    [
        ("info_nce", losses.info_nce, ()),
        ("info_nce masked", losses.info_nce, ("ignore",)),
        ("embedding_distillation", losses.embedding_distillation, ()),
        ("score_distillation", losses.score_distillation, ("teacher",)),
        ("matryoshka", losses.matryoshka(losses.info_nce, (2, 4)), ()),
    ],
)
def test_losses_of_two_processes_equal_one(together, name, loss, names, way):
    query, document, extra = inputs()
    kwargs = {key: jnp.asarray(extra[key]) for key in names}
    value, gradients = jax.value_and_grad(lambda q, d: loss(q, d, **kwargs).mean(), argnums=(0, 1))(query, document)
    got, *got_gradients = together[f"{name} {way}"]
    np.testing.assert_allclose(got, value, rtol=1e-5)
    for ours, theirs in zip(got_gradients, gradients, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-5, atol=1e-6)


def test_a_run_of_two_processes_has_the_losses_of_one(together):
    """One process reads the two shards' batches side by side, in the order of the ranks."""
    encoder = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))
    shards = [data.stream(source(), batch_size=8, seed=3, make=batch, shard_index=i, shard_count=2) for i in (0, 1)]

    class Both:
        def __next__(self):
            return jax.tree.map(lambda *parts: np.concatenate(parts), *(next(shard) for shard in shards))

        def get_state(self):
            return {}

        def set_state(self, state):
            raise NotImplementedError

    told = []
    train.fit(
        train.pairwise(encoder, partial(losses.info_nce, temperature=0.1)),
        optax.adamw(0.05),
        Both(),
        encoder.init(jax.random.key(0)),
        steps=4,
        mesh=train.data_mesh(1),
        watch=lambda step: told.append(step.loss),
        what=None,
    )
    np.testing.assert_allclose(together["fit"], told, rtol=1e-5)


def test_two_processes_resume_where_they_stopped(together):
    assert together["resumed"] == together["fit"]


def test_params_shared_between_processes_give_the_same_losses_and_resume(together):
    np.testing.assert_allclose(together["sharded"], together["fit"], rtol=1e-5)


def test_rows_that_would_shift_those_of_another_process_are_refused(together):
    assert "all entries need the same rows" in together["negatives"]
    assert "'document.ids': 16" in together["negatives"]
