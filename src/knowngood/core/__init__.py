"""The vocabulary: ids, instants, sizes, errors, the model and the ports. No input or output happens here."""
