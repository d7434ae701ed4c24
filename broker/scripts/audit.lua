#!lua flags=no-writes
-- Proves conservation for one job from its keys. Reads all of its open ranges, and for a job with
-- a limit of running leases those of all sessions.
--
-- ARGV     job, or "": only what all jobs share is looked at, that its keys are of the right types
-- Returns  a sentence for each thing that is wrong
local id = word()
local wrong = {}

local function look(key)
  local sentence = misfit(key)
  wrong[#wrong + 1] = sentence and with_advice(sentence, key)
end

local function look_at_all(whose, of)
  for name, kind in pairs(KINDS) do
    if kind.whose == whose then look(P .. name .. of) end
  end
end

local function look_at_what_is_shared()
  look_at_all('all', '')
  if jobs_are_lost() or type(redis.pcall('HGET', epoch_key(), 'listing')) == 'string' then
    wrong[#wrong + 1] = 'the list of all jobs was lost: housekeeping, a broker\'s where Redis ' ..
      'has users, is to put them back'
  end
  local names = redis.pcall('SMEMBERS', queues_key())
  for _, queue in ipairs(names.err and {} or names) do
    look(queue_key(queue))
    look(wake_key(queue))
    for _, list in ipairs(ready_lists(queue)) do look(list) end
  end
  local sids = redis.pcall('ZRANGE', sessions_key(), 0, -1)
  for _, sid in ipairs(sids.err and {} or sids) do look_at_all('session', ':' .. sid) end
end

if id == '' then
  look_at_what_is_shared()
else
  look_at_all('job', ':' .. id)
end
table.sort(wrong)
if id == '' or #wrong > 0 then return wrong end
local j = load_job(id)
if not j then return { why_no_job(id) } end
look(spec_key(j.spec))
if j.warrant ~= '' then look(warrant_key(j.warrant)) end

local function expect(what, is, should)
  if is ~= should then
    wrong[#wrong + 1] = 'job ' .. id .. ': ' .. what .. ' is ' .. fmt(is) .. ', should be ' ..
      fmt(should)
  end
end

-- Sums up a zset of ranges and looks that they are disjoint.
local function survey(key, visit)
  local behind, length = 0, 0
  for _, member in ipairs(call('ZRANGE', key, 0, -1)) do
    local lo, hi = member:match('^(%d+):(%d+):')
    lo, hi = tonumber(lo), tonumber(hi)
    if not lo or lo >= hi or lo < behind then
      wrong[#wrong + 1] = 'job ' .. id .. ': bad range ' .. member .. ' in ' .. key
      return length
    end
    behind, length = hi, length + (hi - lo)
    if visit then visit(member, lo, hi) end
  end
  return length
end

local leased, delayed, hints = 0, 0, {}
for _, lo in ipairs(call('LRANGE', todo_key(id), 0, -1)) do hints[lo] = true end
local open = survey(open_key(id), function(member, lo, hi)
  local label = (range(member) or { label = '' }).label
  local sid, lease = label:match('^@(%w+)/(.+)$')
  if sid then
    leased = leased + (hi - lo)
    local what = call('HGET', leases_key(sid), lease) or ''
    local of, a, b = what:match('^(%w+):(%d+):(%d+)$')
    if of ~= id or tonumber(a) > lo or tonumber(b) < hi then
      wrong[#wrong + 1] = 'job ' .. id .. ': ' .. member .. ' is in no lease of its session'
    elseif not call('ZSCORE', sessions_key(), sid) then
      wrong[#wrong + 1] = 'job ' .. id .. ': ' .. member .. ' belongs to a session that is over'
    end
  elseif label == 'q' then
    if not hints[fmt(lo)] then
      wrong[#wrong + 1] = 'job ' .. id .. ': nothing leads to ' .. member
    end
  elseif label:match('^d%d+$') then
    delayed = delayed + (hi - lo)
    if not call('ZSCORE', due_key(), 'r:' .. id .. ':' .. fmt(lo)) then
      wrong[#wrong + 1] = 'job ' .. id .. ': nothing wakes ' .. member
    end
  else
    wrong[#wrong + 1] = 'job ' .. id .. ': ' .. member .. ' is no range'
  end
  if hi > j.cursor then
    wrong[#wrong + 1] = 'job ' .. id .. ': ' .. member .. ' is beyond the cursor'
  end
end)
local lost = survey(failed_key(id)) + survey(again_key(id))
expect('the sum of its parts', j.total - j.cursor + open + j.ok + j.failed + j.cancelled, j.total)
expect('the number of leased tasks', j.leased, leased)
expect('the number of delayed tasks', j.delayed, delayed)
expect('the number of failed and cancelled tasks', j.failed + j.cancelled, lost)
if j.max_running > 0 then
  expect('the number of leases', j.leases, count_leases(id))
end
if FINAL[j.state] then expect('the number of unfinished tasks', open + j.total - j.cursor, 0) end
if can_hand_out(j) then
  expect('ready', j.ready, 1)
  if not call('LPOS', ready_key(j.queue .. ':' .. j.priority), id) then
    wrong[#wrong + 1] = 'job ' .. id .. ': it is in no list of those that are ready'
  end
end
return wrong
