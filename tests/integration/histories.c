/* Random histories of moves, each from a seed, against the model of tests/support:
 * workers that run, fall silent, die and come back, answers that are lost, stores that
 * are rolled back, Redis that starts again, cancels, retries, pauses, drains, delays,
 * several jobs at once, some of them open. After every move Redis holds what the model
 * does; at the end every task has its outcome, once.
 *
 * SHOAL_HISTORIES=n runs n of them for each test (default 5), or SHOAL_MOVES=n so many
 * that all tests come to n moves; SHOAL_SEED=n begins at that seed. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "tests/support/model.h"
#include "tests/support/wait.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKERS = 4,
    WISHES = 2, /* slots that ask; what comes in addition is for the others */
    SLOTS = 5,
    OUTBOX = 64,
    MOVES = 200,
    TESTS = 4,
    LEAP = 1 << 19,    /* as in worker/link_advance.c */
    STARTS_KNOWN = 10, /* as in lib.lua: of which losses are told */
    TTL_MS = 8000,
    END_ROUNDS = 3000,
};

struct slot {
    bool busy;
    struct shoal_lease lease;
    int64_t at;
    struct model_commit gathered;
    char wish[SHOAL_LEASE_MAX];
};

/* A worker as the queue sees it: what it remembers, whatever Redis does. */
struct player {
    char session[13];
    char dead[13]; /* its predecessor, until that was told */
    bool registered;
    bool silent; /* stopped: does nothing, remembers all */
    bool drains; /* asks for nothing, and leaves when it has nothing */
    int64_t commits;
    bool lost;  /* it saw a commit that Redis lost, and does not know that yet */
    int starts; /* of Redis, when it registered */
    struct slot slots[SLOTS];
    struct model_commit outbox[OUTBOX];
    int waiting; /* of the outbox */
    struct model_commit recent[OUTBOX];
    int n_recent; /* accepted since the last copy of the store */
};

static struct test_fleet fleet;
static bool twice; /* every move of a worker is sent again, as after a lost answer */
static struct model model;
static struct player players[WORKERS];
static struct model copied; /* the store as it was when it was copied … */
static redisReply *copy;    /* … or NULL: it was not */
static char store[13];
static uint64_t state;
static int64_t copied_commits;
static unsigned names;
static int starts;    /* of Redis, in this history */
static int64_t moves; /* of all histories */

static const char *const queues[] = {"q", NULL};

/* ---- chance: a history depends on its seed alone */

static uint64_t chance(void) {
    return state = shoal_task_seed(state, 1);
}

static int64_t below(int64_t n) {
    return (int64_t)(chance() % (uint64_t)n);
}

static bool one_in(int64_t n) {
    return below(n) == 0;
}

/* The nature of a task: most are fine, some fail now and then, some always. */
static char outcome_of(int64_t index) {
    if (one_in(25))
        return 's';
    if (one_in(25))
        return one_in(2) ? 'c' : 'C';
    if (index % 11 == 7)
        return 'x';
    if (index % 13 == 9)
        return one_in(2) ? 't' : '.';
    return one_in(60) ? 'r' : '.';
}

/* ---- players */

static void name_wish(struct slot *slot) {
    snprintf(slot->wish, sizeof(slot->wish), "l%u", ++names);
}

static void name_session(char *session) {
    snprintf(session, 13, "w%011u", ++names % 1000000);
}

static void begin_gathering(struct slot *slot) {
    slot->gathered =
        (struct model_commit){.lo = slot->at, .attempt = slot->lease.attempt, .rest = -1};
    memcpy(slot->gathered.job, slot->lease.job, sizeof(slot->lease.job));
    memcpy(slot->gathered.lease, slot->lease.name, sizeof(slot->lease.name));
}

