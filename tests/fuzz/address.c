/* Where Redis is: what is accepted can be printed without its password, and reads the
 * same again when it has none. */
#include "common/redis.h"

#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

static bool same(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void print_again(const struct shoal_redis_address *address) {
    struct shoal_redis_address again;
    struct shoal_error err = {.status = SHOAL_OK};
    struct shoal_redis_address other = *address;
    char text[4096], unlike[4096];
    shoal_redis_address_print(address, text, sizeof(text));
    other.password = address->password == NULL ? NULL : (char[]){"another"};
    shoal_redis_address_print(&other, unlike, sizeof(unlike));
    assert(strcmp(text, unlike) == 0); /* nothing of a password shows */
    if (address->password != NULL || address->user != NULL || strlen(text) > 600)
        return;
    assert(shoal_redis_address_parse(text, NULL, &again, &err) == SHOAL_OK);
    assert(same(again.path, address->path) && same(again.host, address->host));
    assert(again.port == address->port && again.database == address->database);
    assert(again.tls == address->tls);
    shoal_redis_address_finish(&again);
}

/* Nothing of a password is left on the command line, whatever the URL is. */
static void hide(const char *url, const struct shoal_redis_address *address) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *word = strdup(url);
    char *const argv[] = {word, NULL};
    const char *kept = word;
    if (word == NULL)
        return;
    bool hidden = shoal_redis_url_hide(&kept, argv);
    assert(strcmp(kept, url) == 0 && strlen(word) == strlen(url));
    assert(hidden || address == NULL || address->password == NULL);
    if (hidden)
        free((char *)kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = fuzz_input(data, size);
    SHOAL_CLEANUP(shoal_cleanup_free) char *url = fuzz_line(&input);
    struct shoal_redis_address address;
    struct shoal_error err = {.status = SHOAL_OK};
    if (url == NULL)
        return 0;
    if (shoal_redis_address_parse(url, NULL, &address, &err) != SHOAL_OK) {
        assert(err.text[0] != '\0');
        hide(url, NULL);
        return 0;
    }
    assert((address.path == NULL) != (address.host == NULL));
    assert(address.database >= 0);
    print_again(&address);
    hide(url, &address);
    shoal_redis_address_finish(&address);
    return 0;
}
