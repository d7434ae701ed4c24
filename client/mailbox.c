#include "client/mailbox.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/id.h"

#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
    LISTEN_S = 10,
    AT_ONCE = 500, /* messages of an answer */
    EXPECTED_MAX = 100000,
    PATIENCE_MS = 250,   /* before a job is looked at of which nothing was told */
    LETTERS_MAX = 20000, /* unread ones are dropped from here on, the oldest first */
};

/* A letter as it is kept; its entry is behind it. */
struct kept {
    struct shoal_letter letter; /* first: what is found and handed out */
    TAILQ_ENTRY(kept) link;
};

struct shoal_mailbox {
    struct event_base *base;
    struct shoal_redis *redis;
    struct shoal_queue queue;
    char name[SHOAL_ID_LEN + 1];
    void *by_job;   /* a tree of letters … */
    void *expected; /* … and one of those that are to come: job and total */
    size_t n_expected;
    int64_t listens_ms; /* since when; 0: nobody has waited yet */
    TAILQ_HEAD(, kept) letters;
    size_t n;
    struct event *timer; /* ends a wait */
    bool listening;
    bool waiting;
    bool came; /* something has, since the wait began */
};

/* Letters and what is expected begin with the job's id. */
static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Also one that is not to be trusted. */
static struct shoal_expected *find_expected(const struct shoal_mailbox *mailbox,
                                            const char *job) {
    void *found = tfind(job, &mailbox->expected, compare);
    return found == NULL ? NULL : *(struct shoal_expected **)found;
}

static void forget_expected(struct shoal_mailbox *mailbox,
                            struct shoal_expected *expected) {
    if (expected == NULL)
        return;
    tdelete(expected, &mailbox->expected, compare);
    mailbox->n_expected--;
    free(expected);
}

void shoal_mailbox_expect(struct shoal_mailbox *mailbox, const char *job, int64_t total) {
    struct shoal_expected *expected =
        mailbox->n_expected < EXPECTED_MAX ? calloc(1, sizeof(*expected)) : NULL;
    if (expected == NULL)
        return; /* who waits for it looks */
    snprintf(expected->job, sizeof(expected->job), "%s", job);
    expected->total = total;
    expected->due_ms = shoal_now_ms() + PATIENCE_MS;
    if (tsearch(expected, &mailbox->expected, compare) == NULL)
        free(expected);
    else
        mailbox->n_expected++;
}

struct shoal_expected *shoal_mailbox_expects(const struct shoal_mailbox *mailbox,
                                             const char *job) {
    struct shoal_expected *expected = find_expected(mailbox, job);
    if (expected == NULL || expected->total < 0)
        return NULL;
    int64_t since = mailbox->listens_ms == 0 ? shoal_now_ms() : mailbox->listens_ms;
    if (expected->due_ms < since + PATIENCE_MS)
        expected->due_ms = since + PATIENCE_MS; /* before, it could not be told */
    return expected;
}

void shoal_mailbox_seen(struct shoal_mailbox *mailbox, const char *job) {
    forget_expected(mailbox, shoal_mailbox_expects(mailbox, job));
}

void shoal_mailbox_distrust(struct shoal_mailbox *mailbox, const char *job) {
    struct shoal_expected *expected = find_expected(mailbox, job);
    free(shoal_mailbox_take(mailbox, job));
    if (expected != NULL)
        expected->total = -1;
}

static void drop(struct shoal_mailbox *mailbox, struct kept *kept) {
    tdelete(&kept->letter, &mailbox->by_job, compare);
    TAILQ_REMOVE(&mailbox->letters, kept, link);
    mailbox->n--;
}

/* ---- what comes */

/* "job state:counters", a line, and behind it the entry. NULL: it is no letter. What is
 * read is the caller's until it is kept. */
static struct kept *read_letter(const char *text, size_t len) {
    struct shoal_job now = {.state = SHOAL_JOB_WAITING};
    const char *line = memchr(text, '\n', len);
    if (line == NULL || line - text <= SHOAL_ID_LEN || text[SHOAL_ID_LEN] != ' ' ||
        !shoal_job_read_counters(text + SHOAL_ID_LEN + 1,
                                 (size_t)(line - text) - SHOAL_ID_LEN - 1, &now) ||
        !shoal_job_state_is_final(now.state))
        return NULL;
    size_t rest = len - (size_t)(line + 1 - text);
    struct kept *kept = malloc(sizeof(*kept) + rest);
    if (kept == NULL)
        return NULL;
    memcpy(kept + 1, line + 1, rest);
    kept->letter = (struct shoal_letter){
        .state = now.state,
        .total = now.total,
        .ok = now.ok,
        .failed = now.failed,
        .cancelled = now.cancelled,
        .entry = rest == 0 ? NULL : (const char *)(kept + 1),
        .len = rest,
    };
    memcpy(kept->letter.job, text, SHOAL_ID_LEN);
    return kept;
}

/* In place of an older one of the same job. */
static void keep(struct shoal_mailbox *mailbox, struct kept *kept) {
    struct shoal_expected *expected = find_expected(mailbox, kept->letter.job);
    if (expected != NULL && expected->total < 0)
        kept->letter.entry = NULL; /* of which end it tells is not known */
    forget_expected(mailbox, expected);
    free(shoal_mailbox_take(mailbox, kept->letter.job));
    if (tsearch(&kept->letter, &mailbox->by_job, compare) == NULL) {
        free(kept); /* no memory: who waits looks */
        return;
    }
    TAILQ_INSERT_TAIL(&mailbox->letters, kept, link);
    if (++mailbox->n > LETTERS_MAX) {
        struct kept *oldest = TAILQ_FIRST(&mailbox->letters);
        drop(mailbox, oldest);
        free(oldest);
    }
}

