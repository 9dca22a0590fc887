"""Small encoders and their poolings, by hand."""

from math import exp, log1p, tanh

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.types import Tokens

STATES = jnp.array([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]], [[5.0, 6.0], [7.0, 8.0], [0.0, 1.0]]])
MASK = jnp.array([[1, 1, 0], [1, 1, 1]], jnp.int32)
KEY = jax.random.key(0, impl="rbg")  # quick to compile
NONE = jnp.zeros_like(MASK)


def softmax(*scores):
    return np.exp(scores) / np.exp(scores).sum()


def test_binary_bag_counts_a_word_once():
    bag = encode.reading(encode.pooled(encode.words(4, 1), encode.total), encode.distinct)
    params = {"embeddings": {"tokens": {"table": jnp.array([[0.5], [1.0], [10.0], [100.0]])}}}
    tokens = Tokens(jnp.array([[3, 1, 3, 1, 2], [2, 2, 2, 0, 0]]), jnp.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]))
    np.testing.assert_allclose(bag.apply(params, tokens), [[101.0], [10.5]])
    # What pooling leaves out is not the first of its kind: the prompt's 3 here.
    prompted = tokens._replace(counted=jnp.array([[0, 1, 1, 1, 0], [1, 1, 1, 0, 0]]))
    np.testing.assert_array_equal(encode.distinct(prompted).counted, [[0, 1, 1, 0, 0], [1, 0, 0, 0, 0]])


def test_ends_are_the_last_forward_and_the_first_backward():
    np.testing.assert_allclose(encode.ends(STATES, MASK), [[3.0, -4.0], [0.0, 6.0]])


def test_gated_mean():
    got = encode.gated_mean(2).apply({"kernel": jnp.array([0.5, -0.25])}, STATES, MASK)
    w = 1 / (1 + np.exp([-1.5, -2.0]))
    np.testing.assert_allclose(got[0], (w[:, None] * STATES[0, :2]).sum(axis=0) / w.sum(), rtol=1e-6)


def test_by_place_tells_the_stretches_of_a_text_apart():
    weight = jnp.array([-1.0, 2.0])
    got = encode.by_place(2).apply({"weight": weight}, STATES, MASK)
    one, two = log1p(exp(-1.0)), log1p(exp(2.0))
    first = (one * STATES[0, 0] + two * STATES[0, 1]) / (one + two)
    second = (one * STATES[1, 0] + one * STATES[1, 1] + two * STATES[1, 2]) / (2 * one + two)
    np.testing.assert_allclose(got, [first, second], rtol=1e-6)
    start = encode.by_place(2)
    np.testing.assert_allclose(start.apply(start.init(KEY), STATES, MASK), encode.mean(STATES, MASK), rtol=1e-6)


def test_self_attentive_reads_each_hop():
    params = {"hidden": {"kernel": jnp.array([[1.0], [0.5]])}, "hops": {"kernel": jnp.array([[2.0, -3.0]])}}
    seen = np.array([tanh(-1.0), tanh(2.0)])
    a = np.stack([softmax(*(2 * seen)), softmax(*(-3 * seen))])
    np.testing.assert_allclose(encode.hops(params, STATES, MASK)[0, :, :2], a, rtol=1e-5)
    np.testing.assert_array_equal(encode.hops(params, STATES, MASK)[0, :, 2], 0)
    got = encode.self_attentive(2, 1, 2).apply(params, STATES, MASK)
    np.testing.assert_allclose(got[0], (a @ STATES[0, :2]).reshape(-1), rtol=1e-5)


def test_hop_penalty():
    a = np.array([[0.25, 0.75], [0.5, 0.5]])
    wanted = ((a @ a.T - np.eye(2)) ** 2).sum()
    got = encode.hop_penalty(jnp.asarray(np.stack([a, np.zeros((2, 2))]), jnp.float32))
    np.testing.assert_allclose(got, [wanted, 2.0], rtol=1e-6)


