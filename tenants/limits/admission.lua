-- Lets one request in or not, in one step: no two processes count past each other.
-- KEYS: bucket, requests in flight. ARGV: microseconds a request (0: any rate), burst,
-- most in flight (0: any number), this request's lease, how long it lasts in milliseconds.
-- Returns {outcome (0 in, 1 rate, 2 in flight), microseconds to wait, left, microseconds to full}.
-- The clock is this server's: those of the processes decide nothing. See bucket.py.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local burst = tonumber(ARGV[2])
local most = tonumber(ARGV[3])
local lease = tonumber(ARGV[5])
local left, due = 0, now

if interval > 0 then
    local window = interval * burst
    local before = tonumber(redis.call('GET', KEYS[1]) or '0')
    local start = math.max(before, now)
    if start > now + window then
        start = now + window - interval
    end
    local over = start + interval - now - window
    if over > 0 then
        return {1, over, 0, start - now}
    end
    left = math.floor(-over / interval)
    due = start + interval
end
if most > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
    if redis.call('ZCARD', KEYS[2]) >= most then
        return {2, 0, left, due - now}
    end
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease * 1000), ARGV[4])
    redis.call('PEXPIRE', KEYS[2], lease)
end
if interval > 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
end
return {0, 0, left, due - now}
