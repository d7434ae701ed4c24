#include "client/client_private.h"

#include "broker/appender.h"
#include "broker/server.h"
#include "client/pack.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/crypto.h"
#include "common/id.h"
#include "common/loop.h"
#include "common/records.h"
#include "common/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAUSE_LEAST_MS = 10, PAUSE_MOST_MS = 250 };

static const int64_t VALID_MS = INT64_C(30) * 24 * 3600 * 1000;

const char *shoal_version(void) {
    return SHOAL_VERSION;
}

/* ---- connecting */

static enum shoal_status check_server(struct shoal_client *client,
                                      struct shoal_error *err) {
    struct shoal_server server;
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status =
        shoal_server_ask(client->redis, client->queue.timeout_ms, &server, &why);
    if (status == SHOAL_DENIED && strcasestr(why.text, "info") != NULL) {
        shoal_error_clear(&why); /* an ACL without INFO: the worker will tell */
        status = SHOAL_OK;
    } else if (status == SHOAL_OK) {
        status = shoal_server_check(&server, &why);
    }
    if (status == SHOAL_OK)
        status = shoal_layout_ask(client->redis, client->queue.prefix,
                                  client->queue.timeout_ms, &why);
    return status == SHOAL_OK ? SHOAL_OK : shoal_error_set(err, status, "%s", why.text);
}

enum shoal_status shoal_client_check(struct shoal_client *client,
                                     void (*waits)(const char *why),
                                     struct shoal_error *err) {
    int64_t end_ms = shoal_now_ms() + client->queue.timeout_ms;
    for (;; shoal_client_pause(client, PAUSE_MOST_MS)) {
        struct shoal_error why = {.status = SHOAL_OK};
        enum shoal_status status = check_server(client, &why);
        if (status == SHOAL_OK) {
            shoal_redis_repeat(client->redis, true); /* every move may be repeated */
            return SHOAL_OK;
        }
        if (!shoal_redis_is_unready(client->redis) || shoal_now_ms() >= end_ms)
            return shoal_error_set(err, status, "%s", why.text);
        if (waits != NULL)
            waits(why.text);
        waits = NULL;
    }
}

enum shoal_status shoal_client_open(const struct shoal_redis_address *address,
                                    const char *name_space, int64_t timeout_ms,
                                    bool check, struct shoal_client **ret_client,
                                    struct shoal_error *err) {
    const struct shoal_redis_options redis = {.client_name = "shoal",
                                              .command_timeout_ms = timeout_ms};
    const struct shoal_redis_events events = {.owner = NULL};
    struct shoal_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a client");
    client->base = shoal_loop_new();
    enum shoal_status status =
        client->base == NULL
            ? shoal_error_set(err, SHOAL_MEMORY, "no memory for an event loop")
            : shoal_redis_create(client->base, address, &redis, &events, &client->redis,
                                 err);
    shoal_queue_init(&client->queue, client->redis, name_space, timeout_ms);
    if (status == SHOAL_OK)
        status = shoal_mailbox_create(client->base, address, name_space, &client->mailbox,
                                      err);
    if (status == SHOAL_OK && check)
        status = shoal_client_check(client, NULL, err);
    if (status != SHOAL_OK) {
        shoal_client_destroy(client);
        return status;
    }
    *ret_client = client;
    return SHOAL_OK;
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}

/* Where there is TLS, the variables say what the program does not. */
static struct shoal_tls_files files_of(const struct shoal_client_options *options,
                                       bool tls) {
    struct shoal_tls_files files = {options->tls_ca, options->tls_cert, options->tls_key};
    if (tls && files.ca == NULL)
        files.ca = variable("SHOAL_TLS_CA");
    if (tls && files.certificate == NULL && files.key == NULL) {
        files.certificate = variable("SHOAL_TLS_CERT");
        files.key = variable("SHOAL_TLS_KEY");
    }
    return files;
}

enum shoal_status shoal_client_find_signer(const char *path,
                                           struct shoal_signer **ret_signer,
                                           struct shoal_error *err) {
    char usual[PATH_MAX];
    *ret_signer = NULL;
    if (path != NULL)
        return shoal_signer_read(path, ret_signer, err);
    if (shoal_signer_usual_path(usual, sizeof(usual), NULL) != SHOAL_OK ||
        (access(usual, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)))
        return SHOAL_OK;
    return shoal_signer_read(usual, ret_signer, err);
}

