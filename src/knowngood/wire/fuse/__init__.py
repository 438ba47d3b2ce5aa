"""The kernel's protocol for file systems in programs (FUSE): requests as bytes in, typed requests out; replies back.

Layouts are those of <linux/fuse.h>, protocol 7.31 and newer. Numbers are in the machine's byte order, and everything is
padded to 64 bits. Nothing here assumes a file system that only reads: the table of requests is whole.
"""
