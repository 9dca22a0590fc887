import numpy as np
import pytest


@pytest.fixture(scope="session")
def clustered():
    """Unit vectors round centres, off the origin: what finished embeddings look like."""

    def made(n, d, seed=0):
        draw = np.random.default_rng(seed)
        centres = draw.normal(size=(n // 20, d))
        spread = centres[draw.integers(0, len(centres), n)] + 0.7 * draw.normal(size=(n, d)) + draw.normal(size=d)
        return (spread / np.linalg.norm(spread, axis=1, keepdims=True)).astype(np.float32)

    return made
