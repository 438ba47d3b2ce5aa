"""Redis as a kind of component: a replica that is none receives base and command stream (decision 0018)."""

from knowngood.kinds.redis.kind import redis_kind as redis_kind
