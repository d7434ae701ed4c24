#include "worker/spools.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/state.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AGAIN_MS = 1000, FIND_AGAIN_MS = 10000, SAY_AGAIN_MS = 60000 };

static const char ending[] = ".spool";

void shoal_spools_init(struct shoal_spools *spools, const char *directory, int64_t most,
                       const struct shoal_spool_head *head) {
    *spools = (struct shoal_spools){.directory = directory, .most = most, .head = *head};
}

void shoal_spools_finish(struct shoal_spools *spools) {
    for (size_t i = 0; i < spools->n; i++)
        shoal_spool_close(spools->all[i]);
    spools->n = 0;
}

/* ---- what was left behind */

/* "<worker>.<session>.<number>.spool" */
static bool is_ours(const struct shoal_spools *spools, const char *name) {
    const char *worker = spools->head.worker;
    size_t len = strlen(worker);
    char session[SHOAL_ID_LEN + 1] = "";
    int end = 0;
    if (strncmp(name, worker, len) != 0 || name[len] != '.')
        return false;
    if (sscanf(name + len, ".%12[0-9a-z].%*9[0-9]%n", session, &end) != 1 || end == 0)
        return false;
    return shoal_id_is_valid(session) && strcmp(name + len + end, ending) == 0;
}

static int choose(const struct dirent *entry) {
    size_t len = strlen(entry->d_name), end = sizeof(ending) - 1;
    return len > end && strcmp(entry->d_name + len - end, ending) == 0;
}

static bool is_same_owner(const struct shoal_spools *spools,
                          const struct shoal_spool_head *head) {
    return strcmp(head->name_space, spools->head.name_space) == 0 &&
           strcmp(head->worker, spools->head.worker) == 0;
}

static bool is_of_store(const struct shoal_spools *spools,
                        const struct shoal_spool_head *head) {
    return strcmp(head->store, spools->store) == 0;
}

/* Or may be, as long as it is not known which store this Redis holds: its address may
 * have changed. */
static bool is_of_other_redis(const struct shoal_spools *spools,
                              const struct shoal_spool_head *head) {
    return !is_of_store(spools, head) && strcmp(head->redis, spools->head.redis) != 0;
}

/* What may pass is said now and then, while it lasts: whether it is time for it, which is
 * noted then. */
static bool is_time_to_say(int64_t *said_ms, int64_t now_ms) {
    if (*said_ms != 0 && now_ms - *said_ms < SAY_AGAIN_MS)
        return false;
    *said_ms = now_ms;
    return true;
}

static void say_unreadable(struct shoal_spools *spools, const struct shoal_error *why) {
    if (is_time_to_say(&spools->said_ms, shoal_now_ms()))
        shoal_err("outcomes of before wait longer: %s", why->text);
}

static bool may_pass(enum shoal_status status) {
    return status == SHOAL_MEMORY || status == SHOAL_SYSTEM;
}

static void find_later(struct shoal_spools *spools) {
    spools->find_again_ms = shoal_now_ms() + FIND_AGAIN_MS;
}

static void look_later(struct shoal_spools *spools, const char *name) {
    if (spools->n_others == SHOAL_SPOOLS_OTHERS) {
        find_later(spools);
        return;
    }
    snprintf(spools->others[spools->n_others++], sizeof(spools->others[0]), "%s", name);
    spools->look_ms = shoal_now_ms() + AGAIN_MS;
}

static void say_locked(struct shoal_spools *spools, const struct shoal_error *why) {
    if (is_time_to_say(&spools->said_locked_ms, shoal_now_ms()))
        shoal_warn("%s, which holds outcomes of a worker of this name; they are taken "
                   "when it has ended",
                   why->text);
}

/* Opens the file, or says why not. */
static struct shoal_spool *open_one(struct shoal_spools *spools, const char *path,
                                    const char *name) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_spool *spool = NULL;
    enum shoal_status status = shoal_spool_open(path, &spool, &err);
    if (may_pass(status)) {
        find_later(spools);
        say_unreadable(spools, &err);
    } else if (status == SHOAL_REFUSED) {
        look_later(spools, name);
        say_locked(spools, &err);
    } else if (err.status != SHOAL_OK && status != SHOAL_UNKNOWN) {
        shoal_err("%s", err.text);
    }
    return spool;
}

static bool is_open(const struct shoal_spools *spools, const char *path) {
    for (size_t i = 0; i < spools->n; i++) {
        if (strcmp(shoal_spool_path(spools->all[i]), path) == 0)
            return true;
    }
    return false;
}

