"""What must happen in one atomic step on the server, in its Lua."""

from __future__ import annotations

import hashlib

# KEYS: the stream, then one dedup key for each event. ARGV: the dedup's TTL in seconds, then
# ten values for each event. The answer has one item for each event: '' where it was appended,
# else the id of the event that had this key before. A dedup key holds that id (32 characters) and
# the digest of its body: another body under the same id is appended too, for the database to
# keep as a conflict, and answered as a duplicate.
# XADD comes before SET: where it fails, and where a power cut leaves only a piece of this on disk
# (see CLOSE), no key may claim that an event is there which is not.
APPEND = """
local answers = {}
for i = 2, #KEYS do
  local a = (i - 2) * 10 + 1
  local id, digest = ARGV[a + 1], ARGV[a + 10]
  local earlier = redis.call('GET', KEYS[i])
  if not earlier or (#earlier > 32 and string.sub(earlier, 33) ~= digest) then
    redis.call('XADD', KEYS[1], '*', 'e', id, 's', ARGV[a + 2],
      'k', ARGV[a + 3], 't', ARGV[a + 4], 'c', ARGV[a + 5], 'r', ARGV[a + 6], 'b', ARGV[a + 7],
      'v', ARGV[a + 8], 'q', ARGV[a + 9])
  end
  if not earlier then redis.call('SET', KEYS[i], id .. digest, 'EX', ARGV[1]) end
  answers[i - 1] = earlier and string.sub(earlier, 1, 32) or ''
end
return answers
"""
APPEND_SHA = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()

# For events that were acknowledged under an id of their own before anybody could see that their
# key was known: appended all the same, so that the database leads both ids to one event. KEYS and
# ARGV as above. Another body was appended by the script above.
APPEND_TOLD = """
local answers = {}
for i = 2, #KEYS do
  local a = (i - 2) * 10 + 1
  local known = redis.call('GET', KEYS[i])
  local is_other = known and #known > 32 and string.sub(known, 33) ~= ARGV[a + 10]
  if known and not is_other and string.sub(known, 1, 32) ~= ARGV[a + 1] then
    redis.call('XADD', KEYS[1], '*', 'e', ARGV[a + 1], 's', ARGV[a + 2],
      'k', ARGV[a + 3], 't', ARGV[a + 4], 'c', ARGV[a + 5], 'r', ARGV[a + 6], 'b', ARGV[a + 7],
      'v', ARGV[a + 8], 'q', ARGV[a + 9])
  end
  answers[i - 1] = ''
end
return answers
"""

# Ends a transaction that a power cut has torn. What a script writes lies in the append-only file
# between MULTI and EXEC; of a torn end, Redis 7.0 drops only the last command, and takes what it
# writes next for a part of that transaction: it is lost if there is no EXEC before the next power
# cut. Two writes bring one. Valkey 9.1 drops all of it. KEYS: one that nobody uses.
CLOSE = """
redis.call('SET', KEYS[1], '', 'PX', 1)
return redis.call('DEL', KEYS[1])
"""
CLOSE_KEY = "pipeline:close"

# Drops what every group has settled. KEYS: the stream. One step, because an entry that is
# delivered between a look at the pending ones and the trim would be lost.
TRIM = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local function before(a, b)
  local am, as = a:match('(%d+)-(%d+)')
  local bm, bs = b:match('(%d+)-(%d+)')
  if am ~= bm then return tonumber(am) < tonumber(bm) end
  return tonumber(as) < tonumber(bs)
end
local lowest = nil
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local info = {}
  for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
  local ms, seq = info['last-delivered-id']:match('(%d+)-(%d+)')
  local unsettled = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
  local pending = redis.call('XPENDING', KEYS[1], info['name'])
  if pending[1] > 0 then unsettled = pending[2] end
  if lowest == nil or before(unsettled, lowest) then lowest = unsettled end
end
if lowest == nil then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', lowest)
"""

# Gives entries that were moved aside to the dispatcher again. KEYS: the dead stream, the stream.
# ARGV: how many at most. The answer is how many. One step, so that none is lost or doubled.
UNBURY = """
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
  local fields, kept = entry[2], {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'why' then
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  redis.call('XADD', KEYS[2], '*', unpack(kept))
  redis.call('XDEL', KEYS[1], entry[1])
end
return #entries
"""
