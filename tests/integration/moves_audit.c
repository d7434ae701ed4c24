/* The audit finds each kind of damage, and a damaged job does not hold up the others. */
#include "common/cleanup.h"
#include "tests/support/play.h"

#include <stdio.h>
#include <string.h>

/* A job with a range of each kind: 0 ok, 1 failed, 2 delayed, 3 queued, 4 leased, the
 * rest beyond the cursor. */
static void begin(int repeat) {
    play_start(repeat);
    struct shoal_submission submission = play_usual(20);
    submission.policy.retries = 1;
    submission.policy.max_running = 3;
    play_submit(&submission);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 5);
    test_commit(&fleet, one, &lease, 0, ".rxs", false);
    expect_tasks(16, 1, 1, 1, 0);
    ck_assert_int_eq(test_describe(&fleet, job).delayed, 1);
}

struct findings {
    const char *wanted;
    bool found;
    int64_t told;
};

static void note(void *owner, const char *sentence) {
    struct findings *findings = owner;
    findings->told++;
    findings->found = findings->found || strstr(sentence, findings->wanted) != NULL;
    ck_assert_msg(strstr(sentence, job) != NULL, "it does not say which job: %s",
                  sentence);
    ck_assert_msg(strstr(sentence, "e+") == NULL, "no number of ours: %s", sentence);
}

static void expect_finding(const char *wanted) {
    struct findings findings = {.wanted = wanted};
    int64_t jobs = 0, wrong = 0;
    ck_assert_int_eq(
        shoal_queue_audit(&fleet.queue, note, &findings, &jobs, &wrong, &play_err),
        SHOAL_OK);
    ck_assert_int_eq(wrong, findings.told);
    ck_assert_msg(findings.found, "the audit does not find: %s", wanted);
}

static const struct damage {
    const char *command; /* what is done to the key behind it */
    enum shoal_key kind; /* COUNT: a counter of the job */
    const char *of;      /* NULL: the job */
    const char *words;
    const char *finding;
} damages[] = {
    {"SET", SHOAL_KEY_COUNT, "ok", "2", "the sum of its parts is 21, should be 20"},
    {"SET", SHOAL_KEY_COUNT, "ok", "9007199254740991", "is 90071992547410"},
    {"SET", SHOAL_KEY_COUNT, "leased", "2", "the number of leased tasks is 2"},
    {"SET", SHOAL_KEY_COUNT, "delayed", "2", "the number of delayed tasks is 2"},
    {"SET", SHOAL_KEY_COUNT, "failed", "2",
     "the number of failed and cancelled tasks is 2"},
    {"SET", SHOAL_KEY_COUNT, "cancelled", "1",
     "the number of failed and cancelled tasks is 2"},
    {"SET", SHOAL_KEY_COUNT, "leases", "2", "the number of leases is 2"},
    {"SET", SHOAL_KEY_COUNT, "cursor", "4", "is beyond the cursor"},
    {"SET", SHOAL_KEY_COUNT, "ready", "0", "ready is 0"},
    {"SET", SHOAL_KEY_COUNT, "state", "failed", "the number of unfinished tasks"},
    {"SET", SHOAL_KEY_COUNT, "total", "many", "is no job"},
    {"HSET", SHOAL_KEY_JOB, NULL, "policy nonsense", "is no job"},
    {"HDEL", SHOAL_KEY_JOB, NULL, "n", "is no job"},
    {"SET", SHOAL_KEY_JOB, NULL, "nonsense", "has type string, not hash"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "4 4:5:1:0:0:q", "bad range"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "0 0:9:1:0:0:q", "bad range"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "0 1:1:1:0:0:q", "bad range"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "0 nonsense", "bad range nonsense"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "0 0:1:nonsense", "0:1:nonsense is no range"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "0 0:1:1:0:0:?", "0:1:1:0:0:? is no range"},
    {"ZADD", SHOAL_KEY_OPEN, NULL, "7 7:8:1:0:0:@worker000009/a", "is in no lease"},
    {"ZREMRANGEBYRANK", SHOAL_KEY_OPEN, NULL, "0 0", "the sum of its parts"},
    {"LTRIM", SHOAL_KEY_TODO, NULL, "1 0", "nothing leads to 3:4:2:0:0:q"},
    {"HDEL", SHOAL_KEY_LEASES, one, "a", "is in no lease of its session"},
    {"HSET", SHOAL_KEY_LEASES, one, "a other:0:5", "is in no lease of its session"},
    {"ZREM", SHOAL_KEY_SESSIONS, "", "worker000001", "belongs to a session that is over"},
    {"ZREMRANGEBYRANK", SHOAL_KEY_DUE, "", "0 -1", "nothing wakes 2:3:2:1:0:d"},
    {"ZADD", SHOAL_KEY_FAILED, NULL, "1 1:3:1:f", "bad range"},
    {"ZREMRANGEBYRANK", SHOAL_KEY_FAILED, NULL, "0 0",
     "the number of failed and cancelled tasks is 1, should be 0"},
    {"ZADD", SHOAL_KEY_AGAIN, NULL, "9 nonsense", "bad range nonsense"},
    {"LTRIM", SHOAL_KEY_READY, "q:5", "1 0", "is in no list of those that are ready"},
    {"SET", SHOAL_KEY_AGAIN, NULL, "nonsense", "has type string, not zset"},
    {"SET", SHOAL_KEY_ARGS, NULL, "nonsense", "has type string, not stream"},
    {"SET", SHOAL_KEY_ATTEMPTS, NULL, "nonsense", "has type string, not list"},
    {"SET", SHOAL_KEY_BARRED, NULL, "nonsense", "has type string, not hash"},
    {"SET", SHOAL_KEY_FAILED, NULL, "nonsense", "has type string, not zset"},
    {"SET", SHOAL_KEY_OPEN, NULL, "nonsense", "has type string, not zset"},
    {"SET", SHOAL_KEY_RESULTS, NULL, "nonsense", "has type string, not list"},
    {"SET", SHOAL_KEY_TODO, NULL, "nonsense", "has type string, not list"},
};

