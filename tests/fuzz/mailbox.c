/* Letters to a client that waits: RESP from the socket on, through the mailbox. */
#include "client/mailbox.h"

#include "tests/fuzz/fuzz.h"
#include "tests/support/answers.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct event_base *base;
    static struct answers *answers;
    struct fuzz_input input = fuzz_input(data, size);
    struct shoal_mailbox *mailbox = NULL;
    if (base == NULL) {
        base = event_base_new();
        answers = answers_create(base);
    }
    answers_set(answers, input.at, size);
    assert(shoal_mailbox_create(base, answers_address(answers), "shoal", &mailbox,
                                NULL) == SHOAL_OK);
    shoal_mailbox_expect(mailbox, "0123456789ab", 10);
    for (int i = 0; i < 200 && !answers_over(answers); i++)
        shoal_mailbox_wait(mailbox, 0);
    shoal_mailbox_wait(mailbox, 0);
    struct shoal_letter *letter = shoal_mailbox_take(mailbox, "0123456789ab");
    if (letter != NULL) {
        assert(shoal_job_state_is_final(letter->state) && letter->total >= 0);
        assert(letter->entry == NULL || letter->len > 0);
        assert(shoal_mailbox_expects(mailbox, "0123456789ab") == NULL);
    }
    free(letter);
    shoal_mailbox_destroy(mailbox);
    return 0;
}
