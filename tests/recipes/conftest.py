import sys

import pytest

from jaxemb import train


@pytest.fixture(autouse=True)
def one_device(monkeypatch, compiled_quickly):
    """Toy runs on one device: eight are for what is sharded, and cost a toy most of its time."""
    monkeypatch.setattr(sys.modules["jaxemb.train.fit"], "data_mesh", lambda: train.data_mesh(1))
