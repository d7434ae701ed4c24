/* The batches in a runner's hands, against a plain list of them. */
#include "worker/batches.h"

#include "common/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct shoal_batches batches;

static void setup(void) {
    memset(&batches, 0, sizeof(batches));
}

static struct shoal_given *add(int64_t lo, int64_t hi) {
    const struct shoal_batch batch = {.lo = lo, .hi = hi};
    return shoal_batches_add(&batches, &batch);
}

static struct shoal_given *add_sent(int64_t lo, int64_t hi) {
    struct shoal_given *given = add(lo, hi);
    shoal_batches_sent(&batches, given, hi - lo);
    return given;
}

static void expect_found(int64_t position, size_t place, int64_t index) {
    size_t found = 99;
    ck_assert_int_eq(shoal_batches_find(&batches, position, &found), index);
    ck_assert_uint_eq(found, place);
}

START_TEST(empty_hands_have_nothing) {
    ck_assert_ptr_null(shoal_batches_first(&batches));
    ck_assert_ptr_null(shoal_batches_at(&batches, 0));
    ck_assert_ptr_null(shoal_batches_unsent(&batches));
    ck_assert_int_eq(shoal_batches_tasks(&batches), 0);
    expect_found(0, 0, 0);
}
END_TEST

START_TEST(tasks_are_numbered_through_as_they_are_sent) {
    static const struct {
        int64_t position;
        size_t place;
        int64_t index;
    } rows[] = {
        {0, 0, 5},   {2, 0, 7}, {3, 1, 0},  {4, 2, 100},
        {8, 2, 104}, {9, 0, 5}, {-1, 0, 5}, {INT64_MAX, 0, 5}, /* of none */
    };
    add_sent(5, 8);
    add_sent(0, 1);
    add_sent(100, 105);
    add(0, 50);
    ck_assert_int_eq(batches.positions, 9);
    ck_assert_int_eq(shoal_batches_tasks(&batches), 3 + 1 + 5 + 50);
    for (size_t i = 0; i < SHOAL_COUNT(rows); i++)
        expect_found(rows[i].position, rows[i].place, rows[i].index);
}
END_TEST

START_TEST(runner_may_be_sent_less_than_there_is) {
    struct shoal_given *given = add(10, 50);
    shoal_batches_sent(&batches, given, 7);
    ck_assert_int_eq(given->batch.hi, 17);
    ck_assert_int_eq(given->end, 17);
    add_sent(0, 2);
    expect_found(6, 0, 16);
    expect_found(7, 1, 0);
}
END_TEST

START_TEST(positions_go_on_behind_what_is_over) {
    add_sent(0, 3);
    add_sent(0, 3);
    shoal_batches_shift(&batches);
    add_sent(0, 3);
    expect_found(3, 0, 0);
    expect_found(8, 1, 2);
    shoal_batches_first(&batches)->batch.lo = 2; /* two were reported */
    expect_found(3, 0, 2);
    ck_assert_int_eq(shoal_batches_tasks(&batches), 1 + 3);
    shoal_batches_clear(&batches);
    add_sent(0, 3); /* to the next process */
    expect_found(0, 0, 0);
}
END_TEST

START_TEST(unsent_ones_follow_the_sent_ones) {
    struct shoal_given *first = add(0, 1), *second = add(0, 1);
    ck_assert_ptr_eq(shoal_batches_unsent(&batches), first);
    shoal_batches_sent(&batches, first, 1);
    ck_assert_ptr_eq(shoal_batches_unsent(&batches), second);
    shoal_batches_sent(&batches, second, 1);
    ck_assert_ptr_null(shoal_batches_unsent(&batches));
    struct shoal_given *third = add(0, 1);
    ck_assert_ptr_eq(shoal_batches_unsent(&batches), third);
    shoal_batches_shift(&batches);
    shoal_batches_shift(&batches);
    ck_assert_ptr_eq(shoal_batches_unsent(&batches), third);
}
END_TEST

START_TEST(dropped_batches_stay_until_they_are_over) {
    struct shoal_given *first = add_sent(0, 3);
    struct shoal_given *second = add_sent(0, 3), *third = add_sent(0, 3);
    add(0, 3);
    shoal_batches_drop_behind(&batches, first);
    ck_assert(!first->dropped && second->dropped && third->dropped);
    ck_assert_uint_eq(batches.n, 3); /* of the one that was not sent nothing is left */
    ck_assert_ptr_null(shoal_batches_unsent(&batches));
    ck_assert_ptr_null(shoal_batches_at(&batches, 1));
    ck_assert_int_eq(shoal_batches_tasks(&batches), 3);
    expect_found(4, 0, 0); /* it is of none that is wanted */
    first->batch.hi = 2;   /* the last of the first was taken back, too */
    ck_assert(!shoal_batches_took_back(&batches, 1));
    ck_assert(shoal_batches_took_back(&batches, 2));
    ck_assert(shoal_batches_took_back(&batches, 3));
    ck_assert(shoal_batches_took_back(&batches, 8));
    ck_assert(!shoal_batches_took_back(&batches, 9));
    ck_assert(!shoal_batches_took_back(&batches, INT64_MIN));

    struct shoal_given *next = add(7, 9); /* comes behind them */
    ck_assert_ptr_eq(shoal_batches_at(&batches, 1), next);
    ck_assert_ptr_eq(shoal_batches_unsent(&batches), next);
    shoal_batches_shift(&batches);
    ck_assert_ptr_eq(shoal_batches_first(&batches), second);
    ck_assert_ptr_eq(shoal_batches_at(&batches, 0), next);
    shoal_batches_shift(&batches);
    shoal_batches_shift(&batches);
    shoal_batches_sent(&batches, next, 2);
    expect_found(9, 0, 7);
}
END_TEST

