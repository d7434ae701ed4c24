/* OpenSSL says what went wrong in three places: the certificate in the callback that
 * verifies it, the rest in its queue of errors, and that the server asked for a
 * certificate of ours in another callback. What is heard there is kept with the
 * connection until somebody asks why it ended. */
#include "common/tls.h"

#include "common/cleanup.h"
#include "common/secret.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEY_BYTES = 32768, HOST_ROOM = 256, NAMES_ROOM = 160, DAY_ROOM = 16 };

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "no memory left for TLS");
}

/* ---- the files */

static bool copy(const char *path, const char **ret_path) {
    *ret_path = path == NULL ? NULL : strdup(path);
    return path == NULL || *ret_path != NULL;
}

bool shoal_tls_files_copy(const struct shoal_tls_files *files,
                          struct shoal_tls_files *ret_files) {
    *ret_files = (struct shoal_tls_files){.ca = NULL};
    return copy(files->ca, &ret_files->ca) &&
           copy(files->certificate, &ret_files->certificate) &&
           copy(files->key, &ret_files->key);
}

void shoal_tls_files_finish(struct shoal_tls_files *files) {
    free((char *)files->ca);
    free((char *)files->certificate);
    free((char *)files->key);
    *files = (struct shoal_tls_files){.ca = NULL};
}

/* A passphrase would have to be typed, and nobody is there. */
static int no_passphrase(SHOAL_UNUSED char *text, SHOAL_UNUSED int room,
                         SHOAL_UNUSED int writes, SHOAL_UNUSED void *owner) {
    return -1;
}

/* Whether that is why OpenSSL failed just now. */
static bool lacks_memory(void) {
    return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ||
           ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
}

/* What is wrong with a file that OpenSSL could not use. */
static enum shoal_status bad_file(const char *path, const char *what,
                                  struct shoal_error *err) {
    if (lacks_memory())
        return no_memory(err);
    if (access(path, R_OK) != 0)
        return shoal_error_set(err, SHOAL_INVALID, "cannot read the %s '%.150s': %s",
                               what, path, strerror(errno));
    return shoal_error_set(
        err, SHOAL_INVALID,
        "the %s '%.150s' has no certificate in it that can be read; it must be PEM, with "
        "-----BEGIN CERTIFICATE-----",
        what, path);
}

/* Everybody may read what authorities are trusted; who can write to it can pass for the
 * server. One that cannot be looked at OpenSSL cannot read either. */
static enum shoal_status check_writers(const char *ca, struct shoal_error *err) {
    struct stat is;
    if (stat(ca, &is) != 0 || !S_ISREG(is.st_mode))
        return SHOAL_OK;
    if (shoal_file_is_foreign(&is))
        return shoal_error_set(err, SHOAL_INVALID,
                               "the file of authorities '%.150s' belongs to neither root "
                               "nor this user, and its owner (%u) could pass for the "
                               "server; copy it to a file of your own",
                               ca, (unsigned)is.st_uid);
    if (!shoal_file_is_open(&is))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           "others than its owner can write to the file of authorities "
                           "'%.150s', and so pass for the server; run chmod go-w on it, "
                           "if what stands in it is what you know",
                           ca);
}

