#!lua flags=allow-oom
-- Keeps a session alive, compares the leases, tells what has changed, and housekeeps.
--
-- ARGV     session, time to live in ms, number of leases that it holds or has asked for, their
--          names, number of queues that it serves, their names, number of pairs, name and value
--          pairs for session:<sid>
-- Returns  {1, ms until there is more to do, 1 if it must drain, commit sequence,
--          {job, 1 if it must be killed, …} that must stop, {lease, …} that Redis does not know,
--          1 if nothing is handed out for want of memory}, or {0} when the session is over and it
--          must register again
local sid, ttl = word(), number()
if not call('ZSCORE', sessions_key(), sid) or not call('HGET', session_key(sid), 'slots') then
  return { 0 }
end
call('LLEN', inbox_key(sid)) -- fails when it is none, and is mended: its worker cannot read it

local held, gone, stop, seen = {}, {}, {}, {}
for _ = 1, number() do
  local lease = word()
  held[lease] = true
  local what = call('HGET', leases_key(sid), lease)
  local id = (what or ''):match('^(%w+):')
  if not id then
    gone[#gone + 1] = lease
  else
    if not seen[id] then
      seen[id] = true
      local j = load_job(id)
      if not j or j.state == 'stopping' or FINAL[j.state] then
        stop[#stop + 1] = id
        stop[#stop + 1] = (j and j.kill == 0) and 0 or 1
      end
    end
  end
end
for _, lease in ipairs(call('HKEYS', leases_key(sid))) do
  if not held[lease] then end_lease(sid, lease, 'untouched', sid) end
end
for _ = 1, number() do touched[word()] = true end
for _ = 1, number() do call('HSET', session_key(sid), word(), word()) end
local now, due = tick()
call('ZADD', sessions_key(), fmt(now + ttl), sid)
local wait = housekeep(now, due)
save_all()
local drain = call('HGET', session_key(sid), 'drain') == '1' and 1 or 0
return { 1, wait, drain, fmt(sequence()), stop, gone, is_full() and 1 or 0 }
