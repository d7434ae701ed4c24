#include "client/group.h"

#include "common/cleanup.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXTS_MAX = 256 << 20, /* bytes of all values of a name, of all groups … */
    EXACT_DF = 100,        /* up to here the quantile comes from the finite series */
};

/* Mean and squares by Welford's update, which does not cancel: B. P. Welford, "Note on a
 * method for calculating corrected sums of squares and products", Technometrics 4 (1962),
 * 419-420. */
struct sum {
    int64_t n;
    double mean;
    double squares; /* of the distances from the mean */
};

struct group {
    int64_t ok;
    int64_t failed;
    struct sum *sums; /* a column each */
    size_t n_sums;
};

/* A column that the program reported. */
struct column {
    bool is_numeric; /* so far */
    bool is_name;    /* rows are grouped by it */
    int64_t values;
};

struct shoal_groups {
    struct shoal_dictionary names;                         /* that rows are grouped by */
    bool seen[SHOAL_GROUP_NAMES_MAX];                      /* a row had it */
    struct shoal_dictionary values[SHOAL_GROUP_NAMES_MAX]; /* of each name; "" for none */
    struct shoal_dictionary keys; /* of the groups: the number of each name's value */
    struct group *groups;
    size_t room;
    struct shoal_dictionary known;   /* names of all columns */
    struct shoal_dictionary columns; /* names of those that the program reported */
    struct column *infos;            /* of each of them */
    size_t columns_room;
    size_t n_sums; /* of all groups */
};

/* The numbers of a group's values. */
struct key {
    uint32_t values[SHOAL_GROUP_NAMES_MAX];
};

static enum shoal_status no_memory(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_MEMORY, "there is no memory for so many groups");
}

static enum shoal_status add_name(struct shoal_groups *groups, const char *name,
                                  size_t len, struct shoal_error *err) {
    size_t number, before = groups->names.n;
    if (len == 0)
        return shoal_error_set(err, SHOAL_INVALID,
                               "a name to group by is empty; give names with commas "
                               "between them, as in --by beta,gamma");
    if (before == SHOAL_GROUP_NAMES_MAX)
        return shoal_error_set(err, SHOAL_INVALID,
                               "rows can be grouped by %d names at most",
                               SHOAL_GROUP_NAMES_MAX);
    enum shoal_status status =
        shoal_dictionary_add(&groups->names, name, len, &number, err);
    if (status == SHOAL_OK && groups->names.n == before)
        return shoal_error_set(err, SHOAL_INVALID,
                               "'%.*s' stands twice among the names to group by",
                               (int)len, name);
    return status;
}

static enum shoal_status add_names(struct shoal_groups *groups, const char *names,
                                   struct shoal_error *err) {
    for (;;) {
        size_t len = strcspn(names, ",");
        enum shoal_status status = add_name(groups, names, len, err);
        if (status != SHOAL_OK || names[len] == '\0')
            return status;
        names += len + 1;
    }
}

enum shoal_status shoal_groups_create(const char *names, struct shoal_groups **ret_groups,
                                      struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_groups_cleanup)
    struct shoal_groups *groups = calloc(1, sizeof(*groups));
    if (groups == NULL)
        return no_memory(err);
    shoal_dictionary_init(&groups->names, TEXTS_MAX);
    shoal_dictionary_init(&groups->keys, TEXTS_MAX);
    shoal_dictionary_init(&groups->known, TEXTS_MAX);
    shoal_dictionary_init(&groups->columns, TEXTS_MAX);
    for (size_t i = 0; i < SHOAL_GROUP_NAMES_MAX; i++)
        shoal_dictionary_init(&groups->values[i], TEXTS_MAX);
    enum shoal_status status = add_names(groups, names, err);
    if (status != SHOAL_OK)
        return status;
    *ret_groups = groups;
    groups = NULL;
    return SHOAL_OK;
}

