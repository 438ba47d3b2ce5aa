"""The command line: words in, verbs called, answers for people or, with --json, for programs."""
