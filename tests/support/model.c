#include "tests/support/model.h"

#include "common/cleanup.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct model_job *find_job(struct model *model, const char *id) {
    for (int i = 0; i < model->n_jobs; i++) {
        if (!model->jobs[i].gone && strcmp(model->jobs[i].id, id) == 0)
            return &model->jobs[i];
    }
    return NULL;
}

static int64_t count(const struct model_job *job, enum model_state state) {
    int64_t n = 0;
    for (int64_t i = 0; i < job->total; i++)
        n += job->tasks[i].state == state;
    return n;
}

/* ---- ranges: from a task that starts one to the next that does */

static bool is_open(const struct model_task *task) {
    return task->state == MODEL_QUEUED || task->state == MODEL_DELAYED ||
           task->state == MODEL_LEASED;
}

static int64_t range_begin(const struct model_job *job, int64_t index) {
    while (!job->tasks[index].starts)
        index--;
    return index;
}

static int64_t range_end(const struct model_job *job, int64_t index) {
    do
        index++;
    while (index < job->cursor && !job->tasks[index].starts);
    return index;
}

static void set_range(struct model_job *job, int64_t lo, int64_t hi,
                      struct model_task task) {
    if (lo >= hi)
        return;
    for (int64_t i = lo; i < hi; i++) {
        task.rows = job->tasks[i].rows;
        task.ok = job->tasks[i].ok;
        task.starts = i == lo;
        job->tasks[i] = task;
    }
    if (hi < job->cursor)
        job->tasks[hi].starts = true;
}

/* Cuts the ranges that [lo, hi) overlaps at its ends. */
static void cut_out(struct model_job *job, int64_t lo, int64_t hi) {
    job->tasks[lo].starts = true;
    if (hi < job->cursor)
        job->tasks[hi].starts = true;
}

/* What was handed out without Redis knowing it any more. */
static void reach(struct model_job *job, int64_t lo, int64_t hi, int64_t attempt) {
    if (hi <= job->cursor)
        return;
    int64_t from = job->cursor;
    int64_t at = lo > from ? lo : from;
    job->cursor = hi;
    set_range(job, from, at, (struct model_task){.state = MODEL_QUEUED, .attempt = 1});
    set_range(job, at, hi,
              (struct model_task){.state = MODEL_QUEUED, .attempt = attempt});
}

/* ---- how tasks end */

static void add_row(struct model_task *task, bool ok) {
    if (task->rows++ == 0)
        task->ok = ok;
}

static void end_task(struct model_task *task, enum model_state state, int64_t attempt) {
    task->state = state;
    task->attempt = attempt;
    if (state != MODEL_CANCELLED)
        add_row(task, state == MODEL_OK);
}

/* What must run alone, lest it is blamed for what its neighbours did. */
static bool is_suspect(const struct model_job *job, const struct model_task *task) {
    int64_t least = job->policy.max_lost > 1 ? job->policy.max_lost - 1 : 1;
    return task->lost >= least;
}

/* A range whose lease is over without an outcome. `alone`: all that its worker had. */
static void give_back(struct model_job *job, int64_t lo, int64_t hi, bool lost,
                      bool alone) {
    struct model_task task = job->tasks[lo];
    int64_t started = lost ? task.attempt : task.attempt - 1;
    task.state = MODEL_QUEUED;
    if (job->state == SHOAL_JOB_STOPPING) {
        for (int64_t i = lo; i < hi; i++)
            end_task(&job->tasks[i], MODEL_CANCELLED, started);
    } else if (!lost) {
        set_range(job, lo, hi, task);
    } else if (hi - lo > 1) {
        task.attempt++;
        set_range(job, lo, lo + (hi - lo) / 2, task);
        set_range(job, lo + (hi - lo) / 2, hi, task);
    } else if (alone && task.lost + 1 >= job->policy.max_lost) {
        end_task(&job->tasks[lo], MODEL_FAILED, task.attempt);
    } else {
        task.attempt++;
        task.lost += !is_suspect(job, &task);
        set_range(job, lo, hi, task);
    }
}

static void succeed(struct model_job *job, int64_t lo, int64_t hi) {
    if (lo >= hi)
        return;
    reach(job, lo, hi, 1);
    for (int64_t i = lo; i < hi; i++) {
        if (!is_open(&job->tasks[i]))
            continue;
        /* The ends of a range in which [lo, hi) lies. */
        int64_t begin = range_begin(job, i), end = range_end(job, i);
        cut_out(job, begin > lo ? begin : lo, end < hi ? end : hi);
        end_task(&job->tasks[i], MODEL_OK, job->tasks[i].attempt);
    }
}

