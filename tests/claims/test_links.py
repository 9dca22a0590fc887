import numpy as np
import pytest

from jaxemb.claims.sesa import linked
from jaxemb.data.debian import Package


def package(name, source):
    return Package(name, source, "net", name, name, ())


PACKAGES = [package("ant", "a"), package("bee", "b"), package("bee-doc", "b"), package("cow", "c")]
LINKS = {"ant": frozenset({"bee", "elk"}), "bee": frozenset({"bee-doc", "cow"}), "elk": frozenset({"ant"})}


def test_pairs_are_of_packages_that_are_there_and_of_other_sources():
    assert sorted(linked(PACKAGES, LINKS, None, seed=0).tolist()) == [[0, 1], [1, 3]]
    one = linked(PACKAGES, LINKS, 1, seed=1)
    assert one.shape == (1, 2)
    np.testing.assert_array_equal(one, linked(PACKAGES, LINKS, 1, seed=1))


def test_more_pairs_than_there_are_is_refused():
    with pytest.raises(ValueError, match="wanted 3 pairs of linked packages, got 2"):
        linked(PACKAGES, LINKS, 3, seed=0)
