-- What the scripts share: the library that Redis loads is the key functions, this, and a function
-- for each script. What a call keeps to itself is set anew by begin().
--
-- The interval map. `open:<job>` holds every index below the cursor that has no final outcome, as
-- disjoint ranges: score lo, member "lo:hi:attempt:fails:lost:label".
--
--   attempt  the number of the attempt under way, or of the next one
--   fails    how many attempts were charged to the task
--   lost     how often it was lost with its worker while it was alone in its range
--   label    "q" queued | "d<time>" due at that time of the fleet's clock | "@<session>/<lease>"
--
-- put() adds a range, meet() finds those that overlap [a, b), settle() takes [a, b) out. Only
-- they and drop() touch `open`, and they keep the job's counters with it.
--
-- Jobs are loaded once a call, changed as tables, and written back by save_all(), which is also
-- the one place where a job ends, stops for too many failures, or becomes ready.

local call -- is redis.call, which is not there while the library is loaded
local BOUND = 1000 -- items that one call works through at most
local MAX_ATTEMPTS_KEPT = 10000
local HEARTBEAT_MS = 2000
local MAIL_MOST, MAIL_BYTES = 10000, 1024 -- messages that wait for a client, and of a result in one

local LAYOUT, RELEASE = '@LAYOUT@', '@RELEASE@' -- of keys.h, and of shoal

-- An error unless the store has our layout, or says none. What others have written is misread else.
local function other_layout(layout, release)
  if not layout or layout == LAYOUT then return nil end
  local newer = (tonumber(layout) or 0) > tonumber(LAYOUT)
  return redis.error_reply(string.format(
    'LAYOUT this Redis holds a queue of layout %.9s (shoal %.31s); ' ..
    'this is shoal %s, which knows layout %s: %s', layout, release or 'unknown', RELEASE, LAYOUT,
    newer and 'upgrade it' or 'let that shoal finish its jobs, or use another namespace'))
end

local store -- its id, if it has one

-- A store is begun by the move that comes first, and gets that one's layout.
local function begin_store(id)
  if not store then
    call('HSET', epoch_key(), 'id', id, 'layout', LAYOUT, 'version', RELEASE)
    store = id
  end
end

-- What is read of keys that all jobs share may be anything, and is no reason to fail a move: a
-- number of 0 to 2^53, or nil. -0 is 0, and is not to be written as "-0".
local function num(text)
  local n = tonumber(text or '')
  return n and n >= 0 and n <= 2 ^ 53 and n + 0 or nil
end

local texts -- of numbers, since small ones come again and again

local function fmt(n)
  local text = texts[n]
  if not text then
    text = string.format('%.0f', n)
    texts[n] = text
  end
  return text
end

local now_ms

-- Time stands still while a script runs.
local function wall_ms()
  if not now_ms then
    local t = call('TIME')
    now_ms = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  end
  return now_ms
end

-- One that is lost, or is no time, begins again where no session is over yet.
local function clock_of(text)
  return num(text) or num(call('ZRANGE', sessions_key(), 0, 0, 'WITHSCORES')[2]) or 0
end

-- The fleet's clock as the last tick left it.
local function fleet_ms()
  return clock_of(call('HGET', clock_key(), 'now'))
end

-- Moves the fleet's clock by what has passed since the last time, a heartbeat and a half at the
-- most: it stands still while Redis is away and ignores a clock that jumps. Returns the time and
-- whether housekeeping is due: enough has passed since the last, or that left something to do.
local function tick()
  local now, wall, more = unpack(call('HMGET', clock_key(), 'now', 'wall', 'more'))
  local t = wall_ms()
  wall = num(wall)
  local passed = math.min(math.max(t - (wall or t), 0), HEARTBEAT_MS * 1.5)
  now = clock_of(now)
  if wall and passed < 100 and t >= wall and more ~= '1' then
    return now, false
  end
  now = now + passed
  call('HSET', clock_key(), 'now', fmt(now), 'wall', fmt(t))
  return now, true
end

-- RESP text, the format of packs.
local function bulk(s)
  s = tostring(s)
  return '$' .. #s .. '\r\n' .. s .. '\r\n'
end

