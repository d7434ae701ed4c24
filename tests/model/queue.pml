/* Sessions, leases, late commits and housekeeping: what broker/scripts does and what a worker
 * remembers, for every order of events. Each move is one atomic step that names its script.
 *
 * Adversary: answers that are lost after the script ran, workers that pause until they are reaped or
 * that die, a Redis that is restarted in an earlier state, a person who cancels. Each costs one of
 * FAULTS, so that every run ends: liveness is that no run goes round in circles (pan -l) and that
 * wherever one ends (`timeout`) every task has its outcome and every worker knows how things stand.
 *
 * README.md tells what was left out. */

#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef FAILURES
#define FAILURES 1 /* runs of a task that fail */
#endif
#ifndef RESTARTS
#define RESTARTS 1 /* of Redis, in an earlier state */
#endif
#ifndef CRASHES
#define CRASHES 1 /* of workers, which are born again with another session */
#endif
#define TASKS 2
#define RETRIES 1
#define SESSIONS (WORKERS + CRASHES)
#define NAMES 3 /* of leases, for each session; one is used again when nobody remembers it */
#define LEAP 16
#define is_leap(from_, to_) ((to_) < (from_) || (to_) - (from_) > LEAP / 2)

/* A job, a task, how a task ended, how a lease ends. */
#define ACTIVE 0
#define STOPPING 1
#define OVER 2
#define FRESH 0 /* at or beyond the cursor */
#define QUEUED 1
#define DELAYED 2
#define LEASED 3
#define OKAY 4
#define FAILED 5
#define CANCELLED 6
#define NONE 0
#define FINE 1
#define BAD 2
#define STOPPED 3
#define UNTOUCHED 0
#define LOST 1

#define is_open(i) (r.task[i] == QUEUED || r.task[i] == DELAYED || r.task[i] == LEASED)
#define is_final(i) (r.task[i] >= OKAY)
#define has(set, i) (((set) >> (i)) & 1)
#define lease_of(s, name) ((s) * NAMES + (name))
#define owns(x, i) (r.task[i] == LEASED && r.holder[i] == (x))

/* What Redis holds. Two tasks of one job: a range of `open` is what its tasks have in common. */
typedef store {
    byte job;
    byte cursor;
    byte task[TASKS];
    byte attempt[TASKS]; /* 0 for what is final */
    byte holder[TASKS];  /* the lease of what is leased */
    byte fails[TASKS];
    byte rows[TASKS];              /* results:<job>: outcomes that count */
    bit live[SESSIONS];            /* sessions */
    byte lease[SESSIONS * NAMES];  /* leases:<sid>: the set of tasks [lo, hi), 0: no such lease */
    byte seq, from, to;            /* epoch */
};
store r;     /* Redis … */
store saved; /* … and what it would know after a restart */
bit is_saved;
bit counts = 1; /* the sequence has leapt since the library was loaded */

/* What a worker holds in its own memory, whatever Redis does. */
typedef memory {
    byte session;
    byte dead;       /* its predecessor's, plus 1, until it was told */
    bit registered;
    bit left;        /* in good order; it does not come back */
    byte seen;       /* the highest commit sequence */
    byte wish;       /* name that it asks for, plus 1 */
    byte held;       /* name of the lease in its hands, plus 1 … */
    byte todo;       /* … the tasks in it that it has not run … */
    byte attempt;    /* … and their attempt */
    bit over;        /* all of it was run: the next commit ends the lease */
    byte out[TASKS]; /* outcomes that wait, and the attempts they are of */
    byte out_of[TASKS]; /* 0 where it does not matter */
    byte recent[TASKS]; /* outcomes that Redis took, and has perhaps not saved */
    byte recent_of[TASKS];
    bit again;       /* those are to be sent once more */
};
memory m[WORKERS];

byte faults = FAULTS, failures = FAILURES, restarts = RESTARTS, crashes = CRASHES, cancels = 1;
byte leaves = 1;
byte began; /* Workers are alike: who gets its first lease first may as well be the first of them. */
bit knows_start[WORKERS] = 1; /* it has registered since Redis started: once is enough */
bit must_hear[WORKERS]; /* Redis lost commits of which this worker was told that they are there */

