#!lua flags=allow-oom
-- Ends an open job: it takes no more tasks, and ends when the last has. One that waited for this
-- begins now, or when its time comes.
--
-- ARGV     job
-- Returns  the job's total
local id = word()
local j = load_job(id)
if not j then return no_job(id) end
if j.open == 1 and j.hold == 1 and j.state == 'waiting' then
  local start, now = num(call('HGET', job_key(id), 'start')) or 0, wall_ms()
  if start > now then
    call('ZADD', dates_key(), fmt(start), 's:' .. id)
  else
    j.state, j.started = 'active', fmt(now)
  end
end
j.open, j.hold = 0, 0
call('ZREM', due_key(), 'o:' .. id)
save_all()
return fmt(j.total)
