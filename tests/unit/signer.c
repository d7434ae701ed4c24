/* Keys, and what they sign. */
#include "common/signer.h"

#include "common/cleanup.h"
#include "common/scratch.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], key_path[128];
static struct shoal_signer *signer;

static void set_up(void) {
    struct shoal_error err = {.status = SHOAL_OK};
    snprintf(root, sizeof(root), "/tmp/shoal-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(key_path, sizeof(key_path), "%s/key", root);
    ck_assert_int_eq(shoal_signer_create(key_path, "me@here", &signer, &err), SHOAL_OK);
}

static void tear_down(void) {
    shoal_signer_destroy(signer);
    shoal_scratch_remove_tree(root);
}

static void write_key(const char *path, const char *text) {
    SHOAL_CLEANUP(shoal_cleanup_fd)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(keys_lie_in_files_of_their_owner_alone) {
    char public_path[160], line[128] = "", expected[128];
    struct stat status;
    ck_assert_int_eq(stat(key_path, &status), 0);
    ck_assert_int_eq(status.st_mode & 07777, 0600);
    snprintf(public_path, sizeof(public_path), "%s.pub", key_path);
    SHOAL_CLEANUP(shoal_cleanup_file) FILE *file = fopen(public_path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
    snprintf(expected, sizeof(expected), "%s me@here\n",
             shoal_signer_name(signer)->digits);
    ck_assert_str_eq(line, expected);
}
END_TEST

START_TEST(key_that_is_read_is_the_key_that_was_made) {
    struct shoal_signer *again = NULL;
    char head[SHOAL_SEAL_BYTES + 1], same[SHOAL_SEAL_BYTES + 1];
    ck_assert_int_eq(shoal_signer_read(key_path, &again, NULL), SHOAL_OK);
    ck_assert_str_eq(shoal_signer_name(again)->digits, shoal_signer_name(signer)->digits);
    ck_assert_int_eq(shoal_signer_head(signer, "abc", 3, head, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_signer_head(again, "abc", 3, same, NULL), SHOAL_OK);
    ck_assert_str_eq(head, same);
    shoal_signer_destroy(again);
}
END_TEST

START_TEST(key_is_never_overwritten) {
    struct shoal_signer *another = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(shoal_signer_create(key_path, "x", &another, &err), SHOAL_REFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "never overwritten"));
    ck_assert_int_eq(shoal_signer_read(key_path, &another, NULL), SHOAL_OK);
    shoal_signer_destroy(another);
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_signer_create("/no/such/folder/key", "x", &another, &err),
                     SHOAL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.text, "/no/such/folder/key"));
}
END_TEST

START_TEST(key_that_others_can_read_is_not_used) {
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0610, 0601};
    struct shoal_signer *again = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    ck_assert_int_eq(chmod(key_path, modes[_i]), 0);
    ck_assert_int_eq(shoal_signer_read(key_path, &again, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "chmod 600"));
}
END_TEST

static const char *const no_keys[] = {
    "",
    "nonsense\n",
    "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
    /* X25519, which signs nothing */
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VuBCIEIBDiXtqjBXHnBnLAyO+zSWtPCBmGSrzn7EKC0BiQO0V1\n"
    "-----END PRIVATE KEY-----\n",
};

START_TEST(what_is_no_key_is_refused_in_a_sentence) {
    struct shoal_signer *again = NULL;
    struct shoal_error err = {.status = SHOAL_OK};
    write_key(key_path, no_keys[_i]);
    ck_assert_int_eq(shoal_signer_read(key_path, &again, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "shoal keygen"));
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_signer_read(root, &again, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "no file"));
    shoal_error_clear(&err);
    ck_assert_int_eq(shoal_signer_read("/no/such/key", &again, &err), SHOAL_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "/no/such/key"));
}
END_TEST