/* Scratch of one step. What is left open (what Redis or a task chooses, whether an answer comes) is
 * chosen first; the step itself is then all of one piece. */
hidden byte i, k, n, x, y, own, kept, spared, was, mine, told, top, verdict, answer, alive;
hidden byte grant, any, changed;
hidden byte pick;  /* 0 or 1: of two that can be */
hidden byte heard; /* 1: the answer comes; 0: it is lost, 2: and with it the connection */

inline choose() {
    if
    :: pick = 0;
    :: pick = 1;
    fi;
}

inline answer_may_be_lost() {
    if
    :: heard = 1;
    :: faults > 0 -> heard = 0;
    :: faults > 0 -> heard = 2;
    fi;
}

/* ---- what must hold after every move */

inline check() {
    printf("  job %d, seq %d, tasks %d@%d by %d, %d@%d by %d\n", r.job, r.seq, r.task[0], r.attempt[0], r.holder[0],
           r.task[1], r.attempt[1], r.holder[1]);
    i = 0;
    do
    :: i < TASKS ->
        assert(r.rows[i] <= 1);                                  /* one outcome */
        assert((r.rows[i] == 1) == (r.task[i] == OKAY || r.task[i] == FAILED));
        assert((r.task[i] == FRESH) == (i >= r.cursor));         /* conservation */
        if
        :: r.task[i] == LEASED ->                                /* leases are of live sessions */
            assert(r.live[r.holder[i] / NAMES]);
            assert(has(r.lease[r.holder[i]], i));
        :: else
        fi;
        assert(r.job != OVER || is_final(i));
        i++;
    :: else -> break;
    od;
}

/* ---- lib.lua */

inline end_task(i_, outcome) {
    assert(!is_final(i_)); /* nothing that has its outcome gets another */
    r.task[i_] = outcome; r.attempt[i_] = 0; r.holder[i_] = 0; r.fails[i_] = 0;
    if
    :: outcome != CANCELLED -> r.rows[i_]++; changed = 1;
    :: else
    fi;
}

inline queue(i_, attempt_) {
    assert(!is_final(i_));
    r.task[i_] = QUEUED; r.attempt[i_] = attempt_; r.holder[i_] = 0;
}

inline give_back(i_, how_) {
    if
    :: r.job == STOPPING -> end_task(i_, CANCELLED);
    :: else -> queue(i_, r.attempt[i_] + how_);
    fi;
}

inline end_lease(x_, how_) {
    mine = r.lease[x_]; r.lease[x_] = 0;
    k = 0;
    do
    :: k < TASKS ->
        if
        :: has(mine, k) && owns(x_, k) -> give_back(k, how_);
        :: else
        fi;
        k++;
    :: else -> break;
    od;
}

/* All leases of a session but those two names (plus 1, 0: none). */
inline end_leases(session_, how_, name_, another_) {
    own = session_; kept = name_; spared = another_;
    y = 0;
    do
    :: y < NAMES ->
        if
        :: r.lease[lease_of(own, y)] != 0 && y + 1 != kept && y + 1 != spared ->
            end_lease(lease_of(own, y), how_);
        :: else
        fi;
        y++;
    :: else -> break;
    od;
}

inline end_session(session_, how_) {
#ifndef REAP_KEEPS_LEASES
    end_leases(session_, how_, 0, 0);
#endif
    r.live[session_] = 0;
}

/* Redis has forgotten that it handed this out: the gap is queued. */
inline reach(i_, attempt_) {
    if
    :: i_ >= r.cursor ->
#ifndef GAP_IS_LOST
        k = r.cursor;
        do
        :: k < i_ -> queue(k, 1); k++;
        :: else -> break;
        od;
#endif
        queue(i_, attempt_);
        r.cursor = i_ + 1;
    :: else
    fi;
}