void shoal_groups_destroy(struct shoal_groups *groups) {
    if (groups == NULL)
        return;
    for (size_t i = 0; i < groups->keys.n; i++)
        free(groups->groups[i].sums);
    for (size_t i = 0; i < SHOAL_GROUP_NAMES_MAX; i++)
        shoal_dictionary_finish(&groups->values[i]);
    shoal_dictionary_finish(&groups->names);
    shoal_dictionary_finish(&groups->keys);
    shoal_dictionary_finish(&groups->known);
    shoal_dictionary_finish(&groups->columns);
    free(groups->groups);
    free(groups->infos);
    free(groups);
}

void shoal_groups_cleanup(struct shoal_groups **groups) {
    shoal_groups_destroy(*groups);
}

/* ---- adding rows */

enum shoal_status shoal_groups_know(struct shoal_groups *groups,
                                    const struct shoal_row *row,
                                    struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; i < groups->names.n; i++)
        if (shoal_row_find(row, shoal_dictionary_text(&groups->names, i)) !=
            SHOAL_NOT_THERE)
            groups->seen[i] = true;
    for (size_t i = 0; status == SHOAL_OK && i < row->n; i++) {
        const char *name = shoal_row_name(row, i);
        size_t number;
        if (groups->known.n < SHOAL_COLUMNS_MAX)
            status =
                shoal_dictionary_add(&groups->known, name, strlen(name), &number, err);
    }
    return status;
}

static enum shoal_status make_key(struct shoal_groups *groups,
                                  const struct shoal_row *row, struct key *key,
                                  struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < groups->names.n; i++) {
        size_t cell = shoal_row_find(row, shoal_dictionary_text(&groups->names, i));
        const char *value = cell == SHOAL_NOT_THERE ? "" : shoal_row_text(row, cell);
        size_t number = 0;
        status =
            shoal_dictionary_add(&groups->values[i], value, strlen(value), &number, err);
        key->values[i] = (uint32_t)number;
    }
    return status;
}

/* Makes room for one more of `size` bytes behind n of them. */
static bool make_room(void **array, size_t n, size_t *room, size_t size) {
    if (n < *room)
        return true;
    size_t more = *room == 0 ? 16 : *room * 2;
    void *grown = realloc(*array, more * size);
    if (grown == NULL)
        return false;
    *array = grown;
    *room = more;
    return true;
}

static enum shoal_status too_many_groups(struct shoal_error *err) {
    return shoal_error_set(err, SHOAL_INVALID,
                           "there are more than %d groups; group by fewer names, or by "
                           "some with fewer values",
                           SHOAL_GROUPS_MAX);
}

static enum shoal_status find_group(struct shoal_groups *groups,
                                    const struct shoal_row *row, struct group **ret_group,
                                    struct shoal_error *err) {
    struct key key;
    enum shoal_status status = make_key(groups, row, &key, err);
    if (status != SHOAL_OK)
        return status;
    size_t n = groups->keys.n, len = groups->names.n * sizeof(*key.values);
    size_t number = shoal_dictionary_find(&groups->keys, key.values, len);
    if (number == SHOAL_NOT_THERE) {
        if (n == SHOAL_GROUPS_MAX)
            return too_many_groups(err);
        if (!make_room((void **)&groups->groups, n, &groups->room, sizeof(struct group)))
            return no_memory(err);
        groups->groups[n] = (struct group){0};
        status = shoal_dictionary_add(&groups->keys, key.values, len, &number, err);
        if (status != SHOAL_OK)
            return status;
    }
    *ret_group = &groups->groups[number];
    return SHOAL_OK;
}

static enum shoal_status find_column(struct shoal_groups *groups, const char *name,
                                     size_t *ret_column, struct shoal_error *err) {
    size_t n = groups->columns.n;
    if (n == SHOAL_COLUMNS_MAX &&
        shoal_dictionary_find(&groups->columns, name, strlen(name)) == SHOAL_NOT_THERE)
        return shoal_error_set(err, SHOAL_INVALID,
                               "the results have more than %d columns, too many to be "
                               "summed up; print them as jsonl",
                               SHOAL_COLUMNS_MAX);
    if (!make_room((void **)&groups->infos, n, &groups->columns_room,
                   sizeof(struct column)))
        return no_memory(err);
    enum shoal_status status =
        shoal_dictionary_add(&groups->columns, name, strlen(name), ret_column, err);
    if (status == SHOAL_OK && *ret_column == n)
        groups->infos[n] = (struct column){
            .is_numeric = true,
            .is_name = shoal_dictionary_find(&groups->names, name, strlen(name)) !=
                       SHOAL_NOT_THERE,
        };
    return status;
}

