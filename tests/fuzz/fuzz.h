/* What the fuzz targets share. A target is a file with one LLVMFuzzerTestOneInput(),
 * which gives bytes to the function of the product that reads them from outside, and
 * asserts what must be true of what comes out. libFuzzer makes up the bytes ('make
 * fuzz'); replay.c reads those of corpus/<target>/ ('make test'). */
#ifndef SHOAL_FUZZ_H
#define SHOAL_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input that is taken apart. */
struct fuzz_input {
    const char *at;
    const char *end;
};

static inline struct fuzz_input fuzz_input(const uint8_t *data, size_t size) {
    const char *bytes = size == 0 ? "" : (const char *)data;
    return (struct fuzz_input){.at = bytes, .end = bytes + size};
}

static inline size_t fuzz_left(const struct fuzz_input *input) {
    return (size_t)(input->end - input->at);
}

/* The next line, without its end, as a text of its own: free(). NULL: there is none. */
static inline char *fuzz_line(struct fuzz_input *input) {
    size_t left = fuzz_left(input);
    if (left == 0)
        return NULL;
    const char *stop = memchr(input->at, '\n', left);
    size_t len = stop == NULL ? left : (size_t)(stop - input->at);
    char *line = strndup(input->at, len);
    input->at += len + (stop != NULL);
    return line;
}

/* A byte; 0 behind the end. */
static inline unsigned fuzz_byte(struct fuzz_input *input) {
    return input->at == input->end ? 0 : (unsigned char)*input->at++;
}

#endif
