#include "worker/link.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <string.h>

enum {
    NEW_WORD_MS = 60000, /* before it is said that there is another reason; one that
                            somebody must do something about does not wait */
};

const char *shoal_link_how(const struct shoal_link *link) {
    if (shoal_redis_is_up(link->redis))
        return "refuses";
    return shoal_redis_is_refused(link->redis) ? "cannot be used" : "is away";
}

static void say_trouble(struct shoal_trouble *trouble, int64_t now_ms) {
    if (trouble->said_ms != 0 && now_ms - trouble->said_ms < SHOAL_LINK_WORD_MS)
        return; /* the watchdog says it when there is still something to say */
    shoal_warn("Redis %s, what runs goes on and outcomes wait: %s", trouble->what,
               trouble->why);
    trouble->said = true;
    trouble->said_ms = now_ms;
}

void shoal_link_note_trouble(struct shoal_link *link, const char *what,
                             const struct shoal_error *err) {
    struct shoal_trouble *trouble = &link->trouble;
    if (trouble->since_ms != 0)
        return;
    trouble->since_ms = shoal_wall_ms();
    trouble->what = what;
    snprintf(trouble->why, sizeof(trouble->why), "%s", err->text);
    if (link->flaps.since_ms != 0) /* of which was spoken: only when it stays away */
        trouble->said_ms = shoal_now_ms();
    say_trouble(trouble, shoal_now_ms());
}

void shoal_link_end_trouble(struct shoal_link *link) {
    if (link->trouble.said)
        shoal_info("Redis is back");
    link->trouble.since_ms = link->denied_ms = 0;
    link->trouble.said = false;
}

void shoal_link_refused(struct shoal_link *link, enum shoal_status status,
                        const struct shoal_error *err) {
    if (status == SHOAL_LOST || status == SHOAL_TIMEOUT)
        return;
    link->answered_ms = shoal_now_ms();
    if (status == SHOAL_DENIED && link->denied_ms == 0)
        link->denied_ms =
            link->answered_ms + (int64_t)(shoal_random() % SHOAL_LINK_DENIED_MS);
    shoal_link_note_trouble(link, "refuses", err);
}

/* Redis takes what is done and gives nothing new out. One that is now and then over the
 * edge is told of now and then. */
void shoal_link_note_full(struct shoal_link *link, bool full) {
    int64_t now = shoal_now_ms();
    if (!full && link->full_said)
        shoal_info("Redis has room again and hands out tasks");
    if (!full)
        link->full_ms = 0;
    else if (link->full_ms == 0)
        link->full_ms = shoal_wall_ms();
    link->full_said = link->full_said && full;
    if (!full || link->full_said ||
        (link->full_said_ms != 0 && now - link->full_said_ms < SHOAL_LINK_WORD_MS))
        return;
    shoal_warn(
        "Redis is full (over 90 %% of its maxmemory): it takes outcomes, but hands "
        "out no tasks until there is room; take results out, forget jobs that are "
        "over, or raise maxmemory");
    link->full_said = true;
    link->full_said_ms = now;
}

static void end_flaps(struct shoal_link *link) {
    bool is_well = shoal_redis_is_up(link->redis) && shoal_redis_is_up(link->bell);
    if (link->flaps.said && is_well)
        shoal_info("the connections to Redis hold again");
    link->flaps.since_ms = 0;
    link->flaps.said = false;
}

/* One word when it begins and one when it is over. Otherwise the one connection would be
 * away and back many times a minute, and of the other nobody would hear. */
void shoal_link_note_flaps(struct shoal_link *link, int64_t now_ms) {
    struct shoal_trouble *flaps = &link->flaps;
    bool both = shoal_redis_flaps(link->redis);
    if (!both && !shoal_redis_flaps(link->bell)) {
        end_flaps(link);
        return;
    }
    if (flaps->since_ms == 0)
        flaps->since_ms = shoal_wall_ms();
    snprintf(flaps->why, sizeof(flaps->why), "%s",
             shoal_redis_why(both ? link->redis : link->bell));
    if (flaps->said ||
        (flaps->said_ms != 0 && now_ms - flaps->said_ms < SHOAL_LINK_WORD_MS))
        return;
    shoal_warn(
        "%s to Redis is made and soon lost, again and again; what runs goes on: %s",
        both ? "the connection" : "the connection for news of work", flaps->why);
    flaps->said = true;
    flaps->said_ms = now_ms;
}

void shoal_link_answered(struct shoal_link *link) {
    link->answered_ms = shoal_now_ms();
}

void shoal_link_say_again(struct shoal_link *link, int64_t now_ms) {
    struct shoal_trouble *trouble = &link->trouble;
    const char *why = shoal_redis_why(link->redis);
    int64_t pause =
        shoal_redis_is_refused(link->redis) ? SHOAL_LINK_WORD_MS : NEW_WORD_MS;
    if (trouble->since_ms == 0)
        return;
    if (!trouble->said)
        say_trouble(trouble, now_ms);
    if (shoal_redis_is_up(link->redis) || strcmp(why, trouble->why) == 0 ||
        now_ms - trouble->said_ms < pause)
        return;
    trouble->what = shoal_link_how(link);
    snprintf(trouble->why, sizeof(trouble->why), "%s", why);
    say_trouble(trouble, now_ms);
}
