/* Handing out: which job, how much of it, and when nothing. */
#include "common/cleanup.h"
#include "common/records.h"
#include "tests/support/play.h"

#include <stdio.h>
#include <string.h>

static struct test_answer answer;

/* A job with one thing unusual about it. */
static void submit_with(int64_t total, int priority, int64_t max_running, char *id) {
    struct shoal_submission submission = play_usual(total);
    submission.policy.priority = priority;
    submission.policy.max_running = max_running;
    play_submit(&submission);
    memcpy(id, job, sizeof(job));
}

static void submit_to(const char *queue, int64_t total) {
    struct shoal_submission submission = play_usual(total);
    submission.queue = queue;
    play_submit(&submission);
}

/* Asks for `n` leases "<name>0", "<name>1" … of these queues. */
static void ask(const char *session, const char *name, size_t n,
                const char *const *queues, bool prefetch) {
    struct shoal_wish wishes[16];
    ck_assert_uint_le(n, SHOAL_COUNT(wishes));
    for (size_t i = 0; i < n; i++) {
        wishes[i] = (struct shoal_wish){.count = 1, .most = 100, .prefetch = prefetch};
        snprintf(wishes[i].lease, sizeof(wishes[i].lease), "%s%zu", name, i);
    }
    const struct shoal_advance request = {
        .session = session,
        .worker = session,
        .queues = queues,
        .wishes = wishes,
        .n_wishes = n,
    };
    test_advance(&fleet, &request, &answer);
}

static const char *const q[] = {"q", NULL};

/* ---- which job */

START_TEST(highest_priority_goes_first) {
    char jobs[10][13], name[24];
    static const int order[] = {3, 9, 0, 5, 1, 8, 2, 7, 4, 6};
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(order); i++)
        submit_with(1, order[i], 0, jobs[order[i]]);
    for (int priority = 9; priority >= 0; priority--) {
        snprintf(name, sizeof(name), "%d", priority);
        ck_assert_str_eq(play_lease(one, name, 1).job, jobs[priority]);
    }
    ck_assert(!test_token(&fleet, "q"));
}
END_TEST

/* The jobs of the next leases, as numbers of `jobs`. */
static void expect_turns(const char *turns, char (*jobs)[13]) {
    char name[24];
    for (size_t i = 0; turns[i] != '\0'; i++) {
        snprintf(name, sizeof(name), "%zu", i);
        ck_assert_str_eq(play_lease(one, name, 1).job, jobs[turns[i] - '0']);
    }
    play_no_lease(one, "no");
}

START_TEST(jobs_of_a_priority_take_turns) {
    char jobs[3][13];
    play_start(_i);
    submit_with(3, 5, 0, jobs[0]);
    submit_with(1, 5, 0, jobs[1]);
    submit_with(3, 5, 0, jobs[2]);
    expect_turns("0120202", jobs);
}
END_TEST

START_TEST(fifo_queue_serves_one_job_after_the_other) {
    char jobs[3][13];
    play_start(_i);
    play_move(SHOAL_OK, shoal_queue_order(&fleet.queue, "q", true, &play_err));
    submit_with(3, 5, 0, jobs[0]);
    submit_with(1, 5, 0, jobs[1]);
    submit_with(2, 5, 0, jobs[2]);
    expect_turns("000122", jobs);
}
END_TEST

START_TEST(fifo_queue_returns_to_a_job_that_was_at_its_limit) {
    char jobs[2][13], name[24];
    play_start(_i);
    play_move(SHOAL_OK, shoal_queue_order(&fleet.queue, "q", true, &play_err));
    submit_with(3, 5, 1, jobs[0]);
    submit_with(3, 5, 1, jobs[1]);
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "%d", i);
        struct shoal_lease lease = play_lease(one, name, 1);
        ck_assert_str_eq(lease.job, jobs[i / 3]);
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
    }
}
END_TEST

START_TEST(queues_are_served_in_the_workers_order) {
    static const char *const both[] = {"best", "q", NULL};
    char other[13];
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    memcpy(other, job, sizeof(other));
    submit_to("best", 1);
    submit_to("elsewhere", 1);
    ask(one, "a", 1, both, false);
    ck_assert_str_ne(answer.grants[0].lease.job, other);
    ask(one, "b", 1, both, false);
    ck_assert_str_eq(answer.grants[0].lease.job, other);
    ask(one, "c", 1, both, false);
    ck_assert_uint_eq(answer.advanced.n_grants, 0);
    ck_assert(test_token(&fleet, "elsewhere"));
}
END_TEST

