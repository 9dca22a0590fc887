"""Merges by statistics, and by gradient, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import merge

ZERO = {"w": jnp.zeros(2)}


def flat(*values):
    return {"w": jnp.array(values, jnp.float32)}


def squared_error(params, example):
    return (params["w"] @ example["x"] - example["y"]) ** 2


def test_information_is_the_mean_of_squares_and_no_square_of_a_mean():
    examples = {"x": jnp.array([[1.0, 0.0], [0.0, 2.0]]), "y": jnp.array([1.0, -1.0])}
    # At w = 0 the gradients are (-2, 0) and (0, 4).
    for at_once in (1, 2, 8):
        got = merge.information(squared_error, ZERO, examples, at_once=at_once)
        np.testing.assert_allclose(got["w"], [2.0, 8.0])
    opposite = {"x": jnp.array([[1.0, 0.0], [1.0, 0.0]]), "y": jnp.array([1.0, -1.0])}
    np.testing.assert_allclose(merge.information(squared_error, ZERO, opposite)["w"], [4.0, 0.0])


def test_fisher_by_hand():
    tuned, known = [flat(1.0, 2.0), flat(3.0, 6.0)], [flat(3.0, 0.0), flat(1.0, 0.0)]
    np.testing.assert_allclose(merge.fisher(ZERO, tuned, known)["w"], [1.5, 4.0])  # nothing is known of the second
    np.testing.assert_allclose(merge.fisher(ZERO, tuned, known, [1.0, 3.0])["w"], [2.0, 5.0])
    normalized = merge.fisher(ZERO, tuned, [flat(30.0, 10.0), flat(1.0, 1.0)], normalized=True)["w"]
    np.testing.assert_allclose(normalized, [(1.5 * 1 + 3) / 2.5, (0.5 * 2 + 6) / 1.5], rtol=1e-6)


def test_fisher_of_equal_statistics_is_the_mean():
    tuned = [flat(1.0, 2.0), flat(3.0, 6.0)]
    np.testing.assert_allclose(merge.fisher(ZERO, tuned, [flat(2.0, 5.0)] * 2)["w"], [2.0, 4.0], rtol=1e-6)


def test_regmean_is_least_squares_over_all_inputs():
    draw = np.random.default_rng(0)
    inputs = [draw.normal(size=(30, 3)) for _ in range(2)]
    kernels = [draw.normal(size=(3, 2)) for _ in range(2)]
    wanted = np.linalg.lstsq(
        np.concatenate(inputs), np.concatenate([x @ k for x, k in zip(inputs, kernels, strict=True)]), rcond=None
    )[0]
    models = [
        {"layer": {"kernel": jnp.asarray(k, jnp.float32), "bias": jnp.full(2, float(i))}} for i, k in enumerate(kernels)
    ]
    grams = [
        {"layer.kernel": merge.input_gram(jnp.asarray(x, jnp.float32)[None], jnp.ones((1, 30), jnp.int32))}
        for x in inputs
    ]
    got = merge.regmean(models, grams, share=1.0)["layer"]
    np.testing.assert_allclose(got["kernel"], wanted, atol=1e-4)
    np.testing.assert_allclose(got["bias"], [0.5, 0.5])
    same = merge.regmean([models[0]] * 2, grams)["layer"]["kernel"]
    np.testing.assert_allclose(same, kernels[0], atol=1e-4)
    diagonal = merge.regmean(models, grams, share=0.0)["layer"]["kernel"]
    weights = [np.square(x).sum(axis=0)[:, None] for x in inputs]
    np.testing.assert_allclose(
        diagonal, sum(w * k for w, k in zip(weights, kernels, strict=True)) / sum(weights), atol=1e-4
    )


def test_a_greedy_soup_takes_in_what_helps():
    best = jnp.array([1.0, 1.0])
    models = [flat(5.0, 5.0), flat(2.0, 1.0), flat(0.0, 1.0)]
    soup, taken = merge.greedy_soup(models, lambda params: -float(jnp.abs(params["w"] - best).sum()))
    assert taken == [1, 2]
    np.testing.assert_allclose(soup["w"], best)


def probes(target):
    """A loss that asks for a point, one row."""

    def objective(params, batch):
        return jnp.square(params["w"][None, :] - batch["at"]).sum(axis=1), {}

    return objective, ({"at": jnp.array([target])} for _ in range(400))


def test_a_position_is_learnt_along_the_arc_and_along_its_length():
    tuned = [flat(1.0, 0.0), flat(0.0, 1.0)]
    angle, length = 0.4, 1.5
    target = [length * np.cos(angle), length * np.sin(angle)]
    found = merge.self_position(ZERO, tuned, *probes(target), steps=400, learning_rate=0.02)
    np.testing.assert_allclose(found.params["w"], target, atol=0.01)
    assert found.scale == pytest.approx(length, abs=0.02)
    assert found.weights[1] / found.weights.sum() == pytest.approx(angle / (np.pi / 2), abs=0.02)
    assert found.losses[-1] < 1e-3 < found.losses[0]


def test_a_penalty_keeps_the_merged_vector_short():
    tuned = [flat(1.0, 0.0), flat(0.0, 1.0)]
    lengths = [
        merge.self_position(ZERO, tuned, *probes([1.0, 1.0]), steps=200, learning_rate=0.02, penalty=penalty).scale
        for penalty in (0.0, 0.5)
    ]
    # d/dl (l - sqrt 2)^2 + 0.5 l = 0 at l = sqrt 2 - 0.25.
    np.testing.assert_allclose(lengths, [np.sqrt(2), np.sqrt(2) - 0.25], atol=0.02)


def test_any_coefficients_that_have_a_gradient_will_do():
    tuned = [flat(1.0, 0.0), flat(0.0, 1.0)]
    found = merge.self_position(
        ZERO, tuned, *probes([0.3, 0.7]), steps=300, learning_rate=0.02, coefficients=merge.weighted_mean
    )
    np.testing.assert_allclose(found.params["w"], [0.3, 0.7], atol=0.02)


NAN = flat(float("nan"), 0.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: merge.fisher(ZERO, [flat(1, 2)], []), "fisher: wanted statistics and a weight of each of 1 models"),
        (
            lambda: merge.fisher(ZERO, [flat(1, 2)], [NAN]),
            "fisher: statistics of model 0: w has a number that is negative",
        ),
        (lambda: merge.fisher(ZERO, [flat(1, 2)], [flat(-1, 0)]), "w has a number that is negative"),
        (lambda: merge.regmean([ZERO], []), "regmean: wanted statistics of each of 1 models, got 0"),
        (lambda: merge.regmean([ZERO], [{"w": jnp.eye(2)}]), "regmean: w is no kernel of a linear layer"),
        (
            lambda: merge.regmean([{"w": jnp.ones((2, 2))}] * 2, [{"w": jnp.eye(2)}, {}]),
            "models 0 and 1 do not both have statistics of w",
        ),
        (
            lambda: merge.regmean([{"k": jnp.ones((3, 2))}], [{"k": jnp.eye(2)}]),
            r"k of model 0: wanted finite \(3, 3\), got \(2, 2\)",
        ),
        (lambda: merge.regmean([ZERO], [{}], share=1.5), r"regmean: share must be in \[0, 1\], got 1.5"),
        (lambda: merge.greedy_soup([], lambda params: 0.0), "greedy_soup: wanted one model or more"),
        (lambda: merge.self_position(ZERO, [flat(1, 2)], *probes([1, 1]), steps=0), "self_position: wanted 1 step"),
        (
            lambda: merge.self_position(ZERO, [flat(1, 2)], probes([1, 1])[0], [], steps=3),
            "self_position: wanted 3 batches of probes, got 0",
        ),
        (lambda: merge.self_position(ZERO, [ZERO], *probes([1, 1])), "task_vectors: model 0 is the base"),
    ],
)
def test_bad_input(call, said, as_users_call):
    with pytest.raises(ValueError, match=said):
        call()