/* The end of every script: a job of which all is final is over. */
inline save() {
    if
    :: r.job != OVER && is_final(0) && is_final(1) -> r.job = OVER;
    :: else
    fi;
    check();
    skip; /* Spin's loops do not like to be the last of a step */
}

/* ---- commits, in advance.lua */

inline succeed(i_, x_) {
    reach(i_, 1);
    was = is_open(i_);
    if
#ifdef LATE_SUCCESS_IS_DROPPED
    :: owns(x_, i_) -> end_task(i_, OKAY);
#elif defined SETTLED_COUNTS_AGAIN
    :: r.task[i_] != CANCELLED -> r.task[i_] = OKAY; r.rows[i_]++; changed = 1;
#else
    :: is_open(i_) -> end_task(i_, OKAY);
#endif
    :: else
    fi;
    assert(!was || r.task[i_] == OKAY); /* whoever holds it now */
    assert(is_final(i_));               /* work that was done is never thrown away */
}

inline settle_failure(i_, attempt_, outcome) {
    reach(i_, attempt_);
    was = r.attempt[i_];
    any = 0;
    if
#ifdef FAILURE_OF_ANY_ATTEMPT
    :: is_open(i_) ->
#else
    :: is_open(i_) && r.attempt[i_] == attempt_ ->
#endif
        any = 1;
        if
        :: outcome == STOPPED && r.job == STOPPING -> end_task(i_, CANCELLED);
        :: outcome == STOPPED && r.job != STOPPING -> queue(i_, r.attempt[i_] + 1);
        :: outcome == BAD && r.job == ACTIVE && r.fails[i_] < RETRIES ->
            queue(i_, r.attempt[i_] + 1);
            r.task[i_] = DELAYED; r.fails[i_]++;
        :: else -> end_task(i_, FAILED);
        fi;
    :: else
    fi;
    assert(!any || was == attempt_); /* it counts for the attempt that `open` shows */
}

inline commit_one(i_, outcome, attempt_, x_) {
    if
    :: outcome == NONE || r.job == OVER -> skip;
    :: outcome == FINE && r.job != OVER -> succeed(i_, x_);
    :: else -> settle_failure(i_, attempt_, outcome);
    fi;
}

/* Numbers of commits that were lost are not given again: Redis may have started in an earlier state
 * when the library is new, and has when a worker saw more than there is. Whoever registers or commits
 * first after a start sees to it. */
inline leap(beyond) {
    r.from = r.seq;
    r.to = beyond + LEAP;
    r.seq = r.to;
    counts = 1;
}

/* Once Redis cannot lose anything any more and all is heard, numbers are of no use. */
#define counting (restarts > 0 || must_hear[0] || must_hear[1] || must_hear[WORKERS - 1])

inline count_commit() {
    if
#ifndef RESTART_DOES_NOT_LEAP
    :: counting && !counts -> leap(r.seq); r.seq++;
    :: counting && counts -> r.seq++;
#else
    :: counting -> r.seq++;
#endif
    :: else
    fi;
}

inline stop_counting() {
    if
    :: !counting ->
        r.seq = 0; r.from = 0; r.to = 0; counts = 1;
        n = 0;
        do
        :: n < WORKERS -> m[n].seen = 0; knows_start[n] = 1; n++;
        :: else -> break;
        od;
    :: else
    fi;
    skip;
}

/* What was sent before and is sent again goes first. */
inline commit_all(w) {
    i = 0;
    do
    :: i < TASKS && m[w].again -> commit_one(i, m[w].recent[i], m[w].recent_of[i], 255); i++;
    :: else -> break;
    od;
    i = 0;
    do
    :: i < TASKS -> commit_one(i, m[w].out[i], m[w].out_of[i], lease_of(m[w].session, m[w].held - 1)); i++;
    :: else -> break;
    od;
    if
    :: m[w].over ->
#ifdef END_KEEPS_THE_REST
        r.lease[lease_of(m[w].session, m[w].held - 1)] = 0;
#else
        end_lease(lease_of(m[w].session, m[w].held - 1), UNTOUCHED);
#endif
    :: else
    fi;
    if
    :: changed ->
        count_commit();
    :: else
    fi;
}