static void fail_task(struct model_job *job, int64_t index, int64_t attempt,
                      char letter) {
    reach(job, index, index + 1, attempt);
    struct model_task *task = &job->tasks[index];
    if (!is_open(task) || task->attempt != attempt)
        return;
    cut_out(job, index, index + 1);
    bool goes_back = letter == 's' || letter == 'c' || letter == 'C';
    if (goes_back && job->state == SHOAL_JOB_STOPPING) {
        end_task(task, MODEL_CANCELLED, attempt);
    } else if (goes_back) {
        task->state = letter == 'c' ? MODEL_DELAYED : MODEL_QUEUED;
        task->attempt++;
    } else if (letter != 'r' && job->state == SHOAL_JOB_ACTIVE &&
               task->fails < job->policy.retries) {
        task->state = MODEL_DELAYED;
        task->attempt++;
        task->fails++;
    } else {
        end_task(task, MODEL_FAILED, attempt);
    }
}

/* ---- leases */

static int find_lease(const struct model *model, const char *session, const char *name) {
    for (int i = 0; i < MODEL_LEASES; i++) {
        const struct model_lease *lease = &model->leases[i];
        if (lease->session[0] != '\0' && strcmp(lease->session, session) == 0 &&
            strcmp(lease->name, name) == 0)
            return i;
    }
    return -1;
}

static int add_lease(struct model *model, const char *session, const char *name, int job,
                     int64_t lo, int64_t hi) {
    for (int i = 0; i < MODEL_LEASES; i++) {
        struct model_lease *lease = &model->leases[i];
        if (lease->session[0] != '\0')
            continue;
        lease->job = job;
        lease->lo = lo;
        lease->hi = hi;
        lease->alone = false;
        snprintf(lease->session, sizeof(lease->session), "%s", session);
        snprintf(lease->name, sizeof(lease->name), "%s", name);
        return i;
    }
    ck_abort_msg("the model has no room for more leases");
    return -1;
}

static bool owns(const struct model_task *task, int lease) {
    return task->state == MODEL_LEASED && task->lease == lease;
}

static int64_t count_ranges(const struct model_job *job, int lease) {
    int64_t n = 0;
    for (int64_t i = 0; i < job->cursor; i++)
        n += owns(&job->tasks[i], lease) && job->tasks[i].starts;
    return n;
}

/* `only`: its session has no other. */
static void end_lease(struct model *model, int number, bool lost, bool only) {
    struct model_job *job = &model->jobs[model->leases[number].job];
    bool alone = only && count_ranges(job, number) == 1;
    for (int64_t i = 0; i < job->cursor; i++) {
        if (owns(&job->tasks[i], number))
            give_back(job, i, range_end(job, i), lost, alone);
    }
    model->leases[number].session[0] = '\0';
}

static int64_t count_leases(const struct model *model, const char *session) {
    int64_t n = 0;
    for (int i = 0; i < MODEL_LEASES; i++)
        n += strcmp(model->leases[i].session, session) == 0;
    return n;
}

static void end_leases(struct model *model, const char *session, bool lost) {
    bool only = count_leases(model, session) == 1;
    for (int i = 0; i < MODEL_LEASES; i++) {
        if (strcmp(model->leases[i].session, session) == 0)
            end_lease(model, i, lost, only);
    }
}

/* The rest of a lease, from a task on, goes back. */
static void give_back_rest(struct model *model, int number, int64_t rest) {
    if (rest >= model->leases[number].hi)
        return;
    model->leases[number].hi = rest;
    struct model_job *job = &model->jobs[model->leases[number].job];
    for (int64_t i = rest; i < job->cursor; i++) {
        if (!owns(&job->tasks[i], number))
            continue;
        cut_out(job, i, range_end(job, i));
        give_back(job, i, range_end(job, i), false, false);
    }
}

/* ---- states of jobs */

static void stop(struct model_job *job) {
    for (int64_t i = 0; i < job->total; i++) {
        struct model_task *task = &job->tasks[i];
        bool fresh = task->state == MODEL_FRESH;
        if (fresh)
            task->starts = i == job->cursor;
        if (fresh || task->state == MODEL_QUEUED || task->state == MODEL_DELAYED)
            end_task(task, MODEL_CANCELLED, fresh ? 0 : task->attempt - 1);
    }
    job->cursor = job->total;
    job->open = false;
    job->state = SHOAL_JOB_STOPPING;
}

static bool is_done(const struct model_job *job) {
    if (job->open)
        return false;
    for (int64_t i = 0; i < job->total; i++) {
        if (job->tasks[i].state == MODEL_FRESH || is_open(&job->tasks[i]))
            return false;
    }
    return true;
}

