/* Limits as JSON and in words. */
#include "common/spec.h"

#include "common/cleanup.h"
#include "common/option.h"

#include <inttypes.h>
#include <stdio.h>

static void print_count(int64_t value, char *text, size_t room) {
    snprintf(text, room, "%" PRId64, value);
}

/* A limit that is not 0 lies within these bounds. */
static const struct limit {
    const char *name; /* in the spec's JSON */
    const char *what; /* in words */
    size_t offset;
    int64_t least, most;
    void (*print)(int64_t value, char *text, size_t room);
} limits[] = {
    {"memory", "memory", offsetof(struct shoal_limits, memory), 1 << 20, INT64_C(1) << 50,
     shoal_size_print},
    {"millicpus", "cpus", offsetof(struct shoal_limits, millicpus), 10, 4096000,
     shoal_thousandths_print},
    {"processes", "processes", offsetof(struct shoal_limits, processes), 1, 1 << 22,
     print_count},
    {"file_size", "file size", offsetof(struct shoal_limits, file_size), 1,
     INT64_C(1) << 50, shoal_size_print},
};

static int64_t get(const struct shoal_limits *of, const struct limit *limit) {
    return *(const int64_t *)((const char *)of + limit->offset);
}

static void set(struct shoal_limits *of, const struct limit *limit, int64_t value) {
    *(int64_t *)((char *)of + limit->offset) = value;
}

bool shoal_limits_are_set(const struct shoal_limits *of) {
    for (size_t i = 0; i < SHOAL_COUNT(limits); i++) {
        if (get(of, &limits[i]) != 0)
            return true;
    }
    return false;
}

enum shoal_status shoal_limits_check(const struct shoal_limits *of,
                                     struct shoal_error *err) {
    char text[24], least[24], most[24];
    for (size_t i = 0; i < SHOAL_COUNT(limits); i++) {
        const struct limit *limit = &limits[i];
        int64_t value = get(of, limit);
        if (value == 0 || (value >= limit->least && value <= limit->most))
            continue;
        limit->print(value, text, sizeof(text));
        limit->print(limit->least, least, sizeof(least));
        limit->print(limit->most, most, sizeof(most));
        return shoal_error_set(err, SHOAL_INVALID,
                               "the limit of %s is %s to %s (or 0 for none), not %s",
                               limit->what, least, most, text);
    }
    return SHOAL_OK;
}

bool shoal_limits_read(const json_t *json, struct shoal_limits *ret_limits) {
    *ret_limits = (struct shoal_limits){.memory = 0};
    if (json == NULL)
        return true;
    for (size_t i = 0; i < SHOAL_COUNT(limits); i++) {
        const json_t *value = json_object_get(json, limits[i].name);
        if (value != NULL && !json_is_integer(value))
            return false;
        set(ret_limits, &limits[i], json_integer_value(value));
    }
    return json_is_object(json) && shoal_limits_check(ret_limits, NULL) == SHOAL_OK;
}

json_t *shoal_limits_write(const struct shoal_limits *of) {
    json_t *json = json_object();
    for (size_t i = 0; json != NULL && i < SHOAL_COUNT(limits); i++) {
        json_int_t limit = get(of, &limits[i]);
        if (limit != 0 &&
            json_object_set_new(json, limits[i].name, json_integer(limit)) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

void shoal_limits_print(const struct shoal_limits *of, struct shoal_buffer *text) {
    const char *between = "";
    char value[24];
    for (size_t i = 0; i < SHOAL_COUNT(limits); i++) {
        if (get(of, &limits[i]) == 0)
            continue;
        limits[i].print(get(of, &limits[i]), value, sizeof(value));
        shoal_buffer_add_format(text, "%s%s %s", between, limits[i].what, value);
        between = ", ";
    }
}
