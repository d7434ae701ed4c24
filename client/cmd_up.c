/* up and down: the local cluster that stays, and may let others join. */
#include "client/cli.h"

#include "client/interrupt.h"
#include "client/invitation.h"
#include "common/cleanup.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t slots;
static const char *queue;
static const char *listens;

static const struct shoal_option options[] = {
    {.name = "slots",
     .letter = 's',
     .type = SHOAL_OPTION_INTEGER,
     .value = &slots,
     .argument = "N",
     .fallback = "0",
     .least = "0",
     .most = "1024",
     .help = "how many tasks run at a time; 0: as many as there are cores"},
    {.name = "queue",
     .letter = 'q',
     .type = SHOAL_OPTION_NAME,
     .value = &queue,
     .argument = "NAME",
     .fallback = "default",
     .help = "the queue that its worker serves"},
    {.name = "listen",
     .type = SHOAL_OPTION_TEXT,
     .value = &listens,
     .argument = "ADDRESS[:PORT]",
     .help = "let workers of other hosts join, by TLS at that address or name of this "
             "host (0.0.0.0: all of them), port 6380 unless said, 0: any that is free, "
             "and the same next time; jobs have to be signed then"},
    {.name = NULL},
};

/* ---- the key that others are to trust */

/* The one that signs what is submitted from here; made if there is none. */
static enum shoal_status take_key(struct shoal_invitation_key *ret_key,
                                  struct shoal_error *err) {
    const char *path = getenv("SHOAL_SIGN_KEY");
    char usual[PATH_MAX];
    struct shoal_signer *signer = NULL;
    enum shoal_status status = SHOAL_OK;
    bool is_usual = path == NULL || *path == '\0';
    if (is_usual) {
        status = shoal_signer_usual_path(usual, sizeof(usual), err);
        path = usual;
    }
    if (status == SHOAL_OK && is_usual && access(usual, F_OK) != 0) {
        status = shoal_key_make_usual(usual, &signer, err);
        if (status == SHOAL_OK)
            shoal_cli_say("shoal: made a key in '%s'; it signs what is submitted from "
                          "here",
                          usual);
    } else if (status == SHOAL_OK) {
        status = shoal_signer_read(path, &signer, err);
    }
    if (status != SHOAL_OK)
        return status;
    ret_key->name = *shoal_signer_name(signer);
    shoal_key_comment(ret_key->comment);
    shoal_signer_destroy(signer);
    return SHOAL_OK;
}

/* ---- what is told */

/* What the next host runs to get the token from here; two shells read the path. */
static void add_command(const struct shoal_invitation *invitation, const char *token,
                        struct shoal_buffer *text) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer quoted;
    const struct passwd *user = getpwuid(geteuid());
    shoal_buffer_init(&quoted, 2L * PATH_MAX);
    shoal_shell_quote(&quoted, token);
    shoal_buffer_add_text(text, "ssh ");
    if (user != NULL)
        shoal_buffer_add_format(text, "%s@", user->pw_name);
    shoal_buffer_add_format(text, "%s cat ", invitation->listen.host);
    shoal_shell_quote(text, shoal_buffer_text(&quoted));
    shoal_buffer_add_text(text, " | shoal worker --join - --allow-any");
}

static void tell_of_port(const struct shoal_listen *listen) {
    if (listen->before != 0 && listen->port != listen->before)
        shoal_cli_say("shoal: port %d, where it listened before, is taken now, so it "
                      "listens at %d; who has joined has to join again, with the token "
                      "of now",
                      listen->before, listen->port);
}

static void tell_people(const char *url, const struct shoal_invitation_key *key,
                        const char *token, const char *command, bool is_loopback) {
    printf(
        "%s\n"
        "trusted key: %s %s\n"
        "join token:  %s\n"
        "\n"
        "On each of the others, with shoal installed and ssh to this host:\n"
        "  %s\n"
        "or bring that file there, for your eyes alone, and run: shoal worker --join "
        "FILE --allow-any\n"
        "With --allow PATTERN in place of --allow-any only what that names runs there.\n",
        url, key->name.digits, key->comment, token, command);
    if (is_loopback)
        shoal_cli_say("shoal: this is an address of this host alone; nobody else can "
                      "reach it");
}

static enum shoal_status tell_scripts(const char *url,
                                      const struct shoal_invitation_key *key,
                                      const char *token, const char *command,
                                      struct shoal_error *err) {
    struct shoal_row row;
    shoal_row_init(&row);
    shoal_list_row(&row);
    enum shoal_status status = shoal_row_add_text(&row, "url", url, err);
    if (status == SHOAL_OK && key != NULL)
        status = shoal_row_add_text(&row, "key", key->name.digits, err);
    if (status == SHOAL_OK && key != NULL)
        status = shoal_row_add_text(&row, "token", token, err);
    if (status == SHOAL_OK && key != NULL)
        status = shoal_row_add_text(&row, "command", command, err);
    if (status == SHOAL_OK)
        shoal_print_json(&row);
    shoal_row_finish(&row);
    return status;
}

