/* What a submitter signs. */
#include "broker/warrant.h"

#include "common/cleanup.h"
#include "common/scratch.h"
#include "common/sweep.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char root[64];
static struct shoal_signer *signer;
static struct shoal_buffer text;

static const char spec[] = "{\"version\":1}", other_spec[] = "{\"version\":1,\"x\":1}";
static struct shoal_submission jobs[3];

static void fill_jobs(void) {
    static const char *const ids[] = {"0123456789ab", "zzzzzzzzzzzz", "abcdefghjkmn"};
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = (struct shoal_submission){
            .spec = i < 2 ? spec : other_spec,
            .queue = i == 1 ? "big" : "default",
            .owner = "me",
            .seed = i == 0 ? UINT64_MAX : i,
            .total = 10 * (int64_t)i,
            .start_ms = (int64_t)i * 1000,
            .open = i == 2,
            .whole = i == 2,
            .has_arguments = i == 2,
        };
        shoal_job_policy_init(&jobs[i].policy);
        memcpy(jobs[i].id, ids[i], sizeof(jobs[i].id));
    }
}

static void write_warrant(void) {
    shoal_buffer_clear(&text);
    ck_assert_int_eq(shoal_warrant_write(jobs, 3, "test", "st0rest0rest", 1700000000000,
                                         signer, &text, NULL),
                     SHOAL_OK);
}

static void set_up(void) {
    char path[128];
    snprintf(root, sizeof(root), "/tmp/shoal-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/key", root);
    ck_assert_int_eq(shoal_signer_create(path, "me", &signer, NULL), SHOAL_OK);
    shoal_buffer_init(&text, SHOAL_WARRANT_MAX);
    fill_jobs();
    write_warrant();
}

static void tear_down(void) {
    shoal_buffer_finish(&text);
    shoal_signer_destroy(signer);
    shoal_scratch_remove_tree(root);
}

static bool holds(const char *bytes, size_t len) {
    return len >= SHOAL_SEAL_BYTES &&
           shoal_seal_holds(bytes, bytes + SHOAL_SEAL_BYTES, len - SHOAL_SEAL_BYTES);
}

START_TEST(warrant_reads_as_it_was_written) {
    struct shoal_warrant warrant = {.n_jobs = 0};
    char hash[SHOAL_HASH_DIGITS + 1], policy[SHOAL_POLICY_ROOM];
    ck_assert(holds(text.data, text.len));
    ck_assert_int_eq(shoal_warrant_read(text.data, text.len, &warrant, NULL), SHOAL_OK);
    ck_assert_str_eq(warrant.signer.digits, shoal_signer_name(signer)->digits);
    ck_assert_str_eq(warrant.name_space, "test");
    ck_assert_str_eq(warrant.store, "st0rest0rest");
    ck_assert_int_eq(warrant.until_ms, 1700000000000);
    ck_assert_uint_eq(warrant.n_specs, 2);
    ck_assert_uint_eq(warrant.n_jobs, 3);
    shoal_policy_print(&jobs[0].policy, policy);
    for (size_t i = 0; i < 3; i++) {
        const struct shoal_warrant_job *job = shoal_warrant_find(&warrant, jobs[i].id);
        ck_assert_ptr_nonnull(job);
        ck_assert(shoal_hash(jobs[i].spec, strlen(jobs[i].spec), hash));
        ck_assert_str_eq(warrant.specs[job->spec], hash);
        ck_assert_str_eq(job->queue, jobs[i].queue);
        ck_assert_str_eq(job->policy, policy);
        ck_assert_uint_eq(strtoull(job->seed, NULL, 10), jobs[i].seed);
        ck_assert_int_eq(job->total, jobs[i].total);
        ck_assert_int_eq(job->start_ms, jobs[i].start_ms);
        ck_assert_int_eq(job->open, jobs[i].open);
        ck_assert_int_eq(job->has_arguments, jobs[i].has_arguments);
    }
    ck_assert_ptr_null(shoal_warrant_find(&warrant, "aaaaaaaaaaaa"));
    shoal_warrant_finish(&warrant);
}
END_TEST

