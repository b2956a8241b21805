-- Turns a pending secret into an enrolment: compare and set.
--   KEYS user pending sign-in replaced
--   ARGV sealed generation ttl(ms) value, fields and values of the record
--   {'OK'} {'ENABLED'} {'NOPENDING'}
local user = KEYS[1]
if redis.call('HGET', user, 'g') == ARGV[2] then return {'OK'} end
if redis.call('EXISTS', user) == 1 then return {'ENABLED'} end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'NOPENDING'} end
redis.call('HSET', user, unpack(ARGV, 5))
redis.call('DEL', KEYS[2])
grant(KEYS[3], KEYS[4], ARGV[3], ARGV[4])
return {'OK'}