def test_feature_attention_weighs_each_feature():
    kernel, bias = jnp.array([[[1.0], [0.5]]]), jnp.array([[0.25]])
    params = {"hidden": {"kernel": kernel, "bias": bias}, "features": {"kernel": jnp.array([[[2.0, -3.0]]])}}
    seen = np.array([tanh(-0.75), tanh(2.25)])
    weights = np.stack([softmax(*(2 * seen)), softmax(*(-3 * seen))], axis=1)
    np.testing.assert_allclose(encode.feature_weights(params, STATES, MASK)[0, 0, :2], weights, rtol=1e-5)
    got = encode.feature_attention(2, 1).apply(params, STATES, MASK)
    np.testing.assert_allclose(got[0], (weights * STATES[0, :2]).sum(axis=0), rtol=1e-5)


def test_apart_counts_every_pair_that_is_too_close():
    heads = jnp.array([[[0.0, 0.0]], [[0.3, 0.4]], [[3.0, 4.0]]])
    np.testing.assert_allclose(encode.apart(heads), 0.5, rtol=1e-6)
    np.testing.assert_allclose(encode.apart(heads, margin=5.0), 4.5 + 0.0 + 0.5, rtol=1e-6)
    assert jnp.isfinite(jax.grad(encode.apart)(jnp.zeros((2, 3)))).all()  # where two heads are one


def test_windows_read_the_boundary_past_the_end():
    params = {"kernel": jnp.array([[[1.0], [10.0]], [[100.0], [1000.0]]]), "bias": jnp.array([0.5])}
    layer = encode.windows(2, 1, 2, activation=lambda x: x)
    got = layer.apply({**params, "boundary": jnp.array([2.0, 3.0])}, STATES, MASK)
    wanted = [1 - 40 + 300 - 2000 + 0.5, 3 - 20 + 200 + 3000 + 0.5]
    np.testing.assert_allclose(got[0, :2, 0], wanted, rtol=1e-6)


def test_a_wider_window_than_the_text_is_filled_up():
    pooling = encode.scales(2, 1, (4,), activation=lambda x: x)
    params = {"4": {"kernel": jnp.arange(8.0).reshape(4, 2, 1), "bias": jnp.array([-100.0])}}
    got = pooling.apply(params, STATES, MASK)
    np.testing.assert_allclose(got, [[-4 + 6 - 6 - 100.0], [6 + 14 + 24 + 5 - 100.0]])
    np.testing.assert_array_equal(pooling.apply(params, STATES, NONE), [[0.0], [0.0]])


def test_windows_of_a_text_begin_after_a_prompt_that_is_left_out():
    encoder = encode.pooled_by(encode.words(5, 1), encode.scales(1, 1, (2, 3), activation=lambda x: x))
    params = {"embeddings": {"tokens": {"table": jnp.array([[9.0], [1.0], [2.0], [4.0], [50.0]])}}}
    sums = {"kernel": jnp.ones((2, 1, 1)), "bias": jnp.array([0.5])}
    params["pooling"] = {"2": sums, "3": {"kernel": jnp.array([[[1.0]], [[1.0]], [[-9.0]]]), "bias": jnp.zeros(1)}}
    prompted = Tokens(
        jnp.array([[4, 4, 1, 2, 3, 0], [4, 4, 2, 0, 0, 0]]),
        jnp.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]),
        counted=jnp.array([[0, 0, 1, 1, 1, 0], [0, 0, 1, 0, 0, 0]]),
    )
    np.testing.assert_allclose(encoder.apply(params, prompted), [[6.5, 3.0 - 36.0], [2.5, 2.0]])


def test_residual_layers_add_their_input():
    kernel = {"kernel": jnp.array([[[1.0, 0.0], [0.0, 2.0]]]), "bias": jnp.array([0.5, 0.25])}
    layer = encode.convolution(2, 2, 1, residual=True, activation=lambda x: x)
    np.testing.assert_allclose(layer.apply(kernel, STATES, MASK)[0, 0], [1 + 1 + 0.5, -4 - 8 + 0.25])