static void finish_job(struct model_job *job) {
    int64_t failed = count(job, MODEL_FAILED), cancelled = count(job, MODEL_CANCELLED);
    bool cut_off = job->total == 0 && job->cancelled;
    if (cut_off || (cancelled > 0 && (job->cancelled || failed == 0)))
        job->state = SHOAL_JOB_CANCELLED;
    else if (failed == 0 && cancelled == 0)
        job->state = SHOAL_JOB_SUCCEEDED;
    else
        job->state = SHOAL_JOB_FAILED;
}

/* What follows at the end of every move. */
static void save(struct model *model) {
    for (int i = 0; i < model->n_jobs; i++) {
        struct model_job *job = &model->jobs[i];
        if (job->state == SHOAL_JOB_ACTIVE && job->policy.max_fails > 0 &&
            count(job, MODEL_FAILED) >= job->policy.max_fails)
            stop(job);
        if ((job->state == SHOAL_JOB_ACTIVE || job->state == SHOAL_JOB_STOPPING) &&
            is_done(job))
            finish_job(job);
    }
}

void model_submit(struct model *model, const struct shoal_submission *submission) {
    ck_assert_int_lt(model->n_jobs, MODEL_JOBS);
    ck_assert_int_le(submission->total, MODEL_TASKS);
    struct model_job *job = &model->jobs[model->n_jobs++];
    *job = (struct model_job){.policy = submission->policy, .total = submission->total};
    memcpy(job->id, submission->id, sizeof(job->id));
    job->state = submission->start_ms > 0 ? SHOAL_JOB_WAITING : SHOAL_JOB_ACTIVE;
    job->open = submission->open;
    save(model);
}

enum shoal_status model_append(struct model *model, int number, int64_t first,
                               int64_t n) {
    struct model_job *job = &model->jobs[number];
    if (first + n <= job->total)
        return SHOAL_OK; /* it is there already */
    if (!job->open || first != job->total)
        return SHOAL_REFUSED;
    job->total += n;
    ck_assert_int_le(job->total, MODEL_TASKS);
    save(model);
    return SHOAL_OK;
}

void model_close(struct model *model, int number) {
    model->jobs[number].open = false;
    save(model);
}

void model_cancel(struct model *model, int number) {
    struct model_job *job = &model->jobs[number];
    if (job->state == SHOAL_JOB_WAITING || job->state == SHOAL_JOB_ACTIVE) {
        job->cancelled = true;
        stop(job);
    }
    save(model);
}

void model_retry(struct model *model, int number, bool all) {
    struct model_job *job = &model->jobs[number];
    bool any = false;
    for (int64_t i = 0; i < job->total; i++) {
        struct model_task *task = &job->tasks[i];
        if (task->state != MODEL_FAILED && !(all && task->state == MODEL_CANCELLED))
            continue;
        any = true;
        task->state = MODEL_QUEUED;
        task->attempt++;
        task->fails = task->lost = 0;
    }
    if (any) {
        job->state = SHOAL_JOB_ACTIVE;
        job->cancelled = false;
    }
    save(model);
}

/* Whoever has something of it finds that it is over. */
void model_forget(struct model *model, int number) {
    struct model_job *job = &model->jobs[number];
    job->gone = true;
    if (shoal_job_state_is_final(job->state))
        return;
    stop(job);
    for (int64_t i = 0; i < job->total; i++)
        job->tasks[i].state = MODEL_CANCELLED;
    job->state = SHOAL_JOB_CANCELLED;
}

/* ---- sessions */

static struct model_session *find_session(struct model *model, const char *id) {
    for (int i = 0; i < MODEL_SESSIONS; i++) {
        if (strcmp(model->sessions[i].id, id) == 0)
            return &model->sessions[i];
    }
    return NULL;
}

/* `deadline_ms` is found out by the next comparison. */
static void live_on(struct model *model, const char *id) {
    struct model_session *session = find_session(model, id);
    if (session == NULL) {
        session = find_session(model, "");
        ck_assert_ptr_nonnull(session);
        snprintf(session->id, sizeof(session->id), "%s", id);
        session->drains = false;
    }
    session->deadline_ms = 0;
}

static void end_session(struct model *model, const char *id, bool lost) {
    struct model_session *session = find_session(model, id);
    end_leases(model, id, lost);
    if (session != NULL)
        session->id[0] = '\0';
}

enum shoal_status model_drain(struct model *model, const char *session) {
    struct model_session *found = find_session(model, session);
    if (found == NULL)
        return SHOAL_UNKNOWN;
    found->drains = true;
    return SHOAL_OK;
}

void model_finish(struct model *model, const char *session) {
    end_session(model, session, false);
    save(model);
}

/* ---- advance */

