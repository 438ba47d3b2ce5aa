"""The place that holds timelines: packs, index, commits, collection, checking and rebuilding."""
