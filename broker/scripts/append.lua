#!lua
-- Adds tasks to an open job, in order: what is already there is skipped, a gap is refused. However
-- many it brings, and be it none: whoever appends is there, so the job stays open for another hour.
--
-- ARGV     job, index of the first task, number of tasks, pack of their arguments (empty for a
--          job without arguments), and when it is signed the seal of that
-- Returns  the job's total afterwards
local id, first, n, pack, seal = word(), number(), number(), word(), word()
local j = load_job(id)
if not j then return no_job(id) end
if first + n > j.total then
  if j.open ~= 1 then
    return redis.error_reply('REFUSED job ' .. id .. ' is not open, it takes no more tasks')
  end
  if first ~= j.total then
    return redis.error_reply('REFUSED job ' .. id .. ' has ' .. fmt(j.total) ..
      (j.total == 1 and ' task' or ' tasks') .. ', the next one cannot be ' .. fmt(first))
  end
  if j.args == 1 then
    local fields = { 'n', fmt(n), 'p', pack, seal and 's', seal }
    call('XADD', args_key(id), fmt(first) .. '-1', unpack(fields))
  end
  j.total = j.total + n
end
if j.open == 1 then
  call('ZADD', due_key(), fmt(fleet_ms() + 3600000), 'o:' .. id)
end
save_all()
return fmt(j.total)
