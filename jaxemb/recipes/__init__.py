"""Papers as thin compositions of what the other folders have; each is imported by its own name."""
