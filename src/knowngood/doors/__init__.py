"""Ways in: today the command line."""
