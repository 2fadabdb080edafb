-- One queue of many lanes, a lane a tenant, served in turn. Each command runs as a whole.
--
-- KEYS[1] the queue. It is also a list on which idle workers wait: its one token says that a
-- lane has its turn. Beside it:
--   :turns (list) lanes whose turn comes · :queued (set) the lanes in it · :lanes (set) lanes
--   with messages · :lane:<lane> (list) `<tag>|<message>` · :running:<lane> (set) tags that
--   workers hold · :limits (hash) how many a lane may have running, where its plan says so ·
--   :later (sorted set) `<lane>|<tag>|<message>` by the time they are due.
-- KEYS[2] unacked (hash), KEYS[3] unacked_index (sorted set): kombu's own books.
-- KEYS[4] taken (hash): `<lane>|<queue>` of each tag that a worker holds, for all queues.
local unacked, index, taken = KEYS[2], KEYS[3], KEYS[4]
local command, cap, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function split(text)
  local bar = string.find(text, "|", 1, true)
  return string.sub(text, 1, bar - 1), string.sub(text, bar + 1)
end

local function key(queue, kind, lane) return queue .. ":" .. kind .. ":" .. lane end

local function ring(queue)
  if redis.call("LLEN", queue) == 0 then redis.call("LPUSH", queue, "1") end
end

local function has_room(queue, lane)
  local most = tonumber(redis.call("HGET", queue .. ":limits", lane)) or cap
  return lane == "-" or most <= 0 or redis.call("SCARD", key(queue, "running", lane)) < most
end

-- A lane has a turn while it has messages and fewer running than allowed.
local function queue_up(queue, lane)
  if redis.call("LLEN", key(queue, "lane", lane)) == 0 or not has_room(queue, lane) then return end
  if redis.call("SADD", queue .. ":queued", lane) == 1 then
    redis.call("RPUSH", queue .. ":turns", lane)
  end
  ring(queue)
end

local function add(queue, lane, entry, first)
  redis.call(first and "RPUSH" or "LPUSH", key(queue, "lane", lane), entry)
  redis.call("SADD", queue .. ":lanes", lane)
  queue_up(queue, lane)
end

local function release(tag)
  redis.call("ZREM", index, tag)
  redis.call("HDEL", unacked, tag)
  local place = redis.call("HGET", taken, tag)
  if place then
    local lane, queue = split(place)
    redis.call("HDEL", taken, tag)
    redis.call("SREM", key(queue, "running", lane), tag)
    queue_up(queue, lane)
  end
end

local function take(queue)
  local due = redis.call("ZRANGEBYSCORE", queue .. ":later", "-inf", now, "LIMIT", 0, 100)
  for _, member in ipairs(due) do
    redis.call("ZREM", queue .. ":later", member)
    local lane, entry = split(member)
    add(queue, lane, entry, false)
  end
  while true do
    local lane = redis.call("LPOP", queue .. ":turns")
    if not lane then return false end
    redis.call("SREM", queue .. ":queued", lane)
    -- Without room its turn comes when one of its tasks ends.
    local entry = has_room(queue, lane) and redis.call("RPOP", key(queue, "lane", lane))
    if entry then
      local tag, message = split(entry)
      redis.call("HSET", taken, tag, lane .. "|" .. queue)
      redis.call("SADD", key(queue, "running", lane), tag)
      -- Held from this moment on: a worker that dies now loses nothing.
      redis.call("HSET", unacked, tag, "[" .. message .. ", \"\", " .. ARGV[4] .. "]")
      redis.call("ZADD", index, now, tag)
      if redis.call("LLEN", key(queue, "lane", lane)) == 0 then
        redis.call("SREM", queue .. ":lanes", lane)
      end
      queue_up(queue, lane)
      if redis.call("LLEN", queue .. ":turns") > 0 then ring(queue) end
      return message
    end
  end
end

local queue = KEYS[1]
if command == "take" then
  return take(queue)
elseif command == "put" then
  local lane, entry, due, first = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == "first"
  if ARGV[8] == "" then
    redis.call("HDEL", queue .. ":limits", lane)
  else
    redis.call("HSET", queue .. ":limits", lane, ARGV[8])
  end
  if due > now then
    redis.call("ZADD", queue .. ":later", due, lane .. "|" .. entry)
  else
    add(queue, lane, entry, first)
  end
elseif command == "release" then
  release(ARGV[4])
elseif command == "size" or command == "purge" then
  local size = redis.call("ZCARD", queue .. ":later")
  for _, lane in ipairs(redis.call("SMEMBERS", queue .. ":lanes")) do
    size = size + redis.call("LLEN", key(queue, "lane", lane))
    if command == "purge" then redis.call("DEL", key(queue, "lane", lane)) end
  end
  if command == "purge" then
    for _, kind in ipairs({"", ":turns", ":queued", ":lanes", ":later"}) do
      redis.call("DEL", queue .. kind)
    end
  end
  return size
end
return false
