"""The Lua scripts of the Redis backends: what must happen in one step, or in one round trip.

Each takes the keys of one slot of a cluster first: the entry, its key version, its lease. Tag
versions come last, and only where they are sure to be on the same server.

They are sent with EVAL, not EVALSHA: a few hundred bytes cost nothing next to a round trip, the
server has compiled them anyway, and no script can be missing after a restart or a failover.
"""

from __future__ import annotations

__all__ = ["ADD", "CLAIM", "DELIVER", "PUT", "RELEASE", "RENEW", "SWAP"]

#: KEYS entry, key version · ARGV value, milliseconds (0 for ever), new key version, milliseconds
PUT = """
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
"""

#: Like PUT, unless there is an entry.
ADD = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
""" + PUT.lstrip()

#: KEYS entry · ARGV what must be there, what to put in its place ('' for nothing); its time goes on
SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
local left = redis.call('PTTL', KEYS[1])
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif left > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
"""

#: KEYS lease, its unshared holders, entry, key version, tag versions · ARGV token, milliseconds
CLAIM = """
local taken = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
local holder = taken and ARGV[1] or redis.call('GET', KEYS[1])
local unshared = redis.call('GET', KEYS[2])
return {taken and 1 or 0, holder, unshared, redis.call('MGET', unpack(KEYS, 3))}
"""

#: KEYS entry, key version, lease, tag versions · ARGV value, milliseconds, expected key version
#: ('' for none), token of the lease ('' for none), token of a forced computation ('' for none), its
#: milliseconds, expected tag versions. A forced one adds its token to the key version, so that what
#: began before it loses; it takes the place of other forced ones, whose key version begins alike.
DELIVER = """
local version, forced = redis.call('GET', KEYS[2]) or '', ARGV[5] ~= ''
local base = string.match(version, '^[^~]*')
local stands = version == ARGV[3] or (forced and base == string.match(ARGV[3], '^[^~]*'))
for i = 4, #KEYS do
  stands = stands and redis.call('GET', KEYS[i]) == ARGV[i + 3]
end
if stands and forced then
  redis.call('SET', KEYS[2], base .. '~' .. ARGV[5], 'PX', ARGV[6])
end
if stands and ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
elseif stands then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if ARGV[4] ~= '' and redis.call('GET', KEYS[3]) == ARGV[4] then
  redis.call('DEL', KEYS[3])
end
return stands and 1 or 0
"""

#: KEYS lease, its unshared holders · ARGV token, what to note ('' for nothing), milliseconds
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return 1
"""

#: KEYS lease · ARGV token, milliseconds
RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""