enum shoal_status shoal_client_sign_with(struct shoal_client *client,
                                         struct shoal_signer *signer, int64_t valid_ms,
                                         struct shoal_error *err) {
    client->signer = signer;
    return signer == NULL ? SHOAL_OK
                          : shoal_queue_sign_with(&client->queue, signer, valid_ms, err);
}

static enum shoal_status find_signer(const struct shoal_client_options *options,
                                     struct shoal_signer **ret_signer,
                                     struct shoal_error *err) {
    const char *path = options->sign_key;
    *ret_signer = NULL;
    if (options->valid_ms < 0)
        return shoal_error_set(err, SHOAL_INVALID, "valid_ms cannot be negative");
    if (path != NULL && *path == '\0')
        return SHOAL_OK;
    return shoal_client_find_signer(path == NULL ? getenv("SHOAL_SIGN_KEY") : path,
                                    ret_signer, err);
}

enum shoal_status shoal_client_connect(const struct shoal_client_options *options,
                                       struct shoal_client **ret_client,
                                       struct shoal_error *err) {
    static const struct shoal_client_options usual = {.url = NULL};
    struct shoal_redis_address address;
    struct shoal_signer *signer = NULL;
    options = options == NULL ? &usual : options;
    const char *url = options->url == NULL ? getenv("SHOAL_REDIS") : options->url;
    const char *name_space = options->name_space == NULL ? "shoal" : options->name_space;
    if (!shoal_name_is_valid(name_space))
        return shoal_error_set(err, SHOAL_INVALID, "'%s' is no namespace", name_space);
    enum shoal_status status = shoal_crypto_begin(err);
    if (status != SHOAL_OK)
        return status;
    status = shoal_redis_address_parse(url == NULL ? "redis://127.0.0.1:6379/0" : url,
                                       options->password_file, &address, err);
    if (status != SHOAL_OK)
        return status;
    int64_t timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 10000;
    struct shoal_client *client = NULL;
    struct shoal_tls_files files = files_of(options, address.tls);
    status = shoal_redis_address_secure(&address, &files, err);
    if (status == SHOAL_OK)
        status = find_signer(options, &signer, err);
    if (status == SHOAL_OK)
        status = shoal_client_open(&address, name_space, timeout_ms, true, &client, err);
    shoal_redis_address_finish(&address);
    if (status != SHOAL_OK) {
        shoal_signer_destroy(signer);
        return status;
    }
    status = shoal_client_sign_with(
        client, signer, options->valid_ms > 0 ? options->valid_ms : VALID_MS, err);
    if (status != SHOAL_OK) {
        shoal_client_destroy(client);
        return status;
    }
    *ret_client = client;
    return SHOAL_OK;
}

void shoal_client_destroy(struct shoal_client *client) {
    if (client == NULL)
        return;
    shoal_mailbox_destroy(client->mailbox);
    shoal_redis_destroy(client->redis);
    shoal_signer_destroy(client->signer);
    if (client->base != NULL)
        event_base_free(client->base);
    free(client);
}

void shoal_client_pause(struct shoal_client *client, int64_t ms) {
    shoal_loop_run(client->base, ms);
}

bool shoal_client_is_told(const struct shoal_client *client,
                          const struct shoal_job *job) {
    return strcmp(job->waiter, shoal_mailbox_name(client->mailbox)) == 0;
}

void shoal_client_owner(char *text, size_t room) {
    char host[HOST_NAME_MAX + 1] = "";
    const struct passwd *user = getpwuid(geteuid());
    gethostname(host, HOST_NAME_MAX);
    snprintf(text, room, "%s@%s", user == NULL ? "?" : user->pw_name, host);
}

/* ---- submitting */

void shoal_submit_options_init(struct shoal_submit_options *options) {
    *options = (struct shoal_submit_options){
        .repetitions = 1,
        .grace_ms = 10000,
        .result_max = SHOAL_RESULT_MAX,
        .queue = "default",
        .waits = true,
    };
    shoal_job_policy_init(&options->policy);
}

static enum shoal_status copy_words(const char *const *words, char ***ret_copy,
                                    size_t *ret_n, struct shoal_error *err) {
    size_t n = 0;
    while (words != NULL && words[n] != NULL)
        n++;
    char **copy = calloc(n + 1, sizeof(*copy));
    bool good = copy != NULL;
    for (size_t i = 0; good && i < n; i++) {
        copy[i] = strdup(words[i]);
        good = copy[i] != NULL;
    }
    *ret_copy = copy;
    *ret_n = n;
    return good ? SHOAL_OK : shoal_error_set(err, SHOAL_MEMORY, "no memory for a job");
}