START_TEST(several_leases_come_in_one_call) {
    play_start(_i);
    test_submit(&fleet, 5, NULL, job);
    ask(one, "a", 3, q, false);
    ck_assert_uint_eq(answer.advanced.n_grants, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(answer.grants[i].lease.lo, i);
    ck_assert_uint_eq(strlen(answer.grants[0].spec), 20);
    ck_assert(answer.grants[0].seed == 1);
    expect_tasks(2, 3, 0, 0, 0);
}
END_TEST

/* ---- how much */

START_TEST(leases_double_with_what_came_back) {
    static const int64_t lengths[] = {1, 2, 4, 8, 16};
    char outcomes[32];
    play_start(_i);
    test_submit(&fleet, 1000, NULL, job);
    for (size_t i = 0; i < SHOAL_COUNT(lengths); i++) {
        struct shoal_lease lease = play_lease(one, "a", 100);
        ck_assert_int_eq(lease.hi - lease.lo, lengths[i]);
        memset(outcomes, '.', sizeof(outcomes));
        outcomes[lease.hi - lease.lo] = '\0';
        test_commit(&fleet, one, &lease, lease.lo, outcomes, true);
    }
}
END_TEST

static int64_t length_of_next(int64_t most) {
    struct shoal_lease lease = play_lease(one, "a", most);
    test_give_back(&fleet, one, &lease, lease.lo);
    test_commit(&fleet, one, &lease, lease.lo, "", true);
    return lease.hi - lease.lo;
}

START_TEST(lease_is_a_quarter_of_a_second_by_the_jobs_average) {
    static const struct {
        long long mean_us;
        int64_t length;
    } rows[] = {{1, 100000}, {1000, 250}, {100000, 2}, {250000, 1}, {3600000000, 1}};
    play_start(_i);
    test_submit(&fleet, 1000000, NULL, job);
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        char work[24];
        snprintf(work, sizeof(work), "%lld", 1000000 * rows[i].mean_us);
        test_set_counter(&fleet, job, "ran", "1000000");
        test_set_counter(&fleet, job, "work", work);
        ck_assert_int_eq(length_of_next(100000), rows[i].length);
    }
}
END_TEST

START_TEST(last_tasks_are_shared_evenly) {
    static const int64_t left[][2] = {{20, 5}, {15, 3}, {12, 3}, {9, 2}, {7, 1}, {6, 1}};
    char name[24];
    play_start(_i);
    play_join(two); /* two slots in all */
    test_submit(&fleet, 20, NULL, job);
    play_warm(job);
    for (size_t i = 0; i < SHOAL_COUNT(left); i++) {
        snprintf(name, sizeof(name), "%zu", i);
        struct shoal_lease lease = play_lease(one, name, 9);
        ck_assert_int_eq(20 - lease.lo, left[i][0]);
        ck_assert_int_eq(lease.hi - lease.lo, left[i][1]);
    }
}
END_TEST

START_TEST(lease_is_no_longer_than_asked_for) {
    play_start(_i);
    test_submit(&fleet, 100, NULL, job);
    play_warm(job);
    ck_assert_int_eq(length_of_next(7), 7);
}
END_TEST

START_TEST(lease_ends_with_its_pack_of_arguments) {
    static const struct {
        int64_t lo, hi, first;
    } rows[] = {{0, 3, 0}, {3, 4, 3}, {4, 10, 4}, {10, 24, 4}};
    static const int64_t packs[] = {3, 1, 100};
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.has_arguments = true;
    play_submit(&submission);
    for (int64_t i = 0, first = 0; i < 3; first += packs[i++]) {
        struct shoal_buffer pack;
        shoal_buffer_init(&pack, 1 << 16);
        shoal_record_array(&pack, (size_t)packs[i]);
        for (int64_t k = 0; k < packs[i]; k++)
            shoal_record_int(&pack, first + k);
        play_move(SHOAL_OK,
                  shoal_queue_append(&fleet.queue, job, first, packs[i],
                                     shoal_buffer_text(&pack), pack.len, &play_err));
        shoal_buffer_finish(&pack);
    }
    play_warm(job);
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        struct shoal_wish wish = {.count = 1,
                                  .most = rows[i].hi - rows[i].lo + (i < 2 ? 9 : 0)};
        snprintf(wish.lease, sizeof(wish.lease), "%zu", i);
        const struct shoal_advance request = {
            .session = one, .worker = one, .queues = q, .wishes = &wish, .n_wishes = 1};
        test_advance(&fleet, &request, &answer);
        ck_assert_uint_eq(answer.advanced.n_grants, 1);
        expect_range(&answer.grants[0].lease, rows[i].lo, rows[i].hi, 1);
        ck_assert_int_eq(answer.grants[0].first, rows[i].first);
        ck_assert_uint_gt(answer.grants[0].pack_len, 0);
    }
}
END_TEST

/* Its tasks are rejected for want of arguments; that is better than a job that stands. */
START_TEST(lease_whose_arguments_are_gone_is_handed_out) {
    play_start(_i);
    struct shoal_submission submission = play_usual(0);
    submission.open = submission.has_arguments = true;
    play_submit(&submission);
    play_move(SHOAL_OK, shoal_queue_append(&fleet.queue, job, 0, 1, "*1\r\n$1\r\nx\r\n",
                                           11, &play_err));
    test_command_int(fleet.redis, "DEL %s", play_key(SHOAL_KEY_ARGS, job));
    ask(one, "a", 1, q, false);
    ck_assert_uint_eq(answer.advanced.n_grants, 1);
    expect_range(&answer.grants[0].lease, 0, 1, 1);
    ck_assert_uint_eq(answer.grants[0].pack_len, 0);
}
END_TEST

