"""The limits' arithmetic, as scripts of the queue server: by its clock, one step for all workers.

A lane's hash holds times in seconds: `rq` and `tk` when the calls and tokens taken so far will have
grown back, `book` the next free appointment, `late` the same for those who came and found no room,
`paused` until when the provider wants no call, `cut` and `share` when a 429 lowered the rate and to
which share, `mean` how long a call takes, `ratio` which part of its tokens it uses, `last` when one
left.

Who finds no room gets an appointment instead of a mere refusal: a thousand events that wait come
back one after the other, at the pace at which they may go, and not all at once.
"""

from __future__ import annotations

from apps.streams.atomic import Script

# A minute and a little: two calls may come nearer to each other on their way to the provider.
WINDOW_S = 61
RECOVERY_PER_S = 1 / 600  # of the whole rate: half of it is back after five minutes
LEAST_SHARE = 0.05
KEEP_S = 86_400
TICKET_KEPT_S = 600  # who does not come to an appointment for so long begins anew

# Calls: one second's worth at once, then evenly. With u = 61 / (n - burst + 1) no minute sees more
# than n. Tokens: a call waits until those before it have grown back, at a rate that leaves room
# for itself, so that no minute sees more than the limit either. A call that is larger than the
# whole limit goes alone.
RATES = f"""
local function get_call_unit(rpm)
  local burst = math.max(1, math.floor(rpm / 60))
  return {WINDOW_S} / (rpm - burst + 1), burst
end
local function get_token_unit(tpm, tokens)
  return {WINDOW_S + 1} / math.max(tpm - tokens, tpm / 2)
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local function note(...)
  local fields = {{...}}
  for i = 2, #fields, 2 do fields[i] = string.format('%.6f', fields[i]) end
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('EXPIRE', KEYS[1], {KEEP_S})
end
local state = {{}}
local names = {{'rq', 'tk', 'book', 'late', 'paused',
  'base', 'share', 'cut', 'mean', 'last', 'ratio'}}
local values = redis.call('HMGET', KEYS[1], unpack(names))
for i, name in ipairs(names) do state[name] = tonumber(values[i]) or 0 end
local share = 1
if state.cut > 0 then
  share = math.min(1, state.share + (now - state.cut) * {RECOVERY_PER_S})
end
"""

# KEYS: lane, appointments, seats. ARGV: event, tokens, calls a minute, tokens a minute, calls at
# once, seat, seconds a seat is held at most. {1, server's time} or {0, seconds to
# wait, seconds that the provider wants no call for}.
TAKE = Script(
    RATES
    + f"""
local tokens, seats = tonumber(ARGV[2]), tonumber(ARGV[5])
local rpm, tpm = tonumber(ARGV[3]), tonumber(ARGV[4]) * share
if share < 1 then rpm = (rpm > 0 and rpm or state.base) * share end
local at = string.format('%.6f', now)
if rpm == 0 and tpm == 0 and seats == 0 and state.paused <= now then return {{1, at}} end

local ready, unit, burst, need = state.paused, 0, 1, 0
if rpm > 0 then
  unit, burst = get_call_unit(rpm)
  ready = math.max(ready, state.rq - (burst - 1) * unit)
end
if tpm > 0 then
  need = tokens * get_token_unit(tpm, tokens)
  ready = math.max(ready, state.tk + need - math.max(need, 1))
end
-- Appointments go by what calls really use; whether there is room then is asked then.
local spacing = math.max(unit, need * (state.ratio > 0 and state.ratio or 1), 0.001)
if seats > 0 then
  local gap = (state.mean > 0 and state.mean or 1) / seats
  spacing = math.max(spacing, 0.7 * gap)
  if redis.call('ZCOUNT', KEYS[3], '(' .. at, '+inf') >= seats then
    ready = math.max(ready, now + gap)
  end
end

local ticket = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]))
local is_due = ticket and ticket <= now + 0.05
-- Nobody came for a while: what is booked was given up, or was booked at a slower pace.
local is_idle = math.max(ready, state.last) <= now - math.max(spacing, 2)
if ready <= now and (is_due or state.book <= now or is_idle) then
  note('rq', rpm > 0 and math.max(state.rq, now) + unit or state.rq,
    'tk', tpm > 0 and math.max(state.tk, now) + need or state.tk, 'last', now)
  if seats > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', at)
    redis.call('ZADD', KEYS[3], string.format('%.6f', now + tonumber(ARGV[7])), ARGV[6])
    redis.call('EXPIRE', KEYS[3], {KEEP_S})
  end
  if ticket then redis.call('ZREM', KEYS[2], ARGV[1]) end
  return {{1, at}}
end

local turn
if ticket and not is_due then
  turn = ticket
elseif ticket then
  -- Before all who have not come yet; those who book from now on stand one further back.
  turn = math.max(state.late, ready, now)
  note('late', turn + spacing, 'book', math.max(state.book, now) + spacing)
else
  turn = math.max(state.book, ready, now)
  note('book', turn + spacing)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now - {TICKET_KEPT_S}))
redis.call('ZADD', KEYS[2], string.format('%.6f', turn), ARGV[1])
redis.call('EXPIRE', KEYS[2], {KEEP_S})
return {{0, string.format('%.3f', turn - now), string.format('%.3f', state.paused - now)}}
"""
)

# KEYS: as above. ARGV: seat, seconds it is held from now on. Where it had ended, and others sit on
# all seats, the call goes on all the same.
RENEW = Script(f"""
local clock = redis.call('TIME')
local ends = tonumber(clock[1]) + tonumber(clock[2]) / 1000000 + tonumber(ARGV[2])
redis.call('ZADD', KEYS[3], string.format('%.6f', ends), ARGV[1])
redis.call('EXPIRE', KEYS[3], {KEEP_S})
""")

# KEYS: as above. ARGV: seat, tokens taken, tokens used, calls a minute, tokens a minute, 1 where
# the call never left, its seconds (0: not known), pause in seconds, 1 where it was answered 429,
# server's time when it was let go, calls a minute that went until now, event.
SETTLE = Script(
    RATES
    + f"""
local taken, used = tonumber(ARGV[2]), tonumber(ARGV[3])
local rpm, tpm = tonumber(ARGV[4]), tonumber(ARGV[5])
local seconds, pause = tonumber(ARGV[7]), tonumber(ARGV[8])
redis.call('ZREM', KEYS[3], ARGV[1])
if tpm > 0 then
  note('tk', state.tk + (used - taken) * get_token_unit(tpm, taken))
  if used > 0 and taken > 0 then
    note('ratio', 0.9 * (state.ratio > 0 and state.ratio or 1) + 0.1 * math.min(1, used / taken))
  end
end
if ARGV[6] == '1' and rpm > 0 then note('rq', state.rq - get_call_unit(rpm)) end
if seconds > 0 then
  note('mean', state.mean > 0 and 0.8 * state.mean + 0.2 * seconds or seconds)
end
if pause > 0 then note('paused', math.max(state.paused, now + pause)) end
if ARGV[9] == '1' then
  -- Once for all calls that were under way together: they met the same limit.
  if tonumber(ARGV[10]) > state.cut then
    note('cut', now, 'share', math.max({LEAST_SHARE}, share / 2),
      'base', share < 1 and state.base or tonumber(ARGV[11]))
  end
  redis.call('ZADD', KEYS[2], string.format('%.6f', now + pause), ARGV[12])
  redis.call('EXPIRE', KEYS[2], {KEEP_S})
end
"""
)
