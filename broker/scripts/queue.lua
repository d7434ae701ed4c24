#!lua flags=allow-oom
-- Sets what a queue does: "paused" to 0 or 1, "order" to fair or fifo. Returns 1.
--
-- ARGV     queue, field, value
local queue, field, value = word(), word(), word()
call('SADD', queues_key(), queue)
call('HSET', queue_key(queue), field, value)
touched[queue] = true
save_all()
return 1