/* ---- asked again */

START_TEST(lease_asked_for_again_is_the_same) {
    play_start(_i);
    test_submit(&fleet, 50, NULL, job);
    play_warm(job);
    for (int i = 0; i < 2; i++) {
        struct shoal_lease lease = play_lease(one, "a", 10);
        expect_range(&lease, 0, 10, 1);
        expect_tasks(40, 10, 0, 0, 0);
    }
    struct shoal_lease other = play_lease(one, "b", 10);
    expect_range(&other, 10, 20, 1);
}
END_TEST

START_TEST(lease_that_others_did_meanwhile_is_another) {
    char id[13];
    play_start(_i);
    play_join(two);
    submit_with(4, 5, 2, id);
    play_lease(one, "a", 1);
    struct shoal_lease late = play_remembered("x", 0, 1, 1);
    test_commit(&fleet, two, &late, 0, ".", true);
    struct shoal_lease lease = play_lease(one, "a", 1); /* its answer was lost */
    expect_range(&lease, 1, 2, 1);
    play_lease(one, "b", 1); /* the one that came to nothing is not counted */
    play_no_lease(one, "c");
}
END_TEST

START_TEST(lease_of_a_job_that_stops_is_not_given_again) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    play_lease(one, "a", 1);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    play_no_lease(one, "a");
    expect_state(SHOAL_JOB_CANCELLED);
}
END_TEST

/* ---- several short leases at once */

/* A wish for so many leases "<name>", "<name>.1" … of queue "q". */
static struct shoal_wish wish_for(const char *name, int64_t count, int64_t guess_us) {
    struct shoal_wish wish = {.count = count, .most = 100, .guess_us = guess_us};
    snprintf(wish.lease, sizeof(wish.lease), "%s", name);
    return wish;
}

/* Returns how many came. */
static size_t ask_as(const char *session, const struct shoal_wish *wish) {
    const struct shoal_advance request = {
        .session = session,
        .worker = session,
        .queues = q,
        .wishes = wish,
        .n_wishes = 1,
    };
    test_advance(&fleet, &request, &answer);
    return answer.advanced.n_grants;
}

static size_t ask_many(const char *session, const char *name, int64_t count,
                       int64_t guess_us) {
    const struct shoal_wish wish = wish_for(name, count, guess_us);
    return ask_as(session, &wish);
}

enum { MANY = 40 };
static char many[MANY][13];

static void submit_many(size_t from, size_t n, int64_t total) {
    struct shoal_submission submissions[MANY];
    for (size_t i = 0; i < n; i++) {
        submissions[i] = play_usual(total);
        memcpy(many[from + i], submissions[i].id, sizeof(*many));
    }
    play_move(SHOAL_OK, shoal_queue_submit(&fleet.queue, submissions, n, &play_err));
}

/* An empty store, with session one. */
static void begin_anew(void) {
    freeReplyObject(test_command(fleet.redis, "FLUSHALL"));
    play_join(one);
}

/* The leases that came are of these jobs, as numbers of `many`, up to a -1. */
static void expect_jobs(const char *name, const int *expected) {
    char lease[SHOAL_LEASE_MAX];
    size_t n = 0;
    for (; expected[n] >= 0; n++) {
        ck_assert_uint_lt(n, answer.advanced.n_grants);
        ck_assert_str_eq(answer.grants[n].lease.job, many[expected[n]]);
        snprintf(lease, sizeof(lease), n == 0 ? "%s" : "%s.%zu", name, n);
        ck_assert_str_eq(answer.grants[n].lease.name, lease);
    }
    ck_assert_uint_eq(answer.advanced.n_grants, n);
}

#define expect_many(...) expect_jobs("many", (const int[]){__VA_ARGS__, -1})

START_TEST(many_leases_are_half_an_even_share_of_the_jobs_that_wait) {
    static const struct {
        size_t jobs;
        int sessions;
        int64_t count;
        size_t granted;
    } rows[] = {
        {20, 1, 100, 10}, {20, 2, 100, 5}, {20, 4, 100, 2}, {20, 1, 3, 3},
        {20, 1, 1, 1},    {20, 1, 0, 1},   {5, 1, 100, 2},  {3, 1, 100, 1},
        {2, 1, 100, 1},   {1, 1, 100, 1},  {0, 1, 100, 0},
    };
    static const char *const sessions[] = {one, two, three, four};
    play_start(_i);
    for (size_t row = 0; row < SHOAL_COUNT(rows); row++) {
        begin_anew();
        for (int i = 1; i < rows[row].sessions; i++)
            play_join(sessions[i]);
        submit_many(0, rows[row].jobs, 1);
        ck_assert_uint_eq(ask_many(one, "many", rows[row].count, 1), rows[row].granted);
        for (size_t i = 0; i < rows[row].granted; i++) {
            ck_assert_str_eq(answer.grants[i].lease.job, many[i]);
            expect_range(&answer.grants[i].lease, 0, 1, 1);
        }
        ck_assert_int_eq(test_token(&fleet, "q"), rows[row].granted < rows[row].jobs);
    }
}
END_TEST

