#include "broker/trust.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/option.h"
#include "common/secret.h"
#include "common/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEYS_MAX = 1000, LINE_MAX_BYTES = 16384, FILE_MAX = 1 << 20, SHORT = 16 };

static const int64_t EARLY_MS = INT64_C(5) * 60 * 1000; /* that clocks may differ */

/* ---- the file */

static const struct shoal_trusted_key *find(const struct shoal_trust *trust,
                                            const struct shoal_signer_name *name) {
    for (size_t i = 0; i < trust->n; i++) {
        if (strcmp(trust->keys[i].key.digits, name->digits) == 0)
            return &trust->keys[i];
    }
    return NULL;
}

static enum shoal_status twice(const char *name, struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_INVALID, "'%s=' stands there twice", name);
}

static enum shoal_status read_queues(struct shoal_trusted_key *key, const char *text,
                                     struct shoal_error *err) {
    if (key->queues != NULL)
        return twice("queues", err);
    SHOAL_CLEANUP(shoal_cleanup_free) char *copy = strdup(text);
    if (copy == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for keys");
    for (char *rest = copy; rest != NULL;) {
        const char *name = strsep(&rest, ",");
        if (!shoal_name_is_valid(name))
            return shoal_error_set(err, SHOAL_INVALID, "'%.100s' is no queue name", name);
    }
    key->queues = strdup(text);
    return key->queues != NULL ? SHOAL_OK
                               : shoal_error_set(err, SHOAL_MEMORY, "no memory for keys");
}

/* Patterns are as of --allow, parted by commas. */
static enum shoal_status read_patterns(struct shoal_trusted_key *key,
                                       struct shoal_allow *allow, const char *name,
                                       char *text, struct shoal_error *err) {
    const char *items[] = {text};
    const struct shoal_option_list list = {.items = items, .n = 1};
    struct shoal_error why = {.status = SHOAL_OK};
    if (allow->n > 0)
        return twice(name, err);
    for (char *at = text; (at = strchr(at, ',')) != NULL;)
        *at = ':';
    key->bounded = true;
    enum shoal_status status = shoal_allow_init(allow, &list, &why);
    const char *said = strncmp(why.text, "--allow ", 8) == 0 ? why.text + 8 : why.text;
    return status == SHOAL_OK ? status : shoal_error_set(err, status, "%s", said);
}

static enum shoal_status read_limit(struct shoal_limits *limits, const char *name,
                                    const char *text, struct shoal_error *err) {
    struct shoal_limits one = {.memory = 0};
    enum shoal_status status = SHOAL_OK;
    int64_t *into = NULL;
    if (strcmp(name, "memory") == 0) {
        status = shoal_size_parse(text, name, &one.memory, err);
        into = &limits->memory;
    } else if (strcmp(name, "cpus") == 0) {
        status = shoal_thousandths_parse(text, name, &one.millicpus, err);
        into = &limits->millicpus;
    } else if (strcmp(name, "processes") == 0) {
        status = shoal_integer_parse(text, name, 1, 4194304, &one.processes, err);
        into = &limits->processes;
    } else {
        status = shoal_size_parse(text, name, &one.file_size, err);
        into = &limits->file_size;
    }
    int64_t value = one.memory + one.millicpus + one.processes + one.file_size;
    if (status == SHOAL_OK && *into != 0)
        return twice(name, err);
    if (status == SHOAL_OK && value < 1)
        return shoal_error_set(err, SHOAL_INVALID, "a limit is above 0");
    if (status == SHOAL_OK)
        status = shoal_limits_check(&one, err);
    *into = value;
    return status;
}

/* "NAME=VALUE" behind the key and its name. */
static enum shoal_status read_word(struct shoal_trusted_key *key, char *word,
                                   struct shoal_error *err) {
    static const char *const limits[] = {"memory", "cpus", "processes", "file-size"};
    char *value = strchr(word, '=');
    if (value == NULL)
        return shoal_error_set(err, SHOAL_INVALID, "'%.100s' is no NAME=VALUE", word);
    *value++ = '\0';
    if (strcmp(word, "queues") == 0)
        return read_queues(key, value, err);
    if (strcmp(word, "programs") == 0)
        return read_patterns(key, &key->programs, word, value, err);
    if (strcmp(word, "plugins") == 0)
        return read_patterns(key, &key->plugins, word, value, err);
    for (size_t i = 0; i < SHOAL_COUNT(limits); i++) {
        if (strcmp(word, limits[i]) == 0)
            return read_limit(&key->limits, word, value, err);
    }
    return shoal_error_set(err, SHOAL_INVALID,
                           "'%.100s=' is none of queues=, programs=, plugins=, memory=, "
                           "cpus=, processes=, file-size=",
                           word);
}

/* The one that was not given is empty: nothing of that kind runs. */
static enum shoal_status end_list(struct shoal_allow *allow, const char *what,
                                  const char *name, struct shoal_error *err) {
    static const struct shoal_option_list none = {.n = 0};
    enum shoal_status status =
        allow->n == 0 ? shoal_allow_init(allow, &none, err) : SHOAL_OK;
    snprintf(allow->by, sizeof(allow->by), "%s of the key of '%s'", what, name);
    return status;
}

static char *next_word(char **rest) {
    char *word = NULL;
    do {
        word = strsep(rest, " \t");
    } while (word != NULL && *word == '\0');
    return word;
}

static enum shoal_status read_key(const struct shoal_trust *trust, char *line,
                                  struct shoal_trusted_key *key,
                                  struct shoal_error *err) {
    char *rest = line;
    const char *digits = next_word(&rest), *name = next_word(&rest);
    if (!shoal_signer_name_read(digits, &key->key))
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.70s' is no key: it has 64 digits, 0-9 and a-f, as "
                               "'shoal keygen' prints them",
                               digits);
    if (name == NULL || strchr(name, '=') != NULL ||
        strlen(name) >= SHOAL_TRUST_NAME_ROOM)
        return shoal_error_set(err, SHOAL_INVALID,
                               "behind the key comes a name of up to %d characters",
                               SHOAL_TRUST_NAME_ROOM - 1);
    snprintf(key->name, sizeof(key->name), "%s", name);
    const struct shoal_trusted_key *there = find(trust, &key->key);
    if (there != NULL)
        return shoal_error_set(err, SHOAL_INVALID, "the key of '%s' is there already",
                               there->name);
    enum shoal_status status = SHOAL_OK;
    for (char *word; status == SHOAL_OK && (word = next_word(&rest)) != NULL;)
        status = read_word(key, word, err);
    if (status == SHOAL_OK && key->bounded)
        status = end_list(&key->programs, "programs=", key->name, err);
    if (status == SHOAL_OK && key->bounded)
        status = end_list(&key->plugins, "plugins=", key->name, err);
    return status;
}