static void commit(struct model *model, const char *session,
                   const struct model_commit *told) {
    struct model_job *job = find_job(model, told->job);
    int64_t hi = told->lo + (int64_t)strlen(told->outcomes), from = told->lo;
    bool counts =
        job != NULL && !shoal_job_state_is_final(job->state) && hi <= job->total;
    for (int64_t i = told->lo; counts && i < hi; i++) {
        char letter = told->outcomes[i - told->lo];
        if (letter == '.')
            continue;
        succeed(job, from, i);
        fail_task(job, i, told->attempt, letter);
        from = i + 1;
    }
    if (counts)
        succeed(job, from, hi);
    int lease = find_lease(model, session, told->lease);
    if (lease >= 0 && told->over)
        end_lease(model, lease, false, false);
    else if (lease >= 0 && told->rest >= 0 && counts &&
             &model->jobs[model->leases[lease].job] == job)
        give_back_rest(model, lease, told->rest);
}

static int64_t leases_of(const struct model *model, int job) {
    int64_t n = 0;
    for (int i = 0; i < MODEL_LEASES; i++)
        n += model->leases[i].session[0] != '\0' && model->leases[i].job == job;
    return n;
}

static bool can_hand_out(const struct model *model, int number) {
    const struct model_job *job = &model->jobs[number];
    return job->state == SHOAL_JOB_ACTIVE &&
           (job->policy.max_running == 0 ||
            leases_of(model, number) < job->policy.max_running) &&
           count(job, MODEL_FRESH) + count(job, MODEL_QUEUED) > 0;
}

/* The highest priority at which there is something; -1: nothing. */
static int best_priority(const struct model *model) {
    int best = -1;
    for (int i = 0; i < model->n_jobs && !model->paused; i++) {
        if (can_hand_out(model, i) && model->jobs[i].policy.priority > best)
            best = model->jobs[i].policy.priority;
    }
    return best;
}

/* A lease that stands, asked for again: its first range. */
static bool is_given_again(struct model *model, int number,
                           const struct shoal_lease *lease) {
    struct model_job *job = &model->jobs[model->leases[number].job];
    for (int64_t i = 0; i < job->cursor && job->state == SHOAL_JOB_ACTIVE; i++) {
        if (!owns(&job->tasks[i], number))
            continue;
        ck_assert_ptr_nonnull(lease);
        ck_assert_str_eq(lease->job, job->id);
        ck_assert_int_eq(lease->lo, i);
        ck_assert_int_eq(lease->hi, range_end(job, i));
        ck_assert_int_eq(lease->attempt, job->tasks[i].attempt);
        return true;
    }
    end_lease(model, number, false, false);
    return false;
}

/* Whether something is to run alone; which worker empties itself for it, and so gets
 * nothing meanwhile, is Redis's choice. */
static bool has_suspects(const struct model *model) {
    for (int i = 0; i < model->n_jobs; i++) {
        const struct model_job *job = &model->jobs[i];
        for (int64_t k = 0; k < job->cursor; k++) {
            const struct model_task *task = &job->tasks[k];
            if ((task->state == MODEL_QUEUED || task->state == MODEL_LEASED) &&
                is_suspect(job, task))
                return true;
        }
    }
    return false;
}

/* Whether a session was given a suspect, which runs alone. */
static bool runs_suspect(const struct model *model, const char *session) {
    for (int i = 0; i < MODEL_LEASES; i++) {
        const struct model_lease *lease = &model->leases[i];
        const struct model_job *job = &model->jobs[lease->job];
        if (lease->alone && strcmp(lease->session, session) == 0 &&
            job->state == SHOAL_JOB_ACTIVE && count_ranges(job, i) > 0)
            return true;
    }
    return false;
}

/* A lease behind the first of a wish: of another job, of what was never handed out. */
static void hand_out_more(struct model *model, const char *session,
                          const struct shoal_wish *wish, const struct shoal_lease *first,
                          const struct shoal_lease *lease) {
    struct model_job *job = find_job(model, lease->job);
    const struct model_job *first_job = find_job(model, first->job);
    ck_assert_ptr_nonnull(job);
    ck_assert_ptr_ne(job, first_job);
    ck_assert_int_eq(first->attempt, 1);
    ck_assert_int_eq(job->policy.priority, first_job->policy.priority);
    ck_assert_msg(!runs_suspect(model, session), "a lease beside a suspect");
    ck_assert(can_hand_out(model, (int)(job - model->jobs)));
    ck_assert_int_eq(count(job, MODEL_QUEUED), 0);
    ck_assert_int_eq(lease->lo, job->cursor);
    ck_assert_int_gt(lease->hi, lease->lo);
    ck_assert_int_le(lease->hi, job->total);
    ck_assert_int_le(lease->hi - lease->lo, wish->most);
    ck_assert_int_eq(lease->attempt, 1);
    job->cursor = lease->hi;
    struct model_task task = {.attempt = 1, .state = MODEL_LEASED};
    task.lease = add_lease(model, session, lease->name, (int)(job - model->jobs),
                           lease->lo, lease->hi);
    set_range(job, lease->lo, lease->hi, task);
}