START_TEST(many_leases_are_a_quarter_of_a_second_by_the_guess) {
    static const struct {
        int64_t guess_us;
        size_t granted;
    } rows[] = {{0, 1},      {250000, 1}, {INT32_MAX, 1}, {249999, 2}, {125000, 2},
                {124999, 3}, {100000, 3}, {50000, 5},     {12500, 20}};
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        begin_anew();
        submit_many(0, MANY, 1);
        ck_assert_uint_eq(ask_many(one, "many", 64, rows[i].guess_us), rows[i].granted);
    }
}
END_TEST

/* Makes the job look as if a thousand tasks had run. */
static void give_history(const char *id, int64_t mean_us) {
    char work[24];
    snprintf(work, sizeof(work), "%lld", (long long)mean_us * 1000);
    test_set_counter(&fleet, id, "ran", "1000");
    test_set_counter(&fleet, id, "work", work);
}

START_TEST(job_with_a_history_counts_by_its_own_average) {
    static const struct {
        size_t which; /* has it */
        int64_t mean_us, guess_us;
        size_t granted;
    } rows[] = {
        {0, 250000, 1, 1}, /* the first is long whatever the others may be */
        {0, 240000, 20000, 2}, {0, 1, 0, 2}, /* the second is unknown, and so the last */
        {0, 100000, 20000, 9}, {3, 250000, 1, 4}, {3, 190000, 30000, 4},
        {3, 100000, 30000, 6}, {3, 1, 30000, 10},
    };
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        begin_anew();
        submit_many(0, 20, 2);
        give_history(many[rows[i].which], rows[i].mean_us);
        ck_assert_uint_eq(ask_many(one, "many", 64, rows[i].guess_us), rows[i].granted);
    }
}
END_TEST

START_TEST(nothing_comes_behind_a_long_lease) {
    static const struct {
        int64_t mean_us;
        int64_t length;
        size_t granted;
    } rows[] = {{50000, 5, 1}, {25000, 10, 1}, {60000, 4, 3}};
    play_start(_i);
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++) {
        begin_anew();
        submit_many(0, 1, 100);
        submit_many(1, 9, 1);
        give_history(many[0], rows[i].mean_us);
        ck_assert_uint_eq(ask_many(one, "many", 64, 5000), rows[i].granted);
        expect_range(&answer.grants[0].lease, 0, rows[i].length, 1);
    }
}
END_TEST

START_TEST(each_of_many_leases_is_of_another_job) {
    play_start(_i);
    submit_many(0, 6, 10);
    ask_many(one, "many", 64, 1);
    expect_many(0, 1, 2);
    for (size_t i = 0; i < 3; i++)
        expect_range(&answer.grants[i].lease, 0, 1, 1);
    ask_many(one, "next", 64, 1); /* they take turns */
    expect_jobs("next", (const int[]){3, 4, 5, -1});
    ask_many(one, "third", 64, 1);
    expect_jobs("third", (const int[]){0, 1, 2, -1});
    expect_range(&answer.grants[0].lease, 1, 2, 1);
}
END_TEST

START_TEST(many_leases_are_of_one_priority) {
    char best[13];
    play_start(_i);
    submit_many(0, 8, 1);
    submit_with(1, 9, 0, best);
    ck_assert_uint_eq(ask_many(one, "a", 64, 1), 1);
    ck_assert_str_eq(answer.grants[0].lease.job, best);
    ask_many(one, "many", 64, 1);
    expect_many(0, 1, 2, 3);
}
END_TEST

START_TEST(fifo_queue_hands_out_many_in_order_up_to_one_that_is_not_done_with) {
    play_start(_i);
    play_move(SHOAL_OK, shoal_queue_order(&fleet.queue, "q", true, &play_err));
    submit_many(0, 2, 1);
    submit_many(2, 1, 3);
    submit_many(3, 17, 1);
    ask_many(one, "many", 64, 1);
    expect_many(0, 1, 2);
    ck_assert_uint_eq(ask_many(one, "a", 64, 1), 1);
    ck_assert_str_eq(answer.grants[0].lease.job, many[2]);
    expect_range(&answer.grants[0].lease, 1, 2, 1);
    ask_many(one, "b", 64, 1); /* its last, and those behind it */
    expect_jobs("b", (const int[]){2, 3, 4, 5, 6, 7, 8, 9, 10, -1});
}
END_TEST

START_TEST(many_leases_leave_a_limited_job_out_of_the_store) {
    play_start(_i);
    submit_many(0, 2, 1);
    submit_with(2, 5, 1, many[2]);
    submit_many(3, 7, 1);
    struct shoal_wish wish = wish_for("many", 64, 1);
    wish.prefetch = true;
    ask_as(one, &wish);
    expect_many(0, 1);
    ask_many(one, "a", 64, 1);
    expect_jobs("a", (const int[]){2, 3, 4, 5, -1});
    ask_many(one, "b", 64, 1); /* the limited one is at its limit */
    expect_jobs("b", (const int[]){6, 7, -1});
}
END_TEST

