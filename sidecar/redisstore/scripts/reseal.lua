-- Replaces the sealed seed if it is still the given one.
--   KEYS user
--   ARGV generation old sealed
--   {'OK'} {'STALE'}
local user = KEYS[1]
if redis.call('HGET', user, 'g') ~= ARGV[1] then return {'STALE'} end
local seed = redis.call('HGET', user, 's')
if seed == ARGV[3] then return {'OK'} end
if seed ~= ARGV[2] then return {'STALE'} end
redis.call('HSET', user, 's', ARGV[3])
return {'OK'}