static enum shoal_status trust(SSL_CTX *context, const char *ca,
                               struct shoal_error *err) {
    enum shoal_status status = ca == NULL ? SHOAL_OK : check_writers(ca, err);
    if (status != SHOAL_OK)
        return status;
    if (ca == NULL)
        return SSL_CTX_set_default_verify_paths(context) == 1 ? SHOAL_OK : no_memory(err);
    /* What stands in it is trusted, be it the server's certificate itself. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
    return SSL_CTX_load_verify_file(context, ca) == 1
               ? SHOAL_OK
               : bad_file(ca, "file of authorities", err);
}

static enum shoal_status read_key(const char *path, EVP_PKEY **ret_key,
                                  struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_fd) int fd = -1;
    enum shoal_status status = shoal_secret_open(path, "key file", &fd, err);
    if (status != SHOAL_OK)
        return status;
    char text[KEY_BYTES];
    ssize_t len = read(fd, text, sizeof(text));
    if (len < 0)
        return shoal_error_set(err, SHOAL_SYSTEM, "cannot read the key file '%.150s': %s",
                               path, strerror(errno));
    BIO *memory = BIO_new_mem_buf(text, (int)len);
    *ret_key = memory == NULL
                   ? NULL
                   : PEM_read_bio_PrivateKey(memory, NULL, no_passphrase, NULL);
    BIO_free(memory);
    explicit_bzero(text, sizeof(text));
    if (*ret_key != NULL)
        return SHOAL_OK;
    if (lacks_memory())
        return no_memory(err);
    bool is_locked = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_BAD_PASSWORD_READ;
    return shoal_error_set(
        err, SHOAL_INVALID,
        is_locked ? "the key in '%.150s' has a passphrase, which nobody is there to "
                    "type; store it without one (openssl pkey -in FILE -out OTHER)"
                  : "the key file '%.150s' has no private key in it that can be read; it "
                    "must be PEM, with -----BEGIN PRIVATE KEY-----",
        path);
}

static enum shoal_status show(SSL_CTX *context, const struct shoal_tls_files *files,
                              struct shoal_error *err) {
    EVP_PKEY *key = NULL;
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        return bad_file(files->certificate, "certificate file", err);
    enum shoal_status status = read_key(files->key, &key, err);
    if (status != SHOAL_OK)
        return status;
    bool fits = SSL_CTX_use_PrivateKey(context, key) == 1 &&
                SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    if (fits)
        return SHOAL_OK;
    if (lacks_memory())
        return no_memory(err);
    return shoal_error_set(err, SHOAL_INVALID,
                           "the key in '%.150s' does not belong to the certificate in "
                           "'%.150s'; give the two that were made together",
                           files->key, files->certificate);
}

static enum shoal_status check_pair(const struct shoal_tls_files *files,
                                    struct shoal_error *err) {
    bool has_certificate = files->certificate != NULL, has_key = files->key != NULL;
    if (has_certificate == has_key)
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_INVALID,
                           has_key ? "there is a key for TLS and no certificate; give "
                                     "both, or neither (--tls-cert, --tls-key)"
                                   : "there is a certificate for TLS and no key; give "
                                     "both, or neither (--tls-cert, --tls-key)");
}

static int verified(int good, X509_STORE_CTX *store);
static int asked(SSL *ssl, void *owner);

static enum shoal_status make_context(const struct shoal_tls_files *files,
                                      SSL_CTX **ret_context, struct shoal_error *err) {
    enum shoal_status status = check_pair(files, err);
    ERR_clear_error();
    SSL_CTX *context = status == SHOAL_OK ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (status == SHOAL_OK && context == NULL)
        status = no_memory(err);
    if (status == SHOAL_OK) {
        SSL_CTX_set_default_passwd_cb(context, no_passphrase);
        status = trust(context, files->ca, err);
    }
    if (status == SHOAL_OK && files->certificate != NULL)
        status = show(context, files, err);
    if (status == SHOAL_OK && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        status = no_memory(err);
    ERR_clear_error();
    if (status != SHOAL_OK) {
        SSL_CTX_free(context);
        return status;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, verified);
    SSL_CTX_set_cert_cb(context, asked, NULL);
    *ret_context = context;
    return SHOAL_OK;
}

enum shoal_status shoal_tls_check(const struct shoal_tls_files *files,
                                  struct shoal_error *err) {
    SSL_CTX *context = NULL;
    enum shoal_status status = make_context(files, &context, err);
    SSL_CTX_free(context);
    return status;
}

/* ---- a connection */

/* What was heard of it. */
struct talk {
    const struct shoal_tls_peer *peer;
    bool done;   /* the handshake; OpenSSL forgets it when the connection breaks */
    bool asked;  /* for a certificate of ours */
    X509 *bad;   /* the certificate that was refused; NULL: none */
    int verdict; /* X509_V_ERR_… */
    int depth;   /* of it: 0 is the server's own */
};

static void free_talk(SHOAL_UNUSED void *ssl, void *data,
                      SHOAL_UNUSED CRYPTO_EX_DATA *all, SHOAL_UNUSED int index,
                      SHOAL_UNUSED long number, SHOAL_UNUSED void *owner) {
    struct talk *talk = data;
    if (talk != NULL)
        X509_free(talk->bad);
    free(talk);
}

/* Where it lies among what others keep with a connection; -1: no memory. */
static int talk_index(void) {
    static int index = -1;
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_talk);
    return index;
}

