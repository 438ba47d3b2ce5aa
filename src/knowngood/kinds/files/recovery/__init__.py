"""From a checkpoint back to a tree on disk: a plan that changes nothing, and its execution."""