static void inflict(const struct damage *damage) {
    char command[512];
    if (damage->kind == SHOAL_KEY_COUNT) {
        test_set_counter(&fleet, job, damage->of, damage->words);
        return;
    }
    snprintf(command, sizeof(command), "%s %s %s", damage->command,
             play_key(damage->kind, damage->of == NULL ? job : damage->of),
             damage->words);
    redisReply *reply = test_command(fleet.redis, command);
    ck_assert_int_ne(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
}

START_TEST(each_damage_is_found) {
    begin(0);
    inflict(&damages[_i]);
    expect_finding(damages[_i].finding);
}
END_TEST

/* Cancels, sweeps and the ends of sessions meet the damage; another job must run. */
START_TEST(damaged_job_does_not_hold_up_others) {
    struct test_answer answer;
    begin(0);
    fleet.no_audit = true;
    char damaged[13];
    memcpy(damaged, job, sizeof(damaged));
    inflict(&damages[_i]);
    struct shoal_lease lease;
    test_submit(&fleet, 3, NULL, job);
    play_join(two);
    test_register(&fleet, two, one, NULL, 0, &answer);
    test_pass_time(&fleet, 3000);
    for (int i = 0; i < 50 && !shoal_job_state_is_final(test_describe(&fleet, job).state);
         i++) {
        if (test_lease(&fleet, two, "b", 1, &lease) && strcmp(lease.job, job) == 0)
            test_commit(&fleet, two, &lease, lease.lo, ".", true);
        else
            test_heartbeat(&fleet, two, NULL, &answer);
        if (i == 10)
            ck_assert_int_ne(shoal_queue_cancel(&fleet.queue, damaged, true, NULL),
                             SHOAL_LOST);
    }
    expect_state(SHOAL_JOB_SUCCEEDED);
    test_finish(&fleet, two);
}
END_TEST

/* ---- what all jobs share */

/* Fields of hashes that hold something else than they should. */
static const struct {
    enum shoal_key kind;
    const char *of;
    const char *field;
} shared[] = {
    {SHOAL_KEY_EPOCH, "", "seq"},          {SHOAL_KEY_EPOCH, "", "leaps"},
    {SHOAL_KEY_EPOCH, "", "id"},           {SHOAL_KEY_EPOCH, "", "rollbacks"},
    {SHOAL_KEY_EPOCH, "", "commits_lost"}, {SHOAL_KEY_CLOCK, "", "now"},
    {SHOAL_KEY_CLOCK, "", "wall"},         {SHOAL_KEY_CLOCK, "", "slots"},
    {SHOAL_KEY_CLOCK, "", "more"},         {SHOAL_KEY_CLOCK, "", "full"},
    {SHOAL_KEY_SESSION, one, "slots"},     {SHOAL_KEY_SESSION, one, "alone"},
    {SHOAL_KEY_SESSION, one, "drain"},     {SHOAL_KEY_SESSION, one, "queues"},
    {SHOAL_KEY_QUEUE, "q", "ok"},          {SHOAL_KEY_QUEUE, "q", "failed"},
    {SHOAL_KEY_QUEUE, "q", "jobs"},        {SHOAL_KEY_QUEUE, "q", "paused"},
    {SHOAL_KEY_QUEUE, "q", "order"},
};

static const char *const nonsense[] = {
    "x",
    "-1",
    "nan",
    "inf",
    "1e999",
    "9007199254740993",
    "9223372036854775807",
    "99999999999999999999999",
    "0x10",
    ":::",
    "-0", /* when the last task is taken, and counters become 0 */
};

static void put_nonsense(int which, size_t i) {
    freeReplyObject(test_command(fleet.redis, "HSET %s %s %s",
                                 play_key(shared[which].kind, shared[which].of),
                                 shared[which].field, nonsense[i]));
}

static void spoil(int which) {
    for (size_t i = 0; i < SHOAL_COUNT(nonsense); i++) {
        struct test_answer answer;
        struct shoal_lease lease;
        put_nonsense(which, i);
        ck_assert(test_lease(&fleet, one, "b", 1, &lease));
        put_nonsense(which, i);
        test_commit(&fleet, one, &lease, lease.lo, i % 3 == 0 ? "x" : ".", true);
        put_nonsense(which, i);
        test_heartbeat(&fleet, one, NULL, &answer);
        ck_assert(answer.beaten.alive);
        put_nonsense(which, i);
        test_register(&fleet, one, NULL, NULL, 0, &answer);
        ck_assert_int_eq(answer.status, SHOAL_OK);
        test_fleet_audit(&fleet);
    }
}

/* Nothing that is done fails, and all is counted as if nothing had been. */
START_TEST(nonsense_in_what_jobs_share_stops_nobody) {
    play_start(0);
    test_submit(&fleet, SHOAL_COUNT(nonsense), NULL, job);
    spoil(_i);
    struct shoal_job now = test_describe(&fleet, job);
    ck_assert_int_eq(now.state, SHOAL_JOB_FAILED);
    ck_assert_int_eq(now.ok + now.failed, SHOAL_COUNT(nonsense));
    test_finish(&fleet, one);
}
END_TEST

START_TEST(job_that_is_in_no_list_is_put_back) {
    struct shoal_lease lease;
    play_start(0);
    test_submit(&fleet, 2, NULL, job);
    freeReplyObject(
        test_command(fleet.redis, "DEL %s", play_key(SHOAL_KEY_READY, "q:5")));
    fleet.no_audit = true;
    ck_assert(!test_lease(&fleet, one, "a", 1, &lease));
    test_pass_time(&fleet, 3000);
    fleet.no_audit = false;
    ck_assert(test_lease(&fleet, one, "b", 1, &lease));
    test_fleet_audit(&fleet);
}
END_TEST

/* What leads to the ranges of a job: to those that are leased, delayed and queued. */
static const struct {
    enum shoal_key kind;
    const char *of;
} leading[] = {
    {SHOAL_KEY_LEASES, one},
    {SHOAL_KEY_SESSIONS, ""},
    {SHOAL_KEY_DUE, ""},
    {SHOAL_KEY_TODO, job},
};

static int64_t count_findings(void) {
    struct findings findings = {.wanted = ""};
    int64_t jobs = 0, wrong = 0;
    ck_assert_int_eq(
        shoal_queue_audit(&fleet.queue, note, &findings, &jobs, &wrong, &play_err),
        SHOAL_OK);
    return wrong;
}

START_TEST(range_to_which_nothing_leads_is_found_again) {
    begin(0);
    fleet.no_audit = true;
    freeReplyObject(
        test_command(fleet.redis, "DEL %s", play_key(leading[_i].kind, leading[_i].of)));
    ck_assert_int_gt(count_findings(), 0);
    for (int rounds = 0; count_findings() > 0; rounds++) { /* one range at random each */
        ck_assert_int_lt(rounds, 1000);
        test_pass_time(&fleet, 100);
    }
}
END_TEST

static void spoil_key(enum shoal_key kind, const char *of) {
    freeReplyObject(test_command(fleet.redis, "DEL %s", play_key(kind, of)));
    freeReplyObject(test_command(fleet.redis, "SET %s nonsense", play_key(kind, of)));
}

/* A commit fails on a key of another worker, which can go, when it has taken a task out
 * of the map; it is made again, and has the task still. */
START_TEST(key_of_another_worker_costs_no_outcome) {
    struct test_answer answer;
    play_start(0);
    play_join(two);
    play_join(three);
    test_submit(&fleet, 3, NULL, job);
    play_warm(job);
    struct shoal_lease lease = play_lease(one, "a", 3);
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_SESSION, two);
    test_commit(&fleet, one, &lease, 0, ".xp", true); /* is anybody left who could? */
    test_fleet_audit(&fleet);
    expect_tasks(1, 0, 1, 1, 0);
    expect_outcomes(".x-");

    play_move(SHOAL_OK, shoal_queue_forget(&fleet.queue, job, true, &play_err));
    test_submit(&fleet, 1, NULL, job);
    lease = play_lease(three, "a", 1);
    play_silence(one);
    play_lease(one, "b", 1);
    spoil_key(SHOAL_KEY_INBOX, one);
    test_commit(&fleet, three, &lease, 0, ".", true); /* who has it is to be told */
    test_heartbeat(&fleet, one, (const char *[]){"b", NULL}, &answer);
    test_fleet_audit(&fleet);
    expect_outcomes(".");
}
END_TEST