START_TEST(signature_holds_for_the_same_bytes_alone) {
    static const char bytes[] = "shoal says\nso\0and more";
    const size_t len = sizeof(bytes);
    char head[SHOAL_SEAL_BYTES + 1], altered[sizeof(bytes)];
    struct shoal_signer_name name;
    ck_assert_int_eq(shoal_signer_head(signer, bytes, len, head, NULL), SHOAL_OK);
    ck_assert(shoal_seal_name(head, SHOAL_SEAL_BYTES, &name));
    ck_assert_str_eq(name.digits, shoal_signer_name(signer)->digits);
    ck_assert(shoal_seal_holds(head, bytes, len));
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(altered, bytes, len);
            altered[i] = (char)(altered[i] ^ (1 << bit));
            ck_assert(!shoal_seal_holds(head, altered, len));
        }
        ck_assert(!shoal_seal_holds(head, bytes, i));
    }
}
END_TEST

/* Upper case would be a second text for the same signature. */
START_TEST(head_with_any_other_byte_is_none) {
    char head[SHOAL_SEAL_BYTES + 1], altered[SHOAL_SEAL_BYTES + 1];
    struct shoal_signer_name name;
    ck_assert_int_eq(shoal_signer_head(signer, "abc", 3, head, NULL), SHOAL_OK);
    for (size_t i = 0; i < SHOAL_SEAL_BYTES; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(altered, head, sizeof(head));
            altered[i] = (char)c;
            if (altered[i] == head[i])
                continue;
            bool digit = strchr("0123456789abcdef", c) != NULL && c != 0;
            bool of_digit = i != SHOAL_SIGNER_DIGITS && i != SHOAL_SEAL_BYTES - 1;
            ck_assert_int_eq(shoal_seal_name(altered, SHOAL_SEAL_BYTES, &name),
                             digit && of_digit);
            if (c % 16 == 0 || !digit) /* the others take time */
                ck_assert(!shoal_seal_holds(altered, "abc", 3));
        }
        ck_assert(!shoal_seal_name(head, i, &name));
    }
}
END_TEST

START_TEST(key_of_another_signs_for_itself) {
    char other_path[160], head[SHOAL_SEAL_BYTES + 1], mixed[SHOAL_SEAL_BYTES + 1];
    struct shoal_signer *other = NULL;
    snprintf(other_path, sizeof(other_path), "%s/other", root);
    ck_assert_int_eq(shoal_signer_create(other_path, "x", &other, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_signer_head(signer, "abc", 3, head, NULL), SHOAL_OK);
    ck_assert_int_eq(shoal_signer_head(other, "abc", 3, mixed, NULL), SHOAL_OK);
    memcpy(mixed, head, SHOAL_SIGNER_DIGITS);
    ck_assert(!shoal_seal_holds(mixed, "abc", 3));
    shoal_signer_destroy(other);
}
END_TEST

/* RFC 8032, 7.1, test 2; of SHA-256: FIPS 180-2, B.1. */
START_TEST(signatures_and_hashes_are_those_of_the_standards) {
    static const char head[] =
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c "
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00\n";
    char digits[SHOAL_HASH_DIGITS + 1];
    ck_assert(shoal_seal_holds(head, "\x72", 1));
    ck_assert(!shoal_seal_holds(head, "\x73", 1));
    ck_assert(shoal_hash("abc", 3, digits));
    ck_assert_str_eq(digits, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20"
                             "015ad");
    ck_assert(shoal_redis_hash("abc", 3, digits));
    ck_assert_str_eq(digits, "a9993e364706816aba3e25717850c26c9cd0d89d");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("signer");
    TCase *cases = tcase_create("signer");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, keys_lie_in_files_of_their_owner_alone);
    tcase_add_test(cases, key_that_is_read_is_the_key_that_was_made);
    tcase_add_test(cases, key_is_never_overwritten);
    tcase_add_loop_test(cases, key_that_others_can_read_is_not_used, 0, 7);
    tcase_add_loop_test(cases, what_is_no_key_is_refused_in_a_sentence, 0, 5);
    tcase_add_test(cases, signature_holds_for_the_same_bytes_alone);
    tcase_add_test(cases, head_with_any_other_byte_is_none);
    tcase_add_test(cases, key_of_another_signs_for_itself);
    tcase_add_test(cases, signatures_and_hashes_are_those_of_the_standards);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
