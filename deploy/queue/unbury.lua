-- Gives buried entries to the dispatcher again: what it could not store, after the cause is mended.
-- KEYS: pipeline:dead, pipeline:events. ARGV: how many at most. The answer is how many.
--   docker compose exec -T queue valkey-cli --eval /dev/stdin pipeline:dead pipeline:events , 100 \
--     < deploy/queue/unbury.lua
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
