/* A worker's file of trusted keys: whatever stands in it, it is read whole or refused
 * with a sentence that names the line, and what was read keeps its bounds. */
#include "broker/trust.h"

#include "common/id.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The bytes of `more` stand behind the others. */
static void make_file(char *path, const uint8_t *data, size_t size, const char *more) {
    int fd = mkostemp(path, O_CLOEXEC);
    assert(fd >= 0);
    assert(write(fd, data, size) == (ssize_t)size);
    assert(write(fd, more, strlen(more)) == (ssize_t)strlen(more));
    close(fd);
}

static void check_key(const struct shoal_trust *trust, size_t i) {
    const struct shoal_trusted_key *key = &trust->keys[i];
    struct shoal_signer_name name;
    assert(shoal_signer_name_read(key->key.digits, &name));
    assert(key->name[0] != '\0' && strpbrk(key->name, " \t\n=") == NULL);
    assert(key->queues == NULL || *key->queues != '\0');
    assert(key->bounded || (key->programs.n == 0 && key->plugins.n == 0));
    assert(!key->bounded || key->programs.n + key->plugins.n > 0);
    assert(shoal_limits_check(&key->limits, NULL) == SHOAL_OK);
    for (size_t other = 0; other < i; other++)
        assert(strcmp(trust->keys[other].key.digits, key->key.digits) != 0);
}

/* How many keys it holds; -1: it is refused. */
static int read_file(const uint8_t *data, size_t size, const char *more) {
    char path[] = "/tmp/shoal-fuzz-XXXXXX";
    struct shoal_trust trust = {.n = 0};
    struct shoal_error err = {.status = SHOAL_OK};
    int n = -1;
    make_file(path, data, size, more);
    if (shoal_trust_read(path, &trust, &err) == SHOAL_OK) {
        assert(trust.n >= 1);
        for (size_t i = 0; i < trust.n; i++)
            check_key(&trust, i);
        n = (int)trust.n;
    } else {
        assert(err.status == SHOAL_INVALID);
        assert(strstr(err.text, ", line ") != NULL || strstr(err.text, "no key") != NULL);
        assert(strchr(err.text, '\n') == NULL);
    }
    shoal_trust_finish(&trust);
    unlink(path);
    return n;
}

/* A comment behind it changes nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int n = read_file(data, size, "");
    if (n >= 0)
        assert(read_file(data, size, "\n# the end\n") == n);
    return 0;
}
