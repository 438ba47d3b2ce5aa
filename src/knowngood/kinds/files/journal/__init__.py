"""Journalling of a folder: a file system over it passes everything through, and tells every write."""