/* Of a job with a limit. */
START_TEST(lease_whose_key_is_gone_holds_up_no_other) {
    play_start(0);
    struct shoal_submission submission = play_usual(2);
    submission.policy.max_running = 1;
    play_submit(&submission);
    struct shoal_lease lease = play_lease(one, "a", 1);
    fleet.no_audit = true;
    freeReplyObject(test_command(fleet.redis, "DEL %s", play_key(SHOAL_KEY_LEASES, one)));
    test_commit(&fleet, one, &lease, 0, ".", true);
    play_no_lease(one, "b");
    test_pass_time(&fleet, 3000);
    fleet.no_audit = false;
    play_lease(one, "c", 1);
}
END_TEST

/* Its end is part of the housekeeping, which fails on it, finds the key, and goes on. */
START_TEST(dead_session_with_a_key_of_another_type_is_ended) {
    static const enum shoal_key kinds[] = {SHOAL_KEY_LEASES, SHOAL_KEY_SESSION};
    struct test_answer answer;
    play_start(0);
    test_submit(&fleet, 1, NULL, job);
    for (int64_t i = 0; i < (int64_t)SHOAL_COUNT(kinds); i++) {
        play_join(two);
        struct shoal_lease lease = play_lease(two, "a", 1);
        expect_range(&lease, 0, 1, 1 + i);
        fleet.no_audit = true;
        spoil_key(kinds[i], two);
        for (int rounds = 0; rounds < 5; rounds++) { /* longer than a session */
            test_pass_time(&fleet, 3000);
            test_heartbeat(&fleet, one, NULL, &answer);
        }
        fleet.no_audit = false;
        test_fleet_audit(&fleet);
        expect_tasks(1, 0, 0, 0, 0);
    }
}
END_TEST