static void finish_key(struct shoal_trusted_key *key) {
    free(key->queues);
    shoal_allow_finish(&key->programs);
    shoal_allow_finish(&key->plugins);
}

/* A comment begins its line or follows a space. */
static char *without_comment(char *line) {
    line[strcspn(line, "\r\n")] = '\0';
    for (char *at = line; *at != '\0'; at++) {
        if (*at == '#' && (at == line || at[-1] == ' ' || at[-1] == '\t'))
            *at = '\0';
    }
    return line + strspn(line, " \t");
}

static enum shoal_status read_line(struct shoal_trust *trust, char *text,
                                   struct shoal_error *err) {
    char *line = without_comment(text);
    if (*line == '\0')
        return SHOAL_OK;
    if (trust->n == KEYS_MAX)
        return shoal_error_set(err, SHOAL_INVALID, "there are over %d keys", KEYS_MAX);
    struct shoal_trusted_key *keys =
        realloc(trust->keys, (trust->n + 1) * sizeof(*trust->keys));
    if (keys == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for keys");
    trust->keys = keys;
    struct shoal_trusted_key *key = &keys[trust->n];
    *key = (struct shoal_trusted_key){.queues = NULL};
    enum shoal_status status = read_key(trust, line, key, err);
    if (status == SHOAL_OK)
        trust->n++;
    else
        finish_key(key);
    return status;
}

/* The next line. False: the file is over. *ret_whole: it fits, and no NUL or carriage
 * return hides what stands behind it. */
static bool next_line(FILE *file, char *line, int room, bool *ret_whole) {
    long begin = ftell(file);
    if (fgets(line, room, file) == NULL)
        return false;
    size_t len = strlen(line), words = strcspn(line, "\r\n");
    *ret_whole = (strchr(line, '\n') != NULL || feof(file)) &&
                 words + strspn(line + words, "\r\n") == len &&
                 ftell(file) - begin == (long)len;
    return true;
}

static enum shoal_status read_lines(FILE *file, const char *path,
                                    struct shoal_trust *trust, struct shoal_error *err) {
    static char line[LINE_MAX_BYTES];
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = SHOAL_OK;
    bool whole = false;
    for (int number = 1;
         status == SHOAL_OK && next_line(file, line, sizeof(line), &whole); number++) {
        status =
            whole ? read_line(trust, line, &why)
                  : shoal_error_set(&why, SHOAL_INVALID,
                                    "it is too long, or has a NUL or a carriage return "
                                    "in it");
        if (status != SHOAL_OK)
            shoal_error_set(err, status, "'%.200s', line %d: %s", path, number, why.text);
    }
    if (status == SHOAL_OK && ferror(file))
        status = shoal_error_set(err, SHOAL_INVALID, "cannot read '%.200s': %s", path,
                                 strerror(errno));
    return status;
}

/* Whether everybody may put another file in its place, or another link if it is one: that
 * they may write in stands in `folder` then. */
static bool is_exchangeable(const char *path, char *folder) {
    char above[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    snprintf(above, sizeof(above), "%.*s", slash == NULL ? 1 : (int)(name - path),
             slash == NULL ? "." : path);
    if (realpath(path, folder) == NULL || shoal_allow_is_open_to(S_IWOTH, folder) ||
        realpath(above, folder) == NULL)
        return true;
    size_t len = strlen(folder);
    snprintf(folder + len, PATH_MAX - len, "/%s", name);
    return shoal_allow_is_open_to(S_IWOTH, folder);
}

/* Who can write there says whose jobs run. */
static enum shoal_status check_file(FILE *file, const char *path,
                                    struct shoal_error *err) {
    struct stat is;
    char folder[PATH_MAX] = "";
    if (fstat(fileno(file), &is) != 0 || !S_ISREG(is.st_mode))
        return shoal_error_set(err, SHOAL_INVALID, "'%.200s' is no file of keys", path);
    if (shoal_file_is_open(&is))
        return shoal_error_set(err, SHOAL_INVALID,
                               "others than its owner may write to '%.200s', so its keys "
                               "are not trusted: chmod go-w it",
                               path);
    if (shoal_file_is_foreign(&is))
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.200s' belongs to neither root nor this user, so its "
                               "keys are not trusted",
                               path);
    if (is_exchangeable(path, folder))
        return shoal_error_set(
            err, SHOAL_INVALID,
            "everybody can write to '%.200s', and so put another file "
            "in the place of '%.200s', whose keys are not trusted: "
            "%sput the file into a folder in which only its owner can",
            *folder == '\0' ? "/" : folder, path,
            shoal_allow_is_for_all(folder) ? "" : "chmod o-w the folder, or ");
    return SHOAL_OK;
}

/* *ret_file is the caller's, also when it is not good. */
static enum shoal_status open_file(const char *path, FILE **ret_file,
                                   struct shoal_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *ret_file = fd < 0 ? NULL : fdopen(fd, "r");
    if (*ret_file != NULL)
        return check_file(*ret_file, path, err);
    shoal_error_set(err, SHOAL_INVALID, "cannot read the trusted keys '%.200s': %s", path,
                    strerror(errno));
    if (fd >= 0)
        close(fd);
    return SHOAL_INVALID;
}

enum shoal_status shoal_trust_read(const char *path, struct shoal_trust *trust,
                                   struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = NULL;
    enum shoal_status status = open_file(path, &file, err);
    if (status == SHOAL_OK)
        status = read_lines(file, path, trust, err);
    if (status == SHOAL_OK && trust->n == 0)
        status = shoal_error_set(err, SHOAL_INVALID,
                                 "'%.200s' holds no key: put the line there that 'shoal "
                                 "keygen' prints",
                                 path);
    return status;
}

void shoal_trust_finish(struct shoal_trust *trust) {
    for (size_t i = 0; i < trust->n; i++)
        finish_key(&trust->keys[i]);
    free(trust->keys);
    trust->keys = NULL;
    trust->n = 0;
}

enum shoal_status shoal_trust_usual_path(char *path, size_t room,
                                         struct shoal_error *err) {
    if (geteuid() != 0)
        return shoal_config_of_user("trusted-keys", path, room, err);
    snprintf(path, room, "/etc/shoal/trusted-keys");
    return SHOAL_OK;
}

static enum shoal_status read_usual(struct shoal_trust *trust,
                                    const struct shoal_redis_address *address,
                                    bool has_own, struct shoal_error *err) {
    char path[PATH_MAX], where[512];
    enum shoal_status status = shoal_trust_usual_path(path, sizeof(path), err);
    if (status != SHOAL_OK)
        return status;
    if (access(path, F_OK) == 0)
        return shoal_trust_read(path, trust, err);
    if (has_own)
        return SHOAL_OK;
    shoal_redis_address_print(address, where, sizeof(where));
    return shoal_error_set(err, SHOAL_INVALID,
                           "%.200s is not a Redis of this user alone, so jobs from there "
                           "have to be signed: put the keys of those who may submit into "
                           "'%.100s' (shoal keygen), or say --trust-redis",
                           where, path);
}

enum shoal_status shoal_trust_take(struct shoal_trust *trust,
                                   const struct shoal_signer_name *key,
                                   struct shoal_error *err) {
    char line[SHOAL_SIGNER_DIGITS + 8];
    if (find(trust, key) != NULL)
        return SHOAL_OK;
    snprintf(line, sizeof(line), "%s own", key->digits);
    return read_line(trust, line, err);
}

enum shoal_status shoal_trust_begin(struct shoal_trust *trust,
                                    const struct shoal_redis_address *address,
                                    const struct shoal_trust_choice *choice,
                                    struct shoal_error *err) {
    if (choice->keys != NULL && choice->redis)
        return shoal_error_set(err, SHOAL_INVALID,
                               "--trust-keys and --trust-redis do not go together");
    trust->required =
        choice->keys != NULL ||
        (!choice->redis && (choice->open || !shoal_redis_address_is_own(address)));
    if (!trust->required)
        return SHOAL_OK;
    enum shoal_status status = choice->keys != NULL
                                   ? shoal_trust_read(choice->keys, trust, err)
                                   : read_usual(trust, address, choice->own != NULL, err);
    return status == SHOAL_OK && choice->own != NULL
               ? shoal_trust_take(trust, choice->own, err)
               : status;
}

bool shoal_trust_is_bounded(const struct shoal_trust *trust) {
    for (size_t i = 0; i < trust->n; i++) {
        if (!trust->keys[i].bounded)
            return false;
    }
    return trust->required;
}

/* ---- the line that shoal writes */

#define MARK "# written by shoal"

static bool is_of(const char *line, const struct shoal_signer_name *key) {
    line += strspn(line, " \t");
    return strncmp(line, key->digits, SHOAL_SIGNER_DIGITS) == 0 &&
           strcspn(line, " \t\r\n") == SHOAL_SIGNER_DIGITS;
}

/* Copies what stays: people's lines, and one of the key whoever wrote it. False: not all
 * could be read. */
static bool copy_lines(FILE *file, const struct shoal_signer_name *key,
                       struct shoal_buffer *text, bool *ret_is_there) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *line = NULL;
    size_t room = 0;
    for (ssize_t len; (len = getline(&line, &room, file)) > 0;) {
        bool is_own = is_of(line, key);
        *ret_is_there = *ret_is_there || is_own;
        if (is_own || strstr(line, MARK) == NULL)
            shoal_buffer_add(text, line, (size_t)len);
    }
    if (text->len > 0 && text->data[text->len - 1] != '\n')
        shoal_buffer_add_char(text, '\n');
    return feof(file) != 0;
}

