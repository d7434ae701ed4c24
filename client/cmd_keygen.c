/* Makes a key that signs jobs. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/signer.h"
#include "common/state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void shoal_key_comment(char comment[SHOAL_COMMENT_ROOM]) {
    shoal_client_owner(comment, SHOAL_COMMENT_ROOM);
    for (char *at = comment; *at != '\0'; at++) {
        if (*at <= ' ' || *at == '#' || *at == '=' || *at > '~')
            *at = '-';
    }
}

static enum shoal_status make_folder(const char *path, struct shoal_error *err) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    if (shoal_directories_make(folder))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_SYSTEM, "cannot make the directory '%.200s': %s",
                           folder, strerror(errno));
}

enum shoal_status shoal_key_make_usual(const char *path, struct shoal_signer **ret_signer,
                                       struct shoal_error *err) {
    char comment[SHOAL_COMMENT_ROOM];
    enum shoal_status status = make_folder(path, err);
    shoal_key_comment(comment);
    return status == SHOAL_OK ? shoal_signer_create(path, comment, ret_signer, err)
                              : status;
}

/* Where a line has to stand for a worker to run the jobs of its key. */
static void tell_where_lines_go(void) {
    char state[PATH_MAX - 16], own[PATH_MAX];
    shoal_cli_say("shoal: a worker runs its jobs when that line is in the file of its "
                  "--trust-keys: /etc/shoal/trusted-keys of root and "
                  "~/.config/shoal/trusted-keys of others, unless said");
    if (shoal_state_of_user(state, sizeof(state), NULL) != SHOAL_OK)
        return;
    snprintf(own, sizeof(own), "%s/trusted-keys", state);
    if (access(own, F_OK) == 0)
        shoal_cli_say("shoal: that file of this host's local cluster is '%s'", own);
}

/* What is there is kept; most often it is the line of that key which is looked for. */
static enum shoal_status refuse_to_overwrite(const char *path, bool is_usual,
                                             struct shoal_error *err) {
    struct shoal_signer *signer = NULL;
    struct shoal_error why = {.status = SHOAL_OK};
    char comment[SHOAL_COMMENT_ROOM];
    shoal_key_comment(comment);
    if (shoal_signer_read(path, &signer, &why) != SHOAL_OK)
        return shoal_error_set(err, SHOAL_REFUSED,
                               "what is there already is never overwritten: %s; for a "
                               "key name another file: shoal keygen FILE",
                               why.text);
    shoal_error_set(err, SHOAL_REFUSED,
                    "'%.200s' is there already%s, and a key is never overwritten; its "
                    "line for workers is '%s %s'; for another key name another file: "
                    "shoal keygen FILE",
                    path, is_usual ? " and signs by itself" : "",
                    shoal_signer_name(signer)->digits, comment);
    shoal_signer_destroy(signer);
    return SHOAL_REFUSED;
}

/* Names that are a slip: '-' is no stdout here, and what has a control character in it
 * can hardly be named again. */
static enum shoal_status check_name(const char *path, struct shoal_error *err) {
    if (*path == '\0')
        return shoal_error_set(err, SHOAL_INVALID, "the name of the key's file is empty");
    if (strcmp(path, "-") == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'-' is no file for a key, which is never printed; name "
                               "one: shoal keygen FILE");
    for (const char *at = path; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == '\x7f')
            return shoal_error_set(err, SHOAL_INVALID,
                                   "the name of the key's file has a control character "
                                   "in it, its character %zd; name another",
                                   at - path + 1);
    }
    return SHOAL_OK;
}

static enum shoal_status make_key(const char *path, struct shoal_error *err) {
    char usual[PATH_MAX], comment[SHOAL_COMMENT_ROOM];
    struct shoal_signer *signer = NULL;
    enum shoal_status status = SHOAL_OK;
    bool is_usual = path == NULL;
    if (is_usual) {
        path = usual;
        status = shoal_signer_usual_path(usual, sizeof(usual), err);
    } else {
        status = check_name(path, err);
    }
    if (status == SHOAL_OK && access(path, F_OK) == 0)
        status = refuse_to_overwrite(path, is_usual, err);
    shoal_key_comment(comment);
    if (status == SHOAL_OK)
        status = is_usual ? shoal_key_make_usual(usual, &signer, err)
                          : shoal_signer_create(path, comment, &signer, err);
    if (status != SHOAL_OK)
        return status;
    printf("%s %s\n", shoal_signer_name(signer)->digits, comment);
    shoal_cli_say("shoal: the key is in '%s'%s; the line above, for workers, also in "
                  "'%s.pub'",
                  path, is_usual ? " and signs by itself" : "", path);
    tell_where_lines_go();
    shoal_signer_destroy(signer);
    return SHOAL_OK;
}

static int keygen(int n, char **words) {
    struct shoal_error err = {.status = SHOAL_OK};
    return make_key(n == 1 ? words[0] : NULL, &err) == SHOAL_OK ? SHOAL_EXIT_OK
                                                                : shoal_cli_fail(&err);
}

const struct shoal_cli_command shoal_cmd_keygen = {
    .name = "keygen",
    .usage = "[FILE]",
    .summary = "make a key that signs jobs, and print what workers are to trust",
    .details =
        "Into FILE, or ~/.config/shoal/signing.key, whose key signs what is submitted\n"
        "without further words. The line that is printed, and kept in FILE.pub, goes "
        "into\n"
        "the trusted-keys of workers: shoal-worker(1). A file that is there stays as it "
        "is.",
    .words_most = 1,
    .run = keygen,
};