/* Something to tell goes into the outbox. */
static void send_gathered(struct player *player, struct slot *slot) {
    const struct model_commit *told = &slot->gathered;
    if (told->outcomes[0] == '\0' && !told->over && told->rest < 0)
        return;
    ck_assert_int_lt(player->waiting, OUTBOX);
    player->outbox[player->waiting++] = *told;
    begin_gathering(slot);
}

static void end_lease(struct player *player, struct slot *slot) {
    slot->gathered.over = true;
    send_gathered(player, slot);
    slot->busy = false;
}

static bool has_room(const struct player *player) {
    return player->waiting < OUTBOX - 2 * SLOTS;
}

/* Runs some tasks of a lease. */
static void work(struct player *player) {
    struct slot *slot = &player->slots[below(SLOTS)];
    if (!slot->busy || !has_room(player))
        return;
    for (int64_t n = 1 + below(4); n > 0 && slot->at < slot->lease.hi; n--) {
        char letter[2] = {outcome_of(slot->at++)};
        strcat(slot->gathered.outcomes, letter);
    }
    if (slot->at >= slot->lease.hi || one_in(12)) {
        end_lease(player, slot);
    } else if (one_in(6)) { /* the untouched rest goes back */
        slot->gathered.rest = slot->lease.hi = slot->at;
        send_gathered(player, slot);
    } else if (one_in(2)) {
        send_gathered(player, slot);
    }
}

static void stop_job(struct player *player, const char *job) {
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &player->slots[i];
        if (!slot->busy || strcmp(slot->lease.job, job) != 0)
            continue;
        if (slot->at < slot->lease.hi && one_in(2)) {
            slot->at++;
            strcat(slot->gathered.outcomes, one_in(2) ? "s" : ".");
        }
        end_lease(player, slot);
    }
}

/* ---- their moves */

static void register_player(struct player *player) {
    struct shoal_lease leases[SLOTS];
    int of[SLOTS];
    size_t n = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (!player->slots[i].busy)
            continue;
        leases[n] = player->slots[i].lease;
        leases[n].lo = player->slots[i].at;
        of[n] = i;
        n += leases[n].lo < leases[n].hi;
    }
    const struct shoal_registration told = {
        .session = player->session,
        .ttl_ms = TTL_MS,
        .dead = player->dead[0] != '\0' ? player->dead : NULL,
        .seen_id = player->commits > 0 ? store : NULL,
        .seen_commits = player->commits,
        .slots = 0, /* so few that a wish may take half of the jobs */
        .name = player->session,
        .host = "here",
        .queues = "q",
        .pid = 1,
        .leases = leases,
        .n_leases = n,
    };
    struct test_answer answer;
    for (int times = 0; times <= twice; times++) {
        test_register_as(&fleet, &told, &answer);
        model_register(&model, &told, &answer.registered);
        model_compare(&model, &fleet);
    }
    if (one_in(4))
        return; /* it did not hear the answer, and asks again another time */
    if (starts - player->starts < STARTS_KNOWN)
        ck_assert_int_eq(answer.registered.verdict,
                         player->lost ? SHOAL_STORE_ROLLED_BACK : SHOAL_STORE_SAME);
    memcpy(store, answer.registered.store, sizeof(store));
    player->registered = true;
    player->lost = false;
    player->starts = starts;
    player->dead[0] = '\0';
    player->commits = answer.registered.commits;
    if (answer.registered.verdict == SHOAL_STORE_ROLLED_BACK) {
        for (int i = 0; i < player->n_recent && has_room(player); i++)
            player->outbox[player->waiting++] = player->recent[i];
        player->n_recent = 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct slot *slot = &player->slots[of[i]];
        if (answer.attempts[i] > 0) {
            send_gathered(player, slot);
            slot->lease.attempt = slot->gathered.attempt = answer.attempts[i];
        } else {
            slot->lease.hi = slot->at;
        }
    }
}

