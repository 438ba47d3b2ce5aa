"""SQLite as a kind of component: the frames of its write-ahead log become page writes of the database file.

Nothing is imported here: the warden is a process of its own, and is to stay small.
"""
