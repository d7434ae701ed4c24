#include "broker/warrant.h"

#include "common/id.h"
#include "common/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "shoal warrant 1\n"

enum { DIGITS_MAX = 20 };

/* ---- writing */

void shoal_policy_print(const struct shoal_job_policy *policy, char *text) {
    snprintf(text, SHOAL_POLICY_ROOM,
             "%d:%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64,
             policy->priority, policy->retries, policy->max_lost, policy->max_fails,
             policy->max_running, policy->keep_ms, policy->budget);
}

static bool add_hash(struct shoal_buffer *text, const char *spec) {
    char digits[SHOAL_HASH_DIGITS + 1];
    if (!shoal_hash(spec, strlen(spec), digits))
        return false;
    shoal_buffer_add_format(text, "spec %s\n", digits);
    return true;
}

static bool add_specs(struct shoal_buffer *text, const struct shoal_submission *jobs,
                      size_t n) {
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        if (!shoal_submission_runs_as_before(jobs, i))
            good = add_hash(text, jobs[i].spec);
    }
    return good;
}

static void add_job(struct shoal_buffer *text, const struct shoal_submission *job,
                    int64_t spec) {
    char policy[SHOAL_POLICY_ROOM];
    shoal_policy_print(&job->policy, policy);
    shoal_buffer_add_format(
        text, "job %s %" PRId64 " %s %s %" PRIu64 " %" PRId64 " %" PRId64 " %d %d\n",
        job->id, spec, job->queue, policy, job->seed, job->total, job->start_ms,
        job->open ? 1 + job->whole : 0, job->has_arguments);
}

static void add_statement(struct shoal_buffer *text, const struct shoal_submission *jobs,
                          size_t n) {
    int64_t spec = 0;
    for (size_t i = 0; i < n; i++) {
        spec += !shoal_submission_runs_as_before(jobs, i);
        add_job(text, &jobs[i], spec);
    }
}

enum shoal_status shoal_warrant_write(const struct shoal_submission *jobs, size_t n,
                                      const char *name_space, const char *store,
                                      int64_t until_ms, const struct shoal_signer *signer,
                                      struct shoal_buffer *text,
                                      struct shoal_error *err) {
    struct shoal_buffer statement;
    shoal_buffer_init(&statement, SHOAL_WARRANT_MAX - SHOAL_SEAL_BYTES);
    shoal_buffer_add_format(&statement,
                            FIRST_LINE "namespace %s\nstore %s\nuntil %" PRId64 "\n",
                            name_space, store, until_ms);
    enum shoal_status status = SHOAL_OK;
    if (!add_specs(&statement, jobs, n))
        status = shoal_error_set(err, SHOAL_MEMORY, "no memory to sign with");
    add_statement(&statement, jobs, n);
    if (status == SHOAL_OK)
        status = shoal_buffer_check(&statement, "what is signed of the jobs", err);
    if (status == SHOAL_OK)
        status = shoal_signer_seal(signer, shoal_buffer_text(&statement), statement.len,
                                   text, err);
    shoal_buffer_finish(&statement);
    return status;
}

void shoal_arguments_statement(struct shoal_buffer *text, const char *name_space,
                               const char *store, const char *job, int64_t first,
                               const char *pack, size_t len) {
    shoal_buffer_add_format(text,
                            "shoal arguments 1\nnamespace %s\nstore %s\njob %s\nfirst "
                            "%" PRId64 "\n",
                            name_space, store, job, first);
    shoal_buffer_add(text, pack, len);
}

/* ---- reading, in place: each space or line's end that parts words becomes a NUL */

/* Takes the next word, which `end` follows. NULL: there is none. */
static char *take_word(char **at, char end) {
    char *word = *at, *stop = strpbrk(word, " \n");
    if (stop == NULL || stop == word || *stop != end)
        return NULL;
    *stop = '\0';
    *at = stop + 1;
    return word;
}

/* "NAME " before the next word. */
static bool take_name(char **at, const char *name) {
    size_t len = strlen(name);
    if (strncmp(*at, name, len) != 0 || (*at)[len] != ' ')
        return false;
    *at += len + 1;
    return true;
}

/* Digits as they are printed, without leading zeros. */
static bool are_digits(const char *word, size_t most) {
    size_t len = strspn(word, "0123456789");
    return len > 0 && len <= most && word[len] == '\0' && (*word != '0' || len == 1);
}

static bool take_number(char **at, char end, int64_t most, int64_t *ret_number) {
    const char *word = take_word(at, end);
    if (word == NULL || !are_digits(word, 18))
        return false;
    *ret_number = strtoll(word, NULL, 10);
    return *ret_number <= most;
}

static bool is_hash(const char *word) {
    return strspn(word, "0123456789abcdef") == SHOAL_HASH_DIGITS &&
           word[SHOAL_HASH_DIGITS] == '\0';
}

static bool is_policy(const char *word) {
    return strspn(word, "0123456789:") == strlen(word) &&
           strlen(word) < SHOAL_POLICY_ROOM;
}

