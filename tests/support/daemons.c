#include "tests/support/daemons.h"

#include "client/shoal.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COMMAND_MAX = 8192 };

struct test_daemons daemons;

/* ---- what lives until the end */

struct kept {
    void **all;
    size_t n, room;
};

static struct kept texts, objects;

static void *keep_in(struct kept *kept, void *thing) {
    ck_assert_ptr_nonnull(thing);
    if (kept->n == kept->room) {
        kept->room = kept->room == 0 ? 256 : kept->room * 2;
        kept->all = realloc(kept->all, kept->room * sizeof(*kept->all));
        ck_assert_ptr_nonnull(kept->all);
    }
    return kept->all[kept->n++] = thing;
}

static char *keep(char *text) {
    return keep_in(&texts, text);
}

static json_t *keep_json(json_t *object) {
    return keep_in(&objects, object);
}

static void forget_all(void) {
    for (size_t i = 0; i < texts.n; i++)
        free(texts.all[i]);
    for (size_t i = 0; i < objects.n; i++)
        json_decref(objects.all[i]);
    free(texts.all);
    free(objects.all);
    texts = objects = (struct kept){.n = 0};
}

/* A path at home. */
static const char *at_home(const char *name) {
    char *path = NULL;
    ck_assert_int_gt(asprintf(&path, "%s/%s", daemons.home.path, name), 0);
    return keep(path);
}

/* ---- life */

static void make_home(const char *url) {
    test_directory_create(&daemons.home);
    snprintf(daemons.mark, sizeof(daemons.mark), "HOME=%s", daemons.home.path);
    snprintf(daemons.redis, sizeof(daemons.redis), "SHOAL_REDIS=%s", url);
    snprintf(daemons.ca, sizeof(daemons.ca), "SHOAL_TLS_CA");
    snprintf(daemons.certificate, sizeof(daemons.certificate), "SHOAL_TLS_CERT");
    snprintf(daemons.key, sizeof(daemons.key), "SHOAL_TLS_KEY");
    unsetenv("SHOAL_REDIS_PASSWORD_FILE"); /* a test may set its own */
    ck_assert_int_eq(mkdir(at_home("tmp"), 0700), 0);
    ck_assert_int_eq(mkdir(at_home("run"), 0700), 0);
}

void daemons_start(const char *const *args) {
    test_server_start(&daemons.server, args);
    make_home(daemons.server.url);
}

void daemons_start_tls(const char *const *args, const char *ca) {
    test_server_start_tls(&daemons.server, args);
    make_home(daemons.server.tls_url);
    snprintf(daemons.ca, sizeof(daemons.ca), "SHOAL_TLS_CA=%s", ca);
}

void daemons_finish(void) {
    test_none_left(daemons.mark, LIMIT_MS);
    test_server_destroy(&daemons.server);
    test_directory_destroy(&daemons.home);
    forget_all();
}

/* ---- command lines */

/* "NAME=VALUE:DIRECTORY" of PATH, and where temporary files go. */
static const char *path_variable(void) {
    char *variable = NULL;
    ck_assert_int_gt(
        asprintf(&variable, "PATH=%s:%s", test_built("").text, getenv("PATH")), 0);
    return keep(variable);
}

static const char *at_home_variable(const char *name, const char *path) {
    char *variable = NULL;
    ck_assert_int_gt(asprintf(&variable, "%s=%s/%s", name, daemons.home.path, path), 0);
    return keep(variable);
}

static void start_command(struct test_process *process, const char *command) {
    const char *const environment[] = {
        daemons.mark,
        daemons.redis,
        daemons.ca,
        daemons.certificate,
        daemons.key,
        path_variable(),
        at_home_variable("TMPDIR", "tmp"),
        at_home_variable("SHOAL_CHECKPOINTS", "checkpoints"),
        at_home_variable("SHOAL_SPOOL", "spool"),
        at_home_variable("XDG_RUNTIME_DIR", "run"),
        "SHOAL_STATE",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "SHOAL_SIGN_KEY",
        "SHOAL_TRUST_KEYS",
        "SHOAL_QUEUE",
        "SHOAL_QUEUES",
        "SHOAL_SLOTS",
        "SHOAL_NAMESPACE",
        "SHOAL_LOG_LEVEL",
        "SHOAL_LOG_FORMAT",
        "SHOAL_WORKER_NAME",
        "NO_COLOR",
        NULL,
    };
    const struct test_program program = {
        .argv = (const char *const[]){"sh", "-c", command, NULL},
        .environment = environment,
        .directory = daemons.home.path,
    };
    test_process_start(process, &program);
}