static enum shoal_status housekeep(void) {
    int64_t wait = 0;
    test_command_int(fleet.redis, "HINCRBY %s wall -1000", play_key(SHOAL_KEY_CLOCK, ""));
    return shoal_queue_housekeep(&fleet.queue, &wait, &play_err);
}

START_TEST(job_whose_ranges_are_gone_holds_up_no_other) {
    play_start(0);
    test_submit(&fleet, 1, NULL, job);
    play_lease(one, "a", 1);
    fleet.no_audit = true;
    freeReplyObject(test_command(fleet.redis, "DEL %s", play_key(SHOAL_KEY_OPEN, job)));
    ck_assert_int_eq(housekeep(), SHOAL_OK);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "b", 1);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_outcomes(".");
}
END_TEST

/* Two keys of each of so many sessions as end in one call: more than a call mends. The
 * next one goes on. */
START_TEST(more_keys_of_another_type_than_a_call_mends_are_mended_by_the_next) {
    enum { SESSIONS = 10 };
    play_start(0);
    fleet.no_audit = true;
    for (int i = 0; i < SESSIONS; i++) {
        char session[13];
        snprintf(session, sizeof(session), "worker0001%02u", (unsigned)i % 100);
        play_join(session);
        spoil_key(SHOAL_KEY_SESSION, session);
        spoil_key(SHOAL_KEY_LEASES, session);
        freeReplyObject(test_command(fleet.redis, "ZADD %s 0 %s",
                                     play_key(SHOAL_KEY_SESSIONS, ""), session));
    }
    ck_assert_int_ne(housekeep(), SHOAL_OK);
    ck_assert_int_eq(housekeep(), SHOAL_OK);
    ck_assert_int_eq(
        test_command_int(fleet.redis, "ZCARD %s", play_key(SHOAL_KEY_SESSIONS, "")), 1);
    test_fleet_audit(&fleet);
}
END_TEST

