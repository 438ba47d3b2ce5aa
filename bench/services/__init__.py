"""Databases and files under load: how soon commits are safe, how long a hold is, what it costs, how it comes back."""
