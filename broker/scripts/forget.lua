#!lua flags=allow-oom
-- Takes a finished job with all that belongs to it out of Redis.
--
-- ARGV     job
-- Returns  1, or 0 when there was none
local id = word()
local j = load_job(id)
if not j then return 0 end
if not FINAL[j.state] then
  return redis.error_reply('REFUSED job ' .. id .. ' is ' .. j.state .. ', cancel it first')
end
forget_job(j)
save_all()
return 1
