-- What one process holds of a tenant's connections, and what the others do.
-- KEYS: the tenant's holders, its counts of today. ARGV: process, held, most since the last time,
-- milliseconds that this is good for, seconds to keep the counts.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local others = 0
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
    local held, till = string.match(entries[i + 1], '(%d+) (%d+)')
    if tonumber(till) < now then
        redis.call('HDEL', KEYS[1], entries[i])
    elseif entries[i] ~= ARGV[1] then
        others = others + tonumber(held)
    end
end
if tonumber(ARGV[2]) > 0 then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now + ARGV[4]))
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
    redis.call('HDEL', KEYS[1], ARGV[1])
end
local peak = others + tonumber(ARGV[3])
if peak > tonumber(redis.call('HGET', KEYS[2], 'connections') or 0) then
    redis.call('HSET', KEYS[2], 'connections', peak)
    redis.call('EXPIRE', KEYS[2], ARGV[5])
end
return others