/* ---- wishes, in advance.lua */

#define wants(w) ((m[w].held == 0 || m[w].over) && w <= began)
#define may_have(name) (r.lease[lease_of(m[w].session, name)] == 0 && \
    saved.lease[lease_of(m[w].session, name)] == 0 && m[w].held != name + 1)
#define takeable (r.job == ACTIVE && \
    (r.task[0] == QUEUED || r.task[1] == QUEUED || r.cursor < TASKS))

/* A name that nobody remembers. */
inline name_wish(w) {
    if
    :: m[w].wish == 0 && may_have(0) -> m[w].wish = 1;
    :: m[w].wish == 0 && !may_have(0) && may_have(1) -> m[w].wish = 2;
    :: m[w].wish == 0 && !may_have(0) && !may_have(1) ->
        assert(may_have(2));
        m[w].wish = 3;
    :: else
    fi;
}

/* What was given when the same was asked before; over when nothing of it is left. */
inline give_again() {
    grant = 0;
    if
    :: r.lease[x] != 0 ->
        i = 0;
        do
        :: i < TASKS && r.job == ACTIVE ->
            if
            :: owns(x, i) && (grant == 0 || r.attempt[i] == r.attempt[i - 1]) -> grant = grant | (1 << i);
            :: else
            fi;
            i++;
        :: else -> break;
        od;
        if
        :: grant == 0 -> end_lease(x, UNTOUCHED);
        :: else
        fi;
    :: else
    fi;
}

inline cut_fresh(upto) {
    i = r.cursor;
    do
    :: i < (upto) ->
        r.task[i] = LEASED; r.attempt[i] = 1; r.holder[i] = x;
        grant = grant | (1 << i);
        i++;
    :: else -> break;
    od;
    r.cursor = upto;
    r.lease[x] = grant;
}

inline cut_queued(i_) {
    r.task[i_] = LEASED; r.holder[i_] = x;
    grant = 1 << i_;
    r.lease[x] = grant;
}

#ifdef WORKER_MISSES_LEAPS
#define leapt(w) (r.seq < m[w].seen)
#else
#define leapt(w) is_leap(m[w].seen, r.seq)
#endif

/* ---- advance.lua, and what the worker does with the answer */

inline must_register(w) {
    assert(!knows_start[w]);
    m[w].registered = 0;
}

inline take_advanced(w) {
    i = 0;
    do
    :: i < TASKS ->
        if
        :: m[w].out[i] != NONE && restarts > 0 ->
            m[w].recent[i] = m[w].out[i]; m[w].recent_of[i] = m[w].out_of[i];
        :: m[w].again && restarts == 0 -> m[w].recent[i] = NONE; m[w].recent_of[i] = 0;
        :: else
        fi;
        m[w].out[i] = NONE; m[w].out_of[i] = 0;
        i++;
    :: else -> break;
    od;
    m[w].again = 0;
    if
    :: m[w].over -> m[w].held = 0; m[w].over = 0; m[w].attempt = 0;
    :: else
    fi;
    if
    :: leapt(w) -> must_register(w); /* which tells what happened */
    :: else -> m[w].seen = r.seq; m[w].registered = alive;
    fi;
    if
    :: grant != 0 ->
        began = (w == began -> began + 1 : began);
        m[w].held = m[w].wish; m[w].wish = 0; m[w].todo = grant;
        m[w].attempt = r.attempt[(has(grant, 0) -> 0 : 1)];
    :: else
    fi;
}

#define has_news(w) (m[w].out[0] != NONE || m[w].out[1] != NONE || m[w].over || m[w].again)
#define stands(w) (m[w].wish != 0 && r.lease[lease_of(m[w].session, m[w].wish - 1)] != 0)

