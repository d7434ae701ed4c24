/* What another host needs to work for a cluster that listens, as a text that can be
 * copied:
 *
 *   -----BEGIN SHOAL JOIN TOKEN-----
 *   base64, white space anywhere, of: SHA-256 of what follows, 32 bytes; a JSON object
 *   -----END SHOAL JOIN TOKEN-----
 *
 * Whoever has it may do what a worker may, and nothing else. */
#ifndef SHOAL_TOKEN_H
#define SHOAL_TOKEN_H

#include "common/buffer.h"
#include "common/signer.h"

enum {
    SHOAL_TOKEN_MAX = 16 << 10,
    SHOAL_TOKEN_PASSWORD = 64, /* hexadecimal digits */
};

#define SHOAL_TOKEN_BEGIN "-----BEGIN SHOAL JOIN TOKEN-----"
#define SHOAL_TOKEN_END "-----END SHOAL JOIN TOKEN-----"

struct shoal_token {
    char *url; /* "rediss://USER@HOST:PORT" */
    char *name_space;
    char *password;
    struct shoal_signer_name trusted; /* whose jobs are to run, and what he is called */
    char *owner;
    char *authority;   /* PEM: who has signed the server's certificate */
    char *certificate; /* PEM: to be shown to the server */
    char *key;         /* PEM: of the certificate */
};

/* Appends the text of a token whose fields are all there. */
SHOAL_MUST_CHECK
enum shoal_status shoal_token_write(const struct shoal_token *token,
                                    struct shoal_buffer *text, struct shoal_error *err);

/* Reads such a text, with white space around it. All that comes out is valid and fits
 * together. SHOAL_INVALID, with nothing of the text in the sentence: it is none. */
SHOAL_MUST_CHECK
enum shoal_status shoal_token_read(const char *text, size_t len,
                                   struct shoal_token *ret_token,
                                   struct shoal_error *err);
/* The object alone. */
SHOAL_MUST_CHECK
enum shoal_status shoal_token_read_fields(const char *json, size_t len,
                                          struct shoal_token *ret_token,
                                          struct shoal_error *err);
void shoal_token_finish(struct shoal_token *token);

#endif