enum shoal_status shoal_trust_add(const char *path, const struct shoal_signer_name *key,
                                  const char *owner, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = NULL;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    struct stat is = {.st_mode = 0600};
    bool is_there = false;
    shoal_buffer_init(&text, FILE_MAX);
    if (access(path, F_OK) == 0) {
        enum shoal_status status = open_file(path, &file, err);
        if (status != SHOAL_OK)
            return status;
        if (fstat(fileno(file), &is) != 0 || !copy_lines(file, key, &text, &is_there))
            return shoal_error_set(err, SHOAL_SYSTEM, "cannot read '%.200s': %s", path,
                                   strerror(errno));
    }
    if (!is_there)
        shoal_buffer_add_format(&text, "%s %s " MARK "\n", key->digits, owner);
    enum shoal_status status = shoal_buffer_check(&text, "the trusted keys", err);
    return status == SHOAL_OK
               ? shoal_file_write(path, text.data, text.len, is.st_mode & 0777, err)
               : status;
}

/* ---- warrants */

enum shoal_status shoal_trust_open(const struct shoal_trust *trust, const char *text,
                                   size_t len, struct shoal_warrant *ret_warrant,
                                   struct shoal_error *err) {
    struct shoal_signer_name name;
    if (len > SHOAL_WARRANT_MAX || !shoal_seal_name(text, len, &name))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "what Redis has as the job's warrant is none: it was "
                               "altered");
    if (find(trust, &name) == NULL)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "it was signed with the key %.*s…, which is not among the "
                               "keys that are trusted here",
                               SHORT, name.digits);
    enum shoal_status status =
        shoal_seal_check(text, text + SHOAL_SEAL_BYTES, len - SHOAL_SEAL_BYTES);
    if (status == SHOAL_MEMORY)
        return shoal_error_set(err, status, "no memory to check a signature");
    if (status != SHOAL_OK)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "its signature does not hold: the warrant was altered "
                               "since it was signed");
    status = shoal_warrant_read(text, len, ret_warrant, err);
    return status == SHOAL_GARBAGE ? SHOAL_REFUSED : status;
}

