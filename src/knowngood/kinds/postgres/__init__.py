"""PostgreSQL as a kind of component: base backup and write-ahead log over the replication protocol (decision 0019)."""

from knowngood.kinds.postgres.kind import postgres_kind as postgres_kind