/* What a worker does with the sequence that an answer tells. */
static void see(struct player *player, bool alive, int64_t commits) {
    if (!alive || commits < player->commits || commits - player->commits >= LEAP)
        player->registered = false;
    else
        player->commits = commits;
}

static void sent(struct player *player, int n) {
    for (int i = 0; i < n && player->n_recent < OUTBOX; i++)
        player->recent[player->n_recent++] = player->outbox[i];
    memmove(player->outbox, player->outbox + n,
            sizeof(*player->outbox) * (size_t)(player->waiting - n));
    player->waiting -= n;
}

static void occupy(struct slot *slot, const struct shoal_lease *lease) {
    slot->busy = true;
    slot->lease = *lease;
    slot->at = lease->lo;
    begin_gathering(slot);
}

/* "l7" goes to the slot that asked, "l7.1" to one of the others. Without room for it the
 * worker does not know it, and the next heartbeat gives it back. */
static void take_grant(struct player *player, const struct shoal_lease *lease) {
    bool more = strchr(lease->name, '.') != NULL;
    for (int i = more ? WISHES : 0; i < (more ? SLOTS : WISHES); i++) {
        struct slot *slot = &player->slots[i];
        if (slot->busy || (!more && strcmp(slot->wish, lease->name) != 0))
            continue;
        occupy(slot, lease);
        if (!more)
            name_wish(slot);
        return;
    }
}

static void pack(struct shoal_commit *commit, const struct model_commit *told,
                 const char *worker) {
    shoal_commit_init(commit, told->job, told->lease, told->lo);
    for (const char *letter = told->outcomes; *letter != '\0'; letter++) {
        const struct shoal_outcome outcome = {
            .reason = test_reason(*letter),
            .attempt = told->attempt,
            .wall_us = test_wall_us(*letter),
            .result = "1",
            .result_len = 1,
        };
        shoal_commit_add(commit, &outcome, worker, "because", 7);
    }
    commit->over = told->over;
    commit->rest = told->rest;
}

static void advance(struct player *player) {
    struct shoal_commit commits[OUTBOX];
    const struct shoal_commit *pointers[OUTBOX];
    struct shoal_wish wishes[WISHES];
    size_t n_wishes = 0;
    int n = player->waiting;
    for (int i = 0; i < n; i++) {
        pack(&commits[i], &player->outbox[i], player->session);
        pointers[i] = &commits[i];
    }
    for (int i = 0; i < WISHES; i++) {
        if (player->slots[i].busy || player->drains)
            continue;
        wishes[n_wishes] = (struct shoal_wish){
            .count = 1 + below(4), .most = 1 + below(20), .guess_us = below(3) * 60000};
        memcpy(wishes[n_wishes++].lease, player->slots[i].wish, SHOAL_LEASE_MAX);
    }
    const struct shoal_advance request = {
        .session = player->session,
        .worker = player->session,
        .commits = pointers,
        .n_commits = (size_t)n,
        .queues = queues,
        .wishes = wishes,
        .n_wishes = n_wishes,
    };
    struct test_answer answer;
    for (int times = 0; times <= twice; times++) {
        test_advance(&fleet, &request, &answer);
        model_advance(&model, player->session, player->outbox, (size_t)n, wishes,
                      n_wishes, &answer.advanced);
        model_compare(&model, &fleet);
    }
    for (int i = 0; i < n; i++)
        shoal_commit_finish(&commits[i]);
    if (one_in(5))
        return; /* it did not hear the answer: the same again, another time */
    sent(player, n);
    for (size_t i = 0; i < answer.advanced.n_grants; i++)
        take_grant(player, &answer.grants[i].lease);
    see(player, answer.advanced.alive, answer.advanced.commits);
}