static bool take_head(char **at, struct shoal_warrant *warrant) {
    size_t len = strlen(FIRST_LINE);
    if (strncmp(*at, FIRST_LINE, len) != 0)
        return false;
    *at += len;
    if (!take_name(at, "namespace") ||
        (warrant->name_space = take_word(at, '\n')) == NULL || !take_name(at, "store") ||
        (warrant->store = take_word(at, '\n')) == NULL || !take_name(at, "until"))
        return false;
    return shoal_name_is_valid(warrant->name_space) &&
           shoal_id_is_valid(warrant->store) &&
           take_number(at, '\n', INT64_MAX, &warrant->until_ms);
}

static bool take_specs(char **at, struct shoal_warrant *warrant) {
    while (take_name(at, "spec")) {
        const char *word = take_word(at, '\n');
        if (word == NULL || !is_hash(word) || warrant->n_specs == SHOAL_SUBMIT_MAX)
            return false;
        warrant->specs[warrant->n_specs++] = word;
    }
    return warrant->n_specs > 0;
}

static bool take_job(char **at, size_t n_specs, struct shoal_warrant_job *job) {
    int64_t spec = 0, open = 0, has_arguments = 0;
    if ((job->id = take_word(at, ' ')) == NULL || !shoal_id_is_valid(job->id) ||
        !take_number(at, ' ', (int64_t)n_specs, &spec) || spec < 1 ||
        (job->queue = take_word(at, ' ')) == NULL || !shoal_name_is_valid(job->queue) ||
        (job->policy = take_word(at, ' ')) == NULL || !is_policy(job->policy) ||
        (job->seed = take_word(at, ' ')) == NULL || !are_digits(job->seed, DIGITS_MAX) ||
        !take_number(at, ' ', SHOAL_TASKS_MAX, &job->total) ||
        !take_number(at, ' ', INT64_MAX, &job->start_ms) ||
        !take_number(at, ' ', 2, &open) || !take_number(at, '\n', 1, &has_arguments))
        return false;
    job->spec = (size_t)spec - 1;
    job->open = open > 0;
    job->has_arguments = has_arguments == 1;
    return true;
}

static int by_id(const void *a, const void *b) {
    return strcmp(((const struct shoal_warrant_job *)a)->id,
                  ((const struct shoal_warrant_job *)b)->id);
}

/* An id that stands there twice could mean either. */
static bool take_jobs(char **at, struct shoal_warrant *warrant) {
    while (take_name(at, "job")) {
        if (warrant->n_jobs == SHOAL_SUBMIT_MAX ||
            !take_job(at, warrant->n_specs, &warrant->jobs[warrant->n_jobs]))
            return false;
        warrant->n_jobs++;
    }
    qsort(warrant->jobs, warrant->n_jobs, sizeof(*warrant->jobs), by_id);
    for (size_t i = 1; i < warrant->n_jobs; i++) {
        if (by_id(&warrant->jobs[i - 1], &warrant->jobs[i]) == 0)
            return false;
    }
    return warrant->n_jobs > 0;
}

static size_t count_lines(const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

static enum shoal_status make_room(const char *text, size_t len,
                                   struct shoal_warrant *warrant,
                                   struct shoal_error *err) {
    size_t lines = count_lines(text, len);
    lines = lines < SHOAL_SUBMIT_MAX ? lines : SHOAL_SUBMIT_MAX;
    warrant->text = calloc(1, len + 1);
    warrant->specs = calloc(lines + 1, sizeof(*warrant->specs));
    warrant->jobs = calloc(lines + 1, sizeof(*warrant->jobs));
    if (warrant->text == NULL || warrant->specs == NULL || warrant->jobs == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a warrant");
    memcpy(warrant->text, text, len);
    return SHOAL_OK;
}

enum shoal_status shoal_warrant_read(const char *text, size_t len,
                                     struct shoal_warrant *ret_warrant,
                                     struct shoal_error *err) {
    struct shoal_warrant warrant = {.n_specs = 0};
    enum shoal_status status = SHOAL_OK;
    if (len < SHOAL_SEAL_BYTES || len > SHOAL_WARRANT_MAX ||
        memchr(text, '\0', len) != NULL || !shoal_seal_name(text, len, &warrant.signer))
        status = SHOAL_GARBAGE;
    if (status == SHOAL_OK)
        status = make_room(text, len, &warrant, err);
    char *at = status == SHOAL_OK ? warrant.text + SHOAL_SEAL_BYTES : NULL;
    if (status == SHOAL_OK && (!take_head(&at, &warrant) || !take_specs(&at, &warrant) ||
                               !take_jobs(&at, &warrant) || *at != '\0'))
        status = SHOAL_GARBAGE;
    if (status == SHOAL_OK) {
        *ret_warrant = warrant;
        return SHOAL_OK;
    }
    shoal_warrant_finish(&warrant);
    return status == SHOAL_GARBAGE
               ? shoal_error_set(err, status, "what was signed is no warrant")
               : status;
}

void shoal_warrant_finish(struct shoal_warrant *warrant) {
    free(warrant->text);
    free(warrant->specs);
    free(warrant->jobs);
    *warrant = (struct shoal_warrant){.n_specs = 0};
}

const struct shoal_warrant_job *shoal_warrant_find(const struct shoal_warrant *warrant,
                                                   const char *id) {
    const struct shoal_warrant_job key = {.id = id};
    return warrant->n_jobs == 0 ? NULL
                                : bsearch(&key, warrant->jobs, warrant->n_jobs,
                                          sizeof(*warrant->jobs), by_id);
}