/* ---- what was handed out before comes alone */

static void come_lost(const struct shoal_lease *lease) {
    const char *const held[] = {"other", NULL};
    (void)lease;
    for (int i = 0; i < 4; i++) {
        test_pass_time(&fleet, 3000);
        test_heartbeat(&fleet, one, held, &answer);
    }
}

static void come_retried(const struct shoal_lease *lease) {
    test_commit(&fleet, two, lease, 0, "x", true);
    test_pass_time(&fleet, 3000);
}

static void come_stopped(const struct shoal_lease *lease) {
    test_commit(&fleet, two, lease, 0, "s", true);
}

static void come_unbegun(const struct shoal_lease *lease) {
    test_commit(&fleet, two, lease, 0, "", true);
}

static const struct {
    void (*come)(const struct shoal_lease *lease);
    int64_t attempt;
    bool alone; /* as the first of a wish too */
} returns[] = {
    {come_lost, 2, true},
    {come_retried, 2, true},
    {come_stopped, 2, true},
    {come_unbegun, 1, false}, /* it did nothing to anybody */
};

/* Job 0 comes back from session two, behind jobs 1 to `before`. */
static void play_return(size_t row, size_t before) {
    begin_anew();
    play_join(two);
    struct shoal_submission submission = play_usual(1);
    submission.policy.retries = 1;
    play_submit(&submission);
    memcpy(many[0], job, sizeof(job));
    struct shoal_lease lease = play_lease(two, "other", 1);
    submit_many(1, before, 1);
    returns[row].come(&lease);
    if (returns[row].come != come_lost)
        test_finish(&fleet, two);
    submit_many(1 + before, 15, 1);
}

START_TEST(what_came_back_is_not_given_behind_another) {
    play_start(_i);
    for (size_t row = 0; row < SHOAL_COUNT(returns); row++) {
        play_return(row, 3);
        ask_many(one, "many", 64, 1);
        expect_many(1, 2, 3);
        ask_many(one, "a", 64, 1); /* it is the next */
        ck_assert_str_eq(answer.grants[0].lease.job, many[0]);
        ck_assert_int_eq(answer.grants[0].lease.attempt, returns[row].attempt);
    }
}
END_TEST

START_TEST(what_took_an_attempt_comes_alone) {
    play_start(_i);
    for (size_t row = 0; row < SHOAL_COUNT(returns); row++) {
        play_return(row, 0);
        size_t n = ask_many(one, "many", 64, 1);
        ck_assert_str_eq(answer.grants[0].lease.job, many[0]);
        ck_assert_int_eq(answer.grants[0].lease.attempt, returns[row].attempt);
        ck_assert_uint_eq(n, returns[row].alone ? 1 : 8);
    }
}
END_TEST

/* ---- many, asked again and given back */

START_TEST(many_leases_asked_for_again_are_the_same) {
    play_start(_i);
    submit_many(0, 20, 1);
    for (int i = 0; i < 3; i++) {
        ask_many(one, "many", 6, 1);
        expect_many(0, 1, 2, 3, 4, 5);
    }
    ask_many(one, "other", 3, 1);
    expect_jobs("other", (const int[]){6, 7, 8, -1});
}
END_TEST

START_TEST(those_of_many_that_are_over_do_not_come_again) {
    play_start(_i);
    play_join(two);
    submit_many(0, 20, 1);
    ask_many(one, "many", 5, 1);
    struct shoal_lease done = answer.grants[2].lease;
    test_commit(&fleet, one, &done, 0, ".", true);
    memcpy(job, many[4], sizeof(job));
    struct shoal_lease late = play_remembered("x", 0, 1, 1);
    test_commit(&fleet, two, &late, 0, ".", true);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, many[0], false, &play_err));
    ck_assert_uint_eq(ask_many(one, "many", 5, 1), 2);
    ck_assert_str_eq(answer.grants[0].lease.name, "many.1");
    ck_assert_str_eq(answer.grants[1].lease.name, "many.3");
    ck_assert_str_eq(answer.grants[1].lease.job, many[3]);
}
END_TEST

START_TEST(heartbeat_gives_back_those_of_many_that_the_worker_does_not_know) {
    static const char *const names[] = {"many", "many.2", "many.9", NULL};
    play_start(_i);
    submit_many(0, 20, 1);
    ask_many(one, "many", 5, 1);
    test_heartbeat(&fleet, one, names, &answer);
    ck_assert_uint_eq(answer.beaten.n_gone, 1);
    ck_assert_str_eq(answer.beaten.gone[0], "many.9");
    for (size_t i = 0; i < 5; i++) {
        bool is_held = i == 0 || i == 2;
        memcpy(job, many[i], sizeof(job));
        expect_tasks(!is_held, is_held, 0, 0, 0);
    }
}
END_TEST

