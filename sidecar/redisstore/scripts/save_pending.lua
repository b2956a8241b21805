-- Keeps a pending secret, unless the user is enrolled.
--   KEYS user pending
--   ARGV sealed ttl(ms)
--   {'OK'} {'ENABLED'}
if redis.call('EXISTS', KEYS[1]) == 1 then return {'ENABLED'} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'OK'}