/* A message of another shape only says that there is news. */
static void take_message(struct shoal_mailbox *mailbox, const redisReply *message) {
    struct kept *kept = message->type == REDIS_REPLY_STRING
                            ? read_letter(message->str, message->len)
                            : NULL;
    if (kept != NULL)
        keep(mailbox, kept);
}

static void listen_again(struct shoal_mailbox *mailbox);

static void heard(void *owner, enum shoal_status status, const redisReply *reply,
                  const struct shoal_error *err) {
    struct shoal_mailbox *mailbox = owner;
    const redisReply *messages = status == SHOAL_OK ? shoal_reply_at(reply, 1) : NULL;
    (void)err;
    mailbox->listening = false;
    if (messages != NULL && messages->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < messages->elements; i++)
            take_message(mailbox, messages->element[i]);
        mailbox->came = true;
        if (mailbox->waiting)
            event_base_loopbreak(mailbox->base);
    }
    if (status == SHOAL_OK && reply->type != REDIS_REPLY_ERROR)
        listen_again(mailbox);
}

static void listen_again(struct shoal_mailbox *mailbox) {
    SHOAL_CLEANUP(shoal_request_cleanup) struct shoal_request request;
    char key[SHOAL_KEY_MAX];
    if (mailbox->listening || !shoal_redis_is_up(mailbox->redis))
        return;
    shoal_key_make(key, mailbox->queue.prefix, SHOAL_KEY_MAIL, mailbox->name);
    shoal_request_init(&request);
    shoal_request_text(&request, "BLMPOP");
    shoal_request_int(&request, LISTEN_S);
    shoal_request_int(&request, 1);
    shoal_request_text(&request, key);
    shoal_request_text(&request, "LEFT");
    shoal_request_text(&request, "COUNT");
    shoal_request_int(&request, AT_ONCE);
    mailbox->listening =
        shoal_redis_send(mailbox->redis, &request, (LISTEN_S + 5) * INT64_C(1000), heard,
                         mailbox, NULL) == SHOAL_OK;
}

static void up(void *owner) {
    listen_again(owner);
}

static void over(evutil_socket_t fd, short what, void *owner) {
    struct shoal_mailbox *mailbox = owner;
    (void)fd;
    (void)what;
    event_base_loopbreak(mailbox->base);
}

/* ---- life */

enum shoal_status shoal_mailbox_create(struct event_base *base,
                                       const struct shoal_redis_address *address,
                                       const char *name_space,
                                       struct shoal_mailbox **ret_mailbox,
                                       struct shoal_error *err) {
    struct shoal_mailbox *mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a mailbox");
    const struct shoal_redis_options options = {.client_name = "shoal-mail",
                                                .reconnect = true};
    const struct shoal_redis_events events = {.up = up, .owner = mailbox};
    mailbox->base = base;
    TAILQ_INIT(&mailbox->letters);
    shoal_id_make(mailbox->name);
    mailbox->timer = evtimer_new(base, over, mailbox);
    enum shoal_status status =
        mailbox->timer == NULL
            ? shoal_error_set(err, SHOAL_MEMORY, "no memory for a mailbox")
            : shoal_redis_create(base, address, &options, &events, &mailbox->redis, err);
    if (status != SHOAL_OK) {
        shoal_mailbox_destroy(mailbox);
        return status;
    }
    shoal_queue_init(&mailbox->queue, mailbox->redis, name_space, 10000);
    *ret_mailbox = mailbox;
    return SHOAL_OK;
}

void shoal_mailbox_destroy(struct shoal_mailbox *mailbox) {
    if (mailbox == NULL)
        return;
    shoal_redis_destroy(mailbox->redis);
    if (mailbox->timer != NULL)
        event_free(mailbox->timer);
    for (struct kept *kept; (kept = TAILQ_FIRST(&mailbox->letters)) != NULL;) {
        drop(mailbox, kept);
        free(kept);
    }
    tdestroy(mailbox->expected, free);
    free(mailbox);
}

const char *shoal_mailbox_name(const struct shoal_mailbox *mailbox) {
    return mailbox->name;
}

struct shoal_letter *shoal_mailbox_take(struct shoal_mailbox *mailbox, const char *job) {
    void *found = tfind(job, &mailbox->by_job, compare);
    if (found == NULL)
        return NULL;
    struct kept *kept = *(struct kept **)found;
    drop(mailbox, kept);
    return &kept->letter;
}

bool shoal_mailbox_wait(struct shoal_mailbox *mailbox, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    shoal_redis_start(mailbox->redis);
    if (mailbox->listens_ms == 0)
        mailbox->listens_ms = shoal_now_ms();
    mailbox->waiting = true;
    if (!mailbox->came && ms <= 0) {
        event_base_loop(mailbox->base, EVLOOP_NONBLOCK);
    } else if (!mailbox->came) {
        evtimer_add(mailbox->timer, &tv);
        event_base_dispatch(mailbox->base);
        evtimer_del(mailbox->timer);
    }
    bool came = mailbox->came;
    mailbox->waiting = mailbox->came = false;
    return came;
}
