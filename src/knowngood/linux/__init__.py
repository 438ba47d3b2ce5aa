"""The edge to the kernel: what Linux offers and Python does not wrap. Bytes in and out; `wire/` says what they mean."""