START_TEST(as_many_jobs_as_a_call_takes_fit) {
    struct shoal_submission *many = calloc(SHOAL_SUBMIT_MAX, sizeof(*many));
    char(*specs)[16] = calloc(SHOAL_SUBMIT_MAX, sizeof(*specs)), queue[61];
    ck_assert(many != NULL && specs != NULL);
    memset(queue, 'q', 60);
    queue[60] = '\0';
    for (int i = 0; i < SHOAL_SUBMIT_MAX; i++) {
        many[i] = jobs[1];
        many[i].queue = queue;
        many[i].spec = specs[i];
        many[i].seed = UINT64_MAX;
        many[i].total = many[i].policy.budget = many[i].policy.max_fails =
            SHOAL_TASKS_MAX;
        many[i].policy.keep_ms = INT64_C(3650) * 86400000;
        snprintf(specs[i], sizeof(specs[i]), "{%d}", i);
        snprintf(many[i].id, sizeof(many[i].id), "%012d", i);
    }
    shoal_buffer_clear(&text);
    ck_assert_int_eq(shoal_warrant_write(many, SHOAL_SUBMIT_MAX, queue, "st0rest0rest",
                                         INT64_C(4102444800000), signer, &text, NULL),
                     SHOAL_OK);
    struct shoal_warrant warrant = {.n_jobs = 0};
    ck_assert_int_eq(shoal_warrant_read(text.data, text.len, &warrant, NULL), SHOAL_OK);
    ck_assert_uint_eq(warrant.n_jobs, SHOAL_SUBMIT_MAX);
    ck_assert_uint_eq(warrant.n_specs, SHOAL_SUBMIT_MAX);
    shoal_warrant_finish(&warrant);
    free(many);
    free(specs);
}
END_TEST

START_TEST(warrant_with_any_byte_altered_does_not_hold) {
    for (size_t i = 0; i < text.len; i++) {
        char was = text.data[i];
        for (int bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(was ^ (1 << bit));
            ck_assert(!holds(text.data, text.len));
        }
        text.data[i] = was;
    }
    ck_assert(holds(text.data, text.len));
}
END_TEST

START_TEST(warrant_cut_off_or_longer_neither_holds_nor_reads) {
    struct shoal_warrant warrant;
    for (size_t len = 0; len < text.len; len++) {
        ck_assert(!holds(text.data, len));
        /* A whole line less may be a warrant of fewer jobs, which nobody signed. */
        if (len == 0 || text.data[len - 1] != '\n')
            ck_assert_int_eq(shoal_warrant_read(text.data, len, &warrant, NULL),
                             SHOAL_GARBAGE);
    }
    shoal_buffer_add_char(&text, '\n');
    ck_assert(!holds(text.data, text.len));
    ck_assert_int_eq(shoal_warrant_read(text.data, text.len, &warrant, NULL),
                     SHOAL_GARBAGE);
}
END_TEST

/* What stands in place of what: a signed text all the same, since who has a key may sign
 * nonsense. */
