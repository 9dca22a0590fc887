import json
from collections import Counter
from itertools import islice

import pytest

from jaxemb.data import stream


def make(records):
    return {"records": list(records)}


def take(batches, count):
    return [batch["records"] for batch in islice(batches, count)]


def everything(**settings):
    return [batch["records"] for batch in stream(range(11), make=make, **settings)]


def test_in_order_without_shuffling():
    assert everything(batch_size=4, seed=0, shuffle=False, epochs=2) == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    assert everything(batch_size=2, seed=0, shuffle=False, epochs=1, shard_index=1, shard_count=2) == [[1, 3], [5, 7]]


def test_an_epoch_holds_a_record_once_and_drops_what_fills_no_batch():
    epochs = everything(batch_size=4, seed=3, epochs=30)
    assert len(epochs) == 60
    seen = Counter()
    for first, second in zip(epochs[::2], epochs[1::2], strict=True):
        assert len({*first, *second}) == 8
        seen.update(first + second)
    assert set(seen) == set(range(11))  # not the same three dropped every time


def test_the_order_is_the_seeds_and_every_epoch_has_its_own():
    one = everything(batch_size=3, seed=1, epochs=3)
    assert one == everything(batch_size=3, seed=1, epochs=3)
    assert one != everything(batch_size=3, seed=2, epochs=3)
    assert one[:3] != one[3:6] != one[6:]
    assert one == take(stream(range(11), batch_size=3, seed=1, make=make), 9)  # for ever begins alike


@pytest.mark.parametrize("shard_count", [2, 3])
def test_shards_share_an_epoch_without_overlap(shard_count):
    shards = [
        everything(batch_size=1, seed=5, epochs=2, shard_index=index, shard_count=shard_count)
        for index in range(shard_count)
    ]
    share = 11 // shard_count
    for epoch in (0, 1):
        records = [record for shard in shards for (record,) in shard[epoch * share : (epoch + 1) * share]]
        assert len(records) == len(set(records)) == share * shard_count
    assert [len(shard) for shard in shards] == [2 * share] * shard_count


@pytest.mark.parametrize("done", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("settings", [{}, {"shuffle": False}, {"shard_index": 1, "shard_count": 2}])
def test_a_stream_goes_on_where_its_state_was_taken(done, settings):
    def fresh():
        return stream(range(11), batch_size=2, seed=7, make=make, **settings)

    whole = take(fresh(), done + 12)
    first = fresh()
    assert take(first, done) == whole[:done]
    state = first.get_state()
    assert take(first, 2) == whole[done : done + 2]  # saving disturbs nothing
    again = fresh()
    take(again, 5)
    again.set_state(state)
    assert again.get_state() == state
    assert take(again, 12) == whole[done:]


def test_a_state_of_other_settings_is_refused():
    state = stream(range(11), batch_size=2, seed=7, make=make).get_state()
    assert isinstance(json.loads(state), dict)
    with pytest.raises(ValueError, match=r"wanted the state of a stream of .*'seed': 8.*, got one of .*'seed': 7"):
        stream(range(11), batch_size=2, seed=8, make=make).set_state(state)
    with pytest.raises(ValueError, match="'records': 12"):
        stream(range(12), batch_size=2, seed=7, make=make).set_state(state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 12}, "11 records in 1 shards leave 11 to each, less than one batch of 12"),
        ({"batch_size": 6, "shard_count": 2}, "11 records in 2 shards leave 5 to each, less than one batch of 6"),
        ({"batch_size": 0}, "got batch_size=0"),
        ({"batch_size": 2, "shard_index": 2, "shard_count": 2}, "shard_index=2, shard_count=2"),
        ({"batch_size": 2, "epochs": 0}, "epochs >= 1, or None for ever, got 0"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        stream(range(11), seed=0, make=make, **settings)


def test_an_error_in_make_reaches_the_caller():
    def fail(records):
        raise KeyError("no such token")

    with pytest.raises(KeyError, match="no such token"):
        next(stream(range(11), batch_size=2, seed=0, make=fail))
