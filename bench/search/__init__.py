"""How fast one query finds its neighbours, by how many bytes, in one run: `python -m bench.search`, from the root."""
