"""The shape of a checkpoint: entries in blocks, blocks in pages, pages in a tree. Pure: nothing here opens a file."""