local function array(...)
  local out = { '*' .. select('#', ...) .. '\r\n' }
  for i = 1, select('#', ...) do
    out[#out + 1] = bulk((select(i, ...)))
  end
  return table.concat(out)
end

-- ---- the commit sequence

-- The number of a commit that was lost is not given again, lest a worker that saw it takes a later
-- one for it. So it leaps when the first worker registers or commits after Redis has started (this
-- library was loaded with it), and when a worker saw more than there is: this far, times a number
-- from the clock, so that two starts which go back to the same moment leap as far apart. `leaps` of
-- the epoch holds the last ones, newest first, as "from:to:seen": whoever saw a number between saw
-- a commit that is lost; `seen` is the highest of those that were told, or `from`.
local LEAP, LEAPS_KEPT = 2 ^ 20, 10 -- LEAP: also in worker/link_advance.c
local COMMITS_MOST = 2 ^ 52 -- what is more is nonsense: a leap from here still leads to a number
local counts -- whether it has leapt since this library was loaded

-- Returns the sequence.
local function leap(from, seen)
  local to = seen + LEAP * (1 + wall_ms() % 16384)
  local leaps = { ('%.0f:%.0f:%.0f'):format(from, to, from) }
  local before = from > 0 and call('HGET', epoch_key(), 'leaps') or '' -- from 0 all begins anew
  for old in before:gmatch('%S+') do
    if #leaps < LEAPS_KEPT then leaps[#leaps + 1] = old end
  end
  call('HSET', epoch_key(), 'seq', fmt(to), 'leaps', table.concat(leaps, ' '))
  counts = true
  return to
end

local function commits_of(text)
  local n = num(text)
  return n and n <= COMMITS_MOST and n or nil
end

local function sequence()
  return commits_of(call('HGET', epoch_key(), 'seq') or '0') or leap(0, 0)
end

-- Adds to a number in a hash, which begins at 0 when it is none.
local function bump(key, field, n)
  local sum = redis.pcall('HINCRBY', key, field, fmt(n))
  if type(sum) ~= 'number' or sum > 2 ^ 53 then
    sum = math.max(n, 0)
    call('HSET', key, field, fmt(sum))
  end
  return sum
end

-- ---- jobs

-- The field `n` is "state:total:cursor:…": the state and these counters, without the zeros at the
-- end. So a job of one task is a hash of a few short values, read and written at once. Other fields
-- that are empty, or as below, are not stored.
local USUAL_POLICY, USUAL_QUEUE = '5:0:5:0:0:604800000:0', 'default'
-- A new counter also goes into: broker/inspect.c, tests/support/fleet.c.
local COUNTERS = { 'total', 'cursor', 'ok', 'failed', 'cancelled', 'leased', 'delayed', 'leases',
  'ready', 'open', 'args', 'ran', 'work', 'stored', 'read', 'trimmed', 'kill', 'busy', 'spawnless',
  'hold', 'marks' }
local PATTERN, PADDING = '^(%l+)' .. (':(%d+)'):rep(#COUNTERS), (':0'):rep(#COUNTERS)
local PLACES, NOTHING = {}, {}
for i = 1, #COUNTERS do PLACES[COUNTERS[i]], NOTHING[i] = i + 1, '0' end
local FINAL = { succeeded = true, failed = true, cancelled = true }
local loaded -- id -> job, or false
local in_order -- the same jobs as they came
local policies, n_shapes = {}, 0 -- by their texts; false for what is none
local lists_of -- queue -> keys of its lists
local full -- is_full(), once it was asked
local touched -- queue -> true: its wake token must be looked at
local totals -- queue -> what is to be added to its totals
local expiries, leftovers, mail -- what is written once, behind all jobs
local rescue -- of a move, or nil: writes what it holds back, when it fails
local DAMAGED = 'damaged' -- the reason of a job that was set aside

-- A job's policy, and the shapes that `n` has had in jobs of it: the state and counters as a table.
-- Jobs of one task come in a few shapes, and each is taken apart once. Kept over calls, a few
-- thousand at most.
local function policy_of(text)
  if policies[text] == nil then
    local priority, retries, max_lost, max_fails, max_running, keep, budget =
      text:match('^(%d):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$')
    policies[text] = priority and { shapes = {}, priority = priority, retries = tonumber(retries),
      max_lost = tonumber(max_lost), max_fails = tonumber(max_fails),
      max_running = tonumber(max_running), keep = tonumber(keep), budget = tonumber(budget) }
      or false
    n_shapes = n_shapes + 1
  end
  return policies[text]
end

-- As a metatable: what a job has that has not changed since. Nil for what is none.
local function shape_of(policy, n)
  local shape = policy.shapes[n]
  if shape then return shape end
  local texts_of = { (n .. PADDING):match(PATTERN) }
  local state = table.remove(texts_of, 1)
  if not state then return nil end
  local numbers = { state = state }
  for i, name in ipairs(COUNTERS) do numbers[name] = tonumber(texts_of[i]) end
  shape = { __index = setmetatable(numbers, { __index = policy }), texts = texts_of }
  policy.shapes[n] = shape
  n_shapes = n_shapes + 1
  return shape
end

-- The field `n` of a job whose shape that was, or of a new one. marks: 1 once the job may have
-- hints, or sessions that are barred from it.
local function counters(j, shape)
  local out, last = { j.state, unpack(shape and shape.texts or NOTHING) }, 1
  for name, place in pairs(PLACES) do
    local value = rawget(j, name)
    if value then out[place] = fmt(math.max(value, 0)) end -- one that is wrong is for the audit
  end
  for i = #out, 2, -1 do
    if out[i] ~= '0' then
      last = i
      break
    end
  end
  return table.concat(out, ':', 1, last)
end

-- The job as a table, or nil when there is none, it was set aside, or what is there is no job.
local function load_job(id)
  if loaded[id] ~= nil then
    return loaded[id] or nil
  end
  loaded[id] = false
  local words = redis.pcall('HMGET', job_key(id), 'n', 'queue', 'policy', 'spec', 'seed', 'name',
    'waiter', 'reason', 'retry', 'alone', 'started', 'ended', 'warrant')
  if words.err or not words[1] or words[8] == DAMAGED then
    return nil
  end
  words[3] = words[3] or USUAL_POLICY
  local policy = policy_of(words[3])
  local shape = policy and shape_of(policy, words[1])
  if not shape then
    return nil
  end
  local j = setmetatable({ id = id, n = words[1], queue = words[2] or USUAL_QUEUE,
    policy = words[3], spec = words[4] or '', seed = words[5] or '', name = words[6] or '',
    waiter = words[7] or '', reason = words[8] or '', retry = words[9] or '',
    alone = words[10] or '', started = words[11] or '', ended = words[12] or '',
    warrant = words[13] or '', words = words,
    was = shape.__index, shape = shape }, shape)
  loaded[id] = j
  in_order[#in_order + 1] = j
  return j
end

-- Those that change, and where load_job() has them.
local WORDS = { policy = 3, reason = 8, retry = 9, alone = 10, started = 11, ended = 12 }

-- Writes what has changed of it since it was loaded, or written before.
local function write(j)
  local changes, words, n = {}, j.words, counters(j, j.shape)
  if n ~= j.n then changes = { 'n', n } end
  for word, i in pairs(WORDS) do
    if j[word] ~= (words[i] or '') then
      changes[#changes + 1] = word
      changes[#changes + 1] = j[word]
      words[i] = j[word]
    end
  end
  if #changes > 0 then
    call('HSET', job_key(j.id), unpack(changes))
    j.n = n
    touched[j.queue] = true
  end
end

local function queued(j)
  return j.total - j.ok - j.failed - j.cancelled - j.leased - j.delayed
end

local function can_hand_out(j)
  return j.state == 'active' and queued(j) > 0
    and (j.max_running == 0 or j.leases < j.max_running)
    and (j.budget == 0 or j.stored < j.budget)
end

-- ---- the interval map

-- Nil for what is no range.
local function range(member)
  local lo, hi, attempt, fails, lost, label =
    member:match('^(%d+):(%d+):(%d+):(%d+):(%d+):(.+)$')
  if not lo then return nil end
  return { member = member, lo = tonumber(lo), hi = tonumber(hi), attempt = tonumber(attempt),
    fails = tonumber(fails), lost = tonumber(lost), label = label }
end

local function count(j, label, n)
  local kind = label:sub(1, 1)
  if kind == '@' then
    j.leased = j.leased + n
  elseif kind == 'd' then
    j.delayed = j.delayed + n
  end
end

-- `front`: a queued range is to be handed out before the others.
local function put(j, lo, hi, attempt, fails, lost, label, front)
  if lo >= hi then return end
  call('ZADD', open_key(j.id), fmt(lo), fmt(lo) .. ':' .. fmt(hi) .. ':' .. attempt .. ':' ..
    fails .. ':' .. lost .. ':' .. label)
  count(j, label, hi - lo)
  if label == 'q' then
    j.marks = 1
    call(front and 'LPUSH' or 'RPUSH', todo_key(j.id), fmt(lo))
  end
end

-- Fails on nothing but keys of the job, as does put(): what is taken out for one is not lost when
-- something that jobs share is not what it should be. A date that stays in `due` does no harm.
local function drop(j, r)
  call('ZREM', open_key(j.id), r.member)
  count(j, r.label, r.lo - r.hi)
  if r.label:sub(1, 1) == 'd' then
    redis.pcall('ZREM', due_key(), 'r:' .. j.id .. ':' .. fmt(r.lo))
  end
end

-- The ranges that overlap [a, b), in order.
local function meet(j, a, b)
  local out = {}
  for _, member in ipairs(call('ZRANGEBYSCORE', open_key(j.id), fmt(a), '(' .. fmt(b))) do
    out[#out + 1] = range(member)
  end
  if not out[1] or out[1].lo > a then
    local before = call('ZREVRANGEBYSCORE', open_key(j.id), '(' .. fmt(a), '-inf', 'LIMIT', 0, 1)
    local r = before[1] and range(before[1])
    if r and r.hi > a then table.insert(out, 1, r) end
  end
  return out
end

-- Takes [a, b) out and returns what was there, cut to it. With `attempt`, only what is at that
-- attempt. If Redis has forgotten that it handed this out (the cursor lies before b), the gap is
-- queued first.
local function settle(j, a, b, attempt)
  if b > j.cursor then
    put(j, j.cursor, math.max(j.cursor, a), 1, 0, 0, 'q')
    put(j, math.max(j.cursor, a), b, attempt or 1, 0, 0, 'q')
    j.cursor = b
  end
  local out = {}
  for _, r in ipairs(meet(j, a, b)) do
    if not attempt or r.attempt == attempt then
      drop(j, r)
      put(j, r.lo, math.min(a, r.hi), r.attempt, r.fails, r.lost, r.label)
      put(j, math.max(b, r.lo), r.hi, r.attempt, r.fails, r.lost, r.label)
      r.lo, r.hi = math.max(r.lo, a), math.min(r.hi, b)
      out[#out + 1] = r
    end
  end
  return out
end

-- Cuts a range in two and returns the second.
local function split(j, r, at)
  drop(j, r)
  put(j, r.lo, at, r.attempt, r.fails, r.lost, r.label)
  put(j, at, r.hi, r.attempt, r.fails, r.lost, r.label)
  return meet(j, at, r.hi)[1]
end

-- ---- how tasks end

-- Lengths are added in brackets, here and elsewhere: 2^53 + 1 is no number of Lua's.
--
-- Ranges that ended as anything but ok wait here for a retry. kind: f failed, c cancelled.
local function remember(j, lo, hi, attempt, kind)
  call('ZADD', failed_key(j.id), fmt(lo),
    fmt(lo) .. ':' .. fmt(hi) .. ':' .. attempt .. ':' .. kind)
  if kind == 'f' then
    j.failed = j.failed + (hi - lo)
  else
    j.cancelled = j.cancelled + (hi - lo)
  end
end

local function add_result(j, entry)
  local entries = call('RPUSH', results_key(j.id), entry)
  j.stored = j.stored + #entry
  j.news = entries == 1 and j.trimmed == 0 and entry or ''
end

local function add_attempt(j, record)
  call('RPUSH', attempts_key(j.id), record)
  call('LTRIM', attempts_key(j.id), -MAX_ATTEMPTS_KEPT, -1)
end

-- Fails one task for good in the name of the queue itself, which was not there when it ran.
local function fail_here(j, index, attempt, reason, worker)
  remember(j, index, index + 1, attempt, 'f')
  add_result(j, fmt(index) .. '-' .. fmt(index + 1) .. '\n*4\r\n' ..
    bulk('pack') .. bulk(worker) .. bulk(fmt(index)) .. array(reason, attempt, 0, 0, 0, 0, ''))
end

-- Whether a task was lost so often that once more makes it poison. It is handed out alone then: to
-- a session that has nothing else and gets nothing else meanwhile, so that it is not blamed for
-- its neighbours.
local function is_suspect(j, r)
  return r.lost >= math.max(1, j.max_lost - 1)
end

-- Gives a range back whose lease is over. `how`: "untouched", it was never started; "lost", it
-- went with its worker, and `alone` when that had nothing else. In a job that stops it is
-- cancelled instead.
local function give_back(j, r, how, worker, alone)
  drop(j, r)
  if j.state == 'stopping' then
    remember(j, r.lo, r.hi, how == 'untouched' and r.attempt - 1 or r.attempt, 'c')
    return
  end
  if how == 'untouched' then
    put(j, r.lo, r.hi, r.attempt, r.fails, r.lost, 'q', true)
    return
  end
  add_attempt(j, array(fmt(r.lo), fmt(r.hi), r.attempt, 'lost', 0, worker, 0, 0, 0,
    fmt(wall_ms()), 'the worker that ran it vanished'))
  if r.hi - r.lo > 1 then -- in halves, so that what takes workers with it is found
    local middle = r.lo + math.floor((r.hi - r.lo) / 2)
    put(j, r.lo, middle, r.attempt + 1, r.fails, r.lost, 'q')
    put(j, middle, r.hi, r.attempt + 1, r.fails, r.lost, 'q')
  elseif r.lost + 1 >= j.max_lost and alone then
    fail_here(j, r.lo, r.attempt, 'poison', worker)
  else
    put(j, r.lo, r.hi, r.attempt + 1, r.fails, is_suspect(j, r) and r.lost or r.lost + 1, 'q')
  end
end

-- Puts a task back, so many ms from now.
local function put_later(j, r, fails, delay)
  local at = fmt(fleet_ms() + delay)
  call('ZADD', due_key(), at, 'r:' .. j.id .. ':' .. fmt(r.lo))
  put(j, r.lo, r.hi, r.attempt + 1, fails, r.lost, 'd' .. at)
end

-- Puts a failed task back, after a delay that doubles with full jitter.
local function retry_later(j, r)
  local fails = r.fails + 1
  local t = call('TIME')
  math.randomseed(tonumber(t[1]) % 1000000 + tonumber(t[2]))
  math.random()
  local most = math.min(60000, 1000 * 2 ^ math.min(fails - 1, 10))
  put_later(j, r, fails, math.floor(math.random() * most))
end

-- ---- leases and sessions

local function tell(sid, message)
  call('RPUSH', inbox_key(sid), message)
  call('LTRIM', inbox_key(sid), -BOUND, -1)
end

-- The pieces that a lease still owns of [lo, hi).
local function owned(j, sid, lease, lo, hi)
  local label, out = '@' .. sid .. '/' .. lease, {}
  for _, r in ipairs(meet(j, lo, hi)) do
    if r.label == label then out[#out + 1] = r end
  end
  return out
end

-- Ends a lease; what it still owns goes back. `only`: the session has no other.
local function end_lease(sid, lease, how, worker, only)
  local held = call('HGET', leases_key(sid), lease)
  if not held then return end
  call('HDEL', leases_key(sid), lease)
  local id, lo, hi = held:match('^(%w+):(%d+):(%d+)$')
  local j = id and load_job(id)
  if not j then return end
  j.leases = math.max(j.leases - 1, 0)
  local ranges = j.leased > 0 and owned(j, sid, lease, tonumber(lo), tonumber(hi)) or {}
  for _, r in ipairs(ranges) do
    give_back(j, r, how, worker, only and #ranges == 1)
  end
end

-- The slots of all workers, counted anew when what is stored is no number.
local function fleet_slots()
  local slots = num(call('HGET', clock_key(), 'slots') or '0')
  if slots then return slots end
  slots = 0
  for _, sid in ipairs(call('ZRANGE', sessions_key(), 0, BOUND)) do
    slots = slots + (num(call('HGET', session_key(sid), 'slots')) or 0)
  end
  return slots
end

local function add_slots(n)
  call('HSET', clock_key(), 'slots', fmt(math.max(fleet_slots() + n, 0)))
end

-- So many sessions have ended: a bar that was set before is looked at again (advance.lua).
local function sessions_ended()
  return num(call('HGET', clock_key(), 'ended')) or 0
end

local function end_session(sid, how)
  local name, slots = unpack(call('HMGET', session_key(sid), 'name', 'slots'))
  local leases = call('HKEYS', leases_key(sid))
  for _, lease in ipairs(leases) do
    end_lease(sid, lease, how, name or sid, #leases == 1)
  end
  if call('ZREM', sessions_key(), sid) == 1 then
    add_slots(0 - (num(slots) or 0))
    call('HSET', clock_key(), 'ended', fmt(sessions_ended() + 1))
  end
  call('DEL', session_key(sid), leases_key(sid), inbox_key(sid))
end

-- ---- stopping, retrying, forgetting

-- Puts back what a retry set apart, a thousand ranges at most. When the job stops meanwhile, it
-- goes where the retry took it from. Returns whether there may be more.
local function sweep_again(j)
  local all = j.retry:sub(1, 1) == 'a'
  local members = call('ZRANGE', again_key(j.id), 0, BOUND - 1)
  for _, member in ipairs(members) do
    local lo, hi, attempt, kind = member:match('^(%d+):(%d+):(%d+):(%a)$')
    lo, hi, attempt = tonumber(lo), tonumber(hi), tonumber(attempt)
    call('ZREM', again_key(j.id), member)
    if lo and j.state ~= 'stopping' and (kind == 'f' or all) then
      local counter = kind == 'f' and 'failed' or 'cancelled'
      j[counter] = j[counter] - (hi - lo)
      put(j, lo, hi, attempt + 1, 0, 0, 'q')
    elseif lo then
      call('ZADD', failed_key(j.id), fmt(lo), member)
    end
  end
  return #members == BOUND
end

-- Takes out of a stopping job what nobody runs, a thousand ranges at most. The attempt that a
-- queued or delayed range shows was never started.
local function sweep_stopping(j)
  if j.cursor < j.total then
    remember(j, j.cursor, j.total, 0, 'c')
    j.cursor = j.total
  end
  local at, done = 0, 0
  while done < BOUND do
    local members = call('ZRANGE', open_key(j.id), at, at + 99)
    for _, member in ipairs(members) do
      local r = range(member)
      if not r or r.label:sub(1, 1) == '@' then
        at = at + 1
      else
        drop(j, r)
        remember(j, r.lo, r.hi, r.attempt - 1, 'c')
        done = done + 1
      end
    end
    if #members < 100 then
      call('DEL', todo_key(j.id))
      j.busy = 0
      return
    end
  end
end

-- What a cancel or retry has to work off; busy until it is done.
local function sweep(j)
  if sweep_again(j) then return end
  if j.state == 'stopping' then
    sweep_stopping(j)
  else
    j.busy = 0
  end
end

-- Nothing new starts; who runs something is told to stop, or to kill. What a call cannot tell or
-- sweep any more, heartbeats and housekeeping do.
local function stop_job(j, reason)
  if j.state ~= 'stopping' then
    if j.state == 'waiting' then j.started = '0' end -- it never was
    j.state, j.reason, j.open, j.busy = 'stopping', reason, 0, 1
    sweep(j)
    if j.busy == 1 then call('SADD', busy_key(), j.id) end
  end
  local told = {}
  for _, member in ipairs(call('ZRANGE', open_key(j.id), 0, BOUND)) do
    local sid = member:match(':@(%w+)/')
    if sid and not told[sid] then
      told[sid] = true
      tell(sid, (j.kill == 1 and 'kill ' or 'stop ') .. j.id)
    end
  end
end

local function whatever_lies_at(id)
  local words = redis.pcall('HMGET', job_key(id), 'name', 'spec', 'warrant')
  return words.err and {} or { name = words[1], spec = words[2], warrant = words[3] }
end

-- `j`: nil for what is no job, or was set aside. Returns whether there was anything.
local function forget_job(id, j)
  j = j or whatever_lies_at(id)
  loaded[id] = false -- it is not to be written again, also when this fails
  local gone = call('UNLINK', job_key(id), open_key(id), todo_key(id), args_key(id), again_key(id),
    results_key(id), failed_key(id), attempts_key(id), barred_key(id))
  gone = gone + call('ZREM', jobs_key(), id)
  call('SREM', busy_key(), id)
  call('ZREM', dates_key(), 'x:' .. id, 's:' .. id)
  call('ZREM', due_key(), 'o:' .. id)
  if (j.name or '') ~= '' and call('HGET', names_key(), j.name) == id then
    call('HDEL', names_key(), j.name)
  end
  if j.spec and bump(specs_key(), j.spec, -1) <= 0 then
    call('HDEL', specs_key(), j.spec)
    call('DEL', spec_key(j.spec))
  end
  if (j.warrant or '') ~= '' and bump(warrants_key(), j.warrant, -1) <= 0 then
    call('HDEL', warrants_key(), j.warrant)
    call('DEL', warrant_key(j.warrant))
  end
  return gone > 0
end

-- ---- writing back

local function finish(j)
  local cut_off = j.total == 0 and j.reason ~= '' -- before its first task was there
  j.state = cut_off and 'cancelled' or (j.failed == 0 and j.cancelled == 0) and 'succeeded'
    or (j.cancelled > 0 and (j.reason == 'cancelled' or j.failed == 0)) and 'cancelled' or 'failed'
  local now = wall_ms()
  j.ended = fmt(now)
  expiries[#expiries + 1] = fmt(now + j.keep)
  expiries[#expiries + 1] = 'x:' .. j.id
  if j.marks == 1 then -- the interval map is empty, and so not there
    j.marks = 0
    leftovers[#leftovers + 1] = todo_key(j.id)
    leftovers[#leftovers + 1] = barred_key(j.id)
  end
end

-- In a fifo queue a job that was begun, and was at its limit, goes before the others again.
local function make_ready(j)
  if j.ready == 0 and can_hand_out(j) then
    local first = j.cursor > 0 and call('HGET', queue_key(j.queue), 'order') == 'fifo'
    call(first and 'LPUSH' or 'RPUSH', ready_key(j.queue .. ':' .. j.priority), j.id)
    j.ready = 1
  end
end

-- A client that waits for a job is told as soon as there is news, in its own list: that there are
-- results, unless something unread says so already, and how the job ended, with its results where
-- they are one small entry. What is lost of this it finds by looking.
local function tell_waiter(j)
  local ended = FINAL[j.state] and not FINAL[j.was.state]
  if not ended and not j.news then return end
  local letters = mail[j.waiter]
  if not letters then
    letters = {}
    mail[j.waiter] = letters
  end
  if ended then
    letters[#letters + 1] = j.id .. ' ' .. j.n .. '\n' ..
      (j.news and #j.news <= MAIL_BYTES and j.news or '')
  end
end

local function send_mail(waiter, letters)
  local key = mail_key(waiter)
  if #letters == 0 then
    if call('EXISTS', key) == 1 then return end
    letters[1] = 'news'
  end
  local n = redis.pcall('RPUSH', key, unpack(letters))
  if type(n) ~= 'number' then return end -- something else lies there: no reason to fail a move
  if n == #letters then
    call('PEXPIRE', key, 3600000) -- a client that is gone reads nothing
  elseif n > MAIL_MOST then
    call('LTRIM', key, -MAIL_MOST, -1)
  end
end

local function save(j)
  if j.state == 'active' and j.max_fails > 0 and j.failed >= j.max_fails and j.busy == 0 then
    stop_job(j, 'max-fails')
  end
  if (j.state == 'active' or j.state == 'stopping') and j.busy == 0 and j.open == 0
    and j.leased == 0 and j.ok + j.failed + j.cancelled == j.total then
    finish(j)
  end
  if j.busy == 0 and j.was.busy == 1 then
    call('SREM', busy_key(), j.id)
  end
  make_ready(j)
  write(j)
  if j.waiter ~= '' then tell_waiter(j) end
  local was = j.was
  for _, name in ipairs({ 'ok', 'failed', 'cancelled' }) do
    if j[name] > was[name] then
      local sums = totals[j.queue] or {}
      sums[name] = (sums[name] or 0) + (j[name] - was[name])
      totals[j.queue] = sums
    end
  end
end

-- The keys of a queue's lists of ready jobs, the highest priority first.
local function ready_lists(queue)
  local lists = lists_of[queue]
  if not lists then
    lists = {}
    for priority = 9, 0, -1 do
      lists[#lists + 1] = ready_key(queue .. ':' .. priority)
    end
    lists_of[queue] = lists
  end
  return lists
end

-- Whether nothing new may be handed out for want of memory.
local function is_full()
  if full == nil then full = call('HGET', clock_key(), 'full') == '1' end
  return full
end

-- Whether a list of ready jobs has one that can be handed out. Those in front that cannot any
-- more (cancelled, finished late, held) leave it.
local function has_takeable(list)
  for _ = 1, BOUND do
    local id = call('LINDEX', list, 0)
    local j = id and load_job(id)
    if not id or (j and can_hand_out(j)) then return id end
    call('LPOP', list)
    if j then
      j.ready = 0
      write(j)
    end
  end
  return true -- who is woken goes on
end

local function is_takeable(queue)
  local lists = ready_lists(queue)
  if is_full() or call('EXISTS', unpack(lists)) == 0
    or call('HGET', queue_key(queue), 'paused') == '1' then return false end
  for _, list in ipairs(lists) do
    if has_takeable(list) then return true end
  end
  return false
end

-- A token stands on wake:<queue> exactly while something there can be taken.
local function restore_token(queue)
  if not is_takeable(queue) then
    call('DEL', wake_key(queue))
  elseif call('LLEN', wake_key(queue)) == 0 then
    call('RPUSH', wake_key(queue), '1')
  end
end

local function save_sums()
  for queue, sums in pairs(totals) do
    for name, n in pairs(sums) do bump(queue_key(queue), name, n) end
  end
  if #expiries > 0 then call('ZADD', dates_key(), unpack(expiries)) end
  if #leftovers > 0 then call('DEL', unpack(leftovers)) end
  for waiter, letters in pairs(mail) do send_mail(waiter, letters) end
  for queue in pairs(touched) do
    restore_token(queue)
  end
end

-- The last line of every script that changes something.
local function save_all()
  for _, j in ipairs(in_order) do
    if loaded[j.id] then save(j) end
  end
  save_sums()
end

-- ---- housekeeping

local function wake_retry(id, lo)
  local j = load_job(id)
  if not j then return end
  local member = call('ZRANGEBYSCORE', open_key(id), lo, lo)[1]
  local r = member and range(member)
  if r and r.label:sub(1, 1) == 'd' then
    drop(j, r)
    put(j, r.lo, r.hi, r.attempt, r.fails, r.lost, 'q')
  end
end

local function run_due(now)
  local items = call('ZRANGEBYSCORE', due_key(), '-inf', fmt(now), 'LIMIT', 0, BOUND)
  for _, item in ipairs(items) do
    call('ZREM', due_key(), item)
    local id, lo = item:match('^r:(%w+):(%d+)$')
    if id then
      wake_retry(id, lo)
    else
      local j = load_job(item:match('^o:(%w+)$') or '')
      if j and j.hold == 1 and j.state == 'waiting' then
        stop_job(j, 'incomplete') -- whoever submitted it is gone
      elseif j then
        j.open = 0
      end
    end
  end
  return #items == BOUND
end

local function is_set_aside(id)
  return redis.pcall('HGET', job_key(id), 'reason') == DAMAGED
end

local function run_dates()
  local items = call('ZRANGEBYSCORE', dates_key(), '-inf', fmt(wall_ms()), 'LIMIT', 0, 100)
  for _, item in ipairs(items) do
    call('ZREM', dates_key(), item)
    local what, id = item:match('^([sx]):(%w+)$')
    local j = load_job(id or '')
    if j and what == 's' and j.state == 'waiting' then
      j.state, j.started = 'active', fmt(wall_ms())
    elseif what == 'x' and (j and FINAL[j.state] or not j and is_set_aside(id)) then
      forget_job(id, j)
    end
  end
  return #items == 100
end

local function reap(now)
  local gone = call('ZRANGEBYSCORE', sessions_key(), '-inf', fmt(now), 'LIMIT', 0, 10)
  for _, sid in ipairs(gone) do
    end_session(sid, 'lost')
  end
  return #gone == 10
end

local function continue_busy()
  local ids = call('SRANDMEMBER', busy_key(), 3)
  for _, id in ipairs(ids) do
    local j = load_job(id)
    if j and j.busy == 1 then
      sweep(j)
    else
      call('SREM', busy_key(), id)
    end
  end
  return #ids > 0
end

-- Whether an item stands in no list, as far as that is looked at: long ones are left alone.
local function is_missing(list, item)
  return call('LLEN', list) <= BOUND and not call('LPOS', list, item)
end

-- One range, in case what leads to it is gone.
local function look_at_range(j)
  local r = range(call('ZRANDMEMBER', open_key(j.id)) or '')
  if not r then return end
  local sid, lease = r.label:match('^@(%w+)/(.+)$')
  local at = r.label:match('^d(%d+)$')
  if sid and not call('HGET', leases_key(sid), lease) then
    j.leases = math.max(j.leases - 1, 0)
    give_back(j, r, 'lost', sid)
  elseif sid and not call('ZSCORE', sessions_key(), sid) then
    end_session(sid, 'lost')
  elseif at then
    call('ZADD', due_key(), 'NX', at, 'r:' .. j.id .. ':' .. fmt(r.lo))
  elseif r.label == 'q' and is_missing(todo_key(j.id), fmt(r.lo)) then
    call('RPUSH', todo_key(j.id), fmt(r.lo))
  end
end

-- As they stand with the sessions.
local function count_leases(id)
  local n = 0
  for _, sid in ipairs(call('ZRANGE', sessions_key(), 0, -1)) do
    for _, what in ipairs(call('HVALS', leases_key(sid))) do
      if what:match('^%w+') == id then n = n + 1 end
    end
  end
  return n
end

-- A job that says it is in its list and is not would stand still for ever, as would one with a
-- range to which nothing leads, or at a limit of leases that are none: some are looked for, so that
-- each is found sooner or later.
local function look_for_lost()
  for _, id in ipairs(call('ZRANDMEMBER', jobs_key(), 10)) do
    local j = load_job(id)
    if j and j.ready == 1 and can_hand_out(j)
      and is_missing(ready_key(j.queue .. ':' .. j.priority), id) then j.ready = 0 end
    if j and j.busy == 1 then call('SADD', busy_key(), id) end
    if j and j.cursor > j.ok + j.failed + j.cancelled then look_at_range(j) end
    if j and j.max_running > 0 and j.leases > 0 and j.leased == 0 then
      j.leases = count_leases(id)
    end
  end
end

-- Whether the list of all jobs is gone: there are specs as long as there are jobs.
local function jobs_are_lost()
  return call('EXISTS', jobs_key()) == 0 and call('EXISTS', specs_key()) == 1
end

-- Puts jobs back into the list that was lost: `listing` of the epoch is how far all keys were
-- looked through. It takes one who may do so; where Redis has users, that is the broker. Returns
-- whether there may be more.
local function list_again()
  local at = call('HGET', epoch_key(), 'listing')
  if not at and not jobs_are_lost() or not redis.acl_check_cmd('SCAN', '0') then return false end
  local following, keys =
    unpack(call('SCAN', fmt(num(at) or 0), 'MATCH', job_key('*'), 'COUNT', BOUND))
  for _, key in ipairs(keys) do
    local id = key:match(':(%w+)$')
    if id then
      local created = num(redis.pcall('HGET', job_key(id), 'created'))
      call('ZADD', jobs_key(), 'NX', fmt(created or wall_ms()), id)
    end
  end
  if following ~= '0' then
    call('HSET', epoch_key(), 'listing', following)
    return true
  end
  call('HDEL', epoch_key(), 'listing')
  if jobs_are_lost() then call('DEL', specs_key()) end -- whose specs? there are no jobs
  return false
end

-- Above 90 % of maxmemory nothing new is handed out.
local function look_at_memory()
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return end -- an ACL without INFO
  local used = tonumber(info:match('used_memory:(%d+)') or '0')
  local most = tonumber(info:match('maxmemory:(%d+)') or '0')
  local now = (most > 0 and used > most * 0.9) and '1' or '0'
  if call('HGET', clock_key(), 'full') ~= now then
    call('HSET', clock_key(), 'full', now)
    full = nil
    for _, queue in ipairs(call('SMEMBERS', queues_key())) do touched[queue] = true end
  end
end

local function is_due_still()
  call('HSET', clock_key(), 'more', 1)
end

-- Everything that only time does, with what tick() returned. Returns the milliseconds until there
-- is more to do, a heartbeat at most.
local function housekeep(now, due)
  local more = false
  if due then
    rescue = is_due_still -- when it fails it is made again, and no time has passed
    local a, b, c, d, e = run_due(now), run_dates(), reap(now), continue_busy(), list_again()
    more = a or b or c or d or e
    call('HSET', clock_key(), 'more', more and 1 or 0)
    look_at_memory()
    look_for_lost()
  end
  if more then return 0 end
  local wait = HEARTBEAT_MS
  local next_due = call('ZRANGE', due_key(), 0, 0, 'WITHSCORES')[2]
  if next_due then wait = math.min(wait, tonumber(next_due) - now) end
  local next_date = call('ZRANGE', dates_key(), 0, 0, 'WITHSCORES')[2]
  if next_date then wait = math.min(wait, tonumber(next_date) - wall_ms()) end
  return math.max(wait, 50)
end

-- ---- arguments

local position

local function word()
  position = position + 1
  return ARGV[position]
end

local function number()
  return tonumber(word())
end

-- ---- what is not shoal's in a key of shoal's, and a call
--
-- In a block, since Lua has 200 local variables in a function at most, and this file is one.

local misfit, with_advice, why_no_job, no_job, play

do
  -- The kind of a key, its name, and what follows that.
  local function kind_of(key)
    local name, of = key:sub(#P + 1):match('^(%l+):?(.*)$')
    return KINDS[name or ''], name, of
  end

  -- What is wrong with the type of a key, or nil.
  function misfit(key)
    local kind, is = kind_of(key), redis.pcall('TYPE', key).ok
    if not kind or not is or is == 'none' or is == kind.type then return nil end
    return 'the key ' .. key .. ' has type ' .. is .. ', not ' .. kind.type
  end

  function with_advice(sentence, key)
    local kind, _, of = kind_of(key)
    return sentence .. (kind.whose == 'job'
      and ": 'shoal forget --force " .. of .. "' takes that job away"
      or ': delete it, or use another namespace')
  end

  -- A sentence for a job that cannot be loaded, or nil when there is none.
  function why_no_job(id)
    local key = job_key(id)
    local sentence = misfit(key)
    if sentence then return with_advice(sentence, key) end
    if is_set_aside(id) then
      local damage = call('HGET', key, 'damage') or 'it was damaged'
      return 'job ' .. id .. ' was set aside: ' .. with_advice(damage, key)
    end
    if call('EXISTS', key) == 0 then return nil end
    return with_advice('what is stored as job ' .. id .. ' is no job', key)
  end

  function no_job(id)
    local why = why_no_job(id)
    return redis.error_reply(why and 'REFUSED ' .. why or 'UNKNOWN there is no job ' .. id)
  end

  -- Ends a job that cannot be worked on, so that nobody waits for it and nothing stumbles over it
  -- again. What has no outcome counts as cancelled. Its keys stay, for a person to look at, as long
  -- as those of other jobs.
  local function set_aside(j, damage)
    j.state, j.reason, j.ended, j.leased, j.delayed = 'failed', DAMAGED, fmt(wall_ms()), 0, 0
    j.cancelled = math.max(j.total - j.ok - j.failed, 0)
    write(j)
    call('HSET', job_key(j.id), 'damage', damage)
    call('ZADD', dates_key(), fmt(wall_ms() + j.keep), 'x:' .. j.id)
    if j.waiter ~= '' then tell_waiter(j) end
    loaded[j.id] = false
    save_sums()
  end

  -- What can go without loss, or is told again when it is gone: a worker registers and tells what
  -- it runs, and housekeeping lists the jobs.
  local DISPOSABLE = { barred = true, inbox = true, jobs = true, leases = true, session = true,
    wake = true }

  -- Makes a move possible that failed on this key; returns whether it did. It is said in Redis's
  -- own log, once.
  local function mend(key, damage)
    local kind, name, of = kind_of(key)
    if DISPOSABLE[name] then
      if not redis.acl_check_cmd('DEL', key) then return false end -- another will
      call('DEL', key)
      if name == 'session' then call('HSET', clock_key(), 'slots', '?') end -- to be counted anew
    else
      local j = kind.whose == 'job' and load_job(of)
      if not j or FINAL[j.state] then return false end
      set_aside(j, damage)
    end
    redis.log(redis.LOG_WARNING, 'shoal: ' .. damage .. ': ' ..
      (DISPOSABLE[name] and 'it was deleted' or 'job ' .. of .. ' was set aside'))
    return true
  end

  -- What a call keeps to itself.
  local function clear(keys, args)
    P = keys[1]
    ARGV, call, position, now_ms, full, rescue = args, redis.call, 0, nil, nil, nil
    texts, loaded, in_order, touched, totals = {}, {}, {}, {}, {}
    if n_shapes > 2000 then policies, n_shapes = {}, 0 end
    expiries, leftovers, mail, lists_of = {}, {}, {}, {}
  end

  -- Redis checks each command of a function against the user who calls it, so that one who may not
  -- do all of a move would do half of it. Hence a move (but one that only reads) asks first whether
  -- that user may call it, which is to say: call a function with the key `may:<move>`.
  local function begin(keys, args, move)
    clear(keys, args)
    if move and not redis.acl_check_cmd('FCALL', move, '1', may_key(move)) then
      return redis.error_reply("NOPERM this user has no permission for the move '" .. move .. "'")
    end
  end

  -- Redis does not roll back. When a move fails on what should not be there, the jobs that it had
  -- to do with are written as far as it came, so that their counters are those of their maps: also
  -- when what else is to be saved cannot be.
  local function save_what_came()
    if rescue then pcall(rescue) end
    for _, j in ipairs(in_order) do
      if loaded[j.id] and not pcall(save, j) then pcall(write, j) end
    end
    pcall(save_sums)
  end

  -- An error that was caught is its text, or a table with it.
  local function what_of(out)
    return type(out) == 'table' and out.err or tostring(out)
  end

  local stumbled -- the key of the command that failed on its type

  -- redis.call, with an eye on each answer.
  local function watched(...)
    local out = redis.pcall(...)
    if type(out) == 'table' and out.err then
      stumbled = out.err:find('^WRONGTYPE') and select(2, ...) or nil
      error(out)
    end
    return out
  end

  local MENDED_MOST = 20 -- in a call; the next one goes on

  -- Mends what is wrong with the jobs that a move which failed had to do with: behind it they stand
  -- elsewhere in their lists, and may not be met again.
  local function mend_jobs(keys, args)
    local damages = {}
    for _, j in ipairs(in_order) do
      for family, kind in pairs(KINDS) do
        local key = kind.whose == 'job' and P .. family .. ':' .. j.id
        local damage = key and misfit(key)
        if damage then damages[key] = damage end
      end
    end
    for key, damage in pairs(damages) do
      clear(keys, args)
      pcall(mend, key, damage)
    end
  end

  -- Makes a move that failed on the type of a key once more, which is harmless, to see which key
  -- that is; and when it could be mended, again. Returns whether it went well, and its answer or
  -- error.
  local function make_again(move, name, keys, args, out)
    if name then mend_jobs(keys, args) end
    for _ = 1, MENDED_MOST do
      clear(keys, args)
      call, stumbled = watched, nil
      local fine
      fine, out = pcall(move)
      local key = stumbled
      if fine or not key then return fine, out end
      if name then save_what_came() end
      clear(keys, args)
      local damage, mended = misfit(key), nil
      if damage and name then _, mended = pcall(mend, key, damage) end
      if mended ~= true then
        return false, damage and 'GARBAGE ' .. with_advice(damage, key) or out
      end
    end
    return false, out
  end

  -- Makes a move.
  function play(move, name, keys, args)
    local denied = begin(keys, args, name)
    if denied then return denied end
    local words = redis.pcall('HMGET', epoch_key(), 'id', 'layout', 'version')
    if words.err and name then
      local damage = misfit(epoch_key())
      return damage and redis.error_reply('GARBAGE ' .. with_advice(damage, epoch_key())) or words
    end
    local layout, release
    store, layout, release = unpack(words.err and {} or words)
    local refused = other_layout(layout, release)
    if refused then return refused end
    store = store and #store == 12 and store:match('^%w+$')
    local fine, out = pcall(move)
    if fine then return out end
    if name then save_what_came() end
    if what_of(out):find('^WRONGTYPE') then
      fine, out = make_again(move, name, keys, args, out)
      if fine then return out end
    end
    local what = what_of(out)
    return redis.error_reply(what:find('^%u+ ') and what or 'ERR ' .. what)
  end
end
