"""The Lua scripts that run on the Redis server: each checks the log and acts in one step.

KEYS are the stream and the hash with the metadata; ARGV[1] is the stored metadata, by which a
script knows that the log is still the one that this node connected to.
"""

from typing import Final

from signalbox.server.engines.redis.errors import FOREIGN, REPLACED

_LAST: Final = """
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
end
"""
FIND_OR_CREATE: Final = f"""
local metadata = redis.call('HGET', KEYS[2], 'foundation')
if not metadata then
    if ARGV[1] == '' then return {{}} end
    if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('{FOREIGN}') end
    redis.call('HSET', KEYS[2], 'foundation', ARGV[1])
    metadata = ARGV[1]
end
{_LAST}
return {{metadata, last}}
"""
"""Returns the metadata and the last entry's id; nothing where there is no log and none is given."""
CHECK_LOG: Final = f"""
if redis.call('HGET', KEYS[2], 'foundation') ~= ARGV[1] then
    return redis.error_reply('{REPLACED}')
end
"""
APPEND: Final = f"""
{CHECK_LOG} {_LAST}
if last ~= ARGV[2] .. '-0' then return last end
for i = 3, #ARGV do
    redis.call('XADD', KEYS[1], string.format('%.0f-0', tonumber(ARGV[2]) + i - 2), 't', ARGV[i])
end
return ''
"""
"""ARGV[2] is the expected revision, the others are transactions. Returns the last entry's id where
that is another. Revisions stay below 2**53, up to which Lua's numbers are exact."""
READ: Final = f"""
{CHECK_LOG}
local found, size, at = {{}}, 0, ARGV[2] .. '-0'
while #found < tonumber(ARGV[3]) and size < tonumber(ARGV[4]) do
    local entry = redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', 1)[1]
    if not entry then break end
    at = entry[1]
    found[#found + 1] = entry
    size = size + #entry[2][2]
end
return found
"""
"""ARGV are a revision, and the most entries and bytes after it to be returned."""
LAST_ID: Final = f"""
{CHECK_LOG} {_LAST}
return last
"""
CONFIRM_LAST_ID: Final = f"""
{CHECK_LOG} {_LAST}
redis.call('HSET', KEYS[2], 'asked', last)
return last
"""
"""As `LAST_ID`. It writes, since only that proves that this server still decides: a replica takes
no writes, nor does a master that lacks the replicas of its `min-replicas-to-write`."""