START_TEST(dead_session_gets_none_of_many) {
    play_start(_i);
    submit_many(0, 20, 1);
    play_silence(NULL);
    ck_assert_uint_eq(ask_many(one, "many", 64, 1), 0);
    ck_assert(!answer.advanced.alive);
    ck_assert(test_token(&fleet, "q"));
}
END_TEST

START_TEST(jobs_of_many_leases_end_each_by_itself) {
    play_start(_i);
    submit_many(0, 20, 1);
    ask_many(one, "many", 64, 1);
    expect_many(0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    const struct test_answer given = answer;
    for (size_t i = 0; i < 10; i++)
        test_commit(&fleet, one, &given.grants[i].lease, 0, i == 4 ? "x" : ".", true);
    for (size_t i = 0; i < 10; i++) {
        memcpy(job, many[i], sizeof(job));
        expect_outcomes(i == 4 ? "x" : ".");
        expect_state(i == 4 ? SHOAL_JOB_FAILED : SHOAL_JOB_SUCCEEDED);
    }
}
END_TEST

/* ---- nothing */

START_TEST(paused_queue_hands_out_nothing) {
    play_start(_i);
    test_submit(&fleet, 1, NULL, job);
    play_move(SHOAL_OK, shoal_queue_pause(&fleet.queue, "q", true, &play_err));
    ck_assert(!test_token(&fleet, "q"));
    play_no_lease(one, "a");
    play_move(SHOAL_OK, shoal_queue_pause(&fleet.queue, "q", false, &play_err));
    ck_assert(test_token(&fleet, "q"));
    play_lease(one, "a", 1);
}
END_TEST

START_TEST(limited_job_has_so_many_leases) {
    char id[13];
    play_start(_i);
    submit_with(4, 5, 2, id);
    play_lease(one, "a", 1);
    struct shoal_lease lease = play_lease(one, "b", 1);
    ck_assert(!test_token(&fleet, "q"));
    play_no_lease(one, "c");
    test_commit(&fleet, one, &lease, 1, ".", true);
    ck_assert(test_token(&fleet, "q"));
    play_lease(one, "c", 1);
    play_no_lease(one, "d");
}
END_TEST

/* Commits the one task of a lease, which is over, and asks for the next, in one call. */
static void commit_and_ask(const struct shoal_lease *lease, const char *next) {
    const struct shoal_outcome outcome = {
        .reason = SHOAL_REASON_OK, .attempt = lease->attempt, .result = ""};
    struct shoal_commit commit;
    const struct shoal_commit *commits = &commit;
    struct shoal_wish wish = {.count = 1, .most = 1};
    snprintf(wish.lease, sizeof(wish.lease), "%s", next);
    shoal_commit_init(&commit, lease->job, lease->name, lease->lo);
    shoal_commit_add(&commit, &outcome, one, "", 0);
    commit.over = true;
    const struct shoal_advance request = {
        .session = one,
        .worker = one,
        .commits = &commits,
        .n_commits = 1,
        .queues = q,
        .wishes = &wish,
        .n_wishes = 1,
    };
    test_advance(&fleet, &request, &answer);
    shoal_commit_finish(&commit);
}

START_TEST(who_ends_a_lease_of_a_limited_job_gets_the_next_at_once) {
    char id[13];
    play_start(_i);
    submit_with(2, 5, 1, id);
    struct shoal_lease lease = play_lease(one, "a", 1);
    commit_and_ask(&lease, "b");
    ck_assert_uint_eq(answer.advanced.n_grants, 1);
    expect_range(&answer.grants[0].lease, 1, 2, 1);
}
END_TEST

START_TEST(limited_job_is_not_prefetched) {
    char id[13];
    play_start(_i);
    submit_with(4, 5, 2, id);
    ask(one, "a", 1, q, true);
    ck_assert_uint_eq(answer.advanced.n_grants, 0);
    ck_assert(test_token(&fleet, "q"));
    test_submit(&fleet, 1, NULL, job); /* the one behind it is */
    ask(one, "b", 1, q, true);
    ck_assert_uint_eq(answer.advanced.n_grants, 1);
    ck_assert_str_eq(answer.grants[0].lease.job, job);
    ck_assert_str_eq(play_lease(one, "c", 1).job, id);
}
END_TEST

START_TEST(job_over_its_budget_is_held_until_it_is_read) {
    int64_t trimmed = 0;
    play_start(_i);
    struct shoal_submission submission = play_usual(9);
    submission.policy.budget = 150; /* two small results reach it */
    play_submit(&submission);
    for (int64_t i = 0; i < 2; i++) {
        struct shoal_lease lease = play_lease(one, "a", 1);
        test_commit(&fleet, one, &lease, lease.lo, ".", true);
    }
    ck_assert_int_ge(test_describe(&fleet, job).stored, 150);
    ck_assert(!test_token(&fleet, "q"));
    ck_assert(test_describe(&fleet, job).held);
    play_no_lease(one, "b");
    play_move(SHOAL_OK,
              shoal_queue_acknowledge(&fleet.queue, job, 2, false, &trimmed, &play_err));
    ck_assert_int_ge(trimmed, 1);
    ck_assert(test_token(&fleet, "q"));
    play_lease(one, "b", 1);
}
END_TEST

START_TEST(job_whose_budget_is_lifted_goes_on) {
    play_start(_i);
    struct shoal_submission submission = play_usual(9);
    submission.policy.budget = 50;
    play_submit(&submission);
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, lease.lo, ".", true);
    play_no_lease(one, "b");
    play_move(SHOAL_OK, shoal_queue_lift_budget(&fleet.queue, job, &play_err));
    ck_assert(test_token(&fleet, "q"));
    ck_assert(!test_describe(&fleet, job).held);
    ck_assert_int_eq(test_describe(&fleet, job).trimmed, 0);
    play_lease(one, "b", 1);
}
END_TEST