static const struct {
    const char *was, *is;
} nonsense[] = {
    {"shoal warrant 1", "shoal warrant 2"},
    {"shoal warrant 1", "shoal arguments 1"},
    {"namespace test", "namespace te st"},
    {"namespace test", "namespace"},
    {"store st0rest0rest", "store st0rest0res"},
    {"store st0rest0rest", "store ST0REST0REST"},
    {"until 1700000000000", "until 01700000000000"},
    {"until 1700000000000", "until -1"},
    {"until 1700000000000", "until 1e9"},
    {"until 1700000000000", "until 9999999999999999999"},
    {"spec ", "spec x"},
    {"job 0123456789ab 1", "job 0123456789ab 0"},
    {"job 0123456789ab 1", "job 0123456789ab 3"},
    {"job 0123456789ab 1", "job zzzzzzzzzzzz 1"},
    {"job 0123456789ab 1", "job 0123456789a 1"},
    {"job 0123456789ab 1", "job  0123456789ab 1"},
    {"job 0123456789ab 1 default", "job 0123456789ab 1 -"},
    {"job 0123456789ab 1 default 5:0", "job 0123456789ab 1 default x:0"},
    {" 18446744073709551615 ", " 184467440737095516150 "},
    {" 18446744073709551615 ", " -1 "},
    {" 20 2000 2 1\n", " 20 2000 3 1\n"},
    {" 20 2000 2 1\n", " 20 2000 2 2\n"},
    {" 20 2000 2 1\n", " 20 2000 2 1 \n"},
    {" 20 2000 2 1\n", " 20 2000 2 1\r\n"},
    {" 20 2000 2 1\n", " 20 2000 2 1"},
    {" 20 2000 2 1\n", " 9007199254740993 2000 2 1\n"},
    {" 20 2000 2 1\n", " 20 2000 2 1\nspec \n"},
};

START_TEST(nonsense_is_no_warrant) {
    struct shoal_warrant warrant;
    struct shoal_error err = {.status = SHOAL_OK};
    char *at = strstr(text.data, nonsense[_i].was);
    ck_assert_ptr_nonnull(at);
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer other;
    shoal_buffer_init(&other, SHOAL_WARRANT_MAX);
    shoal_buffer_add(&other, text.data, (size_t)(at - text.data));
    shoal_buffer_add_text(&other, nonsense[_i].is);
    shoal_buffer_add_text(&other, at + strlen(nonsense[_i].was));
    ck_assert_int_eq(shoal_warrant_read(other.data, other.len, &warrant, &err),
                     SHOAL_GARBAGE);
    ck_assert_str_eq(err.text, "what was signed is no warrant");
}
END_TEST

/* One for another job or place is another text. */
START_TEST(arguments_are_signed_for_their_place) {
    static const struct {
        const char *name_space, *store, *job;
        int64_t first;
        const char *pack;
    } places[] = {
        {"test", "st0rest0rest", "0123456789ab", 0, "*1\r\n$1\r\na\r\n"},
        {"prod", "st0rest0rest", "0123456789ab", 0, "*1\r\n$1\r\na\r\n"},
        {"test", "00rest0rest0", "0123456789ab", 0, "*1\r\n$1\r\na\r\n"},
        {"test", "st0rest0rest", "0123456789ac", 0, "*1\r\n$1\r\na\r\n"},
        {"test", "st0rest0rest", "0123456789ab", 1, "*1\r\n$1\r\na\r\n"},
        {"test", "st0rest0rest", "0123456789ab", 0, "*1\r\n$1\r\nb\r\n"},
    };
    char head[SHOAL_SEAL_BYTES + 1];
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        shoal_buffer_clear(&text);
        shoal_arguments_statement(&text, places[i].name_space, places[i].store,
                                  places[i].job, places[i].first, places[i].pack,
                                  strlen(places[i].pack));
        if (i == 0)
            ck_assert_int_eq(shoal_signer_head(signer, text.data, text.len, head, NULL),
                             SHOAL_OK);
        ck_assert_int_eq(shoal_seal_holds(head, text.data, text.len), i == 0);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("warrant");
    TCase *cases = tcase_create("warrant");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, warrant_reads_as_it_was_written);
    tcase_add_test(cases, as_many_jobs_as_a_call_takes_fit);
    tcase_add_test(cases, warrant_with_any_byte_altered_does_not_hold);
    tcase_add_test(cases, warrant_cut_off_or_longer_neither_holds_nor_reads);
    tcase_add_loop_test(cases, nonsense_is_no_warrant, 0,
                        (int)(sizeof(nonsense) / sizeof(*nonsense)));
    tcase_add_test(cases, arguments_are_signed_for_their_place);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