static void find_one(struct shoal_spools *spools, const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", spools->directory, name);
    struct shoal_spool *spool =
        is_open(spools, path) ? NULL : open_one(spools, path, name);
    if (spool == NULL)
        return;
    const struct shoal_spool_head *head = shoal_spool_head(spool);
    bool same = is_same_owner(spools, head), other = is_of_other_redis(spools, head);
    if (same && other && spools->store[0] == '\0')
        look_later(spools, name);
    if (!same || other) {
        shoal_spool_close(spool); /* another worker's, which has the same name */
    } else if (shoal_spool_is_empty(spool)) {
        shoal_spool_remove(spool);
    } else {
        shoal_info("outcomes of before wait to be sent: commits=%zu bytes=%" PRId64
                   " session=%s file=%s",
                   shoal_spool_commits(spool), shoal_spool_bytes(spool), head->session,
                   path);
        spools->all[spools->n++] = spool;
    }
}

static void find(struct shoal_spools *spools) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct dirent **entries = NULL;
    int n = scandir(spools->directory, &entries, choose, alphasort);
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        find_later(spools);
        shoal_error_set(&err, SHOAL_SYSTEM, "cannot read '%.200s': %s", spools->directory,
                        strerror(errno));
        say_unreadable(spools, &err);
    }
    for (int i = 0; i < n; i++) {
        if (is_ours(spools, entries[i]->d_name) && spools->n < SHOAL_SPOOLS_MAX - 1)
            find_one(spools, entries[i]->d_name);
        free(entries[i]);
    }
    free((void *)entries);
}

void shoal_spools_sessions(const struct shoal_spools *spools, struct shoal_buffer *text) {
    for (size_t i = 0; i < spools->n; i++) {
        const char *session = shoal_spool_head(spools->all[i])->session;
        if (strcmp(session, spools->head.session) == 0)
            continue; /* ours, of before this program was replaced by another version */
        if (text->len > 0)
            shoal_buffer_add_char(text, ',');
        shoal_buffer_add_text(text, session);
    }
}

/* ---- stores */

static bool is_to_be_sent(const struct shoal_spools *spools,
                          const struct shoal_spool *spool) {
    return is_of_store(spools, shoal_spool_head(spool)) && !shoal_spool_rests(spool);
}

/* Those of another Redis are left to its worker; those of this one, whose store may come
 * back, are kept and told of. */
static void leave_those_of_others(struct shoal_spools *spools, size_t from) {
    size_t kept = from;
    if (spools->store[0] == '\0')
        return;
    for (size_t i = from; i < spools->n; i++) {
        struct shoal_spool *spool = spools->all[i];
        const struct shoal_spool_head *head = shoal_spool_head(spool);
        if (is_of_other_redis(spools, head)) {
            shoal_spool_close(spool);
            continue;
        }
        if (!is_of_store(spools, head))
            shoal_err("outcomes stay in their file, they are of another store than the "
                      "one that Redis holds: commits=%zu theirs=%s now=%s file=%s",
                      shoal_spool_commits(spool), head->store, spools->store,
                      shoal_spool_path(spool));
        spools->all[kept++] = spool;
    }
    spools->n = kept;
}

void shoal_spools_set_store(struct shoal_spools *spools, const char *store) {
    if (strcmp(spools->store, store) == 0)
        return;
    snprintf(spools->store, sizeof(spools->store), "%s", store);
    snprintf(spools->head.store, sizeof(spools->head.store), "%s", store);
    spools->look_ms = 0;
    leave_those_of_others(spools, 0);
}

/* ---- finding */

void shoal_spools_find(struct shoal_spools *spools) {
    size_t before = spools->n;
    spools->find_again_ms = 0;
    spools->n_others = 0;
    find(spools);
    leave_those_of_others(spools, before);
}

/* Those that still are another's are noted again. */
static void look_at_others(struct shoal_spools *spools) {
    char others[SHOAL_SPOOLS_OTHERS][NAME_MAX + 1];
    size_t before = spools->n, n = spools->n_others;
    memcpy(others, spools->others, sizeof(others));
    spools->n_others = 0;
    for (size_t i = 0; i < n && spools->n < SHOAL_SPOOLS_MAX - 1; i++)
        find_one(spools, others[i]);
    leave_those_of_others(spools, before);
}

bool shoal_spools_find_again(struct shoal_spools *spools, int64_t now_ms) {
    size_t before = spools->n;
    if (spools->find_again_ms != 0 && now_ms >= spools->find_again_ms)
        shoal_spools_find(spools);
    else if (spools->n_others > 0 && now_ms >= spools->look_ms)
        look_at_others(spools);
    return spools->n > before;
}

/* ---- writing */

static int64_t bytes_of_all(const struct shoal_spools *spools) {
    int64_t bytes = 0;
    for (size_t i = 0; i < spools->n; i++)
        bytes += shoal_spool_size(spools->all[i]);
    return bytes;
}