/* The sum of a column, which grows with the columns that its group has. */
static enum shoal_status find_sum(struct shoal_groups *groups, struct group *group,
                                  size_t column, struct sum **ret_sum,
                                  struct shoal_error *err) {
    if (column >= group->n_sums) {
        size_t more = column + 1 - group->n_sums;
        if (groups->n_sums + more > SHOAL_GROUP_SUMS_MAX)
            return shoal_error_set(
                err, SHOAL_INVALID,
                "there are more than %d numbers to sum up (groups times "
                "columns); group by fewer names",
                SHOAL_GROUP_SUMS_MAX);
        struct sum *sums = realloc(group->sums, (column + 1) * sizeof(*sums));
        if (sums == NULL)
            return no_memory(err);
        memset(sums + group->n_sums, 0, more * sizeof(*sums));
        group->sums = sums;
        group->n_sums = column + 1;
        groups->n_sums += more;
    }
    *ret_sum = &group->sums[column];
    return SHOAL_OK;
}

static void sum_add(struct sum *sum, double value) {
    double distance = value - sum->mean;
    sum->n++;
    sum->mean += distance / (double)sum->n;
    sum->squares += distance * (value - sum->mean);
}

/* Decimal numbers as strtod() reads them, "inf" and "nan" among them. */
static bool parse_number(const char *text, double *ret_value) {
    char *end;
    if (text[strspn(text, "+-0123456789.eEinfatyINFATY")] != '\0' || *text == '\0')
        return false;
    *ret_value = strtod(text, &end);
    return *end == '\0';
}

static bool cell_number(const struct shoal_row *row, size_t cell, double *ret_value) {
    const char *text = shoal_row_text(row, cell);
    if (row->cells[cell].type != SHOAL_CELL_JSON)
        return parse_number(text, ret_value);
    *ret_value = strcmp(text, "true") == 0;
    return *ret_value > 0 || strcmp(text, "false") == 0;
}

static enum shoal_status add_cell(struct shoal_groups *groups, struct group *group,
                                  const struct shoal_row *row, size_t cell,
                                  struct shoal_error *err) {
    size_t column;
    double value;
    struct sum *sum = NULL;
    enum shoal_status status =
        find_column(groups, shoal_row_name(row, cell), &column, err);
    if (status != SHOAL_OK)
        return status;
    struct column *info = &groups->infos[column];
    if (!info->is_numeric || info->is_name || row->cells[cell].type == SHOAL_CELL_MISSING)
        return SHOAL_OK;
    info->is_numeric = cell_number(row, cell, &value);
    if (!info->is_numeric)
        return SHOAL_OK;
    info->values++;
    status = find_sum(groups, group, column, &sum, err);
    if (status == SHOAL_OK)
        sum_add(sum, value);
    return status;
}

enum shoal_status shoal_groups_add(struct shoal_groups *groups,
                                   const struct shoal_row *row, struct shoal_error *err) {
    struct group *group = NULL;
    enum shoal_status status = shoal_groups_know(groups, row, err);
    if (status == SHOAL_OK)
        status = find_group(groups, row, &group, err);
    if (status != SHOAL_OK)
        return status;
    if (!row->ok) {
        group->failed++;
        return SHOAL_OK;
    }
    group->ok++;
    for (size_t i = row->own; status == SHOAL_OK && i < row->n; i++)
        status = add_cell(groups, group, row, i, err);
    return status;
}

