"""Image encoders: pixels to vectors, in the same shape as text encoders."""
