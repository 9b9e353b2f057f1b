-- Put in front of the scripts of executions. KEYS[1] is the hash of an execution, KEYS[2] that of its results by task.
-- In the first, the field without a name is the execution: state (running or over), id of the call that made it so, ttl
-- (us), end (us), bytes of results. Every other field is a task: state (begun, abandoned or done), attempts, end of its
-- lease (us), id of the call that made it so. 0 stands for no time.
local function execution(time)
  local text = redis.call('HGET', KEYS[1], '') or ''
  local state, id, ttl, ends, bytes = string.match(text, '^(%l+) (%x+) (%d+) (%d+) (%d+)$')
  ends = tonumber(ends)
  if state and (ends == 0 or ends > time) then
    return {state = state, id = id, ttl = tonumber(ttl), ends = ends, bytes = tonumber(bytes)}
  end
end
local function running(time)
  local found = execution(time)
  if found and found.state == 'running' then
    return found
  end
end
-- Writes down what an execution is; it lives on from now.
local function keep(found, time)
  found.ends = found.ttl > 0 and time + found.ttl or found.ends
  local times = decimal(found.ttl) .. ' ' .. decimal(found.ends)
  local text = found.state .. ' ' .. found.id .. ' ' .. times .. ' ' .. decimal(found.bytes)
  redis.call('HSET', KEYS[1], '', text)
  if found.ttl > 0 then
    redis.call('PEXPIRE', KEYS[1], milliseconds(found.ttl))
    redis.call('PEXPIRE', KEYS[2], milliseconds(found.ttl))
  end
end
-- It makes progress.
local function refresh(found, time)
  if found.ttl > 0 then
    keep(found, time)
  end
end
local function read(name)
  local text = redis.call('HGET', KEYS[1], name) or ''
  local state, attempt, ends, id = string.match(text, '^(%l+) (%d+) (%d+) (%x+)$')
  if state then
    return {state = state, attempt = tonumber(attempt), ends = tonumber(ends), id = id}
  end
end
local function write(name, task)
  local text = task.state .. ' ' .. decimal(task.attempt) .. ' ' .. decimal(task.ends) .. ' ' .. task.id
  redis.call('HSET', KEYS[1], name, text)
end
local function in_progress(task, time)
  return task and task.state == 'begun' and (task.ends == 0 or task.ends > time)
end
-- Whether it has as many tasks as it may have. One field is the execution itself.
local function full(most)
  return redis.call('HLEN', KEYS[1]) > tonumber(most)
end
