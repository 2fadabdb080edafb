-- Adds to what a tenant's files take, unless they would take more than is left.
-- KEYS: what the tenant holds. ARGV: bytes (less than 0: given back), how many are allowed ('': any
-- number), seconds to keep it.
local held = redis.call('HMGET', KEYS[1], 'bytes', 'files')
local files = tonumber(held[2] or 0)
local used = tonumber(held[1] or 0) + files
local more = tonumber(ARGV[1])
if more > 0 and ARGV[2] ~= '' and used + more > tonumber(ARGV[2]) then
    return {0, used}
end
redis.call('HSET', KEYS[1], 'files', math.max(0, files + more))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {1, used + more}
