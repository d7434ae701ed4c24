#!lua flags=allow-oom
-- What only time does: the fleet's clock, what is due, dates, sessions past their end, long
-- cancels and retries, the look at Redis's memory.
--
-- Returns  ms until there is more to do, a heartbeat at most
for _, queue in ipairs(call('SMEMBERS', queues_key())) do touched[queue] = true end
local wait = housekeep(tick())
save_all()
return wait