static struct talk *talk_of(const SSL *ssl) {
    return SSL_get_ex_data(ssl, talk_index());
}

static void note_done(const SSL *ssl, int where, SHOAL_UNUSED int value) {
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0)
        talk_of(ssl)->done = true;
}

static int verified(int good, X509_STORE_CTX *store) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct talk *talk = talk_of(ssl);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    if (good || talk->verdict != X509_V_OK)
        return good;
    talk->verdict = X509_STORE_CTX_get_error(store);
    talk->depth = X509_STORE_CTX_get_error_depth(store);
    if (certificate != NULL && X509_up_ref(certificate) == 1)
        talk->bad = certificate;
    return good;
}

static int asked(SSL *ssl, SHOAL_UNUSED void *owner) {
    talk_of(ssl)->asked = true;
    return 1;
}

/* The host as certificates name it: without the dot at the end of a DNS name, or the
 * interface of an address. */
static bool plain_host(const char *host, char *plain) {
    unsigned char address[16];
    char *zone;
    strncpy(plain, host, HOST_ROOM - 1);
    plain[HOST_ROOM - 1] = '\0';
    zone = strchr(plain, '%');
    if (zone != NULL)
        *zone = '\0';
    size_t len = strlen(plain);
    if (len > 1 && plain[len - 1] == '.')
        plain[len - 1] = '\0';
    return inet_pton(AF_INET, plain, address) == 1 ||
           inet_pton(AF_INET6, plain, address) == 1;
}

/* The name goes to the server as well, which may have several certificates. */
static bool expect_host(SSL *ssl, const char *host) {
    char plain[HOST_ROOM];
    if (plain_host(host, plain))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), plain) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, plain) == 1 && SSL_set_tlsext_host_name(ssl, plain) == 1;
}

static SSL *make_ssl(SSL_CTX *context, int fd, const struct shoal_tls_peer *peer) {
    struct talk *talk = calloc(1, sizeof(*talk));
    SSL *ssl = talk == NULL ? NULL : SSL_new(context);
    if (ssl == NULL || SSL_set_ex_data(ssl, talk_index(), talk) != 1) {
        free(talk);
        SSL_free(ssl);
        return NULL;
    }
    talk->peer = peer;
    talk->verdict = X509_V_OK;
    SSL_set_info_callback(ssl, note_done);
    if (expect_host(ssl, peer->host) && SSL_set_fd(ssl, fd) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

/* libevent frees `ssl` also when it has no memory. */
static struct bufferevent *make_stream(struct event_base *base, int fd, SSL *ssl) {
    struct bufferevent *stream = bufferevent_openssl_socket_new(
        base, fd, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (stream != NULL) /* whether the end was a clean one makes no difference here */
        bufferevent_openssl_set_allow_dirty_shutdown(stream, 1);
    return stream;
}

enum shoal_status shoal_tls_begin(struct event_base *base, int fd,
                                  const struct shoal_tls_peer *peer,
                                  struct bufferevent **ret_stream,
                                  struct shoal_error *err) {
    SSL_CTX *context = NULL;
    enum shoal_status status = make_context(peer->files, &context, err);
    if (status != SHOAL_OK)
        return status;
    SSL *ssl = make_ssl(context, fd, peer);
    SSL_CTX_free(context); /* the connection keeps it */
    struct bufferevent *stream = ssl == NULL ? NULL : make_stream(base, fd, ssl);
    ERR_clear_error();
    if (stream == NULL)
        return no_memory(err);
    *ret_stream = stream;
    return SHOAL_OK;
}

/* ---- what is wrong with a certificate */

static void print_day(const ASN1_TIME *time, char *day) {
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1 || strftime(day, DAY_ROOM, "%Y-%m-%d", &tm) == 0)
        strcpy(day, "an unknown day");
}

/* Adds ", name" of bytes that anybody may have made up; dots where no more fit. */
static void add_name(char *names, const unsigned char *name, size_t len) {
    size_t at = strlen(names);
    if (at + len + 2 >= NAMES_ROOM - 4) {
        if (at >= 3 && strcmp(names + at - 3, "...") != 0)
            strcpy(names + at, " ...");
        return;
    }
    if (at > 0) {
        strcpy(names + at, ", ");
        at += 2;
    }
    for (size_t i = 0; i < len; i++)
        names[at++] = name[i] >= ' ' && name[i] < 0x7f ? (char)name[i] : '?';
    names[at] = '\0';
}

static void add_general_name(char *names, const GENERAL_NAME *name) {
    char address[INET6_ADDRSTRLEN];
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    if (type == GEN_DNS) {
        add_name(names, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    } else if (type == GEN_IPADD) {
        int len = ASN1_STRING_length(value);
        if ((len == 4 || len == 16) &&
            inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value),
                      address, sizeof(address)) != NULL)
            add_name(names, (const unsigned char *)address, strlen(address));
    }
}

/* What it is for: its alternative names, or what came before there were any. */
static void print_names(const X509 *certificate, char *names) {
    *names = '\0';
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++)
        add_general_name(names, sk_GENERAL_NAME_value(all, i));
    GENERAL_NAMES_free(all);
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at =
        *names == '\0' ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
    if (at >= 0) {
        const ASN1_STRING *name =
            X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        add_name(names, ASN1_STRING_get0_data(name), (size_t)ASN1_STRING_length(name));
    }
    if (*names == '\0')
        strcpy(names, "nothing that it names");
}