/* A retry has changed what belongs to the job when it fails on the list of what is ready:
 * the job's counters are to say so. */
START_TEST(what_a_move_did_is_counted_though_it_fails) {
    int64_t n = 0;
    play_start(0);
    test_submit(&fleet, 1, NULL, job);
    struct shoal_lease lease = play_lease(one, "a", 1);
    test_commit(&fleet, one, &lease, 0, "x", true);
    fleet.no_audit = true;
    freeReplyObject(
        test_command(fleet.redis, "SET %s nonsense", play_key(SHOAL_KEY_READY, "q:5")));
    play_move(SHOAL_GARBAGE,
              shoal_queue_retry(&fleet.queue, job, false, job, &n, &play_err));
    ck_assert_ptr_nonnull(strstr(play_err.text, play_key(SHOAL_KEY_READY, "q:5")));
    freeReplyObject(
        test_command(fleet.redis, "DEL %s", play_key(SHOAL_KEY_READY, "q:5")));
    play_move(SHOAL_OK, shoal_queue_retry(&fleet.queue, job, false, job, &n, &play_err));
    ck_assert_int_eq(n, 1);
    test_pass_time(&fleet, 3000);
    test_fleet_audit(&fleet);
    fleet.no_audit = false;
    lease = play_lease(one, "b", 1);
    test_commit(&fleet, one, &lease, 0, ".", true);
    expect_state(SHOAL_JOB_SUCCEEDED);
}
END_TEST

START_TEST(whole_queue_has_nothing_to_tell) {
    begin(_i);
    test_fleet_audit(&fleet);
}
END_TEST

/* So many that their keys are looked through in several calls. */
enum { LISTED = 1100 };

static void submit_many(void) {
    static struct shoal_submission jobs[LISTED];
    for (size_t i = 0; i < LISTED; i++)
        jobs[i] = play_usual(1);
    for (size_t i = 0; i < LISTED; i += SHOAL_SUBMIT_MAX) {
        size_t n = LISTED - i < SHOAL_SUBMIT_MAX ? LISTED - i : SHOAL_SUBMIT_MAX;
        play_move(SHOAL_OK, shoal_queue_submit(&fleet.queue, jobs + i, n, &play_err));
    }
}

/* All jobs, with the times at which they were created. */
static redisReply *list_jobs(void) {
    return test_command(fleet.redis, "ZRANGE %s 0 -1 WITHSCORES",
                        play_key(SHOAL_KEY_JOBS, ""));
}

static void tell_loss(void *owner, const char *sentence) {
    *(bool *)owner = strstr(sentence, "the list of all jobs was lost") != NULL;
}

static bool audit_tells_loss(void) {
    bool told = false;
    int64_t jobs = 0, wrong = 0;
    enum shoal_status status =
        shoal_queue_audit(&fleet.queue, tell_loss, &told, &jobs, &wrong, &play_err);
    return status == SHOAL_OK && told;
}

/* How the list of all jobs goes, and whether a new job is in it before housekeeping. */
static const struct {
    const char *command;
    bool submits;
} losses[] = {
    {"DEL %s", false}, {"DEL %s", true}, {"SET %s x", false}, {"SET %s x", true}};

