#!lua flags=allow-oom
-- Takes a job back to active for what failed, or for all that is not ok. The same token asks
-- again for the same retry, so that it is safe to repeat.
--
-- ARGV     job, "f" (failed tasks) or "a" (cancelled ones too), token
-- Returns  {how many tasks will run again, 0: there is nothing to retry}
--
-- The job's field `retry` is the mode, the token, ":" and that number.
local id, mode, token = word(), word(), word()
local j = load_job(id)
if not j then return no_job(id) end
local ask = mode .. token .. ':'
if j.retry:sub(1, #ask) == ask then
  save_all() -- what could not be saved before
  return { num(j.retry:sub(#ask + 1)) or 0 }
end
if j.state == 'stopping' or j.state == 'waiting' or j.busy == 1 then
  return redis.error_reply('REFUSED job ' .. id .. ' is ' .. (j.busy == 1 and 'busy' or j.state) ..
    ', retry it when it has ended')
end
local n = j.failed + (mode == 'a' and j.cancelled or 0)
if n > 0 and call('EXISTS', failed_key(id)) == 0 then
  return redis.error_reply('REFUSED which tasks of job ' .. id .. ' failed is not known any more')
end
if n > 0 then
  j.retry, j.busy, j.state, j.reason, j.kill, j.ended = ask .. fmt(n), 1, 'active', '', 0, ''
  j.spawnless = 0
  call('DEL', barred_key(id))
  call('ZREM', dates_key(), 'x:' .. id)
  call('RENAME', failed_key(id), again_key(id))
  sweep(j)
  if j.busy == 1 then call('SADD', busy_key(), id) end
end
save_all()
return { n }