/* ---- leases */

static enum shoal_status check_place(const struct shoal_trust *trust,
                                     const struct shoal_warrant *warrant,
                                     struct shoal_error *err) {
    char until[32] = "";
    time_t seconds = warrant->until_ms / 1000;
    struct tm tm;
    if (strcmp(warrant->name_space, trust->name_space) != 0)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "it was signed for the namespace '%s', not for '%s': it "
                               "was copied",
                               warrant->name_space, trust->name_space);
    if (strcmp(warrant->store, trust->store) != 0)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "it was signed for the store %s, and this is %s: it was "
                               "copied; submit it here",
                               warrant->store, trust->store);
    if (trust->any_time || shoal_wall_ms() < warrant->until_ms)
        return SHOAL_OK;
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(until, sizeof(until), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return shoal_error_set(err, SHOAL_REFUSED,
                           "what was signed was valid until %s: submit it again, or for "
                           "longer with --valid-for",
                           until);
}

/* All but for the budget, the last field, which may be lifted. */
static bool same_policy(const char *a, const char *b) {
    const char *a_end = strrchr(a, ':'), *b_end = strrchr(b, ':');
    return a_end != NULL && b_end != NULL && a_end - a == b_end - b &&
           strncmp(a, b, (size_t)(a_end - a)) == 0;
}

