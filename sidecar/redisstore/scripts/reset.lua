-- Ends any enrolment and clears every counter.
--   KEYS user counters
--   ARGV confirmed by, in seconds; '' for any enrolment
--   {'OK', 1 where there was an enrolment, else 0} {'NEWER'}
local confirmed = tonumber(redis.call('HGET', KEYS[1], 'a') or nil)
if ARGV[1] ~= '' and confirmed and confirmed > tonumber(ARGV[1]) then return {'NEWER'} end
local ended = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[2])
return {'OK', ended}
