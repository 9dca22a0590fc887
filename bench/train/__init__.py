"""How fast encoders learn and in how much memory, here and elsewhere: `python -m bench.train`, from the root."""