static enum shoal_status tell_how_to_join(const struct shoal_invitation *invitation,
                                          const struct shoal_invitation_key *key,
                                          struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer command;
    char token[PATH_MAX], url[SHOAL_LISTEN_HOST + 64];
    shoal_buffer_init(&command, 4L * PATH_MAX);
    enum shoal_status status = shoal_state_path("join", token, sizeof(token), err);
    if (status != SHOAL_OK)
        return status;
    shoal_invitation_url(invitation, url, sizeof(url));
    add_command(invitation, token, &command);
    const char *text = shoal_buffer_text(&command);
    tell_of_port(&invitation->listen);
    if (shoal_cli.json)
        return tell_scripts(url, key, token, text, err);
    tell_people(url, key, token, text, invitation->listen.is_loopback);
    return SHOAL_OK;
}

static enum shoal_status tell_url(const struct shoal_cluster *cluster,
                                  struct shoal_error *err) {
    const char *where = shoal_cluster_listens(cluster);
    if (where != NULL)
        shoal_cli_say("shoal: it goes on listening at %s; 'shoal down' ends that", where);
    if (shoal_cli.json)
        return tell_scripts(shoal_cluster_url(cluster), NULL, NULL, NULL, err);
    printf("%s\n", shoal_cluster_url(cluster));
    return SHOAL_OK;
}

/* ---- the commands */

static enum shoal_status begin(struct shoal_invitation *invitation,
                               struct shoal_invitation_key *key,
                               struct shoal_cluster **ret_cluster,
                               struct shoal_error *err) {
    const char *name_space = shoal_cli.name_space_given ? shoal_cli.name_space : NULL;
    if (listens == NULL)
        return shoal_cluster_use(SHOAL_CLUSTER_UP, name_space, queue, slots, ret_cluster,
                                 err);
    enum shoal_status status = shoal_listen_parse(listens, &invitation->listen, err);
    if (status == SHOAL_OK)
        status = take_key(key, err);
    return status == SHOAL_OK ? shoal_cluster_listen(invitation, key, name_space, queue,
                                                     slots, ret_cluster, err)
                              : status;
}

/* Whether the URL comes from the environment. */
static bool is_of_environment(void) {
    const char *own = getenv("SHOAL_REDIS");
    return own != NULL && shoal_cli.redis != NULL && strcmp(own, shoal_cli.redis) == 0;
}

static enum shoal_status check_redis(const char *what, struct shoal_error *err) {
    return !shoal_cli.redis_given || is_of_environment()
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_INVALID,
                                 "'shoal %s' %s a Redis of its own, so --redis does not "
                                 "go with it; shoal-worker works for another Redis",
                                 what, *what == 'u' ? "starts" : "stops");
}

static int up(int n, char **words) {
    struct shoal_cluster *cluster = NULL;
    struct shoal_invitation invitation;
    struct shoal_invitation_key key;
    struct shoal_error err = {.status = SHOAL_OK};
    (void)n;
    (void)words;
    shoal_interrupts_begin();
    enum shoal_status status = check_redis("up", &err);
    if (status == SHOAL_OK)
        status = begin(&invitation, &key, &cluster, &err);
    if (status == SHOAL_OK)
        status = shoal_cluster_keep(cluster, &err);
    if (status == SHOAL_OK)
        shoal_use_note_slots(cluster, slots);
    if (status == SHOAL_OK)
        status = listens == NULL ? tell_url(cluster, &err)
                                 : tell_how_to_join(&invitation, &key, &err);
    if (status == SHOAL_OK && shoal_cli.redis_given)
        shoal_cli_say("shoal: SHOAL_REDIS is set, so other commands of this shell go "
                      "there and not to the local cluster; unset it to use that");
    shoal_cluster_leave(cluster, false);
    return status == SHOAL_OK ? SHOAL_EXIT_OK : shoal_cli_fail(&err);
}

static int down(int n, char **words) {
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_local_end end;
    (void)n;
    (void)words;
    if (check_redis("down", &err) != SHOAL_OK ||
        shoal_cluster_down(&end, &err) != SHOAL_OK)
        return shoal_cli_fail(&err);
    if (end.killed)
        shoal_cli_say("shoal: a worker or the broker did not end within 15 s and was "
                      "killed, so the queue does not know: what it ran goes back some "
                      "seconds after the next start");
    shoal_cli_say(end.ran ? "shoal: the local cluster is stopped, its data stay"
                          : "shoal: no local cluster was running");
    return SHOAL_EXIT_OK;
}

static const struct shoal_option *const tables[] = {options, NULL};

const struct shoal_cli_command shoal_cmd_up = {
    .name = "up",
    .usage = "[--slots N] [--queue NAME] [--listen ADDRESS[:PORT]]",
    .summary = "start a local cluster that stays, and print its URL",
    .details =
        "A private redis-server on a unix socket, a broker and a worker. Other commands "
        "find\n"
        "it by themselves while no Redis is configured. 'shoal down' stops it. What runs "
        "already\n"
        "stays as it is, also its slots; for another queue a worker of its own is "
        "started, which\n"
        "stays too. With --listen workers of other hosts may join: it prints what they "
        "run, and\n"
        "where the token is that lets them in.",
    .tables = tables,
    .reads = true,
    .run = up,
};

const struct shoal_cli_command shoal_cmd_down = {
    .name = "down",
    .usage = "",
    .summary = "stop the local cluster; its data stay",
    .details = "What runs is told to stop and goes back to the queue. A worker that does "
               "not end within\n15 s is killed, and what it ran goes back after the next "
               "start.",
    .run = down,
};