static enum shoal_status make_one(struct shoal_spools *spools,
                                  struct shoal_spool **ret_spool,
                                  struct shoal_error *err) {
    char path[PATH_MAX];
    if (spools->n == SHOAL_SPOOLS_MAX)
        return shoal_error_set(err, SHOAL_FULL, "there are %d spools already",
                               SHOAL_SPOOLS_MAX);
    if (!shoal_directories_make_lasting(spools->directory))
        return shoal_error_set(err, SHOAL_SYSTEM,
                               "cannot make the directory '%.200s': %s",
                               spools->directory, strerror(errno));
    do
        snprintf(path, sizeof(path), "%s/%s.%s.%d%s", spools->directory,
                 spools->head.worker, spools->head.session, spools->number++, ending);
    while (access(path, F_OK) == 0);
    enum shoal_status status = shoal_spool_create(path, &spools->head, ret_spool, err);
    if (status == SHOAL_OK)
        spools->all[spools->n++] = *ret_spool;
    return status;
}

struct shoal_spool *shoal_spools_begin(struct shoal_spools *spools, int64_t now_ms) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_spool *spool = spools->n == 0 ? NULL : spools->all[spools->n - 1];
    enum shoal_status status = SHOAL_OK;
    if (now_ms < spools->try_again_ms || spools->head.store[0] == '\0')
        return NULL;
    int64_t left = spools->most - bytes_of_all(spools);
    if (spool == NULL || !shoal_spool_may_grow(spool) ||
        strcmp(shoal_spool_head(spool)->store, spools->head.store) != 0)
        status = make_one(spools, &spool, &err);
    if (status == SHOAL_OK) {
        shoal_spool_set_most(spool, shoal_spool_size(spool) + left);
        return spool;
    }
    shoal_spools_failed(spools, &err, now_ms);
    return NULL;
}

void shoal_spools_failed(struct shoal_spools *spools, const struct shoal_error *why,
                         int64_t now_ms) {
    spools->try_again_ms = now_ms + AGAIN_MS;
    snprintf(spools->trouble, sizeof(spools->trouble), "%s", why->text);
    if (is_time_to_say(&spools->said_full_ms, now_ms))
        shoal_err("outcomes that wait stay in memory only, and are lost if this worker "
                  "is killed: %s",
                  why->text);
}

void shoal_spools_written(struct shoal_spools *spools) {
    spools->trouble[0] = '\0';
}

enum shoal_status shoal_spools_look(const struct shoal_spools *spools,
                                    struct shoal_error *err) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/.", spools->directory);
    if (spools->trouble[0] != '\0')
        return shoal_error_set(err, SHOAL_SYSTEM, "%s", spools->trouble);
    if (access(path, W_OK | X_OK) != 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "%s", strerror(errno));
    return SHOAL_OK;
}

/* ---- sending */

enum shoal_status shoal_spools_next(struct shoal_spools *spools,
                                    struct shoal_commit **ret_commit) {
    for (size_t i = 0; i < spools->n; i++) {
        struct shoal_error err = {.status = SHOAL_OK};
        if (!is_to_be_sent(spools, spools->all[i]))
            continue;
        enum shoal_status status = shoal_spool_next(spools->all[i], ret_commit, &err);
        if (may_pass(status))
            say_unreadable(spools, &err);
        else if (status == SHOAL_GARBAGE)
            shoal_err("%s", err.text);
        if (status == SHOAL_OK || status == SHOAL_MEMORY)
            return status;
    }
    return SHOAL_UNKNOWN;
}

void shoal_spools_rewind(struct shoal_spools *spools) {
    for (size_t i = 0; i < spools->n; i++)
        shoal_spool_rewind(spools->all[i]);
}

void shoal_spools_accept(struct shoal_spools *spools) {
    size_t kept = 0;
    for (size_t i = 0; i < spools->n; i++) {
        struct shoal_spool *spool = spools->all[i];
        shoal_spool_accept(spool);
        if (shoal_spool_is_empty(spool)) {
            shoal_info("all outcomes of a file were sent: file=%s",
                       shoal_spool_path(spool));
            shoal_spool_remove(spool);
        } else {
            spools->all[kept++] = spool;
        }
    }
    spools->n = kept;
}

/* ---- looking */

struct shoal_spools_sum shoal_spools_sum(const struct shoal_spools *spools) {
    struct shoal_spools_sum sum = {.commits = 0};
    for (size_t i = 0; i < spools->n; i++) {
        sum.commits += shoal_spool_commits(spools->all[i]);
        sum.bytes += shoal_spool_bytes(spools->all[i]);
        sum.waits = sum.waits || is_to_be_sent(spools, spools->all[i]);
    }
    return sum;
}

void shoal_spools_each(const struct shoal_spools *spools,
                       void (*visit)(void *owner, const struct shoal_lease *lease),
                       void *owner) {
    for (size_t i = 0; i < spools->n; i++)
        shoal_spool_each(spools->all[i], visit, owner);
}
