-- Reads the record and, if it is asked for, one verified sign-in as of one moment.
--   KEYS user [sign-in]
--   {fields and values of the record, value of the sign-in or nil}
local sign_in = false
if KEYS[2] then sign_in = redis.call('GET', KEYS[2]) end
return {redis.call('HGETALL', KEYS[1]), sign_in}
