/* The asking side: what workers of this host say, for people and for scripts. */
#include "worker/status.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/number.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_S = 5,
    STARTED_S = 2, /* since when a worker that has a socket listens there */
    TEXT_ROOM = 48,
    SILENT_MS = 3000, /* a heartbeat is sent every 2 s, and answered soon */
};

static const char ending[] = ".sock";

/* ---- asking */

/* Removes the name of a worker that was killed. One that starts has a name just before
 * it listens. */
static void sweep(int directory, const char *name) {
    struct stat is;
    if (fstatat(directory, name, &is, AT_SYMLINK_NOFOLLOW) == 0 &&
        is.st_mtim.tv_sec + STARTED_S < time(NULL))
        unlinkat(directory, name, 0);
}

/* *ret_gone: its worker was killed; nothing is behind the name. */
static int dial(int directory, const char *name, bool *ret_gone) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval most = {.tv_sec = ANSWER_S};
    if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path),
                         "/proc/self/fd/%d/%s", directory,
                         name) >= sizeof(address.sun_path))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    *ret_gone = errno == ECONNREFUSED || errno == ENOENT;
    if (errno == ECONNREFUSED)
        sweep(directory, name);
    close(fd);
    return -1;
}

/* False: it was killed meanwhile. */
static bool read_all(int fd, struct shoal_buffer *text) {
    int64_t end = shoal_now_ms() + (int64_t)ANSWER_S * 1000;
    char piece[16384];
    ssize_t n = 0;
    while (shoal_now_ms() < end && !text->failed &&
           ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))) {
        if (n > 0)
            shoal_buffer_add(text, piece, (size_t)n);
    }
    return n >= 0 || errno != ECONNRESET;
}

/* Whether there is such a worker. *ret_answer: what it said, the caller's; NULL: nothing,
 * which was told. */
static bool ask_one(int directory, const char *name, json_t **ret_answer) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    bool gone = false;
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = dial(directory, name, &gone);
    shoal_buffer_init(&text, SHOAL_STATUS_MAX);
    if (gone || (fd >= 0 && !read_all(fd, &text)))
        return false;
    *ret_answer = NULL;
    if (text.failed ||
        shoal_json_read(shoal_buffer_text(&text), text.len, ret_answer, NULL) != SHOAL_OK)
        fprintf(stderr,
                "shoal-worker: the worker of '%s' does not answer; is it stopped?\n",
                name);
    return true;
}

/* "<worker>.<pid>.sock" of that worker, or of any. */
static bool is_wanted(const char *file, const char *name) {
    size_t len = strlen(file), end = sizeof(ending) - 1;
    if (len <= end || strcmp(file + len - end, ending) != 0)
        return false;
    if (name == NULL)
        return true;
    size_t of = strlen(name);
    if (strncmp(file, name, of) != 0 || file[of] != '.')
        return false;
    const char *pid = file + of + 1;
    size_t digits = strspn(pid, "0123456789");
    return digits > 0 && strcmp(pid + digits, ending) == 0;
}

/* ---- telling */

static const char *text_of(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "?" : text;
}

static int64_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

/* "3 s", "12 min", "5 h", "8 d": how long ago that was. */
static const char *print_age(char *text, int64_t since_ms) {
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    int64_t s = (shoal_wall_ms() - since_ms) / 1000;
    size_t i = 0;
    while (i < SHOAL_COUNT(units) - 1 && s < 2 * units[i].seconds)
        i++;
    snprintf(text, TEXT_ROOM, "%" PRId64 " %s", s < 0 ? 0 : s / units[i].seconds,
             units[i].unit);
    return text;
}

static const char *print_size(char *text, int64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    double size = (double)bytes;
    size_t i = 0;
    for (; size >= 1024 && i < SHOAL_COUNT(units) - 1; i++)
        size /= 1024;
    snprintf(text, TEXT_ROOM, "%.3g %s", size, units[i]);
    return text;
}

