/* jansson (2.14) does not tell a want of memory from a wrong text, and worse: where the
 * buffer of a string cannot grow, a byte is left out and it goes on. A command would be
 * another one. So its allocations are watched, by what stands in front of the function
 * that it had before. */
#include "common/json.h"

#include <pthread.h>
#include <stdbool.h>

static json_malloc_t allocate;
static _Thread_local bool lacked;

static void *watched(size_t size) {
    void *memory = allocate(size);
    lacked = lacked || memory == NULL;
    return memory;
}

static void watch(void) {
    json_free_t release;
    json_get_alloc_funcs(&allocate, &release);
    json_set_alloc_funcs(watched, release);
}

enum shoal_status shoal_json_read(const char *text, size_t len, json_t **ret_json,
                                  struct shoal_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t why;
    pthread_once(&once, watch);
    lacked = false;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (lacked) {
        json_decref(json);
        return shoal_error_set(err, SHOAL_MEMORY, "no memory to read JSON");
    }
    if (json == NULL)
        return shoal_error_set(err, SHOAL_GARBAGE, "%s", why.text);
    *ret_json = json;
    return SHOAL_OK;
}