/* Lets housekeeping find Redis with this limit. */
static void set_memory(const char *limit) {
    int64_t wait = 0;
    test_command_int(fleet.redis, "HINCRBY %s wall -1000", play_key(SHOAL_KEY_CLOCK, ""));
    redisReply *reply = test_command(fleet.redis, "CONFIG SET maxmemory %s", limit);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    play_move(SHOAL_OK, shoal_queue_housekeep(&fleet.queue, &wait, &play_err));
}

static void expect_told_full(bool full) {
    struct test_answer said;
    test_heartbeat(&fleet, one, (const char *const[]){"a", NULL}, &said);
    ck_assert_int_eq(said.status, SHOAL_OK);
    ck_assert_int_eq(said.beaten.full, full);
}

START_TEST(full_memory_hands_out_nothing_and_takes_what_is_done) {
    struct shoal_store_info store;
    play_start(_i);
    test_submit(&fleet, 3, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    set_memory("1");
    ck_assert_int_eq(shoal_queue_store(&fleet.queue, &store, NULL), SHOAL_OK);
    ck_assert(store.full);
    ck_assert(!test_token(&fleet, "q"));
    play_no_lease(one, "b");
    expect_told_full(true);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_tasks(2, 0, 1, 0, 0);
    struct shoal_submission submission = play_usual(1);
    play_move(SHOAL_FULL, shoal_queue_submit(&fleet.queue, &submission, 1, &play_err));
    play_move(SHOAL_FULL, shoal_queue_append(&fleet.queue, job, 3, 1, "", 0, &play_err));
    ck_assert_int_eq(
        test_command_int(fleet.redis, "ZCARD %s", play_key(SHOAL_KEY_JOBS, "")), 1);

    redisReply *more = test_command(fleet.redis, "CONFIG SET maxmemory 1gb");
    freeReplyObject(more);
    set_memory("0");
    expect_told_full(false);
    ck_assert(test_token(&fleet, "q"));
    play_lease(one, "b", 1);
}
END_TEST

/* The memory of a Redis that does not tell it is the operator's to watch. */
START_TEST(redis_that_does_not_tell_its_memory_is_not_full) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    freeReplyObject(test_command(fleet.redis, "ACL SETUSER default -info"));
    set_memory("1");
    play_lease(one, "a", 1);
}
END_TEST

START_TEST(dead_session_gets_no_lease_and_its_success_counts) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    play_silence(NULL);
    ask(one, "b", 1, q, false);
    ck_assert(!answer.advanced.alive);
    ck_assert_uint_eq(answer.advanced.n_grants, 0);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_tasks(1, 0, 1, 0, 0);
}
END_TEST

START_TEST(what_has_finished_meanwhile_is_skipped) {
    char jobs[3][13];
    play_start(_i);
    for (int i = 0; i < 3; i++)
        submit_with(1, 5, 0, jobs[i]);
    ck_assert_int_eq(shoal_queue_cancel(&fleet.queue, jobs[0], false, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_queue_forget(&fleet.queue, jobs[0], false, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_queue_cancel(&fleet.queue, jobs[1], false, NULL), SHOAL_OK);
    ck_assert_str_eq(play_lease(one, "a", 1).job, jobs[2]);
    ck_assert(!test_token(&fleet, "q"));
}
END_TEST

/* ---- tokens: exactly while something can be taken */

START_TEST(token_goes_with_the_last_task) {
    play_start(_i);
    ck_assert(!test_token(&fleet, "q"));
    test_submit(&fleet, 2, NULL, job);
    ck_assert(test_token(&fleet, "q"));
    struct shoal_lease lease = play_lease(one, "a", 1);
    ck_assert(test_token(&fleet, "q"));
    play_lease(one, "b", 1);
    ck_assert(!test_token(&fleet, "q"));
    test_commit(&fleet, one, &lease, 0, "s", true);
    ck_assert(test_token(&fleet, "q"));
    lease.attempt = 2;
    test_commit(&fleet, two, &lease, 0, ".", true); /* late, and nothing is left */
    ck_assert(!test_token(&fleet, "q"));
}
END_TEST

START_TEST(token_goes_with_a_cancelled_job) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, job, false, &play_err));
    ck_assert(!test_token(&fleet, "q"));
}
END_TEST

