#include "client/window.h"

#include <stdlib.h>
#include <string.h>

struct shoal_window_pack {
    int64_t first;
    int64_t n;
    int64_t rows;  /* to come */
    int64_t bytes; /* of them, about */
};

void shoal_window_init(struct shoal_window *window) {
    *window = (struct shoal_window){.packs = NULL};
}

void shoal_window_finish(struct shoal_window *window) {
    free(window->packs);
    free(window->out);
    shoal_window_init(window);
}

bool shoal_window_has_room(const struct shoal_window *window) {
    return window->tasks < SHOAL_WINDOW_TASKS && window->bytes < SHOAL_WINDOW_BYTES;
}

/* Room for one more behind the last: where packs in front have left, or twice as much. */
static bool make_room(struct shoal_window *window) {
    if (window->at + window->n < window->room)
        return true;
    if (window->at <= window->room / 2) {
        size_t room = window->room == 0 ? 64 : 2 * window->room;
        void *grown = realloc(window->packs, room * sizeof(*window->packs));
        if (grown == NULL)
            return false;
        window->packs = grown;
        window->room = room;
    }
    memmove(window->packs, window->packs + window->at,
            window->n * sizeof(*window->packs));
    window->at = 0;
    return true;
}

enum shoal_status shoal_window_add(struct shoal_window *window, int64_t first, int64_t n,
                                   size_t bytes, struct shoal_error *err) {
    if (!make_room(window))
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for what is under way");
    window->packs[window->at + window->n++] = (struct shoal_window_pack){
        .first = first, .n = n, .rows = n, .bytes = (int64_t)bytes};
    window->tasks += n;
    window->bytes += (int64_t)bytes;
    return SHOAL_OK;
}

/* The place of the pack that has a task; `n` when none has. */
static size_t find(const struct shoal_window *window, int64_t index) {
    const struct shoal_window_pack *packs = window->packs + window->at;
    size_t low = 0, high = window->n; /* the pack begins in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (packs[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    bool found = high > low && index >= packs[low].first &&
                 index - packs[low].first < packs[low].n;
    return found ? low : window->n;
}

/* Rows come about in the order of their tasks: a pack that leaves is near the front. */
static void leave(struct shoal_window *window, size_t place) {
    struct shoal_window_pack *packs = window->packs + window->at;
    if (place < window->n / 2) {
        memmove(packs + 1, packs, place * sizeof(*packs));
        window->at++;
    } else {
        memmove(packs + place, packs + place + 1,
                (window->n - place - 1) * sizeof(*packs));
    }
    window->n--;
}

/* Without memory it is not released, which costs no more than its bytes in Redis. */
static void note_out(struct shoal_window *window, const struct shoal_window_pack *pack) {
    if (window->n_out == window->out_room) {
        size_t room = window->out_room == 0 ? 64 : 2 * window->out_room;
        void *grown = realloc(window->out, room * sizeof(*window->out));
        if (grown == NULL)
            return;
        window->out = grown;
        window->out_room = room;
    }
    window->out[window->n_out++] =
        (struct shoal_pack_range){.first = pack->first, .n = pack->n};
}

void shoal_window_row(struct shoal_window *window, int64_t index) {
    size_t place = find(window, index);
    if (place == window->n)
        return; /* another row of a task that was retried */
    struct shoal_window_pack *pack = &window->packs[window->at + place];
    int64_t bytes = pack->bytes / pack->rows;
    pack->bytes -= bytes;
    pack->rows--;
    window->bytes_out += bytes;
    window->tasks_out++;
    if (pack->rows > 0)
        return;
    note_out(window, pack);
    leave(window, place);
}

void shoal_window_all(struct shoal_window *window) {
    for (size_t i = 0; i < window->n; i++)
        note_out(window, &window->packs[window->at + i]);
    window->at = window->n = 0;
    window->tasks_out = window->tasks;
    window->bytes_out = window->bytes;
}

bool shoal_window_wants_settling(const struct shoal_window *window) {
    return window->tasks_out >= SHOAL_WINDOW_TASKS / 4 ||
           window->bytes_out >= SHOAL_WINDOW_BYTES / 4;
}

void shoal_window_settle(struct shoal_window *window) {
    window->tasks -= window->tasks_out;
    window->bytes -= window->bytes_out;
    window->tasks_out = window->bytes_out = 0;
}