static bool has_name(const char *const *names, const char *name) {
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

static enum shoal_status check_job(const struct shoal_trust *trust,
                                   const struct shoal_claim *claim,
                                   const struct shoal_warrant_job *job,
                                   struct shoal_error *err) {
    char seed[24];
    const char *wrong = NULL;
    snprintf(seed, sizeof(seed), "%" PRIu64, claim->seed);
    if (strcmp(job->queue, claim->queue) != 0 || !has_name(trust->queues, job->queue))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "it was signed for the queue '%s', and came by another: "
                               "it was altered",
                               job->queue);
    if (!same_policy(job->policy, claim->policy))
        wrong = "its policy";
    else if (strcmp(job->seed, seed) != 0)
        wrong = "its seed";
    else if (!job->open && claim->lease->hi > job->total)
        wrong = "the number of its tasks";
    else if (job->has_arguments != (claim->pack != NULL))
        wrong = "whether it has arguments";
    else if (!trust->any_time && shoal_wall_ms() < job->start_ms - EARLY_MS)
        wrong = "when it starts";
    return wrong == NULL
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_REFUSED,
                                 "%s is not what was signed: it was altered", wrong);
}

/* By the same key, as one that has part in a job has part in all of it. */
static enum shoal_status check_arguments(const struct shoal_claim *claim,
                                         struct shoal_error *err) {
    const struct shoal_warrant *warrant = claim->warrant;
    struct shoal_signer_name name;
    if (claim->pack == NULL)
        return SHOAL_OK;
    if (!shoal_seal_name(claim->seal, strlen(claim->seal), &name))
        return shoal_error_set(err, SHOAL_REFUSED,
                               "the job is signed and the arguments of task %" PRId64
                               " are not",
                               claim->lease->lo);
    if (strcmp(name.digits, warrant->signer.digits) != 0)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "the arguments of task %" PRId64
                               " were signed with another key than the job",
                               claim->lease->lo);
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, claim->pack_len + 512);
    shoal_arguments_statement(&text, warrant->name_space, warrant->store,
                              claim->lease->job, claim->first, claim->pack,
                              claim->pack_len);
    if (text.failed)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for arguments");
    enum shoal_status status = shoal_seal_check(claim->seal, text.data, text.len);
    if (status == SHOAL_MEMORY)
        return shoal_error_set(err, status, "no memory to check a signature");
    if (status != SHOAL_OK)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "the arguments of task %" PRId64
                               " are not what was signed: they were altered",
                               claim->lease->lo);
    return SHOAL_OK;
}

