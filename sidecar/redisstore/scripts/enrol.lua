-- Turns a pending secret into an enrolment: compare and set. It spends the ticket.
--   KEYS user pending ticket sign-in replaced
--   ARGV sealed ticket generation ttl(ms) value, fields and values of the record; ticket '' for none
--   {'OK'} {'ENABLED'} {'NOPENDING'} {'NOTICKET'}
local user = KEYS[1]
if redis.call('HGET', user, 'g') == ARGV[3] then return {'OK'} end
if redis.call('EXISTS', user) == 1 then return {'ENABLED'} end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'NOPENDING'} end
if ARGV[2] ~= '' then
  if redis.call('GET', KEYS[3]) ~= ARGV[2] then return {'NOTICKET'} end
  redis.call('DEL', KEYS[3])
end
redis.call('HSET', user, unpack(ARGV, 6))
redis.call('DEL', KEYS[2])
grant(KEYS[4], KEYS[5], ARGV[4], ARGV[5])
return {'OK'}
