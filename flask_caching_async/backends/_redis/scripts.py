"""The Lua scripts of the Redis backends: what must happen in one step, or in one round trip.

Each takes the keys of one slot of a cluster first: the entry, its key version, its lease. Tag
versions come last, and only where they are sure to be on the same server.

They are sent with EVAL, not EVALSHA: a few hundred bytes cost nothing next to a round trip, the
server has compiled them anyway, and no script can be missing after a restart or a failover.
"""

from __future__ import annotations

__all__ = [
    "ADD",
    "CLAIM",
    "COUNT",
    "DELETE",
    "DELIVER",
    "ENSURE",
    "EXTEND",
    "PUT",
    "RELEASE",
    "RENEW",
    "SWAP",
]

#: What is under a name: something of another type than text is nothing, where GET would fail.
_GET = """
local function get(name)
  return redis.call('MGET', name)[1]
end
"""

#: Let something live for so many milliseconds at least ('0' for ever).
_EXTEND = """
local function extend(name, life)
  local left = redis.call('PTTL', name)
  if left >= 0 and life == '0' then
    redis.call('PERSIST', name)
  elseif left >= 0 and left < tonumber(life) then
    redis.call('PEXPIRE', name, life)
  end
end
"""

#: Store something for so many milliseconds ('0' for ever).
_PUT = """
local function put(name, value, life)
  if life == '0' then
    redis.call('SET', name, value)
  else
    redis.call('SET', name, value, 'PX', life)
  end
end
"""

#: KEYS tag version · ARGV new one, milliseconds to live at least. Gives the one that stands.
ENSURE = f"""{_GET}{_EXTEND}{_PUT}
local found = get(KEYS[1])
if found and #found == 16 and not string.find(found, '[^A-Za-z0-9_-]') then
  extend(KEYS[1], ARGV[2])
  return found
end
put(KEYS[1], ARGV[1], ARGV[2])
return ARGV[1]
"""

#: KEYS tag version · ARGV milliseconds to live at least
EXTEND = f"""{_EXTEND}
extend(KEYS[1], ARGV[1])
return 1
"""

#: KEYS entry, key version · ARGV value, milliseconds, new key version, milliseconds
PUT = f"""{_PUT}
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
put(KEYS[1], ARGV[1], ARGV[2])
return 1
"""

#: Like PUT, unless there is an entry.
ADD = f"""{_GET}
if get(KEYS[1]) then
  return 0
end
{PUT}"""

#: KEYS entry, key version · ARGV new key version, milliseconds. A full server refuses what may need
#: memory, but not in a script that has called for a removal before: so the entry goes first.
DELETE = """
local existed = redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return existed
"""

#: KEYS entry, key version · ARGV new key version, milliseconds, what to add. The sum is text: Lua
#: would round a large number.
COUNT = f"""{_GET}
redis.call('INCRBY', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return get(KEYS[1])
"""

#: KEYS entry, key version · ARGV new key version, milliseconds, what must be there, what to put in
#: its place ('' for nothing); its time goes on
SWAP = f"""{_GET}{_PUT}
if (get(KEYS[1]) or '') ~= ARGV[3] then
  return 0
end
local left = redis.call('PTTL', KEYS[1])
if ARGV[4] == '' then
  redis.call('DEL', KEYS[1])
else
  put(KEYS[1], ARGV[4], left > 0 and tostring(left) or '0')
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""

#: KEYS lease, its unshared holders, entry, key version, tag versions · ARGV token, milliseconds, a
#: witness, milliseconds. Where the key has no version, whoever takes the lease puts a *witness*
#: there, which counts as none. Only a change of the key replaces it; if it is gone when the value
#: comes, then a change may have been evicted with it.
CLAIM = f"""{_GET}
local taken = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if not taken and redis.call('PTTL', KEYS[1]) == -1 then  -- none of ours: each has an end
  taken = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if taken and not get(KEYS[4]) then
  redis.call('SET', KEYS[4], ARGV[3], 'PX', ARGV[4])
end
local holder = taken and ARGV[1] or get(KEYS[1])
return {{taken and 1 or 0, holder, get(KEYS[2]), redis.call('MGET', unpack(KEYS, 3))}}
"""

#: KEYS entry, key version, lease, tag versions · ARGV value, milliseconds, expected key version
#: ('' for none), token of the lease ('' for none), token of a forced computation ('' for none), its
#: milliseconds, those that tag versions must live, the witness ('' for none), expected tag
#: versions. A forced one adds its token to the key version, so that what began before it loses; it
#: takes the place of other forced ones, whose key version begins alike.
DELIVER = f"""{_GET}{_EXTEND}{_PUT}
local found, forced = get(KEYS[2]) or '', ARGV[5] ~= ''
local witness = string.sub(found, 1, 1) == '.' and found or ''
local version = witness == '' and found or ''
local base = string.match(version, '^[^~]*')
local stands = version == ARGV[3] or (forced and base == string.match(ARGV[3], '^[^~]*'))
if version == '' and ARGV[8] ~= '' then
  stands = witness == ARGV[8]
end
for i = 4, #KEYS do
  stands = stands and get(KEYS[i]) == ARGV[i + 5]
end
if stands and forced then
  redis.call('SET', KEYS[2], base .. '~' .. ARGV[5], 'PX', ARGV[6])
elseif stands and witness ~= '' and witness == ARGV[8] then
  redis.call('DEL', KEYS[2])
end
if stands then
  put(KEYS[1], ARGV[1], ARGV[2])
end
for i = 4, stands and #KEYS or 0 do
  extend(KEYS[i], ARGV[7])
end
if ARGV[4] ~= '' and get(KEYS[3]) == ARGV[4] then
  redis.call('DEL', KEYS[3])
end
return stands and 1 or 0
"""

#: KEYS lease, its unshared holders · ARGV token, what to note ('' for nothing), milliseconds
RELEASE = f"""{_GET}
if get(KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return 1
"""

#: KEYS lease · ARGV token, milliseconds
RENEW = f"""{_GET}
if get(KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""
