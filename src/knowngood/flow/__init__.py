"""The story, one file per verb: protect, recover, tidy."""