/* The queue chooses: one of two queued ranges, one task at the cursor or two. */
inline hand_out() {
    if
    :: r.job != ACTIVE -> skip;
    :: r.job == ACTIVE && r.task[0] == QUEUED && (r.task[1] != QUEUED || !pick) -> cut_queued(0);
    :: r.job == ACTIVE && r.task[1] == QUEUED && (r.task[0] != QUEUED || pick) -> cut_queued(1);
    :: else ->
        if
        :: r.cursor == 0 -> cut_fresh(1 + pick);
        :: r.cursor == 1 -> cut_fresh(2);
        :: else
        fi;
    fi;
}

inline advance(w) {
    printf("advance.lua: worker %d, session %d, outcomes %d %d of lease %d, sends again %d, answer %d\n", w,
           m[w].session, m[w].out[0], m[w].out[1], m[w].held, m[w].again, heard);
    changed = 0; grant = 0;
    alive = r.live[m[w].session];
    commit_all(w);
    save();
    if
#ifdef REAP_DOES_NOT_FENCE
    :: wants(w) && (takeable || stands(w)) ->
#else
    :: alive && wants(w) && (takeable || stands(w)) ->
#endif
        name_wish(w);
        x = lease_of(m[w].session, m[w].wish - 1);
        give_again();
        if
        :: grant == 0 -> hand_out();
        :: else
        fi;
        save();
    :: else
    fi;
    if
    :: heard == 1 -> take_advanced(w);
    :: else -> lose_answer(w);
    fi;
}

/* The script ran, the worker does not know it: it tries again, on the same connection or another. */
inline lose_answer(w) {
    faults--;
    if
    :: heard == 2 -> m[w].registered = 0;
    :: else
    fi;
    skip;
}

/* ---- register.lua: the lease in hand is told with what was done of it and is not told yet */

inline adopt(w) {
    x = lease_of(m[w].session, m[w].held - 1);
#ifndef NAME_IS_TAKEN_FOR_THE_LEASE
    if
    :: r.lease[x] != 0 && (told | r.lease[x]) != r.lease[x] -> end_lease(x, UNTOUCHED);
    :: else
    fi;
#endif
    top = (m[w].todo != 0 -> m[w].attempt : 1);
    answer = 255; /* nothing is left to do */
    i = 0;
    do
    :: i < TASKS && answer == 255 ->
        if
        :: has(told, i) && owns(x, i) -> answer = r.attempt[i];
        :: has(told, i) && !owns(x, i) && is_open(i) && r.task[i] != QUEUED -> answer = 0;
        :: has(told, i) && r.task[i] == QUEUED && r.attempt[i] > top -> top = r.attempt[i];
        :: else
        fi;
        i++;
    :: else -> break;
    od;
    any = 0;
    if
    :: answer == 255 ->
        i = 0;
        do
        :: i < TASKS ->
            if
            :: has(told, i) ->
                reach(i, 1);
                if
                :: r.task[i] == QUEUED ->
                    r.task[i] = LEASED; r.attempt[i] = top; r.holder[i] = x;
                    any = 1;
                :: else
                fi;
            :: else
            fi;
            i++;
        :: else -> break;
        od;
    :: else
    fi;
    if
    :: any -> r.lease[x] = told; answer = top;
    :: else
    fi;
}

inline compare_epoch(w) {
    verdict = 0;
    if
#ifdef ROLLBACK_IS_NOT_NOTICED
    :: false -> skip;
#else
    :: m[w].seen > r.seq -> verdict = 1; leap(m[w].seen);
#if !defined RESTART_DOES_NOT_LEAP && !defined REGISTER_DOES_NOT_LEAP
    :: m[w].seen <= r.seq && counting && !counts -> leap(r.seq);
#endif
    :: m[w].seen <= r.seq && m[w].seen > r.from && m[w].seen < r.to -> verdict = 1;
#endif
    :: else
    fi;
}