static void hand_out(struct model *model, const char *session,
                     const struct shoal_wish *wish, const struct shoal_lease *lease) {
    int best = best_priority(model);
    bool waits = has_suspects(model);
    if (best < 0 || (waits && lease == NULL)) {
        ck_assert_msg(lease == NULL, "a lease of nothing");
        return;
    }
    ck_assert_msg(lease != NULL, "no lease, although there is something to do");
    ck_assert_msg(!runs_suspect(model, session), "a lease beside a suspect");
    struct model_job *job = find_job(model, lease->job);
    ck_assert_ptr_nonnull(job);
    int number = (int)(job - model->jobs);
    ck_assert(can_hand_out(model, number));
    ck_assert(job->policy.priority == best || waits);
    ck_assert_int_gt(lease->hi, lease->lo);
    ck_assert_int_le(lease->hi - lease->lo, wish->most);
    struct model_task task = job->tasks[lease->lo];
    if (task.state == MODEL_FRESH) {
        ck_assert_int_eq(lease->lo, job->cursor);
        ck_assert_int_le(lease->hi, job->total);
        job->cursor = lease->hi;
        task = (struct model_task){.attempt = 1};
    } else {
        ck_assert_int_eq(task.state, MODEL_QUEUED);
        ck_assert(task.starts);
        ck_assert_int_le(lease->hi, range_end(job, lease->lo));
        ck_assert_msg(!is_suspect(job, &task) || count_leases(model, session) == 0,
                      "a suspect beside other leases");
    }
    ck_assert_int_eq(lease->attempt, task.attempt);
    task.state = MODEL_LEASED;
    task.lease = add_lease(model, session, wish->lease, number, lease->lo, lease->hi);
    model->leases[task.lease].alone = is_suspect(job, &task);
    set_range(job, lease->lo, lease->hi, task);
}

void model_name_lease(char *name, const struct shoal_wish *wish, int64_t k) {
    if (k == 0)
        snprintf(name, SHOAL_LEASE_MAX, "%s", wish->lease);
    else
        snprintf(name, SHOAL_LEASE_MAX, "%.16s.%d", wish->lease, (int)k);
}

static const struct shoal_lease *granted(const struct shoal_advanced *answer,
                                         const char *name) {
    for (size_t i = 0; i < answer->n_grants; i++) {
        if (strcmp(answer->grants[i].lease.name, name) == 0)
            return &answer->grants[i].lease;
    }
    return NULL;
}

/* Those of the wish's leases that stand are given again. Returns whether there was any.
 */
static bool give_again(struct model *model, const char *session,
                       const struct shoal_wish *wish,
                       const struct shoal_advanced *answer) {
    char name[SHOAL_LEASE_MAX];
    bool any = false;
    for (int64_t k = 0; k < wish->count; k++) {
        model_name_lease(name, wish, k);
        int standing = find_lease(model, session, name);
        if (standing >= 0 && is_given_again(model, standing, granted(answer, name)))
            any = true;
    }
    return any;
}

static void fulfil(struct model *model, const char *session,
                   const struct shoal_wish *wish, const struct shoal_advanced *answer) {
    char name[SHOAL_LEASE_MAX];
    const struct shoal_lease *first = granted(answer, wish->lease);
    if (give_again(model, session, wish, answer))
        return;
    hand_out(model, session, wish, first);
    for (int64_t k = 1; k < wish->count; k++) {
        model_name_lease(name, wish, k);
        const struct shoal_lease *more = granted(answer, name);
        if (more == NULL)
            continue;
        ck_assert_ptr_nonnull(first);
        hand_out_more(model, session, wish, first, more);
    }
}

void model_advance(struct model *model, const char *session,
                   const struct model_commit *commits, size_t n,
                   const struct shoal_wish *wishes, size_t n_wishes,
                   const struct shoal_advanced *answer) {
    for (size_t i = 0; i < n; i++)
        commit(model, session, &commits[i]);
    ck_assert_int_eq(answer->alive, find_session(model, session) != NULL);
    ck_assert(answer->alive || answer->n_grants == 0);
    for (size_t i = 0; i < n_wishes && answer->alive; i++)
        fulfil(model, session, &wishes[i], answer);
    save(model);
}

/* ---- register and heartbeat */

/* Whether it is what the same lease of the dead session holds. */
static bool is_of_the_dead(const struct model *model, const struct model_task *task,
                           const char *dead, const char *name) {
    if (task->state != MODEL_LEASED || dead == NULL)
        return false;
    const struct model_lease *lease = &model->leases[task->lease];
    return strcmp(lease->session, dead) == 0 && strcmp(lease->name, name) == 0;
}

