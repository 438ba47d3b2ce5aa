"""What the kinds of databases share: a base, and the server's own log behind it, as files of a tree (decision 0018).

The bytes of the log are kept as the server writes them, in files that the server itself can read at recovery.
"""