static void print_issuer(const X509 *certificate, char *issuer) {
    const X509_NAME *name = X509_get_issuer_name(certificate);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    *issuer = '\0';
    if (at >= 0) {
        const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
        add_name(issuer, ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
    }
    if (*issuer == '\0')
        strcpy(issuer, "one without a name");
}

typedef void (*tell_fn)(const struct talk *talk, const char *whose,
                        struct shoal_error *err);

static void tell_expired(const struct talk *talk, const char *whose,
                         struct shoal_error *err) {
    char day[DAY_ROOM];
    print_day(X509_get0_notAfter(talk->bad), day);
    shoal_error_set(
        err, SHOAL_DENIED,
        "the certificate of %s%.200s expired on %s; have it renewed there, or "
        "set the clock here if it is wrong",
        whose, talk->peer->where, day);
}

static void tell_early(const struct talk *talk, const char *whose,
                       struct shoal_error *err) {
    char day[DAY_ROOM];
    print_day(X509_get0_notBefore(talk->bad), day);
    shoal_error_set(err, SHOAL_DENIED,
                    "the certificate of %s%.200s is not valid before %s; set the clock "
                    "here if it is wrong, or have another one made",
                    whose, talk->peer->where, day);
}

static void tell_self_signed(const struct talk *talk, const char *whose,
                             struct shoal_error *err) {
    shoal_error_set(err, SHOAL_DENIED,
                    "the certificate of %s%.200s is self-signed and not known here; if "
                    "it is the right one, give it by --tls-ca",
                    whose, talk->peer->where);
}

static void tell_unknown(const struct talk *talk, const char *whose,
                         struct shoal_error *err) {
    char issuer[NAMES_ROOM];
    const char *ca = talk->peer->files->ca;
    print_issuer(talk->bad, issuer);
    shoal_error_set(err, SHOAL_DENIED,
                    "the certificate of %s%.150s was signed by '%.100s', an authority "
                    "that %s%.100s%s not have; give that authority's certificate by "
                    "--tls-ca",
                    whose, talk->peer->where, issuer, ca == NULL ? "this host" : "'",
                    ca == NULL ? "" : ca, ca == NULL ? " does" : "' does");
}

static void tell_other_name(const struct talk *talk, const char *whose,
                            struct shoal_error *err) {
    char names[NAMES_ROOM];
    print_names(talk->bad, names);
    shoal_error_set(err, SHOAL_DENIED,
                    "the certificate of %s%.150s is for %s and not for '%.100s'; connect "
                    "by a name that it has, or have this one put into it",
                    whose, talk->peer->where, names, talk->peer->host);
}

static const struct {
    int verdict;
    tell_fn tell;
} verdicts[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, tell_expired},
    {X509_V_ERR_CERT_NOT_YET_VALID, tell_early},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, tell_self_signed},
    {X509_V_ERR_HOSTNAME_MISMATCH, tell_other_name},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, tell_other_name},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, tell_unknown},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, tell_unknown},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, tell_unknown},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, tell_unknown},
};