/* Every lease that it has, asked for, or has not told the end of. */
static size_t list_leases(const struct player *player, char (*leases)[SHOAL_LEASE_MAX]) {
    size_t n = 0;
    for (int i = 0; i < SLOTS; i++) {
        memcpy(leases[n++], player->slots[i].wish, SHOAL_LEASE_MAX);
        if (player->slots[i].busy)
            memcpy(leases[n++], player->slots[i].lease.name, SHOAL_LEASE_MAX);
    }
    for (int i = 0; i < player->waiting && n < 60; i++)
        memcpy(leases[n++], player->outbox[i].lease, SHOAL_LEASE_MAX);
    return n;
}

static void beat(struct player *player) {
    char leases[64][SHOAL_LEASE_MAX];
    const struct shoal_heartbeat told = {
        .session = player->session,
        .ttl_ms = TTL_MS,
        .leases = (const char(*)[SHOAL_LEASE_MAX])leases,
        .n_leases = list_leases(player, leases),
        .queues = queues,
    };
    struct test_answer answer;
    for (int times = 0; times <= twice; times++) {
        test_heartbeat_as(&fleet, &told, &answer);
        model_heartbeat(&model, &told, &answer.beaten);
        model_compare(&model, &fleet);
    }
    if (one_in(5))
        return;
    see(player, answer.beaten.alive, answer.beaten.commits);
    player->drains = player->drains || (answer.beaten.alive && answer.beaten.drain);
    for (size_t i = 0; i < answer.beaten.n_stops && has_room(player); i++)
        stop_job(player, answer.stops[i].job);
}

/* A fresh worker in place of one that was killed; half of them tell of their predecessor,
 * as a keeper's do. */
static void be_born(struct player *player) {
    char dead[13];
    memcpy(dead, player->session, sizeof(dead));
    *player = (struct player){.starts = starts};
    name_session(player->session);
    if (one_in(2))
        memcpy(player->dead, dead, sizeof(dead));
    for (int i = 0; i < SLOTS; i++)
        name_wish(&player->slots[i]);
}

static void leave(struct player *player) {
    if (player->silent || player->waiting > 0)
        return;
    test_finish(&fleet, player->session);
    model_finish(&model, player->session);
    model_compare(&model, &fleet);
    be_born(player);
    player->dead[0] = '\0';
}

static bool has_nothing(const struct player *player) {
    for (int i = 0; i < SLOTS; i++) {
        if (player->slots[i].busy)
            return false;
    }
    return player->waiting == 0;
}

static void go_on(struct player *player) {
    moves++;
    if (player->silent)
        return;
    if (!player->registered)
        register_player(player);
    else if (player->drains && has_nothing(player))
        leave(player);
    else if (one_in(6))
        beat(player);
    else if (one_in(2))
        work(player);
    else
        advance(player);
}

/* ---- what people and time do */

static void submit(bool small) {
    if (model.n_jobs == MODEL_JOBS)
        return;
    struct shoal_submission job = {
        .spec = "{}", .queue = "q", .owner = "tester@here", .seed = 1};
    shoal_job_policy_init(&job.policy);
    snprintf(job.id, sizeof(job.id), "%012u", ++names);
    job.open = one_in(4);
    job.total = job.open ? 0 : small ? 1 + below(2) : 1 + below(MODEL_TASKS);
    job.policy.priority = small ? 5 : (int)(4 + below(3));
    job.policy.retries = below(3);
    job.policy.max_lost = 1 + below(4);
    job.policy.max_fails = one_in(3) ? 1 + below(6) : 0;
    job.policy.max_running = one_in(3) ? 1 + below(3) : 0;
    job.start_ms = one_in(4) ? INT64_C(4000000000000) : 0;
    for (int64_t times = 1 + below(2); times > 0; times--)
        ck_assert_int_eq(shoal_queue_submit(&fleet.queue, &job, 1, NULL), SHOAL_OK);
    model_submit(&model, &job);
}

