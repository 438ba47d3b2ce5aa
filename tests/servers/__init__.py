"""Real servers for tests, one module per kind: private, unprivileged, ended for sure."""
