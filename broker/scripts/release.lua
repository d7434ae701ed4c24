#!lua flags=allow-oom
-- Takes out packs of arguments that whoever reads the job's rows needs no more. A pack stays when
-- one of its tasks may run again: it has no outcome yet, or one that is not ok.
--
-- ARGV     job, then for each pack the index of its first task and their number
-- Returns  how many packs were taken out
local id = word()
local j = load_job(id)
if not j then return no_job(id) end

-- Whether a range of a map lies in [a, b): the last that begins before b reaches furthest.
local function touches(key, a, b)
  local member = call('ZREVRANGEBYSCORE', key, '(' .. fmt(b), '-inf', 'LIMIT', 0, 1)[1]
  local hi = member and tonumber(member:match('^%d+:(%d+):'))
  return hi and hi > a
end

local out = 0
while position < #ARGV do
  local first, n = number(), number()
  local stop = first + n
  if stop <= j.cursor and not touches(open_key(id), first, stop)
    and not touches(failed_key(id), first, stop) and not touches(again_key(id), first, stop) then
    out = out + call('XDEL', args_key(id), fmt(first) .. '-1')
  end
end
return out
