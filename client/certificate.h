/* The certificates of a cluster that listens, which trusts nobody else's: an authority of
 * its own, the server's, and one that all who join show. PEM, in files of mode 0600:
 *
 *   authority.pem authority.key
 *   server.pem server.key    its names are those that others reach this host by
 *   worker.pem worker.key    good for clients alone: nobody passes for the server by it
 */
#ifndef SHOAL_CERTIFICATE_H
#define SHOAL_CERTIFICATE_H

#include "common/error.h"

#include <stdbool.h>

/* Makes in `folder`, which is there, what is missing there, ends within a month or does
 * not fit the rest, and keeps the others. `host`: that URLs name; `names`: all that the
 * server is reached by, "IP:192.0.2.1,DNS:desk". SHOAL_SYSTEM: a file cannot be
 * written. */
SHOAL_MUST_CHECK
enum shoal_status shoal_certificates_take(const char *folder, const char *host,
                                          const char *names, struct shoal_error *err);

/* Whether each text is one certificate or key as OpenSSL writes it and nothing else, the
 * authority has signed the certificate, and the key is that of the certificate. */
bool shoal_certificates_fit(const char *authority, const char *certificate,
                            const char *key);

#endif