static enum shoal_status make_sweep(const struct shoal_submit_options *options,
                                    struct shoal_sweep **ret_sweep,
                                    struct shoal_error *err) {
    enum shoal_status status = shoal_sweep_create(ret_sweep, err);
    const char *const *parameter = options->parameters;
    for (; status == SHOAL_OK && parameter != NULL && *parameter != NULL; parameter++)
        status = shoal_sweep_add(*ret_sweep, *parameter, err);
    if (status == SHOAL_OK &&
        (options->repetitions < 1 || options->repetitions > SHOAL_TASKS_MAX))
        status =
            shoal_error_set(err, SHOAL_INVALID, "there must be at least one repetition");
    if (status == SHOAL_OK) {
        shoal_sweep_set_mode(*ret_sweep,
                             options->zip ? SHOAL_SWEEP_ZIP : SHOAL_SWEEP_PRODUCT);
        shoal_sweep_set_repetitions(*ret_sweep, options->repetitions);
    }
    return status;
}

static enum shoal_status make_directory(const char *directory, char **ret_directory,
                                        struct shoal_error *err) {
    *ret_directory = directory == NULL ? getcwd(NULL, 0) : strdup(directory);
    if (*ret_directory == NULL)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot tell the working directory: %s",
                               strerror(errno));
    return SHOAL_OK;
}

enum shoal_status shoal_spec_from_options(const struct shoal_submit_options *options,
                                          struct shoal_spec *ret_spec,
                                          struct shoal_error *err) {
    struct shoal_spec spec;
    size_t variables = 0;
    shoal_spec_init(&spec);
    spec.timeout_ms = options->timeout_ms;
    spec.grace_ms = options->grace_ms;
    spec.result_max = options->result_max;
    spec.limits = options->limits;
    spec.checkpoint = options->checkpoint;
    spec.stays = options->stays;
    spec.arguments = options->open ? SHOAL_ARGUMENTS_LINE : SHOAL_ARGUMENTS_NONE;
    enum shoal_status status =
        copy_words(options->command, &spec.command, &spec.words, err);
    if (status == SHOAL_OK && options->warning != NULL)
        status = shoal_warning_parse(options->warning, &spec.warning, err);
    if (status == SHOAL_OK)
        status = copy_words(options->environment, &spec.environment, &variables, err);
    if (status == SHOAL_OK)
        status = make_directory(options->directory, &spec.directory, err);
    if (status == SHOAL_OK)
        status = make_sweep(options, &spec.sweep, err);
    if (status != SHOAL_OK) {
        shoal_spec_finish(&spec);
        return status;
    }
    *ret_spec = spec;
    return SHOAL_OK;
}

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static enum shoal_status check_numbers(const struct shoal_submit_options *options,
                                       struct shoal_error *err) {
    const struct shoal_job_policy *policy = &options->policy;
    const struct {
        const char *name;
        int64_t value, least, most;
    } numbers[] = {
        {"repetitions", options->repetitions, 1, SHOAL_TASKS_MAX},
        {"timeout_ms", options->timeout_ms, 0, 365 * DAY_MS},
        {"grace_ms", options->grace_ms, 0, DAY_MS},
        {"result_max", options->result_max, 1, 16 << 20},
        {"delay_ms", options->delay_ms, 0, 365 * DAY_MS},
        {"policy.priority", policy->priority, 0, 9},
        {"policy.retries", policy->retries, 0, 1000},
        {"policy.max_lost", policy->max_lost, 1, 1000},
        {"policy.max_fails", policy->max_fails, 0, SHOAL_TASKS_MAX},
        {"policy.max_running", policy->max_running, 0, 1000000},
        {"policy.keep_ms", policy->keep_ms, 0, 3650 * DAY_MS},
        {"policy.budget", policy->budget, 0, SHOAL_TASKS_MAX},
    };
    for (size_t i = 0; i < SHOAL_COUNT(numbers); i++) {
        if (numbers[i].value < numbers[i].least || numbers[i].value > numbers[i].most)
            return shoal_error_set(
                err, SHOAL_INVALID, "%s is %" PRId64 " to %" PRId64 ", not %" PRId64,
                numbers[i].name, numbers[i].least, numbers[i].most, numbers[i].value);
    }
    return SHOAL_OK;
}

