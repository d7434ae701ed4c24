/* Makes a key that signs jobs. */
#include "client/cli.h"

#include "common/cleanup.h"
#include "common/signer.h"
#include "common/state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

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

static enum shoal_status make_key(const char *path, struct shoal_error *err) {
    char usual[PATH_MAX], comment[SHOAL_COMMENT_ROOM];
    struct shoal_signer *signer = NULL;
    enum shoal_status status = SHOAL_OK;
    shoal_key_comment(comment);
    if (path != NULL) {
        status = shoal_signer_create(path, comment, &signer, err);
    } else {
        path = usual;
        status = shoal_signer_usual_path(usual, sizeof(usual), err);
        if (status == SHOAL_OK)
            status = shoal_key_make_usual(usual, &signer, err);
    }
    if (status != SHOAL_OK)
        return status;
    printf("%s %s\n", shoal_signer_name(signer)->digits, comment);
    shoal_cli_say("shoal: the key is in '%s'%s; workers that are to run its jobs get the "
                  "line above into their trusted-keys",
                  path, path == usual ? " and signs by itself" : "");
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
