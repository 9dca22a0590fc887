"""Ways to keep and search vectors, on real ones."""