/* The time of a job that waits has come. */
static void make_due(int number) {
    struct model_job *job = &model.jobs[number];
    char key[SHOAL_KEY_MAX];
    if (job->state != SHOAL_JOB_WAITING)
        return;
    shoal_key_make(key, fleet.queue.prefix, SHOAL_KEY_DATES, "");
    job->due = true;
    test_command_int(fleet.redis, "ZADD %s 1 s:%s", key, job->id);
}

static void cancel(int number) {
    for (int64_t times = 1 + below(2); times > 0; times--)
        ck_assert_int_eq(
            shoal_queue_cancel(&fleet.queue, model.jobs[number].id, one_in(2), NULL),
            SHOAL_OK);
    model_cancel(&model, number);
}

static void retry(int number) {
    const struct model_job *job = &model.jobs[number];
    bool all = one_in(2),
         refused = job->state == SHOAL_JOB_STOPPING || job->state == SHOAL_JOB_WAITING;
    int64_t tasks = 0;
    char token[13];
    snprintf(token, sizeof(token), "t%u", ++names);
    for (int64_t times = 1 + below(2); times > 0; times--)
        ck_assert_int_eq(
            shoal_queue_retry(&fleet.queue, job->id, all, token, &tasks, NULL),
            refused ? SHOAL_REFUSED : SHOAL_OK);
    if (!refused)
        model_retry(&model, number, all);
}

/* The next tasks of an open job; now and then some that are there, or a gap. */
static void append(int number) {
    const struct model_job *job = &model.jobs[number];
    int64_t room = MODEL_TASKS - job->total, first = job->total;
    int64_t n = below(room < 12 ? room + 1 : 12);
    if (one_in(6))
        first += below(3) - 1;
    if (first < 0 || first + n > MODEL_TASKS)
        return;
    for (int64_t times = 1 + below(2); times > 0; times--)
        ck_assert_int_eq(
            shoal_queue_append(&fleet.queue, job->id, first, n, NULL, 0, NULL),
            model_append(&model, number, first, n));
}

/* Who has something of it meanwhile goes on, and finds that it is gone. */
static void forget(int number) {
    const struct model_job *job = &model.jobs[number];
    bool force = one_in(3), may = force || shoal_job_state_is_final(job->state);
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, job->id, force, NULL),
                     may ? SHOAL_OK : SHOAL_REFUSED);
    if (may)
        model_forget(&model, number);
}

/* Every move finds that out. */
static void expect_gone(const char *job) {
    int64_t tasks = 0;
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, job, one_in(2), NULL),
                     SHOAL_UNKNOWN);
    ck_assert_int_eq(shoal_queue_cancel(&fleet.queue, job, one_in(2), NULL),
                     SHOAL_UNKNOWN);
    ck_assert_int_eq(shoal_queue_retry(&fleet.queue, job, one_in(2), "t", &tasks, NULL),
                     SHOAL_UNKNOWN);
    ck_assert_int_eq(shoal_queue_append(&fleet.queue, job, 0, 1, NULL, 0, NULL),
                     SHOAL_UNKNOWN);
    ck_assert_int_eq(shoal_queue_close(&fleet.queue, job, NULL), SHOAL_UNKNOWN);
}

static void close_job(int number) {
    for (int64_t times = 1 + below(2); times > 0; times--)
        ck_assert_int_eq(shoal_queue_close(&fleet.queue, model.jobs[number].id, NULL),
                         SHOAL_OK);
    model_close(&model, number);
}

static void drain(const struct player *player) {
    for (int64_t times = 1 + below(2); times > 0; times--)
        ck_assert_int_eq(shoal_queue_drain(&fleet.queue, player->session, NULL),
                         model_drain(&model, player->session));
}

static void order_queue(bool fifo) {
    ck_assert_int_eq(shoal_queue_order(&fleet.queue, "q", fifo, NULL), SHOAL_OK);
}

static void pause_queue(bool paused) {
    ck_assert_int_eq(shoal_queue_pause(&fleet.queue, "q", paused, NULL), SHOAL_OK);
    model.paused = paused;
}