static void tell_redis(const json_t *redis) {
    char age[TEXT_ROOM];
    bool is_full = strcmp(text_of(redis, "state"), "full") == 0;
    int64_t silent_ms = number_of(redis, "silent_ms");
    printf("  redis %s: %s", text_of(redis, "url"), text_of(redis, "state"));
    if (json_object_get(redis, "since") != NULL)
        printf(" for %s", print_age(age, number_of(redis, "since")));
    if (is_full)
        printf(", takes outcomes and hands out no tasks");
    else if (json_object_get(redis, "why") != NULL)
        printf(": %s", text_of(redis, "why"));
    if (silent_ms >= SILENT_MS)
        printf(", no answer for %" PRId64 " s", silent_ms / 1000);
    printf("\n");
}

static void tell_slot(const json_t *slot) {
    char age[TEXT_ROOM];
    printf("  slot %" PRId64 ": ", number_of(slot, "slot"));
    if (json_object_get(slot, "job") == NULL)
        printf("idle\n");
    else
        printf("job %s, task %" PRId64 ", attempt %" PRId64 ", for %s\n",
               text_of(slot, "job"), number_of(slot, "task"), number_of(slot, "attempt"),
               print_age(age, number_of(slot, "since")));
}

static void tell_outcomes(const json_t *outcomes) {
    char memory[TEXT_ROOM], spool[TEXT_ROOM];
    printf("  outcomes that wait: %" PRId64 " commit%s, %s in memory, %s in %s\n",
           number_of(outcomes, "commits"), shoal_plural(number_of(outcomes, "commits")),
           print_size(memory, number_of(outcomes, "memory")),
           print_size(spool, number_of(outcomes, "spool")),
           text_of(outcomes, "directory"));
    if (json_object_get(outcomes, "trouble") != NULL)
        printf("  nothing can be written there, so that they would be lost with the "
               "worker: %s\n",
               text_of(outcomes, "trouble"));
}

static void tell(const json_t *worker) {
    char age[TEXT_ROOM];
    const json_t *slots = json_object_get(worker, "slots");
    printf("%s %s for %s: pid %" PRId64 ", shoal %s, session %s, queues %s\n",
           text_of(worker, "name"), text_of(worker, "phase"),
           print_age(age, number_of(worker, "since")), number_of(worker, "pid"),
           text_of(worker, "version"), text_of(worker, "session"),
           text_of(worker, "queues"));
    tell_redis(json_object_get(worker, "redis"));
    for (size_t i = 0; i < json_array_size(slots); i++)
        tell_slot(json_array_get(slots, i));
    tell_outcomes(json_object_get(worker, "outcomes"));
}

static void tell_json(const json_t *worker) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = json_dumps(worker, JSON_COMPACT);
    if (text != NULL)
        puts(text);
}

/* ---- all of them */

/* *ret_told: how many have said how they are. Returns how many there are. */
static size_t ask_all(int directory, const char *name, bool json, size_t *ret_told) {
    DIR *folder = fdopendir(dup(directory));
    const struct dirent *entry;
    size_t n = 0;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        json_t *answer = NULL;
        if (!is_wanted(entry->d_name, name) ||
            !ask_one(directory, entry->d_name, &answer))
            continue;
        n++;
        if (answer == NULL)
            continue;
        (*ret_told)++;
        (json ? tell_json : tell)(answer);
        json_decref(answer);
    }
    if (folder != NULL)
        closedir(folder);
    return n;
}

int shoal_status_ask(const char *name, bool json) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int directory = -1;
    struct shoal_error err = {.status = SHOAL_OK};
    size_t told = 0;
    enum shoal_status status = shoal_status_directory(false, &directory, &err);
    size_t n = status == SHOAL_OK ? ask_all(directory, name, json, &told) : 0;
    if (n > 0)
        return told > 0 ? 0 : 1;
    if (status != SHOAL_OK && status != SHOAL_UNKNOWN)
        fprintf(stderr, "shoal-worker: %s\n", err.text);
    else if (name == NULL)
        fprintf(stderr, "shoal-worker: no worker of this user runs on this host\n");
    else
        fprintf(stderr,
                "shoal-worker: no worker of this user that is called '%s' runs on this "
                "host\n",
                name);
    return 1;
}