/* Writes "a, b, c", as far as they fit into the sentence of an error. */
static void list_known(const struct shoal_groups *groups, char *text, size_t room) {
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < groups->known.n; i++) {
        const char *name = shoal_dictionary_text(&groups->known, i);
        if (len + strlen(name) + sizeof(", …") > room) {
            snprintf(text + len, room - len, "…");
            return;
        }
        bool last = i + 1 == groups->known.n;
        len += (size_t)snprintf(text + len, room - len, "%s%s", name, last ? "" : ", ");
    }
}

enum shoal_status shoal_groups_check(const struct shoal_groups *groups,
                                     struct shoal_error *err) {
    char known[400];
    for (size_t i = 0; i < groups->names.n; i++) {
        if (groups->seen[i])
            continue;
        list_known(groups, known, sizeof(known));
        return shoal_error_set(err, SHOAL_INVALID,
                               "there is no column '%.60s' to group by; there are: %s",
                               shoal_dictionary_text(&groups->names, i), known);
    }
    return SHOAL_OK;
}

/* ---- Student's t */

/* The probability of |T| < sqrt(df) tan(angle): formulas 26.7.3 (odd) and 26.7.4 (even)
 * of M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, 1964; exact. */
static double middle(double angle, int64_t df) {
    double cosine = cos(angle), square = cosine * cosine;
    bool odd = df % 2 == 1;
    double term = odd ? cosine : 1, series = 0;
    for (int64_t k = odd ? 3 : 2; k <= df; k += 2) {
        series += term;
        term *= square * (double)(k - 1) / (double)k;
    }
    return odd ? (angle + sin(angle) * series) * M_2_PI : sin(angle) * series;
}

static double exact_quantile(int64_t df) {
    double low = 0, high = M_PI_2;
    for (int i = 0; i < 60; i++) {
        double angle = (low + high) / 2;
        if (middle(angle, df) < 0.95)
            low = angle;
        else
            high = angle;
    }
    return sqrt((double)df) * tan(low);
}

/* The expansion 26.7.5 of the same book; from df = 100 on good to ten digits. */
static double expanded_quantile(int64_t df) {
    static const double x = 1.959963984540054; /* the normal distribution's */
    static const double terms[][6] = {
        /* x, x³, x⁵, x⁷, x⁹, and what all are divided by */
        {1, 1, 0, 0, 0, 4},
        {3, 16, 5, 0, 0, 96},
        {-15, 17, 19, 3, 0, 384},
        {-945, -1920, 1482, 776, 79, 92160},
    };
    double t = x, scale = 1;
    for (size_t i = 0; i < SHOAL_COUNT(terms); i++) {
        double term = 0;
        for (int k = 4; k >= 0; k--)
            term = term * x * x + terms[i][k];
        scale /= (double)df;
        t += term * x / terms[i][5] * scale;
    }
    return t;
}

double shoal_t_quantile(int64_t df) {
    return df <= EXACT_DF ? exact_quantile(df) : expanded_quantile(df);
}

/* ---- printing */

/* What printing needs besides the groups. */
struct printer {
    const struct shoal_groups *groups;
    size_t *order;                          /* of the groups */
    double *numbers[SHOAL_GROUP_NAMES_MAX]; /* of a name's values; NULL: some are none */
    double quantiles[EXACT_DF + 1];         /* those that were needed; 0: not yet */
    struct shoal_table *table;
    bool rounded; /* for people: six digits */
    struct shoal_row row;
};

static void printer_cleanup(struct printer *printer) {
    free(printer->order);
    for (size_t i = 0; i < SHOAL_GROUP_NAMES_MAX; i++)
        free(printer->numbers[i]);
    shoal_table_destroy(printer->table);
    shoal_row_finish(&printer->row);
}

/* The values of name i as numbers; a missing value comes last. */
static enum shoal_status read_numbers(struct printer *printer, size_t name,
                                      struct shoal_error *err) {
    const struct shoal_dictionary *values = &printer->groups->values[name];
    double *numbers = malloc((values->n + 1) * sizeof(*numbers));
    if (numbers == NULL)
        return no_memory(err);
    for (size_t i = 0; i < values->n; i++) {
        const char *value = shoal_dictionary_text(values, i);
        if (*value == '\0')
            numbers[i] = INFINITY;
        else if (!parse_number(value, &numbers[i]) || isnan(numbers[i])) {
            free(numbers);
            return SHOAL_OK;
        }
    }
    printer->numbers[name] = numbers;
    return SHOAL_OK;
}

