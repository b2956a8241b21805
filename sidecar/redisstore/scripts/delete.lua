-- Ends an enrolment and clears what is counted against the password gate. What
-- is counted against the codes stays: enrolling again wins no new guesses.
--   KEYS user counters
--   ARGV generation
--   {'OK'} {'STALE'}
if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] then return {'STALE'} end
redis.call('DEL', KEYS[1])
forget(KEYS[2], 'password')
return {'OK'}
