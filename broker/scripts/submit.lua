#!lua
-- Makes jobs. One that exists already is left as it is, so a submit whose answer was lost can be
-- sent again.
--
-- ARGV     fresh id for this store, number of specs, their texts; what their submitter
--          signed of the
--          jobs, for the store of that id ("": nothing); number of jobs, then for each:
--          id, which spec (from 1), queue, name, owner, policy, seed, total, start (wall ms, 0:
--          now), open (0, 1, or 2: nothing is handed out before it is closed), has arguments
--          (0 or 1), the client that is told of news ("": none)
--          policy: priority:retries:max_lost:max_fails:max_running:keep_ms:budget
-- Returns  for each job 1 (made) or 0 (was there); the id of this store when it is not the one that
--          they were signed for, and none was made


-- Redis does not roll back. A key of ours that holds something else fails one of these, before
-- anything is written.
local function expect_keys(queue, priority)
  call('HLEN', queue_key(queue))
  call('LLEN', ready_key(queue .. ':' .. priority))
  call('LLEN', wake_key(queue))
end
call('HLEN', clock_key())
call('HLEN', names_key())
local no_specs = call('HLEN', specs_key()) == 0
call('HLEN', warrants_key())
call('SCARD', queues_key())
call('ZCARD', dates_key())
call('ZCARD', due_key())
local no_jobs = call('ZCARD', jobs_key()) == 0
local seen
for at = tonumber(ARGV[2]) + 5, #ARGV, 12 do
  local queue, priority = ARGV[at + 2], ARGV[at + 5]:sub(1, 1)
  if seen ~= queue .. priority then expect_keys(queue, priority) end
  seen = queue .. priority
end

local signed = ARGV[tonumber(ARGV[2]) + 3] ~= ''
if signed and store and store ~= ARGV[1] then return store end

begin_store(word())
-- The list of jobs was lost, which nobody sees any more once these are in it.
if no_jobs and not no_specs then call('HSET', epoch_key(), 'listing', 0) end

local function keep(key_of, text)
  local digest = redis.sha1hex(text):sub(1, 20)
  local key = key_of(digest)
  if redis.pcall('GETRANGE', key, 0, #text) ~= text then -- also in place of nonsense
    call('SET', key, text)
  end
  return digest
end

local digests = {}
for i = 1, number() do digests[i] = keep(spec_key, word()) end
local warrant, made = word(), 0
warrant = signed and keep(warrant_key, warrant)

-- What many jobs do to one key is done at once, behind them.
local uses, jobs, ready, created = {}, {}, {}, {}

local function add_to(sums, of, n)
  sums[of] = (sums[of] or 0) + n
end

local function append(lists, of, item)
  local list = lists[of] or {}
  list[#list + 1] = item
  lists[of] = list
end

local out, now = {}, wall_ms()
local at = fmt(now)
for i = 1, number() do
  local id, spec, queue, name, owner = word(), digests[number()], word(), word(), word()
  local policy, seed, total, start, open, args = word(), word(), word(), number(), word(), word()
  local waiter = word()
  out[i] = 1 - call('EXISTS', job_key(id))
  if out[i] == 1 then
    local waits = start > now or open == '2'
    local is_ready = not waits and total ~= '0'
    local n = counters({ state = waits and 'waiting' or 'active', total = tonumber(total),
      ready = is_ready and 1 or 0, open = open ~= '0' and 1 or 0, args = tonumber(args),
      hold = open == '2' and 1 or 0 })
    local fields = { 'n', n, 'spec', spec, 'seed', seed, 'created', at, 'owner', owner }
    local function add(field, value)
      fields[#fields + 1] = field
      fields[#fields + 1] = value
    end
    if queue ~= USUAL_QUEUE then add('queue', queue) end
    if policy ~= USUAL_POLICY then add('policy', policy) end
    if start > now then add('start', fmt(start)) end
    if waiter ~= '' then add('waiter', waiter) end
    if signed then add('warrant', warrant) end
    if name ~= '' then
      add('name', name)
      call('HSET', names_key(), name, id)
    end
    if is_ready then append(ready, queue .. ':' .. policy:sub(1, 1), id) end
    call('HSET', job_key(id), unpack(fields))
    add_to(uses, spec, 1)
    made = made + 1
    add_to(jobs, queue, 1)
    created[#created + 1] = at
    created[#created + 1] = id
    if start > now and open ~= '2' then call('ZADD', dates_key(), fmt(start), 's:' .. id) end
    if open ~= '0' then call('ZADD', due_key(), fmt(fleet_ms() + 3600000), 'o:' .. id) end
    if total == '0' and open == '0' then load_job(id) end -- it ends at once
  end
end
for spec, n in pairs(uses) do bump(specs_key(), spec, n) end
if signed and made > 0 then bump(warrants_key(), warrant, made) end
if #created > 0 then call('ZADD', jobs_key(), unpack(created)) end
for queue, n in pairs(jobs) do
  call('SADD', queues_key(), queue)
  bump(queue_key(queue), 'jobs', n)
  touched[queue] = true
end
for list, ids in pairs(ready) do call('RPUSH', ready_key(list), unpack(ids)) end
for _, digest in ipairs(digests) do -- of jobs that were all there already, and forgotten since
  if call('HEXISTS', specs_key(), digest) == 0 then call('DEL', spec_key(digest)) end
end
if signed and call('HEXISTS', warrants_key(), warrant) == 0 then
  call('DEL', warrant_key(warrant))
end
save_all()
return out