/* More of them than one call looks at: the token stands until somebody has looked. */
START_TEST(long_list_of_cancelled_jobs_is_worked_off) {
    enum { JOBS = 1100 };
    static char ids[JOBS][13];
    play_start(_i);
    fleet.no_audit = true;
    for (int i = 0; i < JOBS; i++)
        test_submit(&fleet, 1, NULL, ids[i]);
    fleet.repeat = false;
    for (int i = JOBS - 1; i >= 0; i--) /* the first keeps the others in the list */
        play_move(SHOAL_OK, shoal_queue_cancel(&fleet.queue, ids[i], false, &play_err));
    ck_assert(test_token(&fleet, "q"));
    play_no_lease(one, "a");
    ck_assert(!test_token(&fleet, "q"));
    test_fleet_audit(&fleet);
}
END_TEST

START_TEST(token_of_a_worker_that_died_with_it_comes_back) {
    play_start(_i);
    test_submit(&fleet, 2, NULL, job);
    test_command_int(fleet.redis, "DEL %s", play_key(SHOAL_KEY_WAKE, "q"));
    test_heartbeat(&fleet, one, NULL, &answer);
    ck_assert(test_token(&fleet, "q"));
}
END_TEST

START_TEST(one_token_stands_for_many_jobs) {
    play_start(_i);
    for (int i = 0; i < 5; i++)
        test_submit(&fleet, 1, NULL, job);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "LLEN %s", play_key(SHOAL_KEY_WAKE, "q")), 1);
}
END_TEST

static void poison_after_two(struct shoal_submission *submission) {
    submission->policy.max_lost = 2;
}

/* Neither the wish that meets the suspect nor the next of the same call gets anything. */
START_TEST(worker_that_empties_itself_gets_nothing_more) {
    play_start(_i);
    test_submit(&fleet, 1, poison_after_two, job);
    play_lease(one, "a", 1);
    test_submit(&fleet, 9, NULL, job);
    play_join(two);
    struct shoal_lease lease = play_lease(two, "b", 1);
    test_register(&fleet, three, one, NULL, 0, &answer);
    ask(two, "c", 1, q, false); /* the other job's turn */
    ck_assert_uint_eq(answer.advanced.n_grants, 1);
    ask(two, "d", 2, q, false);
    ck_assert_uint_eq(answer.advanced.n_grants, 0);
    test_commit(&fleet, two, &lease, 0, ".", true);
    ask(two, "d", 2, q, false);
    ck_assert_uint_eq(answer.advanced.n_grants, 0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        highest_priority_goes_first,
        jobs_of_a_priority_take_turns,
        fifo_queue_serves_one_job_after_the_other,
        fifo_queue_returns_to_a_job_that_was_at_its_limit,
        queues_are_served_in_the_workers_order,
        several_leases_come_in_one_call,
        leases_double_with_what_came_back,
        lease_is_a_quarter_of_a_second_by_the_jobs_average,
        last_tasks_are_shared_evenly,
        lease_is_no_longer_than_asked_for,
        lease_ends_with_its_pack_of_arguments,
        lease_whose_arguments_are_gone_is_handed_out,
        lease_asked_for_again_is_the_same,
        lease_that_others_did_meanwhile_is_another,
        lease_of_a_job_that_stops_is_not_given_again,
        many_leases_are_half_an_even_share_of_the_jobs_that_wait,
        many_leases_are_a_quarter_of_a_second_by_the_guess,
        job_with_a_history_counts_by_its_own_average,
        nothing_comes_behind_a_long_lease,
        each_of_many_leases_is_of_another_job,
        many_leases_are_of_one_priority,
        fifo_queue_hands_out_many_in_order_up_to_one_that_is_not_done_with,
        many_leases_leave_a_limited_job_out_of_the_store,
        what_came_back_is_not_given_behind_another,
        what_took_an_attempt_comes_alone,
        many_leases_asked_for_again_are_the_same,
        those_of_many_that_are_over_do_not_come_again,
        heartbeat_gives_back_those_of_many_that_the_worker_does_not_know,
        dead_session_gets_none_of_many,
        jobs_of_many_leases_end_each_by_itself,
        paused_queue_hands_out_nothing,
        limited_job_has_so_many_leases,
        who_ends_a_lease_of_a_limited_job_gets_the_next_at_once,
        limited_job_is_not_prefetched,
        job_over_its_budget_is_held_until_it_is_read,
        job_whose_budget_is_lifted_goes_on,
        full_memory_hands_out_nothing_and_takes_what_is_done,
        redis_that_does_not_tell_its_memory_is_not_full,
        worker_that_empties_itself_gets_nothing_more,
        dead_session_gets_no_lease_and_its_success_counts,
        what_has_finished_meanwhile_is_skipped,
        token_goes_with_the_last_task,
        token_goes_with_a_cancelled_job,
        long_list_of_cancelled_jobs_is_worked_off,
        token_of_a_worker_that_died_with_it_comes_back,
        one_token_stands_for_many_jobs,
    };
    return play_main("moves that hand out", tests, SHOAL_COUNT(tests));
}
