/* What a worker asks of a signed job before it runs it: whatever is not as it was signed
 * is refused with a sentence, byte by byte. */
#include "broker/trust.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/scratch.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TASKS = 10 };

static const char spec_text[] = "{\"version\":1}",
                  pack[] = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";
static const char *const queues[] = {"default", "night", NULL};

static char root[64], keys_path[96];
static struct shoal_signer *signer, *stranger;
static struct shoal_submission submission;
static struct shoal_buffer text; /* the warrant */
static struct shoal_trust trust;
static struct shoal_warrant warrant;
static struct shoal_lease lease;
static struct shoal_spec spec;
static char hash[SHOAL_HASH_DIGITS + 1], policy[SHOAL_POLICY_ROOM];
static char seal[SHOAL_SEAL_BYTES + 1];
static struct shoal_claim claim;

static struct shoal_signer *make_key(const char *name) {
    struct shoal_signer *made = NULL;
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    ck_assert_int_eq(shoal_signer_create(path, name, &made, NULL), SHOAL_OK);
    return made;
}

/* The file has one line, of the signer with `rights` behind its name. */
static enum shoal_status read_keys(const char *rights, struct shoal_error *err) {
    FILE *file = fopen(keys_path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s me %s\n", shoal_signer_name(signer)->digits, rights);
    fclose(file);
    ck_assert_int_eq(chmod(keys_path, 0600), 0);
    shoal_trust_finish(&trust);
    trust = (struct shoal_trust){
        .name_space = "test", .queues = queues, .store = "st0rest0rest"};
    return shoal_trust_read(keys_path, &trust, err);
}

static void sign_pack(struct shoal_signer *by, const char *job, int64_t first) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer statement;
    shoal_buffer_init(&statement, 4096);
    shoal_arguments_statement(&statement, "test", "st0rest0rest", job, first, pack,
                              strlen(pack));
    ck_assert_int_eq(shoal_signer_head(by, statement.data, statement.len, seal, NULL),
                     SHOAL_OK);
}

static void sign(int64_t until_ms) {
    shoal_buffer_clear(&text);
    ck_assert_int_eq(shoal_warrant_write(&submission, 1, "test", "st0rest0rest", until_ms,
                                         signer, &text, NULL),
                     SHOAL_OK);
    shoal_warrant_finish(&warrant);
    ck_assert_int_eq(shoal_trust_open(&trust, text.data, text.len, &warrant, NULL),
                     SHOAL_OK);
}

