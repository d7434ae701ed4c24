#include "client/progress.h"

#include "client/cli.h"
#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DRAW_MS = 100, BAR_MOST = 40, BAR_LEAST = 10 };

void shoal_progress_init(struct shoal_progress *progress) {
    *progress = (struct shoal_progress){
        .shown = shoal_stderr_is_terminal(),
        .own_output = shoal_stdout_is_terminal(),
    };
}

static int columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
        return 80;
    return size.ws_col;
}

static int64_t done_of(const struct shoal_job *job) {
    return job->ok + job->failed + job->cancelled;
}

/* What stands behind the bar; instead of one, while it is not known how many tasks there
 * will be. */
static int print_numbers(const struct shoal_job *job, char *text, size_t room) {
    char left[24], failed[48] = "", state[32] = "";
    shoal_span_print(shoal_job_left_ms(job), left);
    if (job->failed > 0)
        snprintf(failed, sizeof(failed), "  %s%" PRId64 " failed%s",
                 shoal_colour() ? "\033[31m" : "", job->failed,
                 shoal_colour() ? "\033[0m" : "");
    if (job->state != SHOAL_JOB_ACTIVE)
        snprintf(state, sizeof(state), "  %s", shoal_job_state_name(job->state));
    if (job->open)
        return snprintf(text, room, "%" PRId64 " of %" PRId64 " so far  %.3g/s%s%s",
                        done_of(job), job->total, shoal_job_rate(job), failed, state);
    return snprintf(text, room, "%3.0f%% %" PRId64 "/%" PRId64 "  %.3g/s  ETA %s%s%s",
                    job->total == 0 ? 0.0
                                    : 100.0 * (double)done_of(job) / (double)job->total,
                    done_of(job), job->total, shoal_job_rate(job), left, failed, state);
}

static void draw_bar(const struct shoal_job *job, int room) {
    char bar[BAR_MOST + 1];
    int width = room > BAR_MOST ? BAR_MOST : room < BAR_LEAST ? BAR_LEAST : room;
    int full = job->total == 0
                   ? 0
                   : (int)((double)width * (double)done_of(job) / (double)job->total);
    memset(bar, '.', (size_t)width);
    memset(bar, '#', (size_t)full);
    bar[width] = '\0';
    fprintf(stderr, "[%s] ", bar);
}

void shoal_progress_draw(struct shoal_progress *progress, const struct shoal_job *job) {
    int64_t now = shoal_now_ms();
    if (!progress->shown || now < progress->next_ms)
        return;
    char numbers[200];
    int len = print_numbers(job, numbers, sizeof(numbers));
    fputs("\r", stderr);
    if (job->open)
        fputs("[reading] ", stderr);
    else
        draw_bar(job, columns() - len - 5);
    fprintf(stderr, "%s\033[K", numbers);
    fflush(stderr);
    progress->drawn = true;
    progress->next_ms = now + DRAW_MS;
}

void shoal_progress_clear(struct shoal_progress *progress) {
    if (!progress->drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->drawn = false;
    progress->next_ms = 0;
}