/* Of what starts when nobody may run it any more there would be nothing but a refusal. */
static enum shoal_status check_validity(const struct shoal_client *client,
                                        const struct shoal_submit_options *options,
                                        struct shoal_error *err) {
    if (client->queue.signer == NULL || options->delay_ms < client->queue.valid_ms)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "the job would start when its signature is no longer valid: "
                           "sign for longer than the delay (--valid-for, valid_ms), or "
                           "delay it less");
}

static enum shoal_status check_options(const struct shoal_client *client,
                                       const struct shoal_submit_options *options,
                                       struct shoal_error *err) {
    if (!shoal_name_is_valid(options->queue))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%s' is no queue name: letters, digits, '.', '_' and '-', %d at most",
            options->queue, SHOAL_NAME_MAX);
    if (options->name != NULL && !shoal_name_is_valid(options->name))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "'%s' is no job name: letters, digits, '.', '_' and '-', %d at most",
            options->name, SHOAL_NAME_MAX);
    if (options->open && options->parameters != NULL && options->parameters[0] != NULL)
        return shoal_error_set(err, SHOAL_INVALID,
                               "an open job has no parameters; its tasks are appended");
    enum shoal_status status = check_numbers(options, err);
    return status == SHOAL_OK ? check_validity(client, options, err) : status;
}

/* All but its id. The texts are the caller's. */
static void fill(struct shoal_client *client, const struct shoal_submit_options *options,
                 bool open, const char *owner, struct shoal_submission *job) {
    *job = (struct shoal_submission){
        .queue = options->queue,
        .name = options->name,
        .owner = owner,
        .policy = options->policy,
        .seed = options->has_seed ? options->seed : shoal_random() >> 11,
        .start_ms = options->delay_ms > 0 ? shoal_wall_ms() + options->delay_ms : 0,
        .open = open,
        .whole = !options->open, /* rows of a file: all of them or none */
        .has_arguments = open,
        .waiter = options->waits ? shoal_mailbox_name(client->mailbox) : NULL,
    };
}

/* The text of a spec and how many tasks it makes. */
static enum shoal_status write_spec(const struct shoal_spec *spec, char **ret_text,
                                    int64_t *ret_total, struct shoal_error *err) {
    *ret_total = 0;
    enum shoal_status status = shoal_spec_check(spec, err);
    if (status == SHOAL_OK && spec->arguments == SHOAL_ARGUMENTS_NONE)
        status = shoal_sweep_count(spec->sweep, ret_total, err);
    return status == SHOAL_OK ? shoal_spec_write(spec, ret_text, err) : status;
}

enum shoal_status shoal_submit_spec(struct shoal_client *client,
                                    const struct shoal_submit_options *options,
                                    const struct shoal_spec *spec, const char *id,
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    char owner[64];
    struct shoal_submission job;
    int64_t total = 0;
    enum shoal_status status = check_options(client, options, err);
    if (status == SHOAL_OK)
        status = write_spec(spec, &text, &total, err);
    if (status != SHOAL_OK)
        return status;
    shoal_client_owner(owner, sizeof(owner));
    fill(client, options, spec->arguments != SHOAL_ARGUMENTS_NONE, owner, &job);
    memcpy(job.id, id, sizeof(job.id));
    job.spec = text;
    job.total = total;
    status = shoal_queue_submit(&client->queue, &job, 1, err);
    if (status == SHOAL_OK && options->waits)
        shoal_mailbox_expect(client->mailbox, id, total);
    return status;
}

enum shoal_status shoal_submit(struct shoal_client *client,
                               const struct shoal_submit_options *options,
                               char ret_id[13], struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_spec_cleanup) struct shoal_spec spec;
    shoal_spec_init(&spec);
    shoal_id_make(ret_id);
    enum shoal_status status = shoal_spec_from_options(options, &spec, err);
    return status == SHOAL_OK ? shoal_submit_spec(client, options, &spec, ret_id, err)
                              : status;
}

/* ---- submitting many */

/* Whether two jobs run the same, as far as their options tell without looking into what
 * they point to. */