static void set_up(void) {
    snprintf(root, sizeof(root), "/tmp/shoal-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(keys_path, sizeof(keys_path), "%s/keys", root);
    signer = make_key("mine");
    stranger = make_key("strange");
    shoal_buffer_init(&text, SHOAL_WARRANT_MAX);
    submission = (struct shoal_submission){.id = "0123456789ab",
                                           .spec = spec_text,
                                           .queue = "night",
                                           .seed = 7,
                                           .total = TASKS,
                                           .has_arguments = true};
    shoal_job_policy_init(&submission.policy);
    shoal_policy_print(&submission.policy, policy);
    ck_assert(shoal_hash(spec_text, strlen(spec_text), hash));
    lease = (struct shoal_lease){.job = "0123456789ab", .lo = 4, .hi = 6};
    sign_pack(signer, lease.job, 4);
    ck_assert_int_eq(read_keys("", NULL), SHOAL_OK);
    sign(shoal_wall_ms() + 60000);
    claim = (struct shoal_claim){.warrant = &warrant,
                                 .lease = &lease,
                                 .spec_hash = hash,
                                 .seed = 7,
                                 .queue = "night",
                                 .policy = policy,
                                 .pack = pack,
                                 .pack_len = strlen(pack),
                                 .first = 4,
                                 .seal = seal};
}

static void tear_down(void) {
    shoal_trust_finish(&trust);
    shoal_warrant_finish(&warrant);
    shoal_buffer_finish(&text);
    shoal_signer_destroy(signer);
    shoal_signer_destroy(stranger);
    shoal_scratch_remove_tree(root);
}

/* The limits are those of the spec, which is read when all else holds. */
static enum shoal_status check(const struct shoal_trusted_key **ret_key,
                               struct shoal_error *err) {
    const struct shoal_trusted_key *key = NULL;
    enum shoal_status status = shoal_trust_check(&trust, &claim, &key, err);
    if (status == SHOAL_OK)
        status = shoal_trust_check_limits(key, &spec.limits, err);
    if (status == SHOAL_OK)
        *ret_key = key;
    return status;
}

static bool passes(void) {
    const struct shoal_trusted_key *key = NULL;
    return check(&key, NULL) == SHOAL_OK && key != NULL;
}

static void expect_refused(const char *said) {
    struct shoal_error err = {.status = SHOAL_OK};
    const struct shoal_trusted_key *key = NULL;
    enum shoal_status status = check(&key, &err);
    ck_assert(status == SHOAL_REFUSED || status == SHOAL_GARBAGE);
    ck_assert_msg(strstr(err.text, said) != NULL, "'%s' is not in: %s", said, err.text);
    ck_assert_ptr_null(key);
}

/* ---- every bit of what Redis says */

/* Each bit of a text that the claim points to, which `into` is, turned over. */
static void expect_each_bit_counts(const char **into, size_t len) {
    const char *was = *into;
    char *copy = strndup(was, len);
    ck_assert_ptr_nonnull(copy);
    *into = copy;
    ck_assert(passes());
    for (size_t i = 0; i < 8 * len; i++) {
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
        ck_assert_msg(!passes(), "bit %zu of '%s'", i, was);
        copy[i / 8] = was[i / 8];
    }
    *into = was;
    free(copy);
}

START_TEST(nothing_that_redis_says_can_be_altered_by_a_bit) {
    expect_each_bit_counts(&claim.spec_hash, strlen(hash));
    expect_each_bit_counts(&claim.queue, strlen(claim.queue));
    expect_each_bit_counts(&claim.pack, claim.pack_len);
    expect_each_bit_counts(&claim.seal, strlen(seal));
    expect_each_bit_counts(&trust.name_space, strlen(trust.name_space));
    expect_each_bit_counts(&trust.store, strlen(trust.store));
    for (int bit = 0; bit < 64; bit++) {
        claim.seed ^= UINT64_C(1) << bit;
        ck_assert(!passes());
        claim.seed ^= UINT64_C(1) << bit;
        claim.first ^= (int64_t)(UINT64_C(1) << bit);
        ck_assert(!passes());
        claim.first ^= (int64_t)(UINT64_C(1) << bit);
    }
    for (int i = 0; i < 8 * 12; i++) {
        lease.job[i / 8] = (char)(lease.job[i / 8] ^ (1 << i % 8));
        ck_assert(!passes());
        lease.job[i / 8] = (char)(lease.job[i / 8] ^ (1 << i % 8));
    }
    ck_assert(passes());
}
END_TEST

/* The budget, which is how much of its results may wait, is lifted by `shoal wait`. */
START_TEST(policy_is_the_signed_one_but_for_the_budget) {
    char *copy = strdup(policy);
    claim.policy = copy;
    size_t last = (size_t)(strrchr(policy, ':') - policy);
    for (size_t i = 0; i < 8 * (last + 1); i++) {
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
        ck_assert_msg(!passes(), "bit %zu of '%s'", i, policy);
        copy[i / 8] = policy[i / 8];
    }
    copy[last + 1] = '9';
    ck_assert(passes());
    free(copy);
}
END_TEST

START_TEST(what_was_cut_off_is_refused) {
    struct shoal_warrant cut = {.n_jobs = 0};
    for (size_t len = 0; len < text.len; len++)
        ck_assert_int_eq(shoal_trust_open(&trust, text.data, len, &cut, NULL),
                         SHOAL_REFUSED);
    for (size_t len = 0; len < strlen(pack); len++) {
        claim.pack_len = len;
        ck_assert(!passes());
    }
    claim.pack_len = strlen(pack);
    for (size_t len = strlen(seal); len-- > 0;) {
        seal[len] = '\0';
        ck_assert(!passes());
    }
}
END_TEST

START_TEST(more_tasks_than_were_signed_are_refused) {
    lease.hi = TASKS;
    ck_assert(passes());
    lease.hi = TASKS + 1;
    expect_refused("the number of its tasks is not what was signed");
}
END_TEST

START_TEST(arguments_come_with_a_seal_of_the_same_key_or_not_at_all) {
    claim.pack = NULL;
    expect_refused("whether it has arguments");
    claim.pack = pack;
    claim.seal = "";
    expect_refused("the job is signed and the arguments of task 4 are not");
    claim.seal = seal;
    sign_pack(stranger, lease.job, 4);
    expect_refused("were signed with another key than the job");
    sign_pack(signer, "zzzzzzzzzzzz", 4);
    expect_refused("are not what was signed");
}
END_TEST

/* ---- here and now */

START_TEST(what_is_over_or_not_yet_due_is_refused) {
    sign(shoal_wall_ms() - 1);
    expect_refused("valid until 20");
    submission.start_ms = shoal_wall_ms() + 3600000;
    sign(shoal_wall_ms() + 60000);
    expect_refused("when it starts");
    trust.any_time = true; /* as a person may */
    sign(shoal_wall_ms() - 1);
    ck_assert(passes());
}
END_TEST

START_TEST(queue_that_the_worker_does_not_serve_is_refused) {
    static const char *const others[] = {"default", NULL};
    trust.queues = others;
    expect_refused("signed for the queue 'night'");
}
END_TEST

/* ---- whose key */

START_TEST(strange_key_is_refused_before_anything_is_read) {
    struct shoal_warrant other = {.n_jobs = 0};
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_buffer_clear(&text);
    ck_assert_int_eq(shoal_signer_seal(stranger, "\xff", 1, &text, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_trust_open(&trust, text.data, text.len, &other, &err),
                     SHOAL_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "not among the keys"));
    shoal_buffer_clear(&text);
    ck_assert_int_eq(shoal_signer_seal(signer, "\xff", 1, &text, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_trust_open(&trust, text.data, text.len, &other, NULL),
                     SHOAL_REFUSED);
}
END_TEST

START_TEST(key_that_was_taken_out_is_refused) {
    trust.keys[0].key = *shoal_signer_name(stranger);
    expect_refused("not trusted any more");
}
END_TEST

START_TEST(key_has_the_rights_of_its_line) {
    ck_assert_int_eq(read_keys("queues=default,night memory=1G", NULL), SHOAL_OK);
    expect_refused("limits of at most memory 1G");
    spec.limits.memory = INT64_C(1) << 30;
    ck_assert(passes());
    spec.limits.memory++;
    expect_refused("limits of at most memory 1G");
    ck_assert_int_eq(read_keys("queues=default", NULL), SHOAL_OK);
    expect_refused("may not use the queue 'night'");
    spec.limits.memory = 0;
}
END_TEST

START_TEST(carriage_return_hides_no_rights) {
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(read_keys("queues=default\r", NULL), SHOAL_OK);
    expect_refused("may not use the queue 'night'");
    ck_assert_int_eq(read_keys("memory=1G\rqueues=default", &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "a carriage return in it"));
}
END_TEST

/* ---- whom somebody chooses to trust */

static enum shoal_status begin(const char *keys, bool redis, struct shoal_signer *own,
                               struct shoal_error *err) {
    struct shoal_redis_address address;
    const struct shoal_trust_choice choice = {
        .keys = keys, .redis = redis, .own = own == NULL ? NULL : shoal_signer_name(own)};
    ck_assert_int_eq(shoal_redis_address_parse("redis://h", NULL, &address, NULL),
                     SHOAL_OK);
    shoal_trust_finish(&trust);
    trust = (struct shoal_trust){.name_space = "test"};
    enum shoal_status status = shoal_trust_begin(&trust, &address, &choice, err);
    shoal_redis_address_finish(&address);
    return status;
}

START_TEST(own_key_is_trusted_besides_but_for_what_the_file_says) {
    ck_assert_int_eq(begin(keys_path, false, stranger, NULL), SHOAL_OK);
    ck_assert(trust.required);
    ck_assert_uint_eq(trust.n, 2);
    ck_assert_int_eq(read_keys("memory=1G", NULL), SHOAL_OK);
    ck_assert_int_eq(begin(keys_path, false, signer, NULL), SHOAL_OK);
    ck_assert_uint_eq(trust.n, 1);
    ck_assert_int_eq(trust.keys[0].limits.memory, INT64_C(1) << 30);
}
END_TEST

START_TEST(strangers_redis_takes_a_file_a_key_or_a_word) {
    struct shoal_error err = {.status = SHOAL_OK};
    char usual[128];
    if (shoal_trust_usual_path(usual, sizeof(usual), NULL) == SHOAL_OK &&
        access(usual, F_OK) == 0)
        return; /* this host's own */
    ck_assert_int_eq(begin(NULL, true, NULL, NULL), SHOAL_OK);
    ck_assert(!trust.required);
    ck_assert_int_eq(begin(NULL, false, signer, NULL), SHOAL_OK);
    ck_assert(trust.required && trust.n == 1);
    ck_assert_int_eq(begin(NULL, false, NULL, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "or say --trust-redis"));
    ck_assert(trust.required && trust.n == 0);
}
END_TEST

START_TEST(file_that_others_may_write_is_not_read) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_trust other = {.n = 0};
    static const mode_t modes[] = {0620, 0602, 0666};
    for (size_t i = 0; i < SHOAL_COUNT(modes); i++) {
        ck_assert_int_eq(chmod(keys_path, modes[i]), 0);
        ck_assert_int_eq(shoal_trust_read(keys_path, &other, &err), SHOAL_INVALID);
        ck_assert_ptr_nonnull(strstr(err.text, "chmod go-w it"));
        ck_assert_uint_eq(other.n, 0);
        ck_assert_int_eq(
            shoal_trust_add(keys_path, shoal_signer_name(signer), "me", NULL),
            SHOAL_INVALID); /* nor made good */
    }
}
END_TEST

/* Where the file, or a link to it, lies: as what may be exchanged. */
START_TEST(file_that_others_may_exchange_is_not_read) {
    static const struct {
        const char *path;
        mode_t mode; /* of the folder "open" */
        bool read;
    } places[] = {
        {"open/keys", 0777, false}, {"open/below/keys", 0777, false},
        {"open/link", 0777, false}, {"link", 0777, false},
        {"open/keys", 01777, true}, /* nobody takes another's place there */
        {"open/link", 01777, true}, {"open/below/keys", 0755, true},
    };
    ck_assert(chdir(root) == 0 && mkdir("open", 0700) == 0 &&
              mkdir("open/below", 0700) == 0 && link("keys", "open/keys") == 0 &&
              link("keys", "open/below/keys") == 0 &&
              symlink("../keys", "open/link") == 0 && symlink("open/keys", "link") == 0);
    for (size_t i = 0; i < SHOAL_COUNT(places); i++) {
        struct shoal_error err = {.status = SHOAL_OK};
        struct shoal_trust other = {.n = 0};
        ck_assert_int_eq(chmod("open", places[i].mode), 0);
        enum shoal_status status = shoal_trust_read(places[i].path, &other, &err);
        ck_assert_msg(status == (places[i].read ? SHOAL_OK : SHOAL_INVALID), "%zu: %s", i,
                      err.text);
        if (!places[i].read)
            ck_assert_msg(strstr(err.text, "/open', and so put another file") != NULL,
                          "%s", err.text);
        shoal_trust_finish(&other);
    }
}
END_TEST

/* ---- the line that shoal writes */

static void write_keys(const char *lines, mode_t mode) {
    FILE *file = fopen(keys_path, "w");
    ck_assert(file != NULL && fputs(lines, file) >= 0 && fclose(file) == 0 &&
              chmod(keys_path, mode) == 0);
}

static void expect_keys(const char *lines, mode_t mode) {
    char there[1024] = "";
    struct stat is;
    FILE *file = fopen(keys_path, "r");
    ck_assert(file != NULL && fstat(fileno(file), &is) == 0);
    ck_assert_uint_lt(fread(there, 1, sizeof(there), file), sizeof(there));
    fclose(file);
    ck_assert_str_eq(there, lines);
    ck_assert_uint_eq(is.st_mode & 0777, mode);
}

#define ANOTHER "8f21000000000000000000000000000000000000000000000000000000000000"
#define BY_HAND "# mine\n\n" ANOTHER " ann queues=a # kept"

START_TEST(shoal_replaces_its_own_line_alone) {
    const struct shoal_signer_name *old = shoal_signer_name(signer),
                                   *new = shoal_signer_name(stranger);
    char lines[1024];
    write_keys(BY_HAND, 0640);
    ck_assert_int_eq(shoal_trust_add(keys_path, old, "me@here", NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_trust_add(keys_path, old, "me@there", NULL), SHOAL_OK);
    snprintf(lines, sizeof(lines), BY_HAND "\n%s me@here # written by shoal\n",
             old->digits);
    expect_keys(lines, 0640);
    ck_assert_int_eq(shoal_trust_add(keys_path, new, "me@here", NULL), SHOAL_OK);
    snprintf(lines, sizeof(lines), BY_HAND "\n%s me@here # written by shoal\n",
             new->digits);
    expect_keys(lines, 0640);
    ck_assert_int_eq(begin(keys_path, false, NULL, NULL), SHOAL_OK);
    ck_assert_uint_eq(trust.n, 2);
}
END_TEST

START_TEST(line_of_the_key_that_says_less_stays) {
    char lines[1024];
    snprintf(lines, sizeof(lines), "%s me memory=1G # written by shoal\n",
             shoal_signer_name(signer)->digits);
    write_keys(lines, 0600);
    ck_assert_int_eq(shoal_trust_add(keys_path, shoal_signer_name(signer), "me", NULL),
                     SHOAL_OK);
    expect_keys(lines, 0600);
    ck_assert_int_eq(unlink(keys_path), 0);
    ck_assert_int_eq(shoal_trust_add(keys_path, shoal_signer_name(signer), "me", NULL),
                     SHOAL_OK);
    snprintf(lines, sizeof(lines), "%s me # written by shoal\n",
             shoal_signer_name(signer)->digits);
    expect_keys(lines, 0600);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trust");
    TCase *cases = tcase_create("trust");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, nothing_that_redis_says_can_be_altered_by_a_bit);
    tcase_add_test(cases, policy_is_the_signed_one_but_for_the_budget);
    tcase_add_test(cases, what_was_cut_off_is_refused);
    tcase_add_test(cases, more_tasks_than_were_signed_are_refused);
    tcase_add_test(cases, arguments_come_with_a_seal_of_the_same_key_or_not_at_all);
    tcase_add_test(cases, what_is_over_or_not_yet_due_is_refused);
    tcase_add_test(cases, queue_that_the_worker_does_not_serve_is_refused);
    tcase_add_test(cases, strange_key_is_refused_before_anything_is_read);
    tcase_add_test(cases, key_that_was_taken_out_is_refused);
    tcase_add_test(cases, key_has_the_rights_of_its_line);
    tcase_add_test(cases, carriage_return_hides_no_rights);
    tcase_add_test(cases, own_key_is_trusted_besides_but_for_what_the_file_says);
    tcase_add_test(cases, strangers_redis_takes_a_file_a_key_or_a_word);
    tcase_add_test(cases, file_that_others_may_write_is_not_read);
    tcase_add_test(cases, file_that_others_may_exchange_is_not_read);
    tcase_add_test(cases, shoal_replaces_its_own_line_alone);
    tcase_add_test(cases, line_of_the_key_that_says_less_stays);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
