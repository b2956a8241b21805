-- Puts a new set of recovery codes and a new generation in place of the old ones.
--   KEYS user sign-in replaced
--   ARGV generation next ttl(ms) value, fields and values of the codes
--   {'OK'} {'STALE'}
local user = KEYS[1]
local generation = redis.call('HGET', user, 'g')
if generation == ARGV[2] then return {'OK'} end
if generation ~= ARGV[1] then return {'STALE'} end
for _, field in ipairs(redis.call('HKEYS', user)) do
  if string.match(field, '^%d+$') then redis.call('HDEL', user, field) end
end
redis.call('HSET', user, 'g', ARGV[2], unpack(ARGV, 5))
grant(KEYS[2], KEYS[3], ARGV[3], ARGV[4])
return {'OK'}
