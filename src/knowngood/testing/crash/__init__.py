"""The crash machine: records what a run does to a disk, and makes every state that a power cut may leave of it."""