def test_layers_can_be_seen_one_by_one_where_they_are_equally_wide():
    even = encode.extended(encode.words(5, 4), encode.convolution(4, 4, 3), encode.gru(4, 2))
    params, tokens = even.init(KEY), Tokens(jnp.array([[1, 2, 4]]), jnp.array([[1, 1, 1]]))
    states = even.hidden(params, tokens)
    assert states.shape == (3, 1, 3, 4)
    np.testing.assert_array_equal(states[0], params["embeddings"]["tokens"]["table"][tokens.ids])
    np.testing.assert_allclose(states[-1], even.apply(params, tokens), atol=1e-6)
    two, mean = encode.side_by_side(even, 2), encode.averaged(even, 2)
    np.testing.assert_allclose(two.apply(params, tokens), jnp.concatenate([states[1], states[2]], axis=-1), atol=1e-6)
    np.testing.assert_allclose(mean.apply(params, tokens), (states[1] + states[2]) / 2, atol=1e-6)
    mix = {"weight": jnp.log(jnp.array([1.0, 2.0, 5.0])), "scale": jnp.array(3.0)}
    got = encode.mixed(even, 3).apply({**params, "mixture": mix}, tokens)
    np.testing.assert_allclose(got, 3 * (states[0] + 2 * states[1] + 5 * states[2]) / 8, atol=1e-6)


def test_the_first_token_left_out():
    np.testing.assert_allclose(encode.without_first(encode.mean)(STATES, MASK), [[3.0, -2.0], [3.5, 4.5]])
    np.testing.assert_allclose(encode.without_first(encode.maximum)(STATES, MASK[:, ::-1]), [[9.0, 9.0], [7.0, 8.0]])


def test_forget_gates_start_open():
    params = encode.lstm(3, 2).init(KEY)
    np.testing.assert_array_equal(params["backward"]["input"]["bias"], [0, 0, 1, 1, 0, 0, 0, 0])


def test_shard_map_gives_what_one_device_gives():
    layer = encode.lstm(2, 2)
    params = layer.init(KEY)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    rows = jax.sharding.PartitionSpec("data")
    split = jax.shard_map(layer.apply, mesh=mesh, in_specs=(jax.sharding.PartitionSpec(), rows, rows), out_specs=rows)
    got = jax.jit(split)(params, STATES, MASK)
    np.testing.assert_allclose(got, layer.apply(params, STATES, MASK), atol=1e-6)


@pytest.mark.usefixtures("as_users_call")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encode.convolution(3, 4, 2, residual=True), "residual layer adds its input of 3 to its output of 4"),
        (lambda: encode.convolution(3, 4, 0), "width must be above 0, got 0"),
        (lambda: encode.scales(3, 4, (2, 2)), r"widths must be different whole numbers above 0, got \[2, 2\]"),
        (lambda: encode.windows(3, 4, 0), "width must be above 0, got 0"),
        (lambda: encode.ends(STATES[..., :1], MASK), "even width, got 1"),
        (lambda: encode.positions(2, 2).apply({"table": jnp.ones((2, 2))}, STATES, MASK), "3 tokens .* 2 positions"),
        (
            lambda: encode.extended(
                encode.extended(encode.words(3, 2), encode.positions(3, 2)), encode.positions(3, 2)
            ).init(KEY),
            "part 'layers' already",
        ),
        (
            lambda: encode.mixed(encode.words(3, 2), 2).apply(
                {"embeddings": {"tokens": {"table": jnp.ones((3, 2))}}, "mixture": {}}, Tokens(MASK, MASK)
            ),
            "wanted the states of 2 layers, got 1",
        ),
        (
            lambda: encode.side_by_side(encode.words(3, 2), 2).apply(
                {"embeddings": {"tokens": {"table": jnp.ones((3, 2))}}}, Tokens(MASK, MASK)
            ),
            "last 2 layers of 1",
        ),
    ],
)
def test_bad_shapes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layers_of_unequal_width_are_not_stacked():
    uneven = encode.extended(encode.words(5, 4), encode.gru(4, 3))
    tokens = Tokens(jnp.array([[1, 2]]), jnp.array([[1, 1]]))
    with pytest.raises(ValueError, match=r"got widths \[4, 6\]"):
        jax.eval_shape(uneven.hidden, jax.eval_shape(uneven.init, KEY), tokens)
