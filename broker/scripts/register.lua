#!lua flags=allow-oom
-- Begins a session, or goes on with it after a gap; ends the sessions of workers that died.
-- Adopts what the worker still runs, or has outcomes of, and nobody has taken meanwhile: what was
-- the same lease of a dead session becomes the worker's as it is, so that a failure still counts.
-- What Redis thinks it holds and it does not goes back.
--
-- ARGV     session, time to live in ms, sessions to end, joined by commas, fresh id for this store,
--          store id and highest commit sequence that the worker has seen ("" and 0 at its first
--          start),
--          slots, number of pairs, name and value pairs for session:<sid>, number of leases that
--          it runs, then for each: lease, job, lo, hi, attempt
-- Returns  {store id, commit sequence, "same" | "replaced" | "rolled back", for each lease the
--          attempt under which it is the worker's (again), 0 when others have it, -1 when
--          nothing is left to do in it}
local sid, ttl, dead, fresh, seen_id = word(), number(), word(), word(), word()
local seen = commits_of(word()) or 0
local slots = number()

-- Whether the worker saw a commit that was lost. The first that saw so many of them has it noted.
local function saw_lost()
  local leaps, lost = call('HGET', epoch_key(), 'leaps') or '', false
  local noted = leaps:gsub('(%d+):(%d+):(%d+)', function(from, to, told)
    if seen <= tonumber(from) or seen >= tonumber(to) then return nil end
    lost = true
    if seen <= tonumber(told) then return nil end
    if told == from then bump(epoch_key(), 'rollbacks', 1) end
    local n = seen - tonumber(told)
    if n >= LEAP then n = 1 end -- a leap was lost, too: at least one
    bump(epoch_key(), 'commits_lost', n)
    return from .. ':' .. to .. ':' .. fmt(seen)
  end)
  if noted ~= leaps then
    call('HSET', epoch_key(), 'leaps', noted, 'rolled_back', fmt(wall_ms()))
  end
  return lost
end

-- Whether a lease stands that is not about [lo, hi): a name is asked for again when the answer was
-- lost, and may be given another range; a store that was rolled back knows the one before.
local function is_another(lease, j, lo, hi)
  local id, from, to = (call('HGET', leases_key(sid), lease) or ''):match('^(%w+):(%d+):(%d+)$')
  return id and (id ~= j.id or lo < tonumber(from) or hi > tonumber(to))
end

local dying = {}
for id in dead:gmatch('%w+') do dying[id] = true end

local function of_the_dead(r, lease)
  local holder, its = r.label:match('^@(%w+)/(.+)$')
  return dying[holder] and its == lease
end

local function note(lease, j, lo, hi)
  return call('HSET', leases_key(sid), lease, j.id .. ':' .. fmt(lo) .. ':' .. fmt(hi))
end

-- Relabels what is queued of [lo, hi), or was the same lease of the dead, if nothing of it is held
-- by others.
local function adopt(lease, j, lo, hi, attempt)
  local mine, highest = {}, attempt
  local label = '@' .. sid .. '/' .. lease
  for _, r in ipairs(meet(j, lo, hi)) do
    if r.label == label then
      if not call('HGET', leases_key(sid), lease) then note(lease, j, lo, hi) end
      return r.attempt
    end
    if r.label ~= 'q' and not of_the_dead(r, lease) then return 0 end
    mine[#mine + 1] = r
    highest = math.max(highest, r.attempt)
  end
  if #mine == 0 and hi <= j.cursor then return -1 end
  for _, r in ipairs(settle(j, lo, hi)) do
    put(j, r.lo, r.hi, highest, r.fails, r.lost, label)
  end
  j.leases = j.leases + note(lease, j, lo, hi)
  return highest
end

begin_store(fresh)
local seq, verdict = sequence(), 'same'
if seen_id ~= '' and seen_id ~= store then
  verdict, seen = 'replaced', 0
end
-- Here at the latest: who registers now does not see the leap of a later commit, and again.
if not counts or seen > seq then seq = leap(seq, math.max(seq, seen)) end
if saw_lost() then verdict = 'rolled back' end

local now = tick()
add_slots(slots - (num(call('HGET', session_key(sid), 'slots')) or 0))
call('ZADD', sessions_key(), fmt(now + ttl), sid)
call('HSET', session_key(sid), 'slots', fmt(slots), 'since', fmt(wall_ms()))
for _ = 1, number() do
  call('HSET', session_key(sid), word(), word())
end

local out, held = { store, fmt(seq), verdict }, {}
for i = 1, number() do
  local lease, id, lo, hi, attempt = word(), word(), number(), number(), number()
  held[lease] = true
  local j = load_job(id)
  if j and hi <= j.total and not FINAL[j.state] then
    if is_another(lease, j, lo, hi) then end_lease(sid, lease, 'untouched', sid) end
    out[3 + i] = adopt(lease, j, lo, hi, attempt)
  else
    out[3 + i] = -1
  end
end
for _, lease in ipairs(call('HKEYS', leases_key(sid))) do
  if not held[lease] then end_lease(sid, lease, 'untouched', sid) end
end
for id in pairs(dying) do end_session(id, 'lost') end
save_all()
return out
