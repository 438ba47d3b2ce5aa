"""Protocols as bytes in, events out. Nothing here opens a file or a socket."""
