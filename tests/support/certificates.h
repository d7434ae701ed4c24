/* Certificates for tests, each as NAME.pem with its key in NAME.key. */
#ifndef SHOAL_TEST_CERTIFICATES_H
#define SHOAL_TEST_CERTIFICATES_H

struct test_certificate {
    const char *name;   /* of the files, and of whom it is for */
    const char *names;  /* "IP:127.0.0.1,DNS:localhost"; NULL: it is an authority's */
    const char *signer; /* the NAME of an authority; NULL: its own key signs it */
    int from_days;      /* when it begins and ends to be valid, from now */
    int until_days;
};

/* Makes a new one, also in place of one of the same name. */
void test_certificate_make(const char *directory,
                           const struct test_certificate *certificate);

/* Puts the key behind a passphrase. */
void test_certificate_lock(const char *directory, const char *name);

#endif