static void print_command(char *command, const char *format, va_list args) {
    ck_assert_int_lt(vsnprintf(command, COMMAND_MAX, format, args), COMMAND_MAX);
}

static struct said run_command(const char *command) {
    struct test_process process;
    start_command(&process, command);
    struct said said = {.exit = test_process_wait(&process, LIMIT_MS)};
    said.out = keep(test_process_out(&process));
    said.err = keep(test_process_err(&process));
    test_process_finish(&process);
    return said;
}

static struct said run_for(int exit, const char *command) {
    struct said said = run_command(command);
    ck_assert_msg(said.exit == exit, "%d instead of %d from: %s\n%s%s", said.exit, exit,
                  command, said.out, said.err);
    return said;
}

struct said sh(const char *format, ...) {
    char command[COMMAND_MAX];
    va_list args;
    va_start(args, format);
    print_command(command, format, args);
    va_end(args);
    return run_command(command);
}

struct said sh_exit(int exit, const char *format, ...) {
    char command[COMMAND_MAX];
    va_list args;
    va_start(args, format);
    print_command(command, format, args);
    va_end(args);
    return run_for(exit, command);
}

static const char *without_last_end(char *text) {
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = '\0';
    return text;
}

const char *ok(const char *format, ...) {
    char command[COMMAND_MAX];
    va_list args;
    va_start(args, format);
    print_command(command, format, args);
    va_end(args);
    return without_last_end(keep(strdup(run_for(0, command).out)));
}

void sh_start(struct test_process *process, const char *format, ...) {
    char command[COMMAND_MAX] = "exec ";
    va_list args;
    va_start(args, format);
    int room = COMMAND_MAX - (int)strlen(command);
    ck_assert_int_lt(vsnprintf(command + strlen(command), (size_t)room, format, args),
                     room);
    va_end(args);
    start_command(process, command);
}

bool has_said(const struct test_process *process, const char *words) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(process);
    return strstr(err, words) != NULL;
}

size_t times_said(const struct test_process *process, const char *words) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(process);
    size_t n = 0;
    for (const char *at = err; (at = strstr(at, words)) != NULL; at += strlen(words))
        n++;
    return n;
}

/* ---- workers */

void worker_launch(struct test_process *keeper, const char *options) {
    sh_start(keeper, "shoal-worker --session-ttl 4s %s", options);
}

void worker_start(struct test_process *keeper, const char *options) {
    worker_launch(keeper, options);
    wait_until(has_said(keeper, "message=registered"), LIMIT_MS);
}

/* The keeper has other children only while a worker is dead. */
pid_t worker_pid(const struct test_process *keeper) {
    struct test_pids pids;
    test_descendants(keeper->pid, &pids);
    return pids.n == 0 ? 0 : pids.pid[0];
}

void worker_end(struct test_process *keeper) {
    test_process_signal(keeper, SIGTERM);
    int exit = test_process_wait(keeper, LIMIT_MS);
    SHOAL_CLEANUP(shoal_cleanup_free) char *err = test_process_err(keeper);
    ck_assert_msg(exit == 0 && strstr(err, "ended in good order") != NULL,
                  "a worker ended with %d: %s", exit, err);
    test_process_finish(keeper);
}

/* Neither may see the other's end: the one would start the other again, the other would
 * give back what it holds. */
void worker_finish(struct test_process *keeper, pid_t worker) {
    if (worker > 0) {
        test_process_signal(keeper, SIGSTOP);
        kill(worker, SIGKILL);
    }
    test_process_finish(keeper);
    wait_until(worker <= 0 || !is_alive(worker), LIMIT_MS); /* and its files are free */
}

void worker_kill(struct test_process *keeper) {
    pid_t worker = worker_pid(keeper);
    ck_assert_int_gt(worker, 1);
    worker_finish(keeper, worker);
}

/* ---- files at home */

