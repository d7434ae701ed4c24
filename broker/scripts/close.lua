#!lua flags=allow-oom
-- Ends an open job: it takes no more tasks, and ends when the last has.
--
-- ARGV     job
-- Returns  the job's total
local id = word()
local j = load_job(id)
if not j then return redis.error_reply('UNKNOWN there is no job ' .. id) end
j.open = 0
call('ZREM', due_key(), 'o:' .. id)
save_all()
return fmt(j.total)
