"""Text encoders: one file an architecture, each with its key map."""
