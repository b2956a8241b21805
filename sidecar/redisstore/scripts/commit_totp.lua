-- Accepts a time step later than every accepted one.
--   KEYS user counters sign-in replaced
--   ARGV generation step ttl(ms) value
--   {'OK'} {'STALE'} {'REPLAYED'}
local user = KEYS[1]
if redis.call('HGET', user, 'g') ~= ARGV[1] then return {'STALE'} end
local step, last = tonumber(ARGV[2]), tonumber(redis.call('HGET', user, 't'))
if step <= last then
  if step == last and granted(KEYS[3], ARGV[3], ARGV[4]) then return {'OK'} end
  return {'REPLAYED'}
end
redis.call('HSET', user, 't', ARGV[2])
forgive(KEYS[2], 'totp')
grant(KEYS[3], KEYS[4], ARGV[3], ARGV[4])
return {'OK'}
