-- Ends any enrolment and clears every counter.
--   KEYS user counters
--   {'OK'}
redis.call('DEL', KEYS[1], KEYS[2])
return {'OK'}
