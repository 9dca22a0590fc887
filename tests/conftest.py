"""Set before anything else imports jax: eight CPU devices, and mistakes that JAX lets pass made errors."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


LONGEST = ("test_quickstart.py", "test_snippets.py", "test_fit.py", "test_cli.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: of two workers, none is then left alone with it at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="module")
def compiled_quickly():
    """Programs are compiled with few optimisations: for laws of many that are run once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def as_users_call(monkeypatch):
    """Without the shape checks that only tests have, so that the library's own messages are what a test sees."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
