"""Where a vault's bytes lie. Every store meets the same port and passes the same contract suite."""
