"""What must happen in one atomic step on the server, in its Lua."""

from __future__ import annotations

import hashlib

# KEYS: the stream, then one dedup key for each event. ARGV: the dedup's TTL in seconds, then two
# for each event: its mark and its entry (`entries.pack`). The mark is the event's id (32
# characters) and the digest of its body. The answer has one item for each event: '' where it was
# appended, else the id of the event that had this key before. A dedup key holds the mark of its
# event: another body under the same id is appended too, for the database to keep as a conflict,
# and answered as a duplicate.
# XADD comes before SET: where it fails, and where a power cut leaves only a piece of this on disk
# (see CLOSE), no key may claim that an event is there which is not.
# One MGET for all: a call from Lua costs the server as much as what it does (measured).
APPEND = """
local answers, new = {}, {}
local known = redis.call('MGET', unpack(KEYS, 2))
for i, found in ipairs(known) do
  local key, mark, entry = KEYS[i + 1], ARGV[i * 2], ARGV[i * 2 + 1]
  local earlier = found or new[key]
  if not earlier then
    redis.call('XADD', KEYS[1], '*', 'm', entry)
    redis.call('SET', key, mark, 'EX', ARGV[1])
    new[key] = mark
    answers[i] = ''
  else
    if #earlier > 32 and string.sub(earlier, 33) ~= string.sub(mark, 33) then
      redis.call('XADD', KEYS[1], '*', 'm', entry)
    end
    answers[i] = string.sub(earlier, 1, 32)
  end
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
  local mark, entry = ARGV[i * 2 - 2], ARGV[i * 2 - 1]
  local known = redis.call('GET', KEYS[i])
  local is_other = known and #known > 32 and string.sub(known, 33) ~= string.sub(mark, 33)
  if known and not is_other and string.sub(known, 1, 32) ~= string.sub(mark, 1, 32) then
    redis.call('XADD', KEYS[1], '*', 'm', entry)
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
