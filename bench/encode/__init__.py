"""How fast texts become vectors, here and elsewhere, in one run: `python -m bench.encode`, from the root."""
