/* worker: becomes shoal-worker, and with a join token first puts what that needs into
 * files. Nothing secret is in its words or its environment. */
#include "client/cli.h"

#include "broker/trust.h"
#include "client/token.h"
#include "common/cleanup.h"
#include "common/secret.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FOLDER_DIGITS = 16, LOOK_MS = 5000 };

static const char *join;

static const struct shoal_option options[] = {
    {.name = "join",
     .type = SHOAL_OPTION_TEXT,
     .value = &join,
     .argument = "FILE|-",
     .help = "work for the cluster whose token, of 'shoal up --listen', is in that file, "
             "which only its owner may read, or comes from stdin"},
    {.name = NULL},
};

/* ---- the words */

/* Options that tell what the token tells. */
static const char *const of_token[] = {
    "--redis",   "--redis-password-file", "--tls-ca",     "--tls-cert",
    "--tls-key", "--namespace",           "--trust-keys", "--trust-redis"};

/* Whether a word is the name of an option, or, as the worker reads it, a beginning of it
 * that is no other's name. */
static bool names(const char *word, size_t len, const char *option) {
    return len > 2 && strncmp(word, option, len) == 0 &&
           (option[len] == '\0' || len != strlen("--name") ||
            strncmp(word, "--name", len) != 0);
}

static enum shoal_status check_others(int n, char *const *words,
                                      struct shoal_error *err) {
    for (int i = 0; i < n; i++) {
        size_t len = strcspn(words[i], "=");
        for (size_t k = 0; k < SHOAL_COUNT(of_token); k++) {
            if (names(words[i], len, of_token[k]))
                return shoal_error_set(err, SHOAL_INVALID,
                                       "--join and %s do not go together: the token says "
                                       "where Redis is, how one gets in, and whose jobs "
                                       "may run",
                                       of_token[k]);
        }
    }
    return SHOAL_OK;
}

/* Takes --join and its value out; the others are shoal-worker's. *n shrinks. */
static enum shoal_status take_join(int *n, char **words, struct shoal_error *err) {
    int to = 0;
    join = NULL;
    for (int i = 0; i < *n; i++) {
        const char *value = NULL;
        if (strncmp(words[i], "--join=", 7) == 0)
            value = words[i] + 7;
        else if (strcmp(words[i], "--join") == 0)
            value = ++i < *n ? words[i] : "";
        else
            words[to++] = words[i];
        if (value != NULL && join != NULL)
            return shoal_error_set(err, SHOAL_INVALID, "--join stands there twice");
        if (value != NULL && *value == '\0')
            return shoal_error_set(
                err, SHOAL_INVALID,
                "--join needs a value: one file with a token, or '-'; see "
                "'shoal worker --help'");
        join = value == NULL ? join : value;
    }
    words[ *n = to] = NULL;
    if (join == NULL)
        return SHOAL_OK;
    if (strstr(join, "-----") == NULL)
        return check_others(*n, words, err);
    return shoal_error_set(err, SHOAL_INVALID,
                           "everybody on this host could read a token on the command "
                           "line; put it into a file of mode 600 and name that, or say "
                           "'--join -' and paste it");
}

/* ---- the token */

/* Reads to the end, or to the token's: who pastes it need not end the input as well. */
static enum shoal_status read_text(int fd, char *text, size_t *ret_len,
                                   struct shoal_error *err) {
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, text + len, SHOAL_TOKEN_MAX + 1 - len);
        if (n < 0 && errno != EINTR)
            return shoal_error_set(err, SHOAL_SYSTEM, "cannot read the join token: %s",
                                   strerror(errno));
        len += n > 0 ? (size_t)n : 0;
        if (n == 0 || len > SHOAL_TOKEN_MAX ||
            memmem(text, len, SHOAL_TOKEN_END "\n", strlen(SHOAL_TOKEN_END) + 1) != NULL)
            break;
    }
    *ret_len = len;
    return SHOAL_OK;
}

/* `name`: digits that tell tokens apart. */
static enum shoal_status read_token(struct shoal_token *ret_token,
                                    char name[SHOAL_HASH_DIGITS + 1],
                                    struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    char text[SHOAL_TOKEN_MAX + 1];
    size_t len = 0;
    bool is_stdin = strcmp(join, "-") == 0;
    if (is_stdin && isatty(STDIN_FILENO))
        shoal_cli_say("shoal: paste the join token");
    enum shoal_status status =
        is_stdin ? SHOAL_OK : shoal_secret_open(join, "join token", &fd, err);
    if (status == SHOAL_OK)
        status = read_text(is_stdin ? STDIN_FILENO : fd, text, &len, err);
    if (status == SHOAL_OK)
        status = shoal_token_read(text, len, ret_token, err);
    explicit_bzero(text, sizeof(text));
    if (status == SHOAL_OK &&
        !shoal_hash(ret_token->password, strlen(ret_token->password), name))
        status = shoal_error_set(err, SHOAL_MEMORY, "no memory left for a join token");
    return status;
}

/* ---- files of it */

struct files {
    char authority[PATH_MAX];
    char certificate[PATH_MAX];
    char key[PATH_MAX];
    char password[PATH_MAX];
    char trusted[PATH_MAX];
};

static enum shoal_status name_file(const char *folder, const char *name,
                                   char path[PATH_MAX], struct shoal_error *err) {
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_INVALID,
                                 "the state directory's path is too long");
}

static enum shoal_status keep(const char *folder, const char *name, const char *text,
                              char path[PATH_MAX], struct shoal_error *err) {
    enum shoal_status status = name_file(folder, name, path, err);
    return status == SHOAL_OK ? shoal_secret_write(path, text, strlen(text), err)
                              : status;
}

