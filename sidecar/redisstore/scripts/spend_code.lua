-- Spends a recovery code. Who holds one may use the TOTP factor again, with a
-- clean slate if it was switched off.
--   KEYS user counters sign-in replaced
--   ARGV generation index ttl(ms) value
--   {'OK', codes left} {'STALE'} {'SPENT'}
local user, counters = KEYS[1], KEYS[2]
if redis.call('HGET', user, 'g') ~= ARGV[1] then return {'STALE'} end
if redis.call('HDEL', user, ARGV[2]) == 1 then
  forgive(counters, 'recovery')
  if redis.call('HEXISTS', counters, 'totp:x') == 1 then
    forget(counters, 'totp')
  else
    redis.call('HDEL', counters, 'totp:n', 'totp:l')
  end
  grant(KEYS[3], KEYS[4], ARGV[3], ARGV[4])
elseif not granted(KEYS[3], ARGV[3], ARGV[4]) then
  return {'SPENT'}
end
local left = 0
for _, field in ipairs(redis.call('HKEYS', user)) do
  if string.match(field, '^%d+$') then left = left + 1 end
end
return {'OK', left}
