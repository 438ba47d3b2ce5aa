"""From names that may have changed to log records, and to checkpoints that cost what changed since the last one."""
