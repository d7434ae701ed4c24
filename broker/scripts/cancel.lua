#!lua flags=allow-oom
-- Stops a job: nothing new is handed out, what runs is told to stop.
--
-- ARGV     job, 1 to kill what runs without its grace
-- Returns  the job's state
local id, kill = word(), number()
local j = load_job(id)
if not j then return no_job(id) end
if not FINAL[j.state] then
  j.kill = math.max(j.kill, kill)
  stop_job(j, j.state == 'stopping' and j.reason or 'cancelled')
  call('ZREM', dates_key(), 's:' .. id)
end
save_all()
return j.state
