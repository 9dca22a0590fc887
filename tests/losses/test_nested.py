"""Prefixes and layers, by hand; nothing goes around layers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import losses

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DRAW = np.random.default_rng(0)
QUERY = jnp.asarray(DRAW.normal(size=(3, 2, 4)), jnp.float32)  # three layers of two queries, and of three documents
DOCUMENT = jnp.asarray(DRAW.normal(size=(3, 3, 4)), jnp.float32)


def by_hand(layer, size=4):
    """The surprise of own documents at a temperature of 1, of one layer and some dimensions."""
    query, document = (np.asarray(side, np.float64)[layer, :, :size] for side in (QUERY, DOCUMENT))
    query, document = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, document))
    scores = query @ document.T
    return np.log(np.exp(scores).sum(axis=1)) - np.diag(scores)


warm = partial(losses.info_nce, temperature=1.0)


def test_layers_are_weighed():
    each = [by_hand(layer) for layer in range(3)]
    np.testing.assert_allclose(losses.layers(warm, 3)(QUERY, DOCUMENT), np.mean(each, axis=0), rtol=1e-5)
    got = losses.layers(warm, 3, weights=(1.0, 2.0, 5.0))(QUERY, DOCUMENT)
    np.testing.assert_allclose(got, (each[0] + 2 * each[1] + 5 * each[2]) / 8, rtol=1e-5)


def test_layer_sizes_are_the_pairs_they_are_told():
    got = losses.layer_sizes(warm, [(0, 2), (-1, 3)], weights=(3.0, 1.0))(QUERY, DOCUMENT)
    np.testing.assert_allclose(got, (3 * by_hand(0, 2) + by_hand(2, 3)) / 4, rtol=1e-5)


def test_layers_around_matryoshka_are_both():
    got = losses.layers(losses.matryoshka(warm, (1, 4)), 3)(QUERY, DOCUMENT)
    corners = [by_hand(layer, size) for layer in range(3) for size in (1, 4)]
    np.testing.assert_allclose(got, np.mean(corners, axis=0), rtol=1e-5)


@pytest.mark.parametrize("layered", [losses.layers(warm, 3), losses.layer_sizes(warm, [(0, 2)])])
@pytest.mark.parametrize(
    ("name", "around"),
    [
        ("matryoshka", lambda loss: losses.matryoshka(loss, (2,))),
        ("tiled", losses.tiled),
        ("swapped", losses.symmetric),
        ("binarize", losses.binarize),
        ("projected", lambda loss: losses.projected(loss, jnp.eye(4))),
        ("backward_compatible", losses.backward_compatible),
        ("weighted", losses.weighted),
        ("mask_duplicates", losses.mask_duplicates),
        ("mask_above_own", losses.mask_above_own),
        ("across_devices", lambda loss: losses.across_devices(loss, "data")),
        ("ring", lambda loss: losses.ring(loss, "data")),
        ("across_devices", lambda loss: losses.on_mesh(loss, jax.make_mesh((1,), ("data",)))),
        ("layers", lambda loss: losses.layers(loss, 3)),
        ("layer_sizes", lambda loss: losses.layer_sizes(loss, [(0, 2)])),
    ],
)
def test_nothing_goes_around_layers(name, around, layered):
    with pytest.raises(ValueError, match=f"^{name}: this loss takes vectors of several layers"):
        around(layered)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.matryoshka(warm, (2,))(QUERY[0], DOCUMENT[0, :, :2]),
            "matryoshka: 4 dimensions on one side, 2 on the other",
        ),
        (lambda: losses.layers(warm, 0), "wanted one layer or more, got 0"),
        (lambda: losses.layers(warm, 2)(QUERY, DOCUMENT), "wanted vectors of 2 layers on both sides"),
        (lambda: losses.layers(warm, 3, weights=(1.0, 0.0, 1.0)), "wanted 3 weights above 0"),
        (lambda: losses.layer_sizes(warm, [(3, 2)])(QUERY, DOCUMENT), "layer 3 at 2 of 3 layers of 4 dimensions"),
        (lambda: losses.layer_sizes(warm, [(0, 5)])(QUERY, DOCUMENT), "layer 0 at 5 of 3 layers of 4 dimensions"),
        (lambda: losses.layer_sizes(warm, [(0, 2), (0, 2)]), "pairs must be distinct"),
    ],
)
def test_bad_input_is_refused_with_wanted_and_got(call, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        call()