inline take_registered(w) {
    m[w].registered = 1; m[w].dead = 0; m[w].seen = r.seq; knows_start[w] = 1;
    if
    :: verdict -> m[w].again = (m[w].recent[0] != NONE || m[w].recent[1] != NONE); must_hear[w] = 0;
    :: else
    fi;
    if
    :: told != 0 && m[w].todo != 0 && answer != 0 && answer != 255 -> m[w].attempt = answer;
    :: told != 0 && m[w].todo != 0 && answer == 255 -> m[w].todo = 0; m[w].over = 1; m[w].attempt = 0;
    :: told != 0 && m[w].todo == 3 && answer == 0 -> m[w].todo = 1; /* what runs may end */
    :: else
    fi;
}

inline register(w) {
    printf("register.lua: worker %d, session %d, dead %d, saw %d, answer %d\n", w, m[w].session, m[w].dead,
           m[w].seen, heard);
        if
        :: m[w].dead != 0 && r.live[m[w].dead - 1] -> end_session(m[w].dead - 1, LOST);
        :: else
        fi;
        compare_epoch(w);
        r.live[m[w].session] = 1;
        told = m[w].todo | (m[w].out[0] != NONE) | ((m[w].out[1] != NONE) << 1);
        answer = 255;
        if
        :: told != 0 && r.job != OVER -> adopt(w);
        :: else
        fi;
        n = (told != 0 -> m[w].held : 0);
        end_leases(m[w].session, UNTOUCHED, n, 0);
        save();
    if
    :: heard == 1 -> take_registered(w);
    :: else -> faults--;
    fi;
    stop_counting();
}

/* ---- heartbeat.lua. One that changes nothing and tells nothing new is no step. */

#define x_held(w) lease_of(m[w].session, m[w].held - 1)
#define is_unknown(w, name) (r.lease[lease_of(m[w].session, name)] != 0 && \
    m[w].held != name + 1 && m[w].wish != name + 1)
/* While others have it, a worker asks for its lost lease at each heartbeat, in vain. */
#define in_hand(w, i) (has(m[w].todo, i) || m[w].out[i] != NONE)
#define others_have(w, i) (in_hand(w, i) && (r.task[i] == LEASED || r.task[i] == DELAYED))
#define lost_its_lease(w) (m[w].todo != 0 && r.lease[x_held(w)] == 0 && \
    !others_have(w, 0) && !others_have(w, 1))
#define must_stop(w) (m[w].todo != 0 && r.job != ACTIVE)
#define hears_something(w) (!r.live[m[w].session] || r.seq != m[w].seen || \
    is_unknown(w, 0) || is_unknown(w, 1) || is_unknown(w, 2) || lost_its_lease(w) || must_stop(w))

/* What runs is ended, or ends just before; what was not begun is left. */
inline stop_job(w) {
    i = (has(m[w].todo, 0) -> 0 : 1);
    m[w].out[i] = (pick -> STOPPED : FINE);
    m[w].out_of[i] = (pick -> m[w].attempt : 0);
    m[w].todo = 0; m[w].over = 1; m[w].attempt = 0;
}

inline heartbeat(w) {
    printf("heartbeat.lua: worker %d, session %d, saw %d, answer %d\n", w, m[w].session, m[w].seen, heard);
    alive = r.live[m[w].session];
    if
    :: alive ->
#ifndef HEARTBEAT_KEEPS_UNKNOWN
        end_leases(m[w].session, UNTOUCHED, m[w].held, m[w].wish);
#endif
        save();
    :: else
    fi;
    if
    :: heard != 1 -> lose_answer(w);
    :: heard == 1 && !alive -> m[w].registered = 0;
    :: heard == 1 && alive ->
        if
        :: leapt(w) -> must_register(w);
        :: !leapt(w) && lost_its_lease(w) -> m[w].registered = 0;
        :: else -> m[w].seen = r.seq;
        fi;
        if
        :: must_stop(w) -> stop_job(w);
        :: else
        fi;
    fi;
    skip;
}

/* ---- a worker */