/* Whether the store knows that name for something else: it was rolled back. */
static bool is_another(const struct model_lease *lease, int job,
                       const struct shoal_lease *told) {
    return lease->job != job || told->lo < lease->lo || told->hi > lease->hi;
}

/* The attempt at which a worker has what it says it runs, as the answer should be. */
static int64_t adopt(struct model *model, const char *session, const char *dead,
                     const struct shoal_lease *told) {
    struct model_job *job = find_job(model, told->job);
    if (job == NULL || shoal_job_state_is_final(job->state) || told->hi > job->total)
        return -1;
    int lease = find_lease(model, session, told->name), number = (int)(job - model->jobs);
    int64_t highest = told->attempt, n = 0;
    if (lease >= 0 && is_another(&model->leases[lease], number, told)) {
        end_lease(model, lease, false, false);
        lease = -1;
    }
    for (int64_t i = told->lo; i < told->hi && i < job->cursor; i++) {
        const struct model_task *task = &job->tasks[i];
        if (!is_open(task))
            continue;
        if (lease >= 0 && owns(task, lease))
            return task->attempt;
        if (task->state != MODEL_QUEUED && !is_of_the_dead(model, task, dead, told->name))
            return 0;
        highest = task->attempt > highest ? task->attempt : highest;
        n++;
    }
    if (n == 0 && told->hi <= job->cursor)
        return -1;
    reach(job, told->lo, told->hi, 1);
    if (lease < 0)
        lease = add_lease(model, session, told->name, number, told->lo, told->hi);
    model->leases[lease].lo = told->lo;
    model->leases[lease].hi = told->hi;
    for (int64_t i = told->lo; i < told->hi; i++) {
        if (!is_open(&job->tasks[i]))
            continue;
        int64_t end = range_end(job, i);
        struct model_task task = job->tasks[i];
        task.state = MODEL_LEASED;
        task.attempt = highest;
        task.lease = lease;
        end = end < told->hi ? end : told->hi;
        set_range(job, i, end, task);
        i = end - 1;
    }
    return highest;
}

void model_register(struct model *model, const struct shoal_registration *told,
                    const struct shoal_registered *answer) {
    live_on(model, told->session);
    ck_assert_uint_eq(answer->n, told->n_leases);
    for (size_t i = 0; i < told->n_leases; i++) {
        int64_t attempt = adopt(model, told->session, told->dead, &told->leases[i]);
        ck_assert_int_eq(answer->attempts[i], attempt);
    }
    for (int i = 0; i < MODEL_LEASES; i++) {
        bool mine = strcmp(model->leases[i].session, told->session) == 0, kept = false;
        for (size_t k = 0; k < told->n_leases; k++)
            kept = kept || strcmp(model->leases[i].name, told->leases[k].name) == 0;
        if (mine && !kept)
            end_lease(model, i, false, false);
    }
    if (told->dead != NULL)
        end_session(model, told->dead, true);
    save(model);
}

static bool is_told(const struct shoal_heartbeat *told, const char *name) {
    for (size_t i = 0; i < told->n_leases; i++) {
        if (strcmp(told->leases[i], name) == 0)
            return true;
    }
    return false;
}

static bool must_stop(const struct shoal_beaten *answer, const char *job) {
    for (size_t i = 0; i < answer->n_stops; i++) {
        if (strcmp(answer->stops[i].job, job) == 0)
            return true;
    }
    return false;
}

void model_heartbeat(struct model *model, const struct shoal_heartbeat *told,
                     const struct shoal_beaten *answer) {
    ck_assert_int_eq(answer->alive, find_session(model, told->session) != NULL);
    if (!answer->alive)
        return;
    ck_assert_int_eq(answer->drain, find_session(model, told->session)->drains);
    size_t gone = 0;
    for (size_t i = 0; i < told->n_leases; i++) {
        int lease = find_lease(model, told->session, told->leases[i]);
        if (lease < 0) {
            gone++;
            continue;
        }
        const struct model_job *job = &model->jobs[model->leases[lease].job];
        bool stops =
            job->state == SHOAL_JOB_STOPPING || shoal_job_state_is_final(job->state);
        ck_assert_int_eq(must_stop(answer, job->id), stops);
    }
    ck_assert_uint_eq(answer->n_gone, gone);
    for (int i = 0; i < MODEL_LEASES; i++) {
        if (strcmp(model->leases[i].session, told->session) == 0 &&
            !is_told(told, model->leases[i].name))
            end_lease(model, i, false, false);
    }
    live_on(model, told->session);
    save(model);
}

/* ---- comparing */

/* Check notes every assertion that holds in a file, which took most of the time. */
#define must(condition, ...)                                                             \
    do {                                                                                 \
        if (!(condition))                                                                \
            ck_abort_msg(__VA_ARGS__);                                                   \
    } while (0)