static bool run_the_same(const struct shoal_submit_options *a,
                         const struct shoal_submit_options *b) {
    return a->command == b->command && a->stays == b->stays &&
           a->parameters == b->parameters && a->zip == b->zip &&
           a->repetitions == b->repetitions && a->environment == b->environment &&
           a->directory == b->directory && a->timeout_ms == b->timeout_ms &&
           a->grace_ms == b->grace_ms && a->result_max == b->result_max &&
           memcmp(&a->limits, &b->limits, sizeof(a->limits)) == 0 &&
           a->checkpoint == b->checkpoint && a->warning == b->warning &&
           a->open == b->open;
}

/* Jobs that are sent together, and the texts that they borrow. */
struct shipment {
    struct shoal_submission jobs[SHOAL_SUBMIT_MAX];
    char *texts[SHOAL_SUBMIT_MAX];
    size_t n, n_texts;
    char owner[64];
};

static void note_expected(struct shoal_client *client, const struct shipment *shipment) {
    for (size_t i = 0; i < shipment->n; i++) {
        const struct shoal_submission *job = &shipment->jobs[i];
        if (job->waiter != NULL)
            shoal_mailbox_expect(client->mailbox, job->id, job->total);
    }
}

static void empty(struct shipment *shipment) {
    for (size_t i = 0; i < shipment->n_texts; i++)
        free(shipment->texts[i]);
    shipment->n = shipment->n_texts = 0;
}

static void destroy_shipment(struct shipment **shipment) {
    if (*shipment != NULL)
        empty(*shipment);
    free(*shipment);
}

/* `as_before`: it runs the same as the job before it in the shipment. */
static enum shoal_status load(struct shoal_client *client, struct shipment *shipment,
                              const struct shoal_submit_options *options, bool as_before,
                              const char *id, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_spec_cleanup) struct shoal_spec spec;
    struct shoal_submission *job = &shipment->jobs[shipment->n];
    shoal_spec_init(&spec);
    enum shoal_status status = check_options(client, options, err);
    fill(client, options, options->open, shipment->owner, job);
    if (status == SHOAL_OK && as_before) {
        job->spec = job[-1].spec;
        job->total = job[-1].total;
    } else if (status == SHOAL_OK) {
        char **text = &shipment->texts[shipment->n_texts];
        status = shoal_spec_from_options(options, &spec, err);
        if (status == SHOAL_OK)
            status = write_spec(&spec, text, &job->total, err);
        if (status == SHOAL_OK)
            job->spec = shipment->texts[shipment->n_texts++];
    }
    if (status != SHOAL_OK)
        return status;
    memcpy(job->id, id, sizeof(job->id));
    shipment->n++;
    return SHOAL_OK;
}

enum shoal_status shoal_submit_many(struct shoal_client *client,
                                    const struct shoal_submit_options *options, size_t n,
                                    char (*ret_ids)[13], struct shoal_error *err) {
    SHOAL_CLEANUP(destroy_shipment)
    struct shipment *shipment = calloc(1, sizeof(*shipment));
    if (shipment == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for jobs");
    shoal_client_owner(shipment->owner, sizeof(shipment->owner));
    for (size_t i = 0; i < n; i++)
        shoal_id_make(ret_ids[i]);
    for (size_t i = 0; i < n; i++) {
        bool as_before = shipment->n > 0 && run_the_same(&options[i - 1], &options[i]);
        enum shoal_status status =
            load(client, shipment, &options[i], as_before, ret_ids[i], err);
        if (status == SHOAL_OK && (shipment->n == SHOAL_SUBMIT_MAX || i + 1 == n)) {
            status = shoal_queue_submit(&client->queue, shipment->jobs, shipment->n, err);
            if (status == SHOAL_OK)
                note_expected(client, shipment);
            empty(shipment);
        }
        if (status != SHOAL_OK)
            return status;
    }
    return SHOAL_OK;
}

static enum shoal_status check_arguments(const char *const *arguments, size_t n,
                                         struct shoal_error *err) {
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(arguments[i]);
        if (len > SHOAL_VALUE_MAX || !shoal_utf8_is_valid(arguments[i], len))
            return shoal_error_set(err, SHOAL_INVALID,
                                   "argument %zu is no UTF-8 text of at most %d bytes", i,
                                   SHOAL_VALUE_MAX);
    }
    return SHOAL_OK;
}

/* As many as one pack takes. */
static void gather(struct shoal_pack *pack, const char *const *arguments, size_t n) {
    shoal_pack_clear(pack);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(arguments[i]);
        if (!shoal_pack_has_room(pack, len))
            return;
        shoal_pack_add(pack, arguments[i], len);
    }
}

