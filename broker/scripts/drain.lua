#!lua flags=allow-oom
-- Tells a worker to take no more work and to end when what it runs has ended.
--
-- ARGV     session
-- Returns  1, or 0 when there is no such session
local sid = word()
if not call('ZSCORE', sessions_key(), sid) then return 0 end
call('HSET', session_key(sid), 'drain', '1')
tell(sid, 'drain')
return 1