static void tell_certificate(const struct talk *talk, struct shoal_error *err) {
    const char *whose = talk->depth == 0 ? "" : "an authority behind ";
    for (size_t i = 0; i < SHOAL_COUNT(verdicts) && talk->bad != NULL; i++) {
        if (verdicts[i].verdict == talk->verdict) {
            verdicts[i].tell(talk, verdicts[i].tell == tell_unknown ? "" : whose, err);
            return;
        }
    }
    shoal_error_set(err, SHOAL_DENIED,
                    "the certificate of %s%.200s cannot be trusted: %.150s; have another "
                    "one made",
                    whose, talk->peer->where,
                    X509_verify_cert_error_string(talk->verdict));
}

/* ---- what else ends a connection */

/* What the server says of our certificate. */
static const struct {
    int alert;
    const char *why;
} refusals[] = {
    {SSL_AD_BAD_CERTIFICATE, "it is damaged or not signed as it should be"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "it is of another kind or for another purpose"},
    {SSL_AD_CERTIFICATE_REVOKED, "it was revoked"},
    {SSL_AD_CERTIFICATE_EXPIRED, "it has expired"},
    {SSL_AD_CERTIFICATE_UNKNOWN, "it is not acceptable there"},
    {SSL_AD_UNKNOWN_CA, "no authority that is trusted there has signed it"},
    {SSL_AD_ACCESS_DENIED, "it gives no access there"},
    {SSL_AD_DECRYPT_ERROR, "its signature is wrong"},
};

static const char *refusal_of(int alert) {
    for (size_t i = 0; i < SHOAL_COUNT(refusals); i++) {
        if (refusals[i].alert == alert)
            return refusals[i].why;
    }
    return NULL;
}

/* The server asked who we are and did not like the answer. */
static void tell_refused(const struct talk *talk, const char *why,
                         struct shoal_error *err) {
    const char *certificate = talk->peer->files->certificate;
    if (certificate == NULL)
        shoal_error_set(err, SHOAL_DENIED,
                        "%.200s demands a client certificate; give one by --tls-cert and "
                        "--tls-key",
                        talk->peer->where);
    else
        shoal_error_set(err, SHOAL_DENIED,
                        "%.150s refuses the client certificate in '%.150s': %s; give one "
                        "that it takes",
                        talk->peer->where, certificate, why);
}

static void tell_no_tls(const struct talk *talk, struct shoal_error *err) {
    shoal_error_set(err, SHOAL_DENIED,
                    "what answers at %.200s does not speak TLS; give the port that does, "
                    "or write redis:// if that is the network for it",
                    talk->peer->where);
}

static void tell_too_old(const struct talk *talk, struct shoal_error *err) {
    shoal_error_set(err, SHOAL_DENIED,
                    "%.200s has no version of TLS that is good enough; it must allow 1.2 "
                    "or 1.3 (tls-protocols)",
                    talk->peer->where);
}

/* Whether a reason is that of an alert from the server. */
static bool is_alert(int reason) {
    return reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255;
}

