#!lua flags=allow-oom
-- Notes how far a job's results were read, and trims what was read: all of it when they are taken,
-- else only as much as keeps a job with a budget below half of it.
--
-- ARGV     job, entries read, counted from the job's first, 1 when they are taken, 2 when nobody
--          reads any more: the job's budget is lifted, so that it goes on
-- Returns  {entries trimmed so far, 1 if there is more to trim}
local id, upto, how = word(), number(), word()
local take = how == '1'
local j = load_job(id)
if not j then return no_job(id) end
local there = j.trimmed + call('LLEN', results_key(id))
j.read = math.max(j.read, math.min(upto, there))

if how == '2' then
  j.policy, j.budget = j.policy:gsub('%d+$', '0'), 0
end

-- What others have read is not taken by who has not.
local last = take and math.min(upto, there) or j.read
local function wants_trim()
  return j.trimmed < last and (take or (j.budget > 0 and j.stored > j.budget / 2))
end

local rounds = 0
while wants_trim() and rounds < 10 do
  rounds = rounds + 1
  local n = math.min(last - j.trimmed, 100)
  for _, entry in ipairs(call('LRANGE', results_key(id), 0, n - 1)) do
    j.stored = j.stored - #entry
  end
  call('LTRIM', results_key(id), n, -1)
  j.trimmed = j.trimmed + n
end
-- Arguments stay while there are results that go with them, and of tasks that may run again.
if rounds > 0 and j.args == 1 and j.trimmed == there then
  local lowest = j.cursor
  for _, key in ipairs({ open_key(id), failed_key(id), again_key(id) }) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if first then lowest = math.min(lowest, tonumber(first)) end
  end
  local entry = call('XREVRANGE', args_key(id), fmt(lowest), '-', 'COUNT', 1)[1]
  if entry then call('XTRIM', args_key(id), 'MINID', entry[1]) end
end
save_all()
return { fmt(j.trimmed), wants_trim() and 1 or 0 }