inline run_task(w) {
    printf("worker %d runs a task of %d, it ends %d\n", w, m[w].todo, pick);
    i = (has(m[w].todo, 0) -> 0 : 1);
    m[w].todo = m[w].todo & (3 - (1 << i));
    if
    :: pick == 0 || failures == 0 -> m[w].out[i] = FINE;
    :: else -> m[w].out[i] = BAD; m[w].out_of[i] = m[w].attempt; failures--;
    fi;
    if
    :: m[w].todo == 0 -> m[w].over = 1; m[w].attempt = 0;
    :: else
    fi;
    skip;
}

inline forget_recent(w) {
    m[w].recent[0] = 0; m[w].recent[1] = 0; m[w].recent_of[0] = 0; m[w].recent_of[1] = 0;
}

inline be_born_again(w) {
    printf("worker %d dies, told %d\n", w, pick);
    faults--; crashes--;
    m[w].dead = (pick -> m[w].session + 1 : 0); /* else no keeper tells: it is reaped in its time */
    m[w].session = WORKERS + crashes;
    m[w].registered = 0; m[w].seen = 0; m[w].wish = 0; m[w].held = 0; m[w].todo = 0;
    m[w].attempt = 0; m[w].over = 0; m[w].again = 0; must_hear[w] = 0;
    m[w].out[0] = NONE; m[w].out[1] = NONE; m[w].out_of[0] = 0; m[w].out_of[1] = 0;
    forget_recent(w);
    stop_counting();
}

/* finish.lua */
inline leave(w) {
    leaves--;
    printf("finish.lua: worker %d\n", w);
    faults--;
    end_session(m[w].session, UNTOUCHED);
    m[w].left = 1; m[w].registered = 0; m[w].wish = 0; m[w].seen = 0;
    forget_recent(w);
    save();
}

proctype worker(byte w) {
end:
    do
    :: atomic { m[w].todo != 0 -> choose(); d_step { run_task(w); } }
    :: atomic {
        !m[w].registered && !m[w].left -> answer_may_be_lost(); d_step { register(w); }
        }
    :: atomic {
        m[w].registered && (has_news(w) || (wants(w) && (takeable || stands(w)))) ->
            choose(); answer_may_be_lost(); d_step { advance(w); }
        }
    :: atomic {
        m[w].registered && hears_something(w) ->
            choose(); answer_may_be_lost(); d_step { heartbeat(w); }
        }
    :: atomic { faults > 0 && crashes > 0 && !m[w].left -> choose(); d_step { be_born_again(w); } }
    :: d_step {
        leaves > 0 && faults > 0 && w < began && m[w].registered && m[w].held == 0 && !has_news(w) &&
            !must_hear[w] -> leave(w);
        }
    od;
}

/* ---- time, Redis and people */

/* housekeep.lua: a session is past its deadline; when its worker lives, that was paused. */
#define is_owned(s) ((m[0].session == s && !m[0].left) || (m[1].session == s && !m[1].left) || \
    (m[WORKERS - 1].session == s && !m[WORKERS - 1].left))
#define may_be_reaped(s) (r.live[s] && (faults > 0 || !is_owned(s)))

inline reap(s) {
    printf("housekeep.lua: session %d is past its deadline\n", s);
    faults = faults - is_owned(s);
    end_session(s, LOST);
    save();
}

inline copy_store(to_, from_) {
    to_.job = from_.job; to_.cursor = from_.cursor;
    to_.seq = from_.seq; to_.from = from_.from; to_.to = from_.to;
    i = 0;
    do
    :: i < TASKS ->
        to_.task[i] = from_.task[i]; to_.attempt[i] = from_.attempt[i]; to_.holder[i] = from_.holder[i];
        to_.fails[i] = from_.fails[i]; to_.rows[i] = from_.rows[i];
        i++;
    :: else -> break;
    od;
    i = 0;
    do
    :: i < SESSIONS -> to_.live[i] = from_.live[i]; i++;
    :: else -> break;
    od;
    i = 0;
    do
    :: i < SESSIONS * NAMES -> to_.lease[i] = from_.lease[i]; i++;
    :: else -> break;
    od;
}

