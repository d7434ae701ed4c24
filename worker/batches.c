#include "worker/batches.h"

#include <assert.h>

static struct shoal_given *item(struct shoal_batches *batches, size_t i) {
    return &batches->items[(batches->first + i) % SHOAL_BATCHES_MAX];
}

struct shoal_given *shoal_batches_first(struct shoal_batches *batches) {
    return batches->n == 0 ? NULL : item(batches, 0);
}

struct shoal_given *shoal_batches_at(struct shoal_batches *batches, size_t i) {
    for (size_t at = 0; at < batches->n; at++) {
        struct shoal_given *given = item(batches, at);
        if (!given->dropped && i-- == 0)
            return given;
    }
    return NULL;
}

struct shoal_given *shoal_batches_add(struct shoal_batches *batches,
                                      const struct shoal_batch *batch) {
    assert(batches->n < SHOAL_BATCHES_MAX);
    struct shoal_given *given = item(batches, batches->n++);
    *given = (struct shoal_given){.batch = *batch};
    if (batch->arguments != NULL) {
        given->arguments = *batch->arguments;
        given->batch.arguments = &given->arguments;
    }
    return given;
}

void shoal_batches_shift(struct shoal_batches *batches) {
    assert(batches->n > 0);
    batches->first = (batches->first + 1) % SHOAL_BATCHES_MAX;
    batches->n--;
}

void shoal_batches_clear(struct shoal_batches *batches) {
    batches->first = batches->n = 0;
    batches->positions = 0;
}

struct shoal_given *shoal_batches_unsent(struct shoal_batches *batches) {
    for (size_t i = batches->n; i > 0; i--) {
        if (item(batches, i - 1)->sent)
            return i < batches->n ? item(batches, i) : NULL;
    }
    return shoal_batches_first(batches);
}

void shoal_batches_sent(struct shoal_batches *batches, struct shoal_given *given,
                        int64_t count) {
    given->batch.hi = given->end = given->batch.lo + count;
    given->shift = batches->positions - given->batch.lo;
    given->sent = true;
    batches->positions += count;
}

int64_t shoal_batches_find(struct shoal_batches *batches, int64_t position,
                           size_t *ret_place) {
    struct shoal_given *given = NULL;
    for (size_t i = 0; (given = shoal_batches_at(batches, i)) != NULL; i++) {
        if (given->sent && position >= given->shift + given->batch.lo &&
            position < given->shift + given->batch.hi) {
            *ret_place = i;
            return position - given->shift;
        }
    }
    *ret_place = 0;
    given = shoal_batches_at(batches, 0);
    return given == NULL ? 0 : given->batch.lo;
}

bool shoal_batches_took_back(struct shoal_batches *batches, int64_t position) {
    for (size_t i = 0; i < batches->n; i++) {
        const struct shoal_given *given = item(batches, i);
        int64_t from = given->dropped ? given->batch.lo : given->batch.hi;
        if (given->sent && position >= given->shift + from &&
            position < given->shift + given->end)
            return true;
    }
    return false;
}

void shoal_batches_drop_behind(struct shoal_batches *batches,
                               const struct shoal_given *given) {
    size_t at = 0, kept = 0;
    while (at < batches->n && item(batches, at) != given)
        at++;
    for (kept = ++at; at < batches->n; at++) {
        item(batches, at)->dropped = true;
        if (item(batches, at)->sent)
            kept = at + 1;
    }
    if (kept < batches->n)
        batches->n = kept;
}

int64_t shoal_batches_tasks(struct shoal_batches *batches) {
    int64_t n = 0;
    const struct shoal_given *given = NULL;
    for (size_t i = 0; (given = shoal_batches_at(batches, i)) != NULL; i++)
        n += given->batch.hi - given->batch.lo;
    return n;
}
