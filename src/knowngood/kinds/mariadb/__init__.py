"""MariaDB as a kind of component: mariabackup's base and the binary log, byte for byte (decision 0018)."""

from knowngood.kinds.mariadb.kind import mariadb_kind as mariadb_kind
