/* A worker's file of trusted keys: whatever stands in it, it is read whole or refused
 * with a sentence that names the line, and what was read keeps its bounds. */
#include "broker/trust.h"

#include "common/id.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file without a name; the bytes of `more` stand behind the others. */
static const char *file_of(const uint8_t *data, size_t size, const char *more) {
    static char path[32];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("keys", MFD_CLOEXEC);
        assert(fd >= 0 && fchmod(fd, 0600) == 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    assert(ftruncate(fd, 0) == 0);
    assert(pwrite(fd, data, size, 0) == (ssize_t)size);
    assert(pwrite(fd, more, strlen(more), (off_t)size) == (ssize_t)strlen(more));
    return path;
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
static int read_file(const char *path) {
    struct shoal_trust trust = {.n = 0};
    struct shoal_error err = {.status = SHOAL_OK};
    int n = -1;
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
    return n;
}

/* A comment behind it changes nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int n = read_file(file_of(data, size, ""));
    if (n >= 0)
        assert(read_file(file_of(data, size, "\n# the end\n")) == n);
    return 0;
}
