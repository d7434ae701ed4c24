#!lua flags=allow-oom
-- Commits what was done of some leases and hands out new ones, in one call.
--
-- ARGV     session, worker's name,
--          number of commits, then for each:
--            job, lease, lo, hi       outcomes of [lo, hi) are in the pack
--            rest                     what the lease still owns from here on goes back untouched;
--                                     -1: nothing
--            over                     1: the lease ends, all that it still owns goes back untouched
--            work                     µs that the tasks took
--            number of tasks in [lo, hi) that did not succeed, then for each, in order:
--              index, attempt, reason, record for the attempts list ("" for none)
--            "lo-hi", a line, and the pack: what the results list gets when all is accepted
--          number of queues, their names, the preferred one first,
--          number of wishes, then for each: lease, most leases, most tasks of each, 1 if it is a
--            prefetch, µs that a task of a job without history is thought to take (0: unknown);
--            the leases behind the first are called "<lease>.1" and so on
-- Returns  {1 or 0 (the session is over: no lease is given), commit sequence, store id, then for
--          each lease {lease, job, lo, hi, attempt, spec's digest, seed, index of the pack's first
--          argument, pack of arguments}, the last two only for jobs with arguments; of a signed
--          job always, nil without arguments, and behind them: digest of its warrant, queue,
--          policy, seal of the pack ("": none)}
local LEASE_US = 250000 -- of work that a wish gets at most, if it is not one task
local sid, name, queues -- of the worker
local slots -- of all workers, once they were looked up
local given_now -- leases that are being given, which are written at once
local alone -- the session's field of that name, once it was read
local empties -- this session is to get nothing more until it has nothing
local in_hand -- jobs that are out of their list for the moment
local uncounted -- something was committed, and not yet counted

local POLICY = { exit = 'charged', signal = 'charged', timeout = 'charged', oom = 'charged',
  rejected = 'final', ['too-large'] = 'final', spawn = 'spawn', stopped = 'back',
  continue = 'back' }
-- Who wants to go on within a moment waits for a pause. A bar lasts its least time however often
-- sessions end.
local SPAN = { moment_us = 1000000, pause_ms = 1000, bar_ms = 60000, least_bar_ms = 5000 }

-- Bytes that go out with a lease: of a pack with its seal (client/pack.h), and of a job's words
-- together. Where there are more they were written by hand.
local MOST = { pack = 1048576, words = 4096 }

-- Whether an attempt, whose record says how it ended, was over within a moment: its seventh item is
-- the µs that it took.
local function was_short(record)
  local wall = record:match('^%*%d+\r\n' .. ('%$%d+\r\n[^\r]*\r\n'):rep(6) .. '%$%d+\r\n(%d+)\r')
  return not wall or tonumber(wall) < SPAN.moment_us
end

-- A bar is "until:sessions that had ended when it was set". Whoever could not start the job counts
-- among those until then, but tries again when another session has ended, which may have been the
-- last that was thought to be able to.
local function read_bar(text)
  local till, ended = (text or ''):match('^(%d+):(%d+)$')
  return num(till) or 0, num(ended)
end

-- Whether all live workers of the job's queue, and whether three, could not start it.
local function who_could_not(j)
  local now, bars, others = fleet_ms(), {}, 0
  call('HSET', barred_key(j.id), sid, fmt(now + SPAN.bar_ms) .. ':' .. fmt(sessions_ended()))
  j.marks = 1
  local all = call('HGETALL', barred_key(j.id))
  local n = 0
  for i = 1, #all, 2 do
    if read_bar(all[i + 1]) > now and call('ZSCORE', sessions_key(), all[i]) then
      bars[all[i]] = true
      n = n + 1
    end
  end
  local live = call('ZRANGEBYSCORE', sessions_key(), '(' .. fmt(now), '+inf', 'LIMIT', 0, BOUND)
  for _, other in ipairs(live) do
    local serves, drains = unpack(call('HMGET', session_key(other), 'queues', 'drain'))
    if not bars[other] and drains ~= '1'
      and (',' .. (serves or '') .. ','):find(',' .. j.queue .. ',', 1, true) then
      others = others + 1
    end
  end
  return others == 0, n >= 3
end