static bool is_within(int64_t asked, int64_t most) {
    return most == 0 || (asked > 0 && asked <= most);
}

static bool are_within(const struct shoal_limits *asked,
                       const struct shoal_limits *most) {
    return is_within(asked->memory, most->memory) &&
           is_within(asked->millicpus, most->millicpus) &&
           is_within(asked->processes, most->processes) &&
           is_within(asked->file_size, most->file_size);
}

/* The files of its lists are looked at where a program is started. */
enum shoal_status shoal_trust_check_limits(const struct shoal_trusted_key *key,
                                           const struct shoal_limits *asked,
                                           struct shoal_error *err) {
    if (are_within(asked, &key->limits))
        return SHOAL_OK;
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    shoal_buffer_init(&text, 256);
    shoal_limits_print(&key->limits, &text);
    return shoal_error_set(err, SHOAL_REFUSED,
                           "the key of '%s' may run here what asks for limits of at most "
                           "%s, and this asks for more or for none",
                           key->name, shoal_buffer_text(&text));
}

static enum shoal_status check_queue(const struct shoal_trusted_key *key,
                                     const char *queue, struct shoal_error *err) {
    return key->queues == NULL || shoal_name_is_in(key->queues, queue)
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_REFUSED,
                                 "the key of '%s' may not use the queue '%s' here",
                                 key->name, queue);
}

enum shoal_status shoal_trust_check(const struct shoal_trust *trust,
                                    const struct shoal_claim *claim,
                                    const struct shoal_trusted_key **ret_key,
                                    struct shoal_error *err) {
    const struct shoal_warrant *warrant = claim->warrant;
    const struct shoal_warrant_job *job = shoal_warrant_find(warrant, claim->lease->job);
    const struct shoal_trusted_key *key = find(trust, &warrant->signer);
    enum shoal_status status = check_place(trust, warrant, err);
    if (status == SHOAL_OK && key == NULL)
        return shoal_error_set(err, SHOAL_REFUSED, "its key is not trusted any more");
    if (status == SHOAL_OK && job == NULL)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "what was signed does not name this job: it was copied");
    if (status == SHOAL_OK && strcmp(warrant->specs[job->spec], claim->spec_hash) != 0)
        return shoal_error_set(err, SHOAL_GARBAGE,
                               "what it would run is not what was signed: the spec was "
                               "altered");
    if (status == SHOAL_OK)
        status = check_job(trust, claim, job, err);
    if (status == SHOAL_OK)
        status = check_arguments(claim, err);
    if (status == SHOAL_OK)
        status = check_queue(key, job->queue, err);
    if (status == SHOAL_OK)
        *ret_key = key;
    return status;
}

void shoal_trust_warn(struct shoal_trust *trust, const char *job,
                      const struct shoal_error *err) {
    for (size_t i = 0; i < trust->n_warned && i < SHOAL_TRUST_WARNED; i++) {
        if (strcmp(trust->warned[i], job) == 0)
            return;
    }
    snprintf(trust->warned[trust->n_warned++ % SHOAL_TRUST_WARNED],
             sizeof(trust->warned[0]), "%s", job);
    shoal_warn("%s: job=%s", err->text, job);
}
