"""Bytes in, sealed bytes out, and back: cut, name, compress, encrypt. Pure: nothing here opens a file."""
