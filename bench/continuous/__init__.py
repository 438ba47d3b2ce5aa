"""What following costs and how soon it is safe: the figures of the record, against what is asked of them."""