static struct key key_of(const struct shoal_groups *groups, size_t group) {
    struct key key = {0};
    memcpy(key.values, shoal_dictionary_text(&groups->keys, group),
           groups->names.n * sizeof(*key.values));
    return key;
}

static int compare_groups(const void *a, const void *b, void *owner) {
    const struct printer *printer = owner;
    struct key left = key_of(printer->groups, *(const size_t *)a);
    struct key right = key_of(printer->groups, *(const size_t *)b);
    for (size_t i = 0; i < printer->groups->names.n; i++) {
        uint32_t x = left.values[i], y = right.values[i];
        const double *numbers = printer->numbers[i];
        if (numbers != NULL && (numbers[x] < numbers[y] || numbers[x] > numbers[y]))
            return numbers[x] < numbers[y] ? -1 : 1;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

static enum shoal_status put_in_order(struct printer *printer, struct shoal_error *err) {
    size_t n = printer->groups->keys.n;
    enum shoal_status status = SHOAL_OK;
    printer->order = calloc(n + 1, sizeof(*printer->order));
    if (printer->order == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        printer->order[i] = i;
    for (size_t i = 0; status == SHOAL_OK && i < printer->groups->names.n; i++)
        status = read_numbers(printer, i, err);
    if (status == SHOAL_OK)
        qsort_r(printer->order, n, sizeof(*printer->order), compare_groups, printer);
    return status;
}

/* The 97.5 % quantile, kept where it is dear. */
static double quantile(struct printer *printer, int64_t df) {
    if (df > EXACT_DF)
        return shoal_t_quantile(df);
    if (printer->quantiles[df] <= 0)
        printer->quantiles[df] = shoal_t_quantile(df);
    return printer->quantiles[df];
}

/* Makes "NAME<ending>", with "group." in front while the row has that already. */
static enum shoal_status free_name(const struct shoal_row *row, const char *text,
                                   const char *ending, struct shoal_buffer *name,
                                   struct shoal_error *err) {
    for (size_t prefixes = 0;; prefixes++) {
        shoal_buffer_clear(name);
        for (size_t i = 0; i < prefixes; i++)
            shoal_buffer_add_text(name, "group.");
        shoal_buffer_add_text(name, text);
        shoal_buffer_add_text(name, ending);
        if (name->failed || shoal_row_find(row, name->data) == SHOAL_NOT_THERE)
            return shoal_buffer_check(name, "the name of a column", err);
    }
}

static enum shoal_status put_count(struct printer *printer, const char *text,
                                   int64_t count, struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer name;
    shoal_buffer_init(&name, TEXTS_MAX);
    enum shoal_status status = free_name(&printer->row, text, "", &name, err);
    return status == SHOAL_OK ? shoal_row_add_int(&printer->row, name.data, count, err)
                              : status;
}

static enum shoal_status put_number(struct printer *printer, const char *name,
                                    double value, struct shoal_error *err) {
    char digits[40];
    if (isnan(value))
        value = NAN; /* without a sign */
    if (!printer->rounded)
        return shoal_row_add_double(&printer->row, name, value, err);
    snprintf(digits, sizeof(digits), "%.6g", value);
    return shoal_row_add_text(&printer->row, name, digits, err);
}

/* Adds a cell "NAME<ending>", which is missing unless `there`. */
static enum shoal_status put(struct printer *printer, const char *text,
                             const char *ending, bool there, double value,
                             struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_buffer_finish) struct shoal_buffer name;
    shoal_buffer_init(&name, TEXTS_MAX);
    enum shoal_status status = free_name(&printer->row, text, ending, &name, err);
    if (status != SHOAL_OK)
        return status;
    return there ? put_number(printer, name.data, value, err)
                 : shoal_row_add_missing(&printer->row, name.data, err);
}

static enum shoal_status put_sum(struct printer *printer, const char *name,
                                 const struct sum *sum, struct shoal_error *err) {
    bool spread = sum->n > 1;
    double n = (double)sum->n;
    double sd = spread ? sqrt(sum->squares / (n - 1)) : 0;
    double half = spread ? quantile(printer, sum->n - 1) * sd / sqrt(n) : 0;
    enum shoal_status status = put(printer, name, "_mean", sum->n > 0, sum->mean, err);
    if (status == SHOAL_OK)
        status = put(printer, name, "_sd", spread, sd, err);
    return status == SHOAL_OK ? put(printer, name, "_ci95", spread, half, err) : status;
}

static enum shoal_status put_sums(struct printer *printer, const struct group *group,
                                  struct shoal_error *err) {
    static const struct sum none = {0};
    const struct shoal_groups *groups = printer->groups;
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < groups->columns.n; i++) {
        const struct column *info = &groups->infos[i];
        if (!info->is_numeric || info->is_name || info->values == 0)
            continue;
        status = put_sum(printer, shoal_dictionary_text(&groups->columns, i),
                         i < group->n_sums ? &group->sums[i] : &none, err);
    }
    return status;
}

static enum shoal_status put_values(struct printer *printer, size_t group,
                                    struct shoal_error *err) {
    const struct shoal_groups *groups = printer->groups;
    struct key key = key_of(groups, group);
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < groups->names.n; i++) {
        const char *name = shoal_dictionary_text(&groups->names, i);
        const char *value = shoal_dictionary_text(&groups->values[i], key.values[i]);
        status = *value == '\0' ? shoal_row_add_missing(&printer->row, name, err)
                                : shoal_row_add_text(&printer->row, name, value, err);
    }
    return status;
}

