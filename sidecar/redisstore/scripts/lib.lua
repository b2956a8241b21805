-- Shared by every script: it is put before each of them, and KEYS[1] before each answer.
--
-- Fields of the counters hash, for each factor:
--   <factor>:n      consecutive failures, attempts in flight among them
--   <factor>:l      no attempt before this time, in ms
--   <factor>:x      the factor is switched off
--   <factor>:d<day> failures of that day, counted from 1970; 30 days matter

local DAY = 86400
local WINDOW = 30
-- The counters outlive the last day that matters.
local KEEP = (WINDOW + 1) * DAY * 1000

-- Lua would write large numbers with an exponent.
local function whole(n) return string.format('%.0f', n) end

local function clock()
  local t = redis.call('TIME')
  local seconds = tonumber(t[1])
  return seconds * 1000 + math.floor(tonumber(t[2]) / 1000), math.floor(seconds / DAY)
end

-- keep lets the counters be forgotten, unless a factor is switched off.
local function keep(counters)
  for _, field in ipairs(redis.call('HKEYS', counters)) do
    if string.sub(field, -2) == ':x' then
      redis.call('PERSIST', counters)
      return
    end
  end
  redis.call('PEXPIRE', counters, KEEP)
end

-- unfail takes back one failure from the days; an attempt may end a day later.
local function unfail(counters, factor)
  local _, today = clock()
  for day = today, today - 1, -1 do
    local field = factor .. ':d' .. whole(day)
    local n = tonumber(redis.call('HGET', counters, field) or 0)
    if n > 1 then
      redis.call('HINCRBY', counters, field, -1)
      return
    elseif n == 1 then
      redis.call('HDEL', counters, field)
      return
    end
  end
end

-- forgive is what a success earns its factor. It may clear :x, because nothing
-- begins once that is set: the success began before, so the failure that set it
-- was this success.
local function forgive(counters, factor)
  redis.call('HDEL', counters, factor .. ':n', factor .. ':l', factor .. ':x')
  unfail(counters, factor)
  keep(counters)
end

-- forget drops everything counted against a factor.
local function forget(counters, factor)
  for _, field in ipairs(redis.call('HKEYS', counters)) do
    if string.sub(field, 1, #factor + 1) == factor .. ':' then
      redis.call('HDEL', counters, field)
    end
  end
  keep(counters)
end

-- granted tells whether this very grant was stored before: the client repeats a
-- script whose answer was lost on the way.
local function granted(key, ttl, value)
  return ttl ~= '0' and redis.call('GET', key) == value
end

-- grant stores a verified sign-in, unless ttl is 0, and drops the one it succeeds.
local function grant(key, replaced, ttl, value)
  if replaced ~= key then redis.call('DEL', replaced) end
  if ttl ~= '0' then redis.call('SET', key, value, 'PX', ttl) end
end
