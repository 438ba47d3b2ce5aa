"""Benchmark kit: Knowngood and its peers side by side on the same data."""
