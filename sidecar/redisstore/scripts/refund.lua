-- Takes back an attempt that could not be judged, with the wait and the switching
-- off that it brought.
--   KEYS counters
--   ARGV factor
--   {'OK'}
local counters, factor = KEYS[1], ARGV[1]
local n = tonumber(redis.call('HGET', counters, factor .. ':n') or 0)
if n > 0 then
  redis.call('HINCRBY', counters, factor .. ':n', -1)
  redis.call('HDEL', counters, factor .. ':l', factor .. ':x')
  unfail(counters, factor)
  keep(counters)
end
return {'OK'}