START_TEST(list_of_jobs_that_is_lost_is_made_again) {
    play_start(0);
    fleet.no_audit = true;
    submit_many();
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *before = list_jobs();
    ck_assert_uint_eq(before->elements, (size_t)2 * LISTED);
    freeReplyObject(
        test_command(fleet.redis, losses[_i].command, play_key(SHOAL_KEY_JOBS, "")));
    if (losses[_i].submits)
        test_submit(&fleet, 1, NULL, job);
    test_pass_time(&fleet, 100);
    ck_assert(audit_tells_loss());
    for (int rounds = 0; audit_tells_loss(); rounds++) {
        ck_assert_int_lt(rounds, 100);
        test_pass_time(&fleet, 100);
    }
    test_fleet_audit(&fleet);
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *after = list_jobs();
    ck_assert_uint_eq(after->elements, before->elements + (losses[_i].submits ? 2 : 0));
    for (size_t i = 0; i < before->elements; i++)
        ck_assert_str_eq(after->element[i]->str, before->element[i]->str);
}
END_TEST

/* Specs without jobs, which are looked for in vain, are not taken for a loss for ever. */
START_TEST(specs_of_no_job_are_no_loss) {
    play_start(0);
    freeReplyObject(
        test_command(fleet.redis, "HSET %s x 1", play_key(SHOAL_KEY_SPECS, "")));
    ck_assert(audit_tells_loss());
    fleet.no_audit = true;
    test_pass_time(&fleet, 100);
    test_fleet_audit(&fleet);
}
END_TEST

/* As where Redis has users: what one may not do is left to who may. */
START_TEST(list_of_jobs_is_mended_by_who_may) {
    static const char *const may_not[] = {"-del", "-scan"}, *const may[] = {"+del",
                                                                            "+scan"};
    play_start(0);
    test_submit(&fleet, 1, NULL, job);
    fleet.no_audit = true;
    spoil_key(SHOAL_KEY_JOBS, "");
    for (size_t i = 0; i < SHOAL_COUNT(may); i++) {
        freeReplyObject(test_command(fleet.redis, "ACL SETUSER default %s", may_not[i]));
        ck_assert_int_eq(housekeep(), i == 0 ? SHOAL_GARBAGE : SHOAL_OK);
        freeReplyObject(test_command(fleet.redis, "ACL SETUSER default %s", may[i]));
    }
    ck_assert(audit_tells_loss());
    ck_assert_int_eq(housekeep(), SHOAL_OK);
    test_fleet_audit(&fleet);
}
END_TEST

static Suite *suite(void) {
    Suite *audit = suite_create("audit");
    TCase *cases = tcase_create("audit");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, whole_queue_has_nothing_to_tell, 0, 2);
    tcase_add_loop_test(cases, each_damage_is_found, 0, (int)SHOAL_COUNT(damages));
    tcase_add_loop_test(cases, damaged_job_does_not_hold_up_others, 0,
                        (int)SHOAL_COUNT(damages));
    tcase_add_loop_test(cases, nonsense_in_what_jobs_share_stops_nobody, 0,
                        (int)SHOAL_COUNT(shared));
    tcase_add_test(cases, job_that_is_in_no_list_is_put_back);
    tcase_add_test(cases, what_a_move_did_is_counted_though_it_fails);
    tcase_add_test(cases, dead_session_with_a_key_of_another_type_is_ended);
    tcase_add_test(cases, key_of_another_worker_costs_no_outcome);
    tcase_add_test(cases, lease_whose_key_is_gone_holds_up_no_other);
    tcase_add_test(cases, job_whose_ranges_are_gone_holds_up_no_other);
    tcase_add_loop_test(cases, range_to_which_nothing_leads_is_found_again, 0,
                        (int)SHOAL_COUNT(leading));
    tcase_add_loop_test(cases, list_of_jobs_that_is_lost_is_made_again, 0,
                        (int)SHOAL_COUNT(losses));
    tcase_add_test(cases, specs_of_no_job_are_no_loss);
    tcase_add_test(cases, list_of_jobs_is_mended_by_who_may);
    tcase_add_test(cases,
                   more_keys_of_another_type_than_a_call_mends_are_mended_by_the_next);
    suite_add_tcase(audit, cases);
    return audit;
}

int main(void) {
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