static void must_be(const char *id, const char *what, int64_t is, int64_t should) {
    must(is == should, "%s of %s is %" PRId64 ", should be %" PRId64, what, id, is,
         should);
}

static const char *key(struct test_fleet *fleet, enum shoal_key kind) {
    static char texts[5][SHOAL_KEY_MAX];
    static size_t next;
    char *text = texts[next++ % SHOAL_COUNT(texts)];
    shoal_key_make(text, fleet->queue.prefix, kind, "");
    return text;
}

/* All that is compared, at once: the fleet's clock, tokens, sessions and their deadlines,
 * and for each job its counters and its interval map. */
static redisReply *read_store(const struct model *model, struct test_fleet *fleet) {
    static const char script[] =
        "local sessions, clock, wake, job, open, ids = unpack(KEYS)\n"
        "local out = { redis.call('HGET', clock, 'now') or '0',\n"
        "  redis.call('LLEN', wake .. 'q'),\n"
        "  redis.call('ZRANGE', sessions, 0, -1, 'WITHSCORES') }\n"
        "for id in ids:gmatch('%w+') do\n"
        "  out[#out + 1] = redis.call('HGET', job .. id, 'n')\n"
        "  out[#out + 1] = redis.call('ZRANGE', open .. id, 0, -1)\n"
        "end\n"
        "return out";
    char ids[MODEL_JOBS * 13 + 1] = "";
    for (int i = 0; i < model->n_jobs; i++)
        strcat(strcat(ids, model->jobs[i].id), " ");
    redisReply *reply =
        test_command(fleet->redis, "EVAL %s 6 %s %s %s %s %s %s", script,
                     key(fleet, SHOAL_KEY_SESSIONS), key(fleet, SHOAL_KEY_CLOCK),
                     key(fleet, SHOAL_KEY_WAKE), key(fleet, SHOAL_KEY_JOB),
                     key(fleet, SHOAL_KEY_OPEN), ids);
    ck_assert_msg(reply->type == REDIS_REPLY_ARRAY, "%s", reply->str);
    ck_assert_uint_eq(reply->elements, 3 + 2 * (size_t)model->n_jobs);
    return reply;
}

/* Sessions that Redis found to be past their deadline. */
static void follow_sessions(struct model *model, int64_t now, const redisReply *live) {
    size_t found = 0;
    for (int s = 0; s < MODEL_SESSIONS; s++) {
        struct model_session *session = &model->sessions[s];
        bool lives = false;
        for (size_t i = 0; i + 1 < live->elements && session->id[0] != '\0'; i += 2) {
            if (strcmp(live->element[i]->str, session->id) != 0)
                continue;
            lives = true;
            session->deadline_ms = (int64_t)strtod(live->element[i + 1]->str, NULL);
        }
        found += lives;
        if (!lives && session->id[0] != '\0') {
            ck_assert_msg(session->deadline_ms != 0 && session->deadline_ms <= now,
                          "session %s ended before its time", session->id);
            end_session(model, session->id, true);
        }
    }
    ck_assert_uint_eq(found, live->elements / 2);
}

/* Makes what stands in Redis's interval map of `map`; the rest of it is left. */
struct seen {
    bool open;
    bool starts;
    long long attempt, fails, lost;
    char label[48];
};

static void read_map(const redisReply *members, const struct model_job *job,
                     struct seen *map) {
    for (size_t i = 0; i < members->elements; i++) {
        const char *member = members->element[i]->str;
        struct seen seen = {.open = true};
        long long lo = 0, hi = 0;
        int read = sscanf(member, "%lld:%lld:%lld:%lld:%lld:%47s", &lo, &hi,
                          &seen.attempt, &seen.fails, &seen.lost, seen.label);
        must(read == 6 && lo >= 0 && lo < hi && hi <= job->total, "%s in the map of %s",
             member, job->id);
        for (long long k = lo; k < hi; k++) {
            must(!map[k].open, "task %lld of %s is twice in the map", k, job->id);
            seen.starts = k == lo;
            map[k] = seen;
        }
    }
}

static void expected_label(const struct model *model, const struct model_task *task,
                           char *label, size_t room) {
    const struct model_lease *lease = &model->leases[task->lease];
    if (task->state == MODEL_LEASED)
        snprintf(label, room, "@%s/%s", lease->session, lease->name);
    else
        snprintf(label, room, "q");
}