/* What is on the disk now outlives a restart; workers need to remember it no longer. */
inline save_to_disk() {
    printf("Redis saves\n");
    copy_store(saved, r);
    is_saved = 1;
    n = 0;
    do
    :: n < WORKERS ->
        if
        :: !m[n].again -> forget_recent(n);
        :: else
        fi;
        n++;
    :: else -> break;
    od;
    skip;
}

inline forget_saved() {
    is_saved = 0;
    saved.job = 0; saved.cursor = 0; saved.seq = 0; saved.from = 0; saved.to = 0;
    i = 0;
    do
    :: i < TASKS ->
        saved.task[i] = 0; saved.attempt[i] = 0; saved.holder[i] = 0; saved.fails[i] = 0; saved.rows[i] = 0;
        i++;
    :: else -> break;
    od;
    i = 0;
    do
    :: i < SESSIONS -> saved.live[i] = 0; i++;
    :: else -> break;
    od;
    i = 0;
    do
    :: i < SESSIONS * NAMES -> saved.lease[i] = 0; i++;
    :: else -> break;
    od;
}

/* Redis forgets what came later. Connections are gone, unless a proxy holds them. */
inline restart() {
    printf("Redis restarts with what it saved\n");
    faults--; restarts--;
    counts = 0;
    n = 0;
    do
    :: n < WORKERS ->
        m[n].registered = m[n].registered && pick;
        knows_start[n] = 0;
        if
        :: m[n].seen > saved.seq && (m[n].recent[0] != NONE || m[n].recent[1] != NONE) -> must_hear[n] = 1;
        :: restarts == 0 && !m[n].again && !must_hear[n] -> forget_recent(n);
        :: else
        fi;
        n++;
    :: else -> break;
    od;
    copy_store(r, saved);
    if
    :: restarts == 0 -> forget_saved();
    :: else
    fi;
    stop_counting();
}

/* cancel.lua, with sweep_stopping() */
inline cancel() {
    printf("cancel.lua\n");
    cancels--;
    r.job = STOPPING;
    i = 0;
    do
    :: i < TASKS ->
        if
        :: r.task[i] <= DELAYED -> end_task(i, CANCELLED);
        :: else
        fi;
        i++;
    :: else -> break;
    od;
    r.cursor = TASKS;
    save();
}

proctype world() {
end:
    do
    :: d_step { may_be_reaped(0) -> reap(0); }
    :: d_step { may_be_reaped(1) -> reap(1); }
    :: d_step { may_be_reaped(2) -> reap(2); }
#if SESSIONS > 3
    :: d_step { may_be_reaped(3) -> reap(3); }
#endif
    :: d_step { r.task[0] == DELAYED -> r.task[0] = QUEUED; save(); } /* housekeep.lua: due */
    :: d_step { r.task[1] == DELAYED -> r.task[1] = QUEUED; save(); }
    :: d_step { r.job == ACTIVE && cancels > 0 && faults > 0 -> faults--; cancel(); }
    :: d_step { restarts > 0 && faults > 0 && !is_saved -> save_to_disk(); }
    :: atomic { restarts > 0 && faults > 0 -> choose(); d_step { restart(); } }
    od;
}

/* Where nothing more happens, all is done and everybody knows it. */
proctype last() {
    timeout;
    assert(r.job == OVER);
    assert(is_final(0) && is_final(1));
    byte w = 0;
    do
    :: w < WORKERS ->
        assert(m[w].held == 0 && m[w].out[0] == NONE && m[w].out[1] == NONE && !m[w].again);
        assert(m[w].registered == r.live[m[w].session] || m[w].left);
        assert(!must_hear[w]); /* a worker that remembers what Redis lost is told to send it again */
        w++;
    :: else -> break;
    od;
}

init {
    atomic {
        byte w = 0;
        do
        :: w < WORKERS -> m[w].session = w; m[w].registered = 1; r.live[w] = 1; saved.live[w] = 1; run worker(w); w++;
        :: else -> break;
        od;
        run world();
        run last();
    }
}
