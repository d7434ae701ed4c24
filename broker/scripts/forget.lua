#!lua flags=allow-oom
-- Takes a finished job with all that belongs to it out of Redis.
--
-- ARGV     job, 1 to do so whatever its state, and if what is there is no job
-- Returns  1, or 0 when there was none
local id, force = word(), word() == '1'
local j = load_job(id)
if not force and j and not FINAL[j.state] then
  return redis.error_reply('REFUSED job ' .. id .. ' is ' .. j.state ..
    ', cancel it first; --force takes it away as it is')
end
if not force and not j and not is_set_aside(id) and why_no_job(id) then return no_job(id) end
local gone = forget_job(id, j)
if j and not FINAL[j.state] then touched[j.queue] = true end -- it may have been all there was
save_all()
return gone and 1 or 0