static enum shoal_status make_row(struct printer *printer, size_t number,
                                  struct shoal_error *err) {
    const struct group *group = &printer->groups->groups[number];
    shoal_row_clear(&printer->row);
    printer->row.ok = true;
    enum shoal_status status = put_values(printer, number, err);
    if (status == SHOAL_OK)
        status = put_count(printer, "n", group->ok, err);
    if (status == SHOAL_OK)
        status = put_count(printer, "failed", group->failed, err);
    return status == SHOAL_OK ? put_sums(printer, group, err) : status;
}

static enum shoal_status print_rows(struct printer *printer, struct shoal_error *err) {
    enum shoal_status status = SHOAL_OK;
    for (size_t i = 0; status == SHOAL_OK && i < printer->groups->keys.n; i++) {
        status = make_row(printer, printer->order[i], err);
        if (status == SHOAL_OK)
            status = shoal_table_add(printer->table, &printer->row, err);
    }
    return status == SHOAL_OK ? shoal_table_end(printer->table, err) : status;
}

enum shoal_status shoal_groups_print(const struct shoal_groups *groups,
                                     const struct shoal_table_options *options,
                                     struct shoal_error *err) {
    SHOAL_CLEANUP(shoal_columns_cleanup) struct shoal_columns columns;
    SHOAL_CLEANUP(printer_cleanup) struct printer printer = {.groups = groups};
    struct shoal_table_options with_columns = *options;
    shoal_columns_init(&columns);
    shoal_row_init(&printer.row);
    printer.rounded = options->format == SHOAL_TABLE_TEXT;
    enum shoal_status status = shoal_groups_check(groups, err);
    if (status == SHOAL_OK)
        status = put_in_order(&printer, err);
    if (status == SHOAL_OK && groups->keys.n > 0)
        status = make_row(&printer, 0, err);
    if (status == SHOAL_OK)
        status = shoal_columns_add(&columns, &printer.row, err);
    if (status != SHOAL_OK)
        return status;
    with_columns.columns = &columns;
    status = shoal_table_create(&with_columns, &printer.table, err);
    return status == SHOAL_OK ? print_rows(&printer, err) : status;
}
