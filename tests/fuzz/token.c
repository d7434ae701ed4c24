/* Join tokens: whatever is read fits together, and is written and read again as it was;
 * of what is refused nothing is taken, and the sentence is one line. An input that begins
 * with '{' is given to the reader of fields behind the checksum as well. */
#include "client/token.h"

#include "client/certificate.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>

static void check(const struct shoal_token *token) {
    SHOAL_CLEANUP(shoal_token_finish) struct shoal_token again = {.url = NULL};
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer text;
    assert(strncmp(token->url, "rediss://", 9) == 0 && strchr(token->url, ' ') == NULL);
    assert(shoal_name_is_valid(token->name_space));
    assert(strlen(token->password) == SHOAL_TOKEN_PASSWORD);
    assert(strpbrk(token->owner, " =#\n") == NULL);
    assert(shoal_certificates_fit(token->authority, token->certificate, token->key));
    shoal_buffer_init(&text, SHOAL_TOKEN_MAX);
    assert(shoal_token_write(token, &text, NULL) == SHOAL_OK);
    assert(shoal_token_read(text.data, text.len, &again, NULL) == SHOAL_OK);
    assert(strcmp(again.url, token->url) == 0 && strcmp(again.key, token->key) == 0);
}

static void take(enum shoal_status status, struct shoal_token *token,
                 const struct shoal_error *err) {
    if (status == SHOAL_OK)
        check(token);
    else
        assert(token->url == NULL && err->text[0] != '\0' &&
               strchr(err->text, '\n') == NULL);
    shoal_token_finish(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct fuzz_input input = fuzz_input(data, size);
    struct shoal_token token = {.url = NULL};
    struct shoal_error err = {.status = SHOAL_OK};
    take(shoal_token_read(input.at, size, &token, &err), &token, &err);
    if (size > 0 && *input.at == '{')
        take(shoal_token_read_fields(input.at, size, &token, &err), &token, &err);
    return 0;
}
