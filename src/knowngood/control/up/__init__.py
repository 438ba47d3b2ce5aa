"""The process that keeps the promises: `knowngood up`, what it answers on its socket, and what followers plug into."""