-- What becomes of a task that did not succeed and was taken out. What fails on something else than
-- the job does so before anything is done.
local function judge(j, r, index, attempt, reason, record)
  local policy = POLICY[reason] or 'final'
  if policy == 'charged' and j.state == 'active' and r.fails < j.retries then
    retry_later(j, r)
    return false
  elseif policy == 'back' then
    if j.state == 'stopping' then
      remember(j, index, index + 1, attempt, 'c')
    elseif reason == 'continue' and was_short(record) then
      put_later(j, r, r.fails, SPAN.pause_ms)
    else
      put(j, index, index + 1, attempt + 1, r.fails, r.lost, 'q', true)
    end
    return false
  elseif policy == 'spawn' and j.state == 'stopping' then
    remember(j, index, index + 1, attempt, 'c')
    return false
  elseif policy == 'spawn' and j.spawnless == 0 then
    local all, three = who_could_not(j)
    j.spawnless = all and 1 or 0
    if not all and not three then
      put(j, index, index + 1, attempt + 1, r.fails, r.lost, 'q', true)
      return false
    end
  end
  remember(j, index, index + 1, attempt, 'f')
  return true
end

-- One task that did not succeed. Returns true when that is its outcome, or what it failed on.
local function settle_failure(j, index, attempt, reason, record)
  local r = settle(j, index, index + 1, attempt)[1]
  if not r then return false end
  local fine, final = pcall(judge, j, r, index, attempt, reason, record)
  if not fine then
    put(j, r.lo, r.hi, r.attempt, r.fails, r.lost, r.label)
    return false, final
  end
  if record ~= '' then add_attempt(j, record) end
  return final
end

-- Tells whoever held a range that others finished it.
local function tell_holder(j, r, lease)
  local holder, its = r.label:match('^@(%w+)/(.+)$')
  if holder and not (holder == sid and its == lease) then
    tell(holder, 'settled ' .. j.id .. ' ' .. fmt(r.lo) .. ' ' .. fmt(r.hi))
  end
end

