-- Reserves one attempt at a factor before anything is judged: it counts as a
-- failure until it turns out to be a success. A rejected attempt counts nothing.
--   KEYS user counters
--   ARGV factor free hard-cap rolling-cap, waits(ms)…; 0 switches a bound off
--   {'OK', fields and values of the record} {'ABSENT'} {'DISABLED'} {'LOCKED', ms left}
local record = redis.call('HGETALL', KEYS[1])
if #record == 0 then return {'ABSENT'} end

local counters, factor = KEYS[2], ARGV[1]
local free, hard, rolling = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, today = clock()
if redis.call('HEXISTS', counters, factor .. ':x') == 1 then return {'DISABLED'} end
local locked = tonumber(redis.call('HGET', counters, factor .. ':l') or 0)
if locked > now then return {'LOCKED', locked - now} end

-- Days that no longer matter go, of whatever factor.
local failures = 1
local fields = redis.call('HGETALL', counters)
for i = 1, #fields, 2 do
  local of, day = string.match(fields[i], '^(%l+):d(%d+)$')
  if day and tonumber(day) < today - WINDOW then
    redis.call('HDEL', counters, fields[i])
  elseif of == factor then
    failures = failures + tonumber(fields[i + 1])
  end
end

redis.call('HINCRBY', counters, factor .. ':d' .. whole(today), 1)
local consecutive = redis.call('HINCRBY', counters, factor .. ':n', 1)
if free > 0 and consecutive >= free and #ARGV > 4 then
  local wait = tonumber(ARGV[math.min(5 + consecutive - free, #ARGV)])
  redis.call('HSET', counters, factor .. ':l', whole(now + wait))
end
if (hard > 0 and consecutive >= hard) or (rolling > 0 and failures >= rolling) then
  redis.call('HSET', counters, factor .. ':x', 1)
end
keep(counters)
return {'OK', record}
