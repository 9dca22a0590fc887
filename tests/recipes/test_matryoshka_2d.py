"""The recipe on toy pairs: every mode learns, at every exit, and refuses what its encoder does not have."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxemb import data, encode, model, train
from jaxemb.harness import exit_grid
from jaxemb.harness.record import Record
from jaxemb.recipes import matryoshka_2d
from jaxemb.recipes.matryoshka_2d import Config
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")

BACKBONE = encode.bert(
    encode.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=2, type_vocab_size=0, initializer_range=0.3,
    )
)  # fmt: skip
TOY = {"sizes": (4, 8), "size": 4, "pairs": ((1, 4), (2, 8)), "steps": 80, "learning_rate": 0.02, "temperature": 0.2}


def make(rows):
    """A pair is word `i` and word `i + 16`."""
    words = np.asarray(rows, np.int32)[:, None] + np.array([[1, 1]], np.int32)
    return {name: Tokens(words + add, np.ones_like(words)) for name, add in (("query", 0), ("document", 16))}


def found(params, layer, size):
    embedder = matryoshka_2d.at(BACKBONE, encode.mean, params, layer, size)
    both = make(range(16))
    query, document = (embedder.query(embedder.params, both[side]) for side in ("query", "document"))
    return float((np.asarray(embedder.score(query, document)).argmax(axis=1) == np.arange(16)).mean())


@pytest.mark.grid
@pytest.mark.parametrize("mode", ["2dmse", "st2d", "espresso", "starbucks"])
def test_a_toy_run_learns_at_every_exit(mode):
    cfg = Config(mode=mode, **TOY)
    start = BACKBONE.init(jax.random.key(0))
    stream = data.stream(range(16), batch_size=16, seed=0, make=make)
    params = matryoshka_2d.run(
        cfg, BACKBONE, encode.mean, start, stream, key=jax.random.key(1), what=None, mesh=train.data_mesh(1)
    )
    assert found(start, 1, 4) < 0.5
    assert found(params, 1, 4) > 0.6
    assert found(params, 2, 8) > 0.8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (4, 16)}, "the whole vector of 8 dimensions is missing from the sizes"),
        ({"sizes": (4, 8, 16)}, "sizes up to 8, got 2 and 16"),
        ({"sizes": (4,)}, "the whole vector of 8 dimensions is missing"),
        ({"sizes": (4, 4, 8)}, "sizes must be distinct"),
        ({"sizes": ()}, "sizes must be distinct and 1 or more, got"),
        ({"sizes": (0, 8)}, "1 or more, got"),
        ({"mode": "starbucks", "pairs": ((3, 8),)}, "wanted layers up to 2 and sizes up to 8, got 3"),
        ({"mode": "starbucks", "pairs": ((0, 8),)}, "both from 1"),
        ({"mode": "espresso", "size": 9}, "sizes up to 8, got 2 and 9"),
        ({"mode": "espresso", "softness": None}, "temperature must be above 0"),
        ({"softness": 0.0}, "temperature must be above 0, got 0.0"),
        ({"mode": "3d"}, "mode must be one of 2dmse, st2d, espresso, starbucks, got '3d'"),
    ],
)
def test_settings_that_an_encoder_does_not_have_are_refused(settings, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        matryoshka_2d.loss(Config(**{**TOY, **settings}), 2, 8)


def test_one_layer_has_no_lower_one():
    with pytest.raises(ValueError, match="wanted an encoder of 2 layers or more, got 1"):
        matryoshka_2d.loss(Config(**TOY), 1, 8)


def test_the_whole_may_be_left_out_on_purpose():
    assert matryoshka_2d.loss(Config(**{**TOY, "sizes": (4,), "allow_missing_full": True}), 2, 8)


def test_a_gradient_cache_has_no_layers_to_draw_from(as_users_call):
    cached = train.gradient_cache(encode.pooled(BACKBONE, encode.mean), 2)
    with pytest.raises(TypeError, match="wanted a Backbone, whose layers can be read, got Encoder"):
        matryoshka_2d.objective(Config(**TOY), cached, encode.mean)


SHAPE = encode.BertConfig(
    vocab_size=16, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8,
    max_position_embeddings=8,
)  # fmt: skip


def test_a_folder_keeps_the_layer(tmp_path):
    words = data.word_tokenizer(["a b c"], 16, 8, add_special=True)
    shape = replace(SHAPE, vocab_size=words.size)
    params = encode.bert(shape).init(jax.random.key(0))
    spec = model.Spec(backbone=shape, pooling="mean", normalize=True, max_length=8)
    whole = model.make(spec, params, words)
    low = matryoshka_2d.shallower(whole, 1)
    model.save(low, tmp_path / "low")
    again = model.load(tmp_path / "low")
    assert again.spec.backbone.num_hidden_layers == 1
    assert model.fingerprint(low) != model.fingerprint(whole)
    one = matryoshka_2d.at(encode.bert(shape), encode.mean, params, 1, 4)
    wanted = jax.jit(one.query)(one.params, words(["a c"]))
    got = model.encode(again, ["a c"])[:, :4]
    np.testing.assert_allclose(got / np.linalg.norm(got), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "layer", "error", "message"),
    [
        (SHAPE, 4, ValueError, "wanted 1 to 3 layers, got 4"),
        (encode.StaticConfig(vocab_size=16, hidden_size=8), 1, TypeError, "BERT's family, got StaticConfig"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(backbone, layer, error, message):
    blocks = {"blocks": {"one": np.zeros((3, 2))}}
    spec = model.Spec(backbone=backbone, pooling=None, normalize=True, max_length=None)
    with pytest.raises(error, match=message):
        matryoshka_2d.shallower(model.Model(None, blocks, None, spec), layer)


def test_the_grid_is_drawn_from_records_of_cells(tmp_path):
    shared = {"config": {}, "task": "t@1", "each": "seed", "device": "d", "versions": {}}
    records = [
        Record(recipe=name, metric=f"recall@1 ({layer}, {size})", values=(0.1 * layer, 0.2), **shared)
        for name, cells in (("a", [(1, 4), (2, 8)]), ("b", [(1, 4)]))
        for layer, size in cells
    ]
    assert exit_grid.grids(records, "recall@1")["a"] == {(1, 4): pytest.approx(0.15), (2, 8): pytest.approx(0.2)}
    exit_grid.png(records, tmp_path / "grid.png", metric="recall@1")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="wanted records of 'mrr'"):
        exit_grid.png(records, tmp_path / "none.png", metric="mrr")
