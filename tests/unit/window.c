/* What is under way of a stream, against a plain count of rows. */
#include "client/window.h"
#include "common/cleanup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS = 3000 };

static uint32_t state; /* of chance, the same each time */

static size_t below(size_t n) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % n;
}

/* Packs come and rows leave in any order, about in that of their tasks. */
START_TEST(packs_are_out_when_all_of_their_rows_are) {
    struct shoal_window window;
    int64_t last[TASKS], size[TASKS] = {0}, waiting[TASKS];
    int64_t next = 0, n_waiting = 0, done = 0;
    static bool out[TASKS];
    memset(out, 0, sizeof(out));
    state = (uint32_t)_i;
    shoal_window_init(&window);
    while (done < TASKS) {
        if (next < TASKS && (n_waiting == 0 || below(10) < 5)) {
            int64_t n = 1 + (int64_t)below(40);
            n = n < TASKS - next ? n : TASKS - next;
            ck_assert_int_eq(shoal_window_add(&window, next, n, 10 * (size_t)n, NULL),
                             SHOAL_OK);
            size[next] = n;
            for (int64_t i = 0; i < n; i++)
                waiting[n_waiting++] = next + i;
            next += n;
        }
        for (size_t i = below(30); i > 0 && n_waiting > 0; i--) {
            size_t near = (size_t)n_waiting < 100 ? (size_t)n_waiting : 100;
            size_t at = below(below(20) == 0 ? (size_t)n_waiting : near);
            out[waiting[at]] = true;
            shoal_window_row(&window, waiting[at]);
            memmove(&waiting[at], &waiting[at + 1],
                    ((size_t)n_waiting - at - 1) * sizeof(*waiting));
            n_waiting--;
            done++;
        }
        if (below(5) == 0)
            shoal_window_settle(&window);
        ck_assert_int_eq(window.tasks - window.tasks_out, n_waiting);
        ck_assert_int_eq(window.bytes - window.bytes_out, 10 * n_waiting);
    }
    shoal_window_settle(&window);
    ck_assert_int_eq(window.tasks, 0);
    ck_assert_int_eq(window.bytes, 0);
    ck_assert_uint_eq(window.n, 0);
    int64_t released = 0;
    for (size_t i = 0; i < window.n_out; i++) {
        last[i] = window.out[i].first;
        ck_assert_int_eq(window.out[i].n, size[last[i]]);
        size[last[i]] = 0; /* once */
        released += window.out[i].n;
    }
    ck_assert_int_eq(released, TASKS);
    shoal_window_finish(&window);
}
END_TEST

START_TEST(window_is_full_of_tasks_or_of_bytes) {
    struct shoal_window window;
    shoal_window_init(&window);
    for (int64_t i = 0; i < SHOAL_WINDOW_TASKS; i++) {
        ck_assert(shoal_window_has_room(&window));
        ck_assert_int_eq(shoal_window_add(&window, i, 1, 1, NULL), SHOAL_OK);
    }
    ck_assert(!shoal_window_has_room(&window));
    for (int64_t i = 0; i < SHOAL_WINDOW_TASKS / 4; i++) {
        ck_assert(!shoal_window_wants_settling(&window));
        shoal_window_row(&window, SHOAL_WINDOW_TASKS - 1 - i);
    }
    ck_assert(shoal_window_wants_settling(&window));
    ck_assert(!shoal_window_has_room(&window)); /* Redis has still to be told */
    shoal_window_settle(&window);
    ck_assert(shoal_window_has_room(&window));
    ck_assert_int_eq(
        shoal_window_add(&window, SHOAL_WINDOW_TASKS, 1, SHOAL_WINDOW_BYTES, NULL),
        SHOAL_OK);
    ck_assert(!shoal_window_has_room(&window));
    shoal_window_row(&window, SHOAL_WINDOW_TASKS + 5); /* not ours */
    shoal_window_row(&window, SHOAL_WINDOW_TASKS);
    ck_assert(shoal_window_wants_settling(&window));
    shoal_window_row(&window, SHOAL_WINDOW_TASKS); /* it was retried */
    shoal_window_settle(&window);
    ck_assert(shoal_window_has_room(&window));
    shoal_window_all(&window);
    ck_assert(shoal_window_wants_settling(&window));
    shoal_window_settle(&window);
    ck_assert_int_eq(window.tasks + window.bytes, 0);
    ck_assert_uint_eq(window.n_out, SHOAL_WINDOW_TASKS + 1);
    shoal_window_finish(&window);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("window");
    TCase *tests = tcase_create("window");
    tcase_add_loop_test(tests, packs_are_out_when_all_of_their_rows_are, 0, 8);
    tcase_add_test(tests, window_is_full_of_tasks_or_of_bytes);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
