"""Codes are packed as `jaxemb.packed` does."""

from jaxemb.packed import pack, packed_bytes, unpack

__all__ = ["pack", "packed_bytes", "unpack"]