local function commit()
  local id, lease, lo, hi = word(), word(), number(), number()
  local rest, over, work, failures = number(), word(), number(), number()
  local j = load_job(id)
  if j and (FINAL[j.state] or hi > j.total) then j = nil end
  local accepted, n, taken, trouble = {}, 0, {}, nil

  local function accept(a, b)
    local last = accepted[#accepted]
    if last and last[2] == a then
      last[2] = b
    else
      accepted[#accepted + 1] = { a, b }
    end
    n = n + (b - a)
  end

  local function succeed(a, b)
    if not j or a >= b then return end
    if j.spawnless == 1 then -- somebody can
      j.spawnless = 0
      call('DEL', barred_key(id))
    end
    for _, r in ipairs(settle(j, a, b)) do
      j.ok = j.ok + (r.hi - r.lo)
      accept(r.lo, r.hi)
      taken[#taken + 1] = r
    end
  end

  local at = lo
  for _ = 1, failures do
    local index, attempt, reason, record = number(), number(), word(), word()
    succeed(at, index)
    at = index + 1
    local final, why
    if j then final, why = settle_failure(j, index, attempt, reason, record) end
    if final then accept(index, index + 1) end
    trouble = trouble or why
  end
  succeed(at, hi)
  local entry = word()

  if n > 0 then
    local ranges, own = {}, fmt(lo) .. '-' .. fmt(hi)
    for i, a in ipairs(accepted) do ranges[i] = fmt(a[1]) .. '-' .. fmt(a[2]) end
    local all = table.concat(ranges, ',')
    local fine, why = pcall(add_result, j, all == own and entry or all .. entry:sub(#own + 1))
    if not fine then -- no success whose result is nowhere
      for _, r in ipairs(taken) do
        j.ok = j.ok - (r.hi - r.lo)
        put(j, r.lo, r.hi, r.attempt, r.fails, r.lost, r.label)
      end
      error(why, 0)
    end
    j.ran, j.work = j.ran + n, math.min(j.work + math.max(work, 0), 10 ^ 17)
    for _, r in ipairs(taken) do tell_holder(j, r, lease) end
  end
  if trouble then error(trouble, 0) end -- behind the results of what was accepted
  if over == '1' then
    end_lease(sid, lease, 'untouched', name)
  elseif rest >= 0 and j then
    local held = call('HGET', leases_key(sid), lease)
    local of, from, to = (held or ''):match('^(%w+):(%d+):(%d+)$')
    if of == id and rest < tonumber(to) then -- else a rollback gave that name to another
      for _, r in ipairs(owned(j, sid, lease, rest, tonumber(to))) do
        give_back(j, r.lo < rest and split(j, r, rest) or r, 'untouched', name)
      end
      call('HSET', leases_key(sid), lease, id .. ':' .. from .. ':' .. fmt(rest))
    end
  end
  return n > 0
end

-- A half of an even share of n.
local function half_share(n)
  slots = slots or math.max(fleet_slots(), 1)
  return n / (2 * slots)
end

-- µs that a task of the job takes, by its own average so far. Unknown: as long as a lease may be.
local function mean_us(j, guess)
  return j.ran > 0 and math.max(j.work / j.ran, 1) or guess > 0 and guess or LEASE_US
end

-- About 250 ms of work by the job's own average, doubling from 1 with what has come back, at most
-- half an even share of what is left.
local function quota(j, most)
  if queued(j) == 1 then return 1 end
  local n = math.min(most, LEASE_US / mean_us(j, 0), j.ran + 1, half_share(queued(j)))
  return math.max(math.floor(n), 1)
end

local function lease_reply(j, lease, lo, hi, attempt, first, pack, seal)
  local spec, seed, warrant, queue, policy = j.spec, j.seed, j.warrant, j.queue, j.policy
  if #spec + #seed + #warrant + #queue + #policy > MOST.words then
    spec, seed, warrant, queue, policy = '', '', warrant ~= '' and '-' or '', '', ''
  end
  local out = { lease, j.id, fmt(lo), fmt(hi), fmt(attempt), spec, seed }
  if j.args == 1 then
    out[8], out[9] = fmt(first or 0), pack or ''
  end
  if warrant ~= '' then
    out[8], out[9] = out[8] or false, out[9] or false
    out[10], out[11], out[12], out[13] = warrant, queue, policy, seal or ''
  end
  return out
end

-- The pack of arguments that holds the one of task `lo`, its first index, its end and its seal. Nil
-- when there is none, or something else in its place: the worker rejects the tasks.
local function arguments(j, lo)
  local entry = call('XREVRANGE', args_key(j.id), fmt(lo), '-', 'COUNT', 1)[1]
  if not entry then return nil end
  local first, n = tonumber(entry[1]:match('^(%d+)')), tonumber(entry[2][2])
  local pack, seal = entry[2][4], entry[2][6]
  if not (n and n >= 1 and pack and #pack + #(seal or '') <= MOST.pack) then return nil end
  return pack, first, first + n, seal
end

local function write_leases()
  if #given_now > 0 then call('HSET', leases_key(sid), unpack(given_now)) end
  given_now = {}
end

local function has_lease()
  write_leases()
  return call('HLEN', leases_key(sid)) > 0
end

-- ---- suspects, which run alone

-- The range that this session runs alone, or empties itself for; nil when there is none (any
-- more). The session's field `alone` is "job:lo", the job's field `alone` that session.
local function alone_range()
  alone = alone or call('HGET', session_key(sid), 'alone') or ''
  local id, lo = alone:match('^(%w+):(%d+)$')
  local j = id and load_job(id)
  local member = j and call('ZRANGEBYSCORE', open_key(id), lo, lo)[1]
  local r = member and range(member)
  if r and j.state == 'active' and is_suspect(j, r)
    and (r.label == 'q' and can_hand_out(j) and call('HGET', queue_key(j.queue), 'paused') ~= '1'
      or r.label:sub(1, #sid + 2) == '@' .. sid .. '/') then
    return j, r
  end
  if id then
    call('HDEL', session_key(sid), 'alone')
    alone = ''
  end
  if j and j.alone == sid then j.alone = '' end
end

local function is_reserved(j)
  return j.alone ~= '' and j.alone ~= sid
    and (call('HGET', session_key(j.alone), 'alone') or ''):match('^%w+') == j.id
end

-- Whether this session may take the suspect now: it has nothing else. Else it empties itself for
-- it, unless another does.
local function may_take_suspect(j, r)
  local free = not has_lease()
  if not empties and (free or not is_reserved(j)) then
    j.alone, alone = sid, j.id .. ':' .. fmt(r.lo)
    call('HSET', session_key(sid), 'alone', alone)
    empties = not free
  end
  return free and not empties
end

-- A queued range where a hint says so, or nil. Stale hints are skipped, those of suspects that
-- cannot be taken now are kept.
local function queued_range(j)
  if queued(j) == j.total - j.cursor then return nil end -- all of it lies beyond the cursor
  local kept, out = {}, nil
  for _ = 1, BOUND do
    local lo = call('LPOP', todo_key(j.id))
    if not lo then break end
    local member = num(lo) and call('ZRANGEBYSCORE', open_key(j.id), lo, lo)[1]
    local r = member and range(member)
    if r and r.label == 'q' then
      if not is_suspect(j, r) or may_take_suspect(j, r) then
        out = r
        break
      end
      kept[#kept + 1] = lo
    end
  end
  for _, lo in ipairs(kept) do call('RPUSH', todo_key(j.id), lo) end
  return out
end

-- Cuts a lease out of the job, or makes one of a suspect. Nil when there is nothing after all.
local function cut(j, lease, most, suspect)
  local n, label = quota(j, most), '@' .. sid .. '/' .. lease
  local r = suspect or queued_range(j)
  if not r then
    if j.cursor >= j.total or empties then return nil end
    r = { lo = j.cursor, hi = j.total, attempt = 1, fails = 0, lost = 0 }
  end
  local hi, pack, first, seal = math.min(r.hi, r.lo + n), nil, nil, nil
  if j.args == 1 then
    local stop
    pack, first, stop, seal = arguments(j, r.lo)
    if pack then hi = math.min(hi, math.max(stop, r.lo + 1)) end
  end
  if r.member then
    drop(j, r)
    put(j, hi, r.hi, r.attempt, r.fails, r.lost, 'q', true)
  else
    j.cursor = hi
  end
  put(j, r.lo, hi, r.attempt, r.fails, r.lost, label)
  given_now[#given_now + 1] = lease
  given_now[#given_now + 1] = j.id .. ':' .. fmt(r.lo) .. ':' .. fmt(hi)
  j.leases = j.leases + 1
  return lease_reply(j, lease, r.lo, hi, r.attempt, first, pack, seal)
end

-- A lease that was given already, when its answer was lost. Nil, and it is over, when meanwhile
-- others did all of it or the job stops.
local function given(lease, held)
  local id, lo, hi = held:match('^(%w+):(%d+):(%d+)$')
  local j = load_job(id)
  local r = j and owned(j, sid, lease, tonumber(lo), tonumber(hi))[1]
  if not r or j.state ~= 'active' then
    end_lease(sid, lease, 'untouched', name)
    if j then make_ready(j) end
    return nil
  end
  local pack, first, seal, _
  if j.args == 1 then pack, first, _, seal = arguments(j, r.lo) end
  return lease_reply(j, lease, r.lo, r.hi, r.attempt, first, pack, seal)
end

local function barred(j)
  if j.spawnless == 1 or j.marks == 0 then return false end
  local till, ended = read_bar(call('HGET', barred_key(j.id), sid))
  local left = till - fleet_ms()
  return left > 0 and (ended == sessions_ended() or left > SPAN.bar_ms - SPAN.least_bar_ms)
end

-- The first job of a list that this worker may take; those that it may not stay in front, but those
-- that it could not start go behind the others unless the queue is fifo. Returns the lease and its
-- job.
local function cut_from(list, fifo, lease, wish)
  local aside, behind, out, from = {}, {}, nil, nil
  for _ = 1, 200 do
    local id = call('LPOP', list)
    if not id then break end
    local j = load_job(id)
    if j then
      j.ready = 0
      if can_hand_out(j) then
        local is_barred = barred(j)
        if is_barred and not fifo then
          behind[#behind + 1] = j
        elseif is_barred or (wish.prefetch and j.max_running > 0) then
          aside[#aside + 1] = j
        else
          out, from = cut(j, lease, wish.most), j
          if out and can_hand_out(j) then
            if fifo then
              aside[#aside + 1] = j
            else
              call('RPUSH', list, id)
              j.ready = 1
            end
          end
        end
      end
      if out or empties or #aside > 100 then break end
    end
  end
  for i = #aside, 1, -1 do
    call('LPUSH', list, aside[i].id)
    aside[i].ready = 1
  end
  for _, j in ipairs(behind) do
    call('RPUSH', list, j.id)
    j.ready = 1
  end
  return out, from
end

local function find_work(lease, wish)
  for _, queue in ipairs(queues) do
    local lists, paused, order = ready_lists(queue), nil, nil
    local any = call('EXISTS', unpack(lists)) > 0
    if any then paused, order = unpack(call('HMGET', queue_key(queue), 'paused', 'order')) end
    if any and paused ~= '1' then
      for _, list in ipairs(lists) do
        local out, j = cut_from(list, order == 'fifo', lease, wish)
        if out or empties then return out, j, list, order == 'fifo' end
      end
    end
  end
end

-- The first lease of a wish; also the list that its job came from.
local function hand_out(lease, wish)
  local j, suspect = alone_range()
  if empties then return nil end
  if j then
    local free = suspect.label == 'q' and not has_lease()
    return free and not wish.prefetch and cut(j, lease, 1, suspect) or nil
  end
  return find_work(lease, wish)
end

local function name_of(wish, i)
  return i == 0 and wish.lease or wish.lease .. '.' .. i
end

-- Of jobs of which nothing ever came back, and never two leases of one.
local function is_fresh(j, wish, first)
  return j ~= first and j.marks == 0 and not (wish.prefetch and j.max_running > 0)
end

-- More leases from the list that the first came from, while all of them are short: jobs of one
-- task, say. At most half an even share of the jobs that wait, and none beside a task that was lost
-- before: it may take its worker with it again.
local function hand_out_more(wish, list, fifo, first, reply, out)
  local most = math.floor(math.min(wish.count, half_share(call('LLEN', list) + 1))) - 1
  local work = (reply[4] - reply[3]) * mean_us(first, wish.guess)
  if most < 1 or work >= LEASE_US then return end
  local ids, at, left, behind = call('LPOP', list, most) or {}, 1, {}, {}
  in_hand = ids
  while at <= #ids and work < LEASE_US and #left == 0 do
    local j = load_job(ids[at])
    if j and can_hand_out(j) then
      if not is_fresh(j, wish, first) then break end
      local more = cut(j, name_of(wish, at), wish.most)
      if more then
        out[#out + 1] = more
        work = work + (more[4] - more[3]) * mean_us(j, wish.guess)
      end
    end
    if j then j.ready = can_hand_out(j) and 1 or 0 end
    if j and j.ready == 1 then
      local list_of = fifo and left or behind
      list_of[#list_of + 1] = j.id
    end
    at = at + 1
  end
  for i = at, #ids do left[#left + 1] = ids[i] end
  for i = #left, 1, -1 do call('LPUSH', list, left[i]) end
  if #behind > 0 then call('RPUSH', list, unpack(behind)) end
  in_hand = {}
end

-- What was given when the same was asked before; returns whether there was anything.
local function give_again(wish, out)
  local names, any = {}, false
  for i = 0, wish.count - 1 do names[i + 1] = name_of(wish, i) end
  for i, held in ipairs(call('HMGET', leases_key(sid), unpack(names))) do
    if held then
      local again = given(names[i], held)
      out[#out + 1] = again
      any = any or again ~= nil
    end
  end
  return any
end

local function fulfil(wish, out)
  write_leases()
  if give_again(wish, out) then return end
  local reply, j, list, fifo = hand_out(wish.lease, wish)
  out[#out + 1] = reply
  if list and reply and reply[5] == '1' and wish.count > 1 and alone == '' then
    hand_out_more(wish, list, fifo, j, reply, out)
  end
end

-- The commit sequence, after one more.
local function count_commit()
  uncounted = false
  if not counts then
    local seq = sequence()
    leap(seq, seq)
  end
  return commits_of(redis.pcall('HINCRBY', epoch_key(), 'seq', 1)) or leap(0, 0)
end

-- Of a move that fails: its leases are written, and who is out of its list is put back.
local function write_what_is_held()
  for _, id in ipairs(in_hand) do
    local j = load_job(id)
    if j then j.ready = 0 end
  end
  write_leases()
  if uncounted then count_commit() end
end

-- ---- the move

sid, name, queues, slots, given_now, alone, empties = word(), word(), {}, nil, {}, nil, false
in_hand, uncounted, rescue = {}, false, write_what_is_held
for _ = 1, number() do
  if commit() then uncounted = true end
end
local seq = uncounted and count_commit() or sequence()

for _, j in ipairs(in_order) do make_ready(j) end -- so that who commits may take what that freed

for i = 1, number() do
  queues[i] = word()
  touched[queues[i]] = true
end
local alive = call('ZSCORE', sessions_key(), sid) and 1 or 0
local out = { alive, fmt(seq), store or '' }
for _ = 1, number() do
  local wish = { lease = word(), count = math.max(math.min(number(), BOUND), 1), most = number(),
    prefetch = word() == '1', guess = number() }
  if alive == 1 and not is_full() then fulfil(wish, out) end
end
write_leases()
save_all()
return out