static void tell_alert(const struct talk *talk, int alert, struct shoal_error *err) {
    const char *why = refusal_of(alert);
    bool no_certificate = alert == SSL_AD_CERTIFICATE_REQUIRED ||
                          alert == SSL_AD_HANDSHAKE_FAILURE || why != NULL;
    if (talk->asked && no_certificate)
        tell_refused(talk, why == NULL ? "it is not enough" : why, err);
    else if (alert == SSL_AD_PROTOCOL_VERSION)
        tell_too_old(talk, err);
    else
        shoal_error_set(err, SHOAL_LOST, "%.200s ended TLS: %s", talk->peer->where,
                        SSL_alert_desc_string_long(alert));
}

static void tell_reason(const struct talk *talk, unsigned long code,
                        struct shoal_error *err) {
    const char *text = ERR_reason_error_string(code);
    switch (ERR_GET_REASON(code)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        tell_no_tls(talk, err);
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        tell_too_old(talk, err);
        break;
    default:
        shoal_error_set(err, SHOAL_LOST, "TLS with %.200s failed: %.150s",
                        talk->peer->where, text == NULL ? "no reason was given" : text);
    }
}

/* A server that refuses a certificate may close before its alert has arrived. */
static void tell_suspicion(const struct talk *talk, struct shoal_error *err) {
    const char *certificate = talk->peer->files->certificate;
    if (certificate == NULL)
        shoal_error_set(err, SHOAL_LOST,
                        "%.200s ended the connection right after the TLS handshake; it "
                        "may demand a client certificate, by --tls-cert and --tls-key",
                        talk->peer->where);
    else
        shoal_error_set(err, SHOAL_LOST,
                        "%.150s ended the connection right after the TLS handshake; it "
                        "may not take the client certificate in '%.150s'",
                        talk->peer->where, certificate);
}

/* The connection ended without a word of TLS. `is_closed`: nor did the system say why. */
static bool tell_end(const struct talk *talk, bool is_closed, bool is_new,
                     struct shoal_error *err) {
    if (!talk->done)
        shoal_error_set(err, SHOAL_LOST,
                        "%.200s ended the connection during the TLS handshake; does it "
                        "speak TLS on that port?",
                        talk->peer->where);
    else if (is_new && talk->asked)
        tell_suspicion(talk, err);
    else if (is_closed)
        shoal_error_set(err, SHOAL_LOST, "%.200s closed the connection",
                        talk->peer->where);
    else
        return false;
    return true;
}

bool shoal_tls_tells(struct bufferevent *stream, short what, bool is_new,
                     struct shoal_error *err) {
    const SSL *ssl = bufferevent_openssl_get_ssl(stream);
    const struct talk *talk = ssl == NULL ? NULL : talk_of(ssl);
    if (talk == NULL)
        return false;
    unsigned long code = bufferevent_get_openssl_error(stream);
    int reason = ERR_GET_REASON(code);
    bool is_closed =
        ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    bool is_end =
        (what & BEV_EVENT_EOF) != 0 || ERR_GET_LIB(code) != ERR_LIB_SSL || is_closed;
    if (talk->verdict != X509_V_OK)
        tell_certificate(talk, err);
    else if (is_end)
        return tell_end(talk, is_closed, is_new, err);
    else if (is_alert(reason))
        tell_alert(talk, reason - SSL_AD_REASON_OFFSET, err);
    else
        tell_reason(talk, code, err);
    return true;
}

/* ---- how long it will be good */

static void note_end(const X509 *certificate, int64_t *end_ms) {
    struct tm tm;
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
        return;
    int64_t ms = (int64_t)timegm(&tm) * 1000;
    *end_ms = ms < *end_ms ? ms : *end_ms;
}

void shoal_tls_look(struct bufferevent *stream, struct shoal_tls_ends *ret_ends) {
    const SSL *ssl = bufferevent_openssl_get_ssl(stream);
    STACK_OF(X509) *chain = ssl == NULL ? NULL : SSL_get0_verified_chain(ssl);
    *ret_ends = (struct shoal_tls_ends){INT64_MAX, INT64_MAX, INT64_MAX};
    for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++)
        note_end(sk_X509_value(chain, i),
                 i == 0 ? &ret_ends->server_ms : &ret_ends->authority_ms);
    if (ssl != NULL)
        note_end(SSL_get_certificate(ssl), &ret_ends->own_ms);
}
