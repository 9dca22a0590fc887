"""Streams of several tasks mixed: how often each comes, in which order, and from where it goes on."""

import json
from collections import Counter

import pytest

from jaxemb.data import mixture, stream, tempered

SIZES = {"a": 40, "b": 12, "c": 8}


def make(records):
    return {"records": list(records)}


def mixed(weights=None, seed=3, sizes=SIZES):
    streams = {
        task: stream([f"{task}{i}" for i in range(size)], batch_size=4, seed=1, make=make)
        for task, size in sizes.items()
    }
    return mixture(streams, weights, seed=seed)


def take(batches, count):
    return [next(batches) for _ in range(count)]


def test_a_batch_is_of_one_task():
    for batch in take(mixed(), 40):
        ((task, inner),) = batch.items()
        assert {record[0] for record in inner["records"]} == {task}
        assert len(inner["records"]) == 4


def test_every_task_goes_through_its_own_stream():
    alone = stream([f"b{i}" for i in range(12)], batch_size=4, seed=1, make=make)
    found = [batch["b"] for batch in take(mixed(), 60) if "b" in batch]
    assert found == take(alone, len(found))


@pytest.mark.parametrize("weights", [None, {"a": 6.0, "b": 3.0, "c": 1.0}])
def test_shares_are_the_weights(weights):
    count = 4000
    order = mixed(weights)
    seen = Counter(order.task(number) for number in range(count))
    total = sum((weights or dict.fromkeys(SIZES, 1.0)).values())
    for task in SIZES:
        share = (weights or dict.fromkeys(SIZES, 1.0))[task] / total
        assert abs(seen[task] / count - share) < 4 * (share * (1 - share) / count) ** 0.5


def test_temperature_by_hand():
    assert tempered({"a": 1, "b": 3}, 1.0) == {"a": 0.25, "b": 0.75}
    assert tempered({"a": 1, "b": 9, "c": 36}, 2.0) == {"a": 0.1, "b": 0.3, "c": 0.6}
    assert tempered({"a": 1, "b": 1e6}, 1e9) == pytest.approx({"a": 0.5, "b": 0.5})


def test_the_order_is_the_seeds_and_not_that_of_the_names():
    tasks = [mixed().task(number) for number in range(50)]
    assert tasks == [next(iter(batch)) for batch in take(mixed(), 50)]
    assert tasks == [mixed(sizes=dict(reversed(SIZES.items()))).task(number) for number in range(50)]
    assert tasks != [mixed(seed=4).task(number) for number in range(50)]


@pytest.mark.parametrize("done", [0, 1, 9])
def test_a_mixture_goes_on_where_its_state_was_taken(done):
    whole = take(mixed(), done + 20)
    first = mixed()
    assert take(first, done) == whole[:done]
    state = first.get_state()
    take(first, 3)
    again = mixed()
    take(again, 5)
    again.set_state(state)
    assert again.get_state() == state
    assert take(again, 20) == whole[done:]


def test_a_mixture_may_be_one_of_the_streams():
    def nested():
        return mixture({"inner": mixed(), "d": stream(range(8), batch_size=4, seed=1, make=make)}, seed=9)

    first = nested()
    take(first, 7)
    again = nested()
    again.set_state(first.get_state())
    assert take(again, 9) == take(first, 9)


def test_a_state_of_other_settings_is_refused():
    state = mixed().get_state()
    assert isinstance(json.loads(state), dict)
    with pytest.raises(ValueError, match=r"wanted a mixture of .*'seed': 4.*, got one of .*'seed': 3"):
        mixed(seed=4).set_state(state)
    with pytest.raises(ValueError, match="'records': 16"):
        mixed(sizes={**SIZES, "b": 16}).set_state(state)


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: mixture({}, seed=0), "one stream or more"),
        (lambda: mixed({"a": 1.0, "b": 1.0}), r"weights of \['a', 'b', 'c'\], got those of \['a', 'b'\]"),
        (lambda: mixed({"a": 1.0, "b": 0.0, "c": 1.0}), r"got \{'b': 0.0\}"),
        (lambda: mixed(sizes={"key": 8}), r"got \['key'\]"),
        (lambda: mixed(sizes={"a.b": 8}), r"got \['a.b'\]"),
        (lambda: tempered({"a": 0}, 1.0), r"got \{'a': 0\}"),
        (lambda: tempered({"a": 1}, 0.0), "temperature must be above 0, got 0.0"),
        (lambda: tempered({"a": 900, "b": 100}, 0.001), r"at temperature 0\.001: .* got \{'a': nan, 'b': nan\}"),
        (lambda: tempered({"a": 0.5, "b": 1}, 0.0005), r"temperature 0\.0005: .* got \{'a': 0\.0\}"),
    ],
)
def test_settings_that_cannot_be(make_one, message):
    with pytest.raises(ValueError, match=message):
        make_one()