int gate_close(const char *name) {
    int gate = open(at_home(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(gate, 0);
    ck_assert_int_eq(flock(gate, LOCK_EX), 0);
    return gate;
}

void gate_open(int gate) {
    ck_assert_int_eq(close(gate), 0);
}

size_t files(const char *pattern) {
    char path[256];
    glob_t found;
    snprintf(path, sizeof(path), "%s/%s", daemons.home.path, pattern);
    size_t n = glob(path, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return n;
}

const char *text_of(const char *name) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", daemons.home.path, name);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    char *text = keep(calloc(1, (size_t)status.st_size + 1));
    ck_assert_int_ge(read(fd, text, (size_t)status.st_size), 0);
    return without_last_end(text);
}

int64_t number_of(const char *name) {
    char path[256], text[32] = "";
    snprintf(path, sizeof(path), "%s/%s", daemons.home.path, name);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strchr(text, '\n') == NULL)
        return 0;
    return strtoll(text, NULL, 10);
}

bool is_alive(pid_t pid) {
    char path[64], text[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return false;
    const char *state = strrchr(text, ')');
    return state != NULL && strchr("ZX", state[2]) == NULL;
}

/* ---- jobs */

/* On a connection of its own: Redis may have been away since the last look. */
struct shoal_job job_now(const char *job) {
    struct shoal_client *client = NULL;
    struct shoal_job now;
    char id[13];
    struct shoal_error err = {.status = SHOAL_OK};
    const struct shoal_client_options where = {
        .url = daemons.server.url, .password_file = getenv("SHOAL_REDIS_PASSWORD_FILE")};
    enum shoal_status status = shoal_client_connect(&where, &client, &err);
    if (status == SHOAL_OK)
        status = shoal_find(client, job, id, &err);
    if (status == SHOAL_OK)
        status = shoal_describe(client, id, &now, &err);
    ck_assert_msg(status == SHOAL_OK, "job %s: %s", job, err.text);
    shoal_client_destroy(client);
    return now;
}

bool job_is(const char *job, enum shoal_job_state state) {
    return job_now(job).state == state;
}

const json_t *json_lines(const char *text) {
    json_t *lines = keep_json(json_array());
    while (*text != '\0') {
        json_error_t error;
        const char *end = strchr(text, '\n');
        size_t len = end == NULL ? strlen(text) : (size_t)(end - text);
        json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
        ck_assert_msg(line != NULL, "no JSON: %.*s: %s", (int)len, text, error.text);
        json_array_append_new(lines, line);
        text += len + (end != NULL);
    }
    return lines;
}

const json_t *rows_of(const char *job) {
    return json_lines(ok("shoal results --format jsonl %s", job));
}

const json_t *row_of(const char *job, int64_t task) {
    const json_t *rows = rows_of(job), *found = NULL;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (int_in(row, "task") != task)
            continue;
        ck_assert_msg(found == NULL, "task %d has two rows", (int)task);
        found = row;
    }
    ck_assert_msg(found != NULL, "task %d has no row", (int)task);
    return found;
}

static const json_t *value_in(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    if (value == NULL) {
        const char *text = keep(json_dumps(object, JSON_COMPACT));
        ck_abort_msg("there is no '%s' in %s", name, text);
    }
    return value;
}

const char *text_in(const json_t *object, const char *name) {
    const json_t *value = value_in(object, name);
    ck_assert_msg(json_is_string(value), "'%s' is no text", name);
    return json_string_value(value);
}

int64_t int_in(const json_t *object, const char *name) {
    const json_t *value = value_in(object, name);
    ck_assert_msg(json_is_integer(value), "'%s' is no integer", name);
    return json_integer_value(value);
}

void expect_audit(void) {
    const char *found = ok("shoal audit");
    ck_assert_msg(strstr(found, "nothing wrong") != NULL, "%s", found);
}

static void expect_row_of_each(const json_t *rows, int64_t total) {
    unsigned char *seen = (unsigned char *)keep(calloc(1, (size_t)total));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        int64_t task = int_in(row, "task");
        ck_assert(task >= 0 && task < total);
        ck_assert_msg(seen[task]++ == 0, "task %d has two rows", (int)task);
        ck_assert_str_eq(text_in(row, "status"), "ok");
    }
    ck_assert_int_eq((int64_t)json_array_size(rows), total);
}

void expect_each_once(const char *job) {
    struct shoal_job now = job_now(job);
    ck_assert_str_eq(shoal_job_state_name(now.state), "succeeded");
    ck_assert_int_eq(now.ok, now.total);
    expect_row_of_each(rows_of(job), now.total);
    expect_audit();
}