static void compare_task(const struct model *model, const struct model_job *job,
                         int64_t index, struct model_task *task,
                         const struct seen *seen) {
    char label[48];
    if (task->state == MODEL_DELAYED && seen->open && seen->label[0] == 'd')
        snprintf(label, sizeof(label), "%s", seen->label); /* when is Redis's business */
    else
        expected_label(model, task, label, sizeof(label));
    if (task->state == MODEL_DELAYED && strcmp(seen->label, "q") == 0)
        task->state = MODEL_QUEUED;
    if (!is_open(task)) {
        must(!seen->open, "task %" PRId64 " of %s is open: %s", index, job->id,
             seen->label);
        return;
    }
    must(seen->open && strcmp(seen->label, label) == 0 &&
             seen->attempt == task->attempt && seen->fails == task->fails &&
             seen->lost == task->lost && seen->starts == task->starts,
         "task %" PRId64 " of %s is %d:%lld:%lld:%lld:%s, should be %d:%" PRId64
         ":%" PRId64 ":%" PRId64 ":%s",
         index, job->id, seen->starts, seen->attempt, seen->fails, seen->lost,
         seen->label, task->starts, task->attempt, task->fails, task->lost, label);
}

/* The first of a job's counters, as lib.lua has them. */
struct counters {
    char state[16];
    long long total, cursor, ok, failed, cancelled, leased, delayed, leases, ready, open;
};

static struct counters read_counters(const redisReply *n) {
    struct counters now = {.total = 0};
    must(n->type == REDIS_REPLY_STRING, "a job has no counters");
    int read =
        sscanf(n->str, "%15[a-z]:%lld:%lld:%lld:%lld:%lld:%lld:%lld:%lld:%lld:%lld",
               now.state, &now.total, &now.cursor, &now.ok, &now.failed, &now.cancelled,
               &now.leased, &now.delayed, &now.leases, &now.ready, &now.open);
    must(read >= 1, "counters of a job: %s", n->str);
    return now;
}

static void compare_job(struct model *model, int number, const redisReply *n,
                        const redisReply *members) {
    struct model_job *job = &model->jobs[number];
    struct seen map[MODEL_TASKS] = {{.open = false}};
    if (job->gone) {
        must(n->type == REDIS_REPLY_NIL && members->elements == 0, "job %s is there",
             job->id);
        return;
    }
    struct counters now = read_counters(n);
    if (job->state == SHOAL_JOB_WAITING && job->due &&
        strcmp(now.state, "waiting") != 0) {
        job->state = SHOAL_JOB_ACTIVE;
        save(model);
    }
    read_map(members, job, map);
    for (int64_t i = 0; i < job->total; i++)
        compare_task(model, job, i, &job->tasks[i], &map[i]);
    must(strcmp(now.state, shoal_job_state_name(job->state)) == 0,
         "job %s is %s, should be %s", job->id, now.state,
         shoal_job_state_name(job->state));
    must_be(job->id, "total", now.total, job->total);
    must_be(job->id, "cursor", now.cursor, job->cursor);
    must_be(job->id, "open", now.open, job->open);
    must_be(job->id, "leases", now.leases, leases_of(model, number));
    must_be(job->id, "delayed", now.delayed, count(job, MODEL_DELAYED));
    must_be(job->id, "leased", now.leased, count(job, MODEL_LEASED));
    must_be(job->id, "ok", now.ok, count(job, MODEL_OK));
    must_be(job->id, "failed", now.failed, count(job, MODEL_FAILED));
    must_be(job->id, "cancelled", now.cancelled, count(job, MODEL_CANCELLED));
}

void model_compare(struct model *model, struct test_fleet *fleet) {
    SHOAL_CLEANUP(shoal_cleanup_reply) redisReply *now = read_store(model, fleet);
    follow_sessions(model, strtoll(now->element[0]->str, NULL, 10), now->element[2]);
    save(model);
    for (int i = 0; i < model->n_jobs; i++)
        compare_job(model, i, now->element[3 + 2 * i], now->element[4 + 2 * i]);
    ck_assert_int_eq(now->element[1]->integer, best_priority(model) >= 0);
}

static char letter_of(const struct model_task *task) {
    if (task->rows == 0)
        return '-';
    if (task->rows == 1)
        return task->ok ? '.' : 'x';
    return (char)(task->rows < 9 ? '0' + task->rows : '9');
}

void model_compare_results(const struct model *model, struct test_fleet *fleet) {
    for (int i = 0; i < model->n_jobs; i++) {
        const struct model_job *job = &model->jobs[i];
        if (job->gone)
            continue;
        char expected[MODEL_TASKS + 1] = "";
        SHOAL_CLEANUP(shoal_cleanup_free) char *seen = test_outcomes(fleet, job->id);
        for (int64_t k = 0; k < job->total; k++)
            expected[k] = letter_of(&job->tasks[k]);
        ck_assert_str_eq(seen, expected);
    }
}

bool model_is_over(const struct model *model) {
    for (int i = 0; i < model->n_jobs; i++) {
        if (!shoal_job_state_is_final(model->jobs[i].state))
            return false;
    }
    return true;
}