static void forget_copy(void) {
    if (copy != NULL)
        freeReplyObject(copy);
    copy = NULL;
}

static int64_t commits_now(void) {
    struct shoal_store_info info;
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &info, NULL), SHOAL_OK);
    return info.commits;
}

/* Redis as it is now, key by key. */
static void copy_store(void) {
    forget_copy();
    copy = test_command(
        fleet.redis, "EVAL %s 0",
        "local out = {} for _, key in ipairs(redis.call('KEYS', '*')) do "
        "out[#out + 1] = key out[#out + 1] = redis.call('DUMP', key) end return out");
    ck_assert_int_eq(copy->type, REDIS_REPLY_ARRAY);
    copied = model;
    copied_commits = commits_now();
    for (int i = 0; i < WORKERS; i++)
        players[i].n_recent = 0;
}

/* As a start does to the library; that takes longer than a millisecond. */
static void forget_scripts(void) {
    starts++;
    freeReplyObject(test_command(fleet.redis, "FUNCTION FLUSH"));
    freeReplyObject(test_command(fleet.redis, "SCRIPT FLUSH"));
    int64_t now = shoal_wall_ms();
    wait_until(shoal_wall_ms() != now, 1000);
}

/* Redis loses what came after that and starts; the workers do not. */
static void roll_back(void) {
    if (copy == NULL)
        return;
    freeReplyObject(test_command(fleet.redis, "FLUSHALL"));
    for (size_t i = 0; i + 1 < copy->elements; i += 2)
        freeReplyObject(test_command(
            fleet.redis, "RESTORE %b 0 %b", copy->element[i]->str, copy->element[i]->len,
            copy->element[i + 1]->str, copy->element[i + 1]->len));
    model = copied;
    forget_copy();
    for (int i = 0; i < WORKERS; i++)
        players[i].lost = players[i].lost || players[i].commits > copied_commits;
    forget_scripts();
}

/* Redis starts again and has lost nothing: for once really, else what is left of it is
 * loaded again. */
static void start_again(void) {
    if (one_in(2)) {
        forget_scripts();
        return;
    }
    starts++;
    if (one_in(4))
        test_server_restart(&fleet.server, NULL);
    else
        freeReplyObject(test_command(fleet.redis, "DEBUG RELOAD"));
    freeReplyObject(test_command(fleet.redis, "PING")); /* connects */
}

static void pass_time(int64_t ms) {
    test_pass_time(&fleet, ms);
    model_compare(&model, &fleet);
    for (int i = 0; i < model.n_jobs && ms >= 100; i++) /* else it is not due */
        ck_assert(!model.jobs[i].due || model.jobs[i].state != SHOAL_JOB_WAITING);
}

static void disturb_job(int job) {
    if (model.jobs[job].gone) {
        expect_gone(model.jobs[job].id);
        return;
    }
    switch (below(8)) {
    case 0:
        make_due(job);
        break;
    case 1:
        if (one_in(3))
            cancel(job);
        break;
    case 2:
    case 3:
        retry(job);
        break;
    case 4:
    case 5:
        append(job);
        break;
    case 6:
        if (one_in(2))
            close_job(job);
        break;
    case 7:
        if (one_in(4))
            forget(job);
        break;
    }
}

static void disturb_player(struct player *player) {
    switch (below(4)) {
    case 0:
        player->silent = !player->silent;
        break;
    case 1:
        be_born(player);
        break;
    case 2:
        leave(player);
        break;
    case 3:
        if (one_in(6))
            drain(player);
        break;
    }
}

static void disturb_all(void) {
    switch (below(7)) {
    case 0:
        submit(false);
        break;
    case 1:
        for (int i = 0; i < 4; i++)
            submit(true);
        break;
    case 2:
        pause_queue(one_in(4));
        break;
    case 3:
        if (one_in(3))
            roll_back();
        else
            copy_store();
        break;
    case 4:
        pass_time(below(2) * 3000 + below(3000));
        break;
    case 5:
        order_queue(one_in(2));
        break;
    case 6:
        if (one_in(8))
            start_again();
        break;
    }
}

