#include "client/report.h"

#include "common/cleanup.h"
#include "common/records.h"

#include <stdlib.h>
#include <string.h>

enum { PACKS = 8 };

/* A pack of explicit arguments, with where each begins. */
struct pack {
    char *bytes;
    int64_t first;
    size_t n;
    const char **arguments;
    size_t *lens;
};

struct shoal_report {
    struct shoal_client *client;
    struct shoal_results *results;
    struct shoal_spec spec;
    struct shoal_error damage; /* why the job's own cannot be read; OK: it can */
    struct shoal_row_maker *maker;
    struct pack packs[PACKS]; /* those used last, in turn */
    size_t turn;
    struct shoal_result result; /* that is to become a row … */
    bool pending;               /* … and could not yet, since Redis was away */
};

static void finish_pack(struct pack *pack) {
    free(pack->bytes);
    free(pack->arguments);
    free(pack->lens);
    *pack = (struct pack){.bytes = NULL};
}

static enum shoal_status read_spec(struct shoal_report *report, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_cleanup_free) char *text = NULL;
    size_t len = 0;
    enum shoal_status status =
        shoal_queue_spec(&report->client->queue, shoal_results_job(report->results)->spec,
                         &text, &len, err);
    if (status == SHOAL_OK)
        status = shoal_spec_read(text, len, &report->spec, err);
    return status == SHOAL_OK ? shoal_row_maker_create(&report->spec, &report->maker, err)
                              : status;
}

/* A spec that is garbled or gone takes the parameters with it, and not the outcomes: of
 * explicit arguments, which are not looked at, there may be any number. */
static enum shoal_status do_without_spec(struct shoal_report *report,
                                         const struct shoal_error *why,
                                         struct shoal_error *err) {
    shoal_error_set(&report->damage, SHOAL_GARBAGE,
                    "the spec of job %s cannot be read: %.300s",
                    shoal_report_job(report)->id, why->text);
    shoal_spec_finish(&report->spec);
    shoal_spec_init(&report->spec);
    report->spec.arguments = SHOAL_ARGUMENTS_FIELDS;
    enum shoal_status status = shoal_sweep_create(&report->spec.sweep, err);
    return status == SHOAL_OK ? shoal_row_maker_create(&report->spec, &report->maker, err)
                              : status;
}

static enum shoal_status find_spec(struct shoal_report *report, struct shoal_error *err) {
    struct shoal_error why = {.status = SHOAL_OK};
    enum shoal_status status = read_spec(report, &why);
    if (status == SHOAL_GARBAGE || status == SHOAL_UNKNOWN)
        return do_without_spec(report, &why, err);
    return status == SHOAL_OK ? SHOAL_OK : shoal_error_set(err, status, "%s", why.text);
}

enum shoal_status shoal_report_create(struct shoal_client *client, const char *job,
                                      struct shoal_report **ret_report,
                                      struct shoal_error *err) {
    struct shoal_report *report = calloc(1, sizeof(*report));
    if (report == NULL)
        return shoal_error_set(err, SHOAL_MEMORY, "no memory for a report");
    report->client = client;
    enum shoal_status status = shoal_results_open(client, job, &report->results, err);
    if (status == SHOAL_OK)
        status = find_spec(report, err);
    if (status != SHOAL_OK) {
        shoal_report_destroy(report);
        return status;
    }
    *ret_report = report;
    return SHOAL_OK;
}

void shoal_report_destroy(struct shoal_report *report) {
    if (report == NULL)
        return;
    for (size_t i = 0; i < PACKS; i++)
        finish_pack(&report->packs[i]);
    shoal_row_maker_destroy(report->maker);
    shoal_spec_finish(&report->spec);
    shoal_results_destroy(report->results);
    free(report);
}

void shoal_report_cleanup(struct shoal_report **report) {
    shoal_report_destroy(*report);
}

enum shoal_status shoal_report_check(const struct shoal_report *report,
                                     struct shoal_error *err) {
    return report->damage.status == SHOAL_OK
               ? SHOAL_OK
               : shoal_error_set(err, SHOAL_GARBAGE, "%s", report->damage.text);
}

const struct shoal_job *shoal_report_job(const struct shoal_report *report) {
    return shoal_results_job(report->results);
}

const struct shoal_spec *shoal_report_spec(const struct shoal_report *report) {
    return &report->spec;
}