enum shoal_status shoal_append(struct shoal_client *client, const char *job,
                               int64_t first, const char *const *arguments, size_t n,
                               struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_pack_cleanup) struct shoal_pack pack;
    SHOAL_CLEANUP(shoal_appender_cleanup) struct shoal_appender *appender = NULL;
    shoal_pack_init(&pack);
    if (first < 0)
        return shoal_error_set(err, SHOAL_INVALID, "there is no task %" PRId64, first);
    enum shoal_status status = check_arguments(arguments, n, err);
    if (status == SHOAL_OK)
        status = shoal_appender_create(&client->queue, job, NULL, NULL, &appender, err);
    for (size_t done = 0; done < n && status == SHOAL_OK; done += (size_t)pack.n) {
        const char *bytes = NULL;
        size_t len = 0;
        gather(&pack, arguments + done, n - done);
        status = shoal_pack_bytes(&pack, &bytes, &len, err);
        if (status == SHOAL_OK)
            status = shoal_appender_wait(appender, false, err);
        if (status == SHOAL_OK)
            status = shoal_appender_add(appender, first + (int64_t)done, pack.n, bytes,
                                        len, err);
    }
    return status == SHOAL_OK ? shoal_appender_wait(appender, true, err) : status;
}

enum shoal_status shoal_close(struct shoal_client *client, const char *job,
                              struct shoal_error *err) {
    return shoal_queue_close(&client->queue, job, err);
}

/* ---- looking and waiting */

enum shoal_status shoal_find(struct shoal_client *client, const char *text,
                             char ret_id[13], struct shoal_error *err) {
    return shoal_queue_find(&client->queue, text, ret_id, err);
}

enum shoal_status shoal_describe(struct shoal_client *client, const char *job,
                                 struct shoal_job *ret_job, struct shoal_error *err) {
    return shoal_queue_describe(&client->queue, job, ret_job, err);
}

enum shoal_status shoal_list(struct shoal_client *client, size_t most,
                             struct shoal_job **ret_jobs, size_t *ret_n,
                             struct shoal_error *err) {
    return shoal_queue_list(&client->queue, 0, most, ret_jobs, ret_n, err);
}

int64_t shoal_deadline_ms(int64_t timeout_ms) {
    if (timeout_ms < 0)
        return INT64_MAX;
    int64_t now = shoal_now_ms();
    return timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
}

enum shoal_status shoal_wait(struct shoal_client *client, const char *job,
                             int64_t timeout_ms, struct shoal_job *ret_job,
                             struct shoal_error *err) {
    struct shoal_job now;
    int64_t end_ms = shoal_deadline_ms(timeout_ms);
    for (int64_t pause_ms = PAUSE_LEAST_MS;; pause_ms *= 2) {
        enum shoal_status status = shoal_describe(client, job, &now, err);
        if (status != SHOAL_OK)
            return status;
        if (shoal_job_state_is_final(now.state)) {
            *ret_job = now;
            return SHOAL_OK;
        }
        int64_t left_ms = end_ms - shoal_now_ms();
        if (left_ms <= 0)
            return shoal_error_set(err, SHOAL_TIMEOUT, "job %s has not ended, it is %s",
                                   job, shoal_job_state_name(now.state));
        bool told = shoal_client_is_told(client, &now);
        pause_ms = told || pause_ms > PAUSE_MOST_MS ? PAUSE_MOST_MS : pause_ms;
        int64_t ms = left_ms < pause_ms ? left_ms : pause_ms;
        if (told)
            shoal_mailbox_wait(client->mailbox, ms);
        else
            shoal_client_pause(client, ms);
    }
}

/* ---- control */

enum shoal_status shoal_cancel(struct shoal_client *client, const char *job, bool kill,
                               struct shoal_error *err) {
    return shoal_queue_cancel(&client->queue, job, kill, err);
}

enum shoal_status shoal_retry(struct shoal_client *client, const char *job, bool all,
                              int64_t *ret_tasks, struct shoal_error *err) {
    char token[SHOAL_ID_LEN + 1];
    shoal_id_make(token);
    shoal_mailbox_distrust(client->mailbox, job);
    return shoal_queue_retry(&client->queue, job, all, token, ret_tasks, err);
}

enum shoal_status shoal_forget(struct shoal_client *client, const char *job,
                               struct shoal_error *err) {
    shoal_mailbox_distrust(client->mailbox, job);
    return shoal_queue_forget(&client->queue, job, false, err);
}