static enum shoal_status make_folder(const char *name, char folder[PATH_MAX],
                                     struct shoal_error *err) {
    char base[PATH_MAX - 64];
    enum shoal_status status = shoal_state_of_daemon(base, sizeof(base), err);
    if (status != SHOAL_OK)
        return status;
    snprintf(folder, PATH_MAX, "%s/joined/%.*s", base, FOLDER_DIGITS, name);
    return shoal_directories_make(folder)
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_SYSTEM, "cannot make the folder '%.200s': %s",
                                 folder, strerror(errno));
}

static enum shoal_status keep_all(const struct shoal_token *token, const char *name,
                                  struct files *files, struct shoal_error *err) {
    char folder[PATH_MAX];
    enum shoal_status status = make_folder(name, folder, err);
    if (status == SHOAL_OK)
        status = keep(folder, "authority.pem", token->authority, files->authority, err);
    if (status == SHOAL_OK)
        status = keep(folder, "worker.pem", token->certificate, files->certificate, err);
    if (status == SHOAL_OK)
        status = keep(folder, "worker.key", token->key, files->key, err);
    if (status == SHOAL_OK)
        status = keep(folder, "password", token->password, files->password, err);
    if (status == SHOAL_OK)
        status = name_file(folder, "trusted-keys", files->trusted, err);
    if (status == SHOAL_OK)
        status = shoal_trust_add(files->trusted, &token->trusted, token->owner, err);
    return status;
}

/* ---- the way to the cluster */

/* Says what may be wrong when there is none now. The worker goes on trying: a cluster may
 * come back. */
static void look_at_way(const struct shoal_token *token, const struct files *files) {
    const struct shoal_tls_files tls = {files->authority, files->certificate, files->key};
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *reply = NULL;
    struct shoal_redis_address address;
    struct shoal_client *client = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_request_init(&request);
    shoal_request_text(&request, "PING");
    enum shoal_status status =
        shoal_redis_address_parse(token->url, files->password, &address, &err);
    if (status != SHOAL_OK)
        return; /* the worker says so */
    status = shoal_redis_address_secure(&address, &tls, &err);
    if (status == SHOAL_OK)
        status =
            shoal_client_open(&address, token->name_space, LOOK_MS, false, &client, &err);
    shoal_redis_address_finish(&address);
    if (status == SHOAL_OK)
        status = shoal_redis_run(client->redis, &request, 0, &reply, &err);
    if (status != SHOAL_OK)
        shoal_cli_say("shoal: %s; the cluster may not listen now, or listen at another "
                      "port or with another token since it was started anew: 'shoal up "
                      "--listen ADDRESS' on its host says what to run here. Until then "
                      "this goes on trying",
                      err.text);
    shoal_client_destroy(client);
}

/* ---- becoming it */

/* Returns only when it cannot. */
static enum shoal_status become(const char *const *own, size_t n_own, int n, char **words,
                                struct shoal_error *err) {
    char path[PATH_MAX];
    enum shoal_status status =
        shoal_program_find("shoal-worker", path, sizeof(path), err);
    if (status != SHOAL_OK)
        return status;
    SHOAL_CLEANUP(shoal_cleanup_free)
    const char **argv = calloc((size_t)n + n_own + 2, sizeof(*argv));
    if (argv == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for the command line");
    argv[0] = path;
    memcpy(argv + 1, own, n_own * sizeof(*own));
    memcpy(argv + 1 + n_own, words, (size_t)n * sizeof(*words));
    signal(SIGPIPE, SIG_DFL);
    shoal_cores_back();
    execv(path, (char **)argv);
    return shoal_error_set(err, SHOAL_SYSTEM, "cannot start '%.200s': %s", path,
                           strerror(errno));
}

static enum shoal_status join_and_become(int n, char **words, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token token = {.url = NULL};
    static struct files files;
    char name[SHOAL_HASH_DIGITS + 1];
    const char *none = NULL;
    shoal_cores_off();
    shoal_redis_url_hide(&none, words); /* a variable that leads elsewhere … */
    unsetenv("SHOAL_REDIS");            /* … and says nothing to the worker */
    enum shoal_status status = read_token(&token, name, err);
    if (status == SHOAL_OK)
        status = keep_all(&token, name, &files, err);
    if (status != SHOAL_OK)
        return status;
    look_at_way(&token, &files);
    const char *const own[] = {"--redis",      token.url,         "--redis-password-file",
                               files.password, "--tls-ca",        files.authority,
                               "--tls-cert",   files.certificate, "--tls-key",
                               files.key,      "--trust-keys",    files.trusted,
                               "--namespace",  token.name_space};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, STDIN_FILENO); /* what brought the token may end */
    return become(own, SHOAL_COUNT(own), n, words, err);
}

static int worker(int n, char **words) {
    struct shoal_error err = {.status = SHOAL_OK};
    enum shoal_status status = take_join(&n, words, &err);
    if (status == SHOAL_OK)
        status = join == NULL ? become((const char *const[]){NULL}, 0, n, words, &err)
                              : join_and_become(n, words, &err);
    return shoal_cli_fail(&err);
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_worker = {
    .name = "worker",
    .usage = "[--join FILE|- --allow PATTERN|--allow-any] [OPTION]...",
    .summary = "run a worker here, for another host's cluster with --join",
    .details =
        "It becomes shoal-worker(1), which gets all other options; 'shoal-worker --help' "
        "tells\n"
        "them. With --join it runs what the cluster's owner has signed, of what "
        "--allow names\n"
        "(or all of it: --allow-any), and nothing else. What the token says is kept in "
        "the\n"
        "state directory, for its owner alone; options that say where Redis is or whom "
        "to trust do\n"
        "not go with it.",
    .tables = tables,
    .passes_on = true,
    .words_most = -1,
    .run = worker,
};