const struct shoal_row_maker *shoal_report_maker(const struct shoal_report *report) {
    return report->maker;
}

int64_t shoal_report_position(const struct shoal_report *report) {
    return shoal_results_position(report->results);
}

/* ---- explicit arguments */

static bool index_pack(struct pack *pack, size_t len) {
    struct shoal_record_reader reader;
    size_t n = 0;
    shoal_record_reader_init(&reader, pack->bytes, len);
    if (!shoal_record_read_array(&reader, &n) || n > len)
        return false;
    pack->arguments = calloc(n + 1, sizeof(*pack->arguments));
    pack->lens = calloc(n + 1, sizeof(*pack->lens));
    if (pack->arguments == NULL || pack->lens == NULL)
        return false;
    while (pack->n < n && shoal_record_read_bytes(&reader, &pack->arguments[pack->n],
                                                  &pack->lens[pack->n]))
        pack->n++;
    return true;
}

static struct pack *find_pack(struct shoal_report *report, int64_t index) {
    for (size_t i = 0; i < PACKS; i++) {
        struct pack *pack = &report->packs[i];
        if (pack->bytes != NULL && index >= pack->first &&
            index - pack->first < (int64_t)pack->n)
            return pack;
    }
    return NULL;
}

/* The pack with a task's argument; *ret_pack is NULL when it was trimmed. */
static enum shoal_status need_pack(struct shoal_report *report, int64_t index,
                                   struct pack **ret_pack, struct shoal_error *err) {
    *ret_pack = find_pack(report, index);
    if (*ret_pack != NULL)
        return SHOAL_OK;
    struct pack *pack = &report->packs[report->turn++ % PACKS];
    struct shoal_error why = {.status = SHOAL_OK};
    size_t len = 0;
    finish_pack(pack);
    enum shoal_status status =
        shoal_queue_arguments(&report->client->queue, shoal_report_job(report)->id, index,
                              &pack->first, &pack->bytes, &len, NULL, &why);
    if (status != SHOAL_OK && status != SHOAL_UNKNOWN)
        return shoal_error_set(err, status, "%s", why.text);
    if (status == SHOAL_OK && !index_pack(pack, len))
        finish_pack(pack);
    *ret_pack = find_pack(report, index);
    return SHOAL_OK;
}

/* ---- rows */

static enum shoal_status make_row(struct shoal_report *report,
                                  const struct shoal_result *result,
                                  struct shoal_row *row, struct shoal_error *err) {
    struct shoal_outcome outcome = {
        .attempt = result->attempt,
        .wall_us = result->wall_us,
        .cpu_us = result->cpu_us,
        .rss_kb = result->rss_kb,
        .code = result->code,
        .result = result->bytes,
        .result_len = result->len,
    };
    struct shoal_row_source source = {
        .index = result->index,
        .worker = result->worker,
        .worker_len = result->worker_len,
        .outcome = &outcome,
    };
    if (!shoal_reason_parse(result->reason, strlen(result->reason), &outcome.reason))
        outcome.reason = SHOAL_REASON_REJECTED;
    if (report->spec.arguments != SHOAL_ARGUMENTS_NONE &&
        report->damage.status == SHOAL_OK) {
        struct pack *pack = NULL;
        enum shoal_status status = need_pack(report, result->index, &pack, err);
        if (status != SHOAL_OK)
            return status;
        if (pack != NULL) {
            source.argument = pack->arguments[result->index - pack->first];
            source.argument_len = pack->lens[result->index - pack->first];
        }
    }
    return shoal_row_make(report->maker, &source, row, err);
}

enum shoal_status shoal_report_next(struct shoal_report *report, int64_t timeout_ms,
                                    bool *ret_more, struct shoal_row *row,
                                    struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    *ret_more = true;
    if (!report->pending)
        status = shoal_results_next(report->results, timeout_ms, ret_more,
                                    &report->result, err);
    if (status != SHOAL_OK || !*ret_more)
        return status;
    status = make_row(report, &report->result, row, err);
    report->pending = status != SHOAL_OK;
    return status;
}

enum shoal_status shoal_report_acknowledge(struct shoal_report *report, bool take,
                                           struct shoal_error *err) {
    return shoal_results_acknowledge(report->results, take, err);
}