static void disturb(void) {
    moves++;
    switch (below(5)) {
    case 0:
    case 1:
        disturb_job((int)below(model.n_jobs));
        break;
    case 2:
        disturb_player(&players[below(WORKERS)]);
        break;
    case 3:
    case 4:
        disturb_all();
        break;
    }
    model_compare(&model, &fleet);
}

/* ---- a history */

static void begin(uint64_t seed) {
    freeReplyObject(test_command(fleet.redis, "FLUSHALL"));
    memset(&model, 0, sizeof(model));
    memset(players, 0, sizeof(players));
    forget_copy();
    state = seed;
    names = 0;
    starts = 0;
    for (int i = 0; i < WORKERS; i++)
        be_born(&players[i]);
    for (int i = 0; i < WORKERS; i++)
        players[i].dead[0] = '\0';
    submit(false);
    submit(false);
    for (int i = 0; i < 4; i++)
        submit(true);
}

/* Everybody wakes up and works until nothing is left. */
static void run_to_the_end(void) {
    pause_queue(false);
    for (int i = 0; i < WORKERS; i++)
        players[i].silent = false;
    for (int round = 0; !model_is_over(&model); round++) {
        ck_assert_msg(round < END_ROUNDS, "the queue stands still");
        for (int i = 0; i < model.n_jobs; i++) {
            if (model.jobs[i].gone)
                continue;
            make_due(i);
            if (model.jobs[i].open)
                close_job(i);
        }
        pass_time(2000);
        for (int i = 0; i < 10 * WORKERS; i++)
            go_on(&players[below(WORKERS)]);
    }
}

static void play(uint64_t seed) {
    begin(seed);
    for (int move = 0; move < MOVES; move++) {
        if (one_in(6))
            disturb();
        else
            go_on(&players[below(WORKERS)]);
        if (one_in(20))
            test_fleet_audit(&fleet);
    }
    run_to_the_end();
    model_compare_results(&model, &fleet);
    test_fleet_audit(&fleet);
}

static int64_t from_environment(const char *name, int64_t usual) {
    const char *text = getenv(name);
    char *end = NULL;
    errno = 0;
    int64_t number = text == NULL ? usual : strtoll(text, &end, 10);
    if (text != NULL && (end == text || *end != '\0' || errno != 0 || number < 0))
        ck_abort_msg("%s is a number from 0 on, not '%s'", name, text);
    return number;
}

static const char *const args[] = {"--appendonly", "yes", NULL};

START_TEST(every_task_ends_once_whatever_happens) {
    int64_t n = from_environment("SHOAL_HISTORIES", 5);
    int64_t most = from_environment("SHOAL_MOVES", 0) / TESTS;
    int64_t seed = from_environment("SHOAL_SEED", 1) + (most > 0 ? _i * most : _i * n);
    int64_t last = seed + n - 1, began = test_clock_ms();
    test_fleet_start(&fleet, false, args);
    fleet.no_audit = true;
    twice = _i % 2 == 1;
    for (; most > 0 ? moves < most : seed <= last; seed++) {
        fprintf(stderr, "history of seed %" PRId64 "\n", seed);
        play((uint64_t)seed);
    }
    fprintf(stderr, "moves=%" PRId64 " ms=%" PRId64 "\n", moves, test_clock_ms() - began);
    forget_copy();
    test_fleet_finish(&fleet);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("histories");
    TCase *cases = tcase_create("histories");
    tcase_set_timeout(
        cases,
        getenv("SHOAL_HISTORIES") != NULL || getenv("SHOAL_MOVES") != NULL ? 36000 : 60);
    tcase_add_loop_test(cases, every_task_ends_once_whatever_happens, 0, TESTS);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
