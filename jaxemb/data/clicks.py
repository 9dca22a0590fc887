"""Logs of clicks: rows of ids and whether they were clicked; MovieLens 100k as ratings, and a drawn log whose best
score is known."""

import datetime
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

LIKED = 4.0
USERS, ITEMS, RATINGS = "ml-100k.user", "ml-100k.item", "ml-100k.inter"


class Clicks(NamedTuple):
    """Rows in the order of time.

    names: of the fields.
    sizes: how many ids each field has.
    ids: of every row, by field; those of a field count from 0.
    clicked: whether a row was.
    dense: plain numbers of every row; there may be none.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    ids: Int[np.ndarray, "n f"]
    clicked: Bool[np.ndarray, " n"]
    dense: Float[np.ndarray, "n m"]


class Log(NamedTuple):
    """A log cut by time."""

    train: Clicks
    validation: Clicks
    test: Clicks


class Drawn(NamedTuple):
    """A log that was drawn.

    clicks: its rows.
    logits: of the chance of a click as far as the ids tell it: no score orders the rows better.
    """

    clicks: Clicks
    logits: Float[np.ndarray, " n"]


def check(clicks: Clicks) -> None:
    """Raises: ValueError for ids that are no whole numbers in their field, or parts of different lengths."""
    rows = {len(clicks.ids), len(clicks.clicked), len(clicks.dense)}
    if clicks.ids.ndim != 2 or len(rows) != 1 or not len(clicks.ids):
        raise ValueError(f"clicks: wanted as many rows of ids, clicks and numbers, 1 or more, got {sorted(rows)}")
    if clicks.ids.shape[1] != len(clicks.sizes) or len(clicks.names) != len(clicks.sizes):
        raise ValueError(
            f"clicks: wanted a size and a name for each of {clicks.ids.shape[1]} fields, "
            f"got {len(clicks.sizes)} and {len(clicks.names)}"
        )
    if not np.issubdtype(clicks.ids.dtype, np.integer):
        raise ValueError(f"clicks: wanted whole numbers as ids, got {clicks.ids.dtype}")
    wrong = np.argwhere((clicks.ids < 0) | (clicks.ids >= np.asarray(clicks.sizes)))
    if len(wrong):
        row, field = wrong[0]
        raise ValueError(
            f"clicks: wanted ids of {clicks.names[field]!r} in [0, {clicks.sizes[field]}), "
            f"got {clicks.ids[row, field]} in row {row}"
        )


def rows(clicks: Clicks, chosen: slice) -> Clicks:
    """Some of the rows."""
    return clicks._replace(ids=clicks.ids[chosen], clicked=clicks.clicked[chosen], dense=clicks.dense[chosen])


def by_time(clicks: Clicks, validation: float = 0.1, test: float = 0.1) -> Log:
    """The first rows for training, those after them for choosing, the last for testing.

    Raises: ValueError as `check`, or for shares that leave a part without rows.
    """
    check(clicks)
    count = len(clicks.ids)
    first = round(count * (1 - validation - test))
    second = round(count * (1 - test))
    if not (0 <= validation < 1 and 0 < test < 1 and 0 < first <= second < count):
        raise ValueError(f"by_time: shares of {validation} and {test} leave a part of {count} rows without any")
    return Log(rows(clicks, slice(first)), rows(clicks, slice(first, second)), rows(clicks, slice(second, count)))


def counts(clicks: Clicks) -> tuple[Int[np.ndarray, " n"], ...]:
    """How often each id of each field is there."""
    return tuple(np.bincount(column, minlength=size) for column, size in zip(clicks.ids.T, clicks.sizes, strict=True))


def drawn(
    sizes: Sequence[int],
    count: int,
    *,
    seed: int,
    skew: float = 1.1,
    latent: int = 6,
    linked: float = 0.3,
    pairs: float = 1.5,
    single: float = 1.0,
    noise: float = 0.3,
    alike: float = 0.6,
) -> Drawn:
    """A log in which pairs of fields decide, and ids are as uneven as real ones.

    An id of rank `r` in its field has a chance in proportion to `r^-skew`, ids and ranks being in no order.  Each id
    has a latent vector `z` and a bias, both normal, and

        logit = sum_{f<g} a_fg <z_f, z_g> + sum_f bias_f + noise

    where few `a_fg` are not 0.  In fields of 1,000 ids or more many share the vectors of clusters of 50.

    Args:
      linked: share of the pairs of fields that `a` links.
      pairs, single, noise: standard deviations of the three terms.
      alike: share of a large field's ids that are in clusters.
    """
    draw = np.random.default_rng(seed)
    ids = np.stack([_zipf(draw, size, count, skew) for size in sizes], axis=1)
    vectors = [_latent(draw, size, latent, alike)[column] for size, column in zip(sizes, ids.T, strict=True)]
    links = np.triu(draw.random((len(sizes), len(sizes))) < linked, 1) * draw.normal(size=(len(sizes), len(sizes)))
    if not links.any():
        links[0, -1] = 1.0
    between = sum(links[f, g] * (vectors[f] * vectors[g]).sum(axis=1) for f, g in zip(*np.nonzero(links), strict=True))
    alone = sum(draw.normal(size=size)[column] for size, column in zip(sizes, ids.T, strict=True))
    logits = pairs * _even(np.asarray(between)) + single * _even(np.asarray(alone))
    chance = 1 / (1 + np.exp(-logits - noise * draw.normal(size=count)))
    names = tuple(f"field {at}" for at in range(len(sizes)))
    clicks = Clicks(names, tuple(sizes), ids, draw.random(count) < chance, np.zeros((count, 0), np.float32))
    return Drawn(clicks, logits)


def _zipf(draw: np.random.Generator, size: int, count: int, skew: float) -> Int[np.ndarray, " n"]:
    chance = np.arange(1, size + 1) ** -skew
    ends = np.cumsum(chance / chance.sum())
    ranks = np.minimum(np.searchsorted(ends, draw.random(count)), size - 1)
    return draw.permutation(size)[ranks].astype(np.int32)


def _latent(draw: np.random.Generator, size: int, latent: int, alike: float) -> Float[np.ndarray, "v z"]:
    own = draw.normal(size=(size, latent))
    if size < 1000:
        return own
    shared = draw.normal(size=(size // 50, latent))[draw.integers(size // 50, size=size)]
    return np.where(draw.random(size)[:, None] < alike, shared, own)


def _even(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return (values - values.mean()) / values.std()


def movielens_folder() -> Path:
    """Where the package `recbole` keeps MovieLens 100k.

    Raises: ImportError that says how to install it; its own metadata would pull torch.
    """
    found = importlib.util.find_spec("recbole")
    if found is None or found.origin is None:
        raise ImportError(
            "MovieLens 100k is not installed: pip install --no-deps recbole==1.2.1 "
            "(with its dependencies it would bring torch, which is not used)"
        )
    return Path(found.origin).parent / "dataset_example" / "ml-100k"


def movielens(folder: Path | str) -> Clicks:
    """Ratings of films in the order of time, clicked being a rating of 4 or 5.

    Fields: user, item, the first three characters of the zip code, occupation, age, gender, the film's year and first
    genre, hour and weekday (UTC), and two pairs that make many ids: user and genre, item and age.

    Raises: ValueError that names the file for a missing column, a torn line, or a rating of an unknown user or film.
    Source: Harper & Konstan 2015, doi:10.1145/2827872, in the files of RecBole.
    """
    folder = Path(folder)
    users = {
        row["user_id"]: row for row in _table(folder / USERS, ("user_id", "age", "gender", "occupation", "zip_code"))
    }
    items = {row["item_id"]: row for row in _table(folder / ITEMS, ("item_id", "release_year", "class"))}
    ratings = _table(folder / RATINGS, ("user_id", "item_id", "rating", "timestamp"))
    ratings.sort(key=lambda row: (float(row["timestamp"]), row["user_id"], row["item_id"]))
    told = []
    for row in ratings:
        if row["user_id"] not in users or row["item_id"] not in items:
            raise ValueError(
                f"{folder / RATINGS}: a rating of user {row['user_id']!r} and item {row['item_id']!r}, "
                "of which one is unknown"
            )
        told.append(_told(users[row["user_id"]], items[row["item_id"]], float(row["timestamp"])))
    columns, sizes = [], []
    for values in zip(*told, strict=True):
        known = {value: at for at, value in enumerate(sorted(set(values)))}
        columns.append([known[value] for value in values])
        sizes.append(len(known))
    clicked = np.array([float(row["rating"]) >= LIKED for row in ratings])
    ids = np.array(columns, np.int32).T
    return Clicks(FIELDS, tuple(sizes), ids, clicked, np.zeros((len(ids), 0), np.float32))


FIELDS = (
    "user", "item", "zip", "occupation", "age", "gender", "year", "genre", "hour", "weekday", "user and genre",
    "item and age",
)  # fmt: skip


def _told(user: dict[str, str], item: dict[str, str], timestamp: float) -> tuple[str, ...]:
    when = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    genre = item["class"].split(" ")[0]
    return (
        user["user_id"], item["item_id"], user["zip_code"][:3], user["occupation"], user["age"], user["gender"],
        item["release_year"], genre, f"{when.hour:02}", str(when.weekday()), f"{user['user_id']} {genre}",
        f"{item['item_id']} {user['age']}",
    )  # fmt: skip


def _table(path: Path, wanted: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a file whose columns are parted by tabs, and whose first line has `name:type`."""
    first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    names = [column.partition(":")[0] for column in first.split("\t")]
    if missing := sorted(set(wanted) - set(names)):
        raise ValueError(f"{path}: wanted the columns {', '.join(wanted)}, got none called {', '.join(missing)}")
    found = []
    for number, line in enumerate(lines, 2):
        values = line.split("\t")
        if len(values) != len(names):
            raise ValueError(f"{path}, line {number}: wanted {len(names)} columns, got {len(values)}")
        found.append(dict(zip(names, values, strict=True)))
    return found