START_TEST(unsent_batches_are_dropped_for_good) {
    struct shoal_given *first = add(0, 3);
    add(0, 3);
    add(0, 3);
    shoal_batches_drop_behind(&batches, first);
    ck_assert_uint_eq(batches.n, 1);
    shoal_batches_drop_behind(&batches, first);
    ck_assert_uint_eq(batches.n, 1);
    ck_assert_ptr_eq(shoal_batches_unsent(&batches), first);
}
END_TEST

START_TEST(arguments_are_read_from_a_copy) {
    struct shoal_record_reader arguments;
    const char *word = NULL;
    size_t len = 0;
    shoal_record_reader_init(&arguments, "$1\r\na\r\n$1\r\nb\r\n", 14);
    const struct shoal_batch batch = {.hi = 2, .arguments = &arguments};
    struct shoal_given *given = shoal_batches_add(&batches, &batch);
    ck_assert_ptr_eq(given->batch.arguments, &given->arguments);
    for (int i = 0; i < 2; i++)
        ck_assert(shoal_record_read_bytes(&given->arguments, &word, &len));
    ck_assert(shoal_record_read_bytes(&arguments, &word, &len));
    ck_assert_mem_eq(word, "a", 1);
}
END_TEST

/* ---- many, in any order */

struct item {
    int64_t lo, hi, position;
    bool sent, dropped;
};

static struct item model[SHOAL_BATCHES_MAX];
static size_t n_model;
static int64_t n_positions;
static uint32_t state; /* of chance, the same each time */

static size_t below(size_t n) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % n;
}

static void add_one(void) {
    if (n_model == SHOAL_BATCHES_MAX)
        return;
    int64_t lo = (int64_t)below(1000);
    model[n_model++] = (struct item){.lo = lo, .hi = lo + 1 + (int64_t)below(9)};
    add(lo, model[n_model - 1].hi);
}

static void send_some(void) {
    size_t n = below(5), i = 0;
    struct shoal_given *given = NULL;
    while (i < n_model && model[i].sent)
        i++;
    for (; n > 0 && i < n_model; n--, i++) {
        given = shoal_batches_unsent(&batches);
        ck_assert_ptr_nonnull(given);
        ck_assert_int_eq(given->batch.lo, model[i].lo);
        shoal_batches_sent(&batches, given, model[i].hi - model[i].lo);
        model[i].sent = true;
        model[i].position = n_positions;
        n_positions += model[i].hi - model[i].lo;
    }
}

static void end_first(void) {
    if (n_model == 0 || !model[0].sent)
        return;
    shoal_batches_shift(&batches);
    memmove(&model[0], &model[1], --n_model * sizeof(*model));
}

/* Behind the i-th of those that are wanted. */
static void drop_some(void) {
    size_t i = below(4), at = 0;
    struct shoal_given *given = shoal_batches_at(&batches, i);
    if (given == NULL)
        return;
    while (model[at].dropped || i-- > 0)
        at++;
    shoal_batches_drop_behind(&batches, given);
    size_t kept = at + 1;
    for (size_t k = at + 1; k < n_model; k++) {
        model[k].dropped = true;
        kept = model[k].sent ? k + 1 : kept;
    }
    n_model = kept;
}

static void expect_as_in_model(void) {
    size_t place = 0;
    int64_t tasks = 0;
    ck_assert_uint_eq(batches.n, n_model);
    for (size_t i = 0; i < n_model; i++) {
        if (model[i].dropped)
            continue;
        const struct shoal_given *given = shoal_batches_at(&batches, place);
        ck_assert_ptr_nonnull(given);
        ck_assert_int_eq(given->batch.lo, model[i].lo);
        ck_assert_int_eq(given->sent, model[i].sent);
        tasks += model[i].hi - model[i].lo;
        if (model[i].sent) {
            expect_found(model[i].position, place, model[i].lo);
            expect_found(model[i].position + model[i].hi - model[i].lo - 1, place,
                         model[i].hi - 1);
        }
        place++;
    }
    ck_assert_ptr_null(shoal_batches_at(&batches, place));
    ck_assert_int_eq(shoal_batches_tasks(&batches), tasks);
    ck_assert_int_eq(batches.positions, n_positions);
}

/* The ring goes round many times. */
START_TEST(thousands_come_and_go_as_in_a_list) {
    static void (*const moves[])(void) = {add_one,   add_one,   add_one,   add_one,
                                          send_some, send_some, send_some, end_first,
                                          end_first, end_first, drop_some};
    state = (uint32_t)_i;
    n_model = 0;
    n_positions = 0;
    for (int i = 0; i < 8000; i++) {
        /* Now and then dropping rests, so that the ring becomes full. */
        size_t n = SHOAL_COUNT(moves) - (i / 400 % 2 == 0 ? 3 : 0);
        moves[below(n)]();
        if (i % 7 == 0)
            expect_as_in_model();
    }
    ck_assert_int_gt(n_positions, 1000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("batches");
    TCase *tests = tcase_create("batches");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, empty_hands_have_nothing);
    tcase_add_test(tests, tasks_are_numbered_through_as_they_are_sent);
    tcase_add_test(tests, runner_may_be_sent_less_than_there_is);
    tcase_add_test(tests, positions_go_on_behind_what_is_over);
    tcase_add_test(tests, unsent_ones_follow_the_sent_ones);
    tcase_add_test(tests, dropped_batches_stay_until_they_are_over);
    tcase_add_test(tests, unsent_batches_are_dropped_for_good);
    tcase_add_test(tests, arguments_are_read_from_a_copy);
    tcase_add_loop_test(tests, thousands_come_and_go_as_in_a_list, 0, 4);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
