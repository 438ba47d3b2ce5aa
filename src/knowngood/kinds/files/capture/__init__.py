"""From a tree on disk to a checkpoint: what has not changed is taken over, what has is read and poured into a sink."""
