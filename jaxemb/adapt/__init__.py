"""Finished vectors to another space of their own: what a sample of them says about all."""

from jaxemb.adapt.independent import fast_ica
from jaxemb.adapt.whiten import pca_whitening, zca_whitening

__all__ = ["fast_ica", "pca_whitening", "zca_whitening"]
