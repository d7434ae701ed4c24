/* Rows in groups (--by NAME[,NAME]): a line a group with the group's values, n
 * (successful tasks), failed, and for each numeric column NAME that the program reported
 * NAME_mean, NAME_sd (n-1) and NAME_ci95, half the width of the 95 % confidence interval
 * of the mean (Student's t).
 *
 * Only successful rows count for these. A column is numeric when none of its values is a
 * text; true and false count as 1 and 0. Names that the rows are grouped by are not
 * summed up. Groups stand in the order of their values: by number for a name whose values
 * are all numbers, else by first appearance. */
#ifndef SHOAL_GROUP_H
#define SHOAL_GROUP_H

#include "client/row.h"
#include "client/table.h"

enum {
    SHOAL_GROUPS_MAX = 1000000,
    SHOAL_GROUP_NAMES_MAX = 16,
    SHOAL_GROUP_SUMS_MAX = 10000000, /* groups times numeric columns */
};

struct shoal_groups;

/* `names`: "beta" or "beta,gamma". SHOAL_INVALID: empty, twice the same, too many. */
SHOAL_MUST_CHECK
enum shoal_status shoal_groups_create(const char *names, struct shoal_groups **ret_groups,
                                      struct shoal_error *err);
void shoal_groups_destroy(struct shoal_groups *groups);
void shoal_groups_cleanup(struct shoal_groups **groups);

/* SHOAL_INVALID: more groups than SHOAL_GROUPS_MAX, or more numbers than
 * SHOAL_GROUP_SUMS_MAX. */
SHOAL_MUST_CHECK
enum shoal_status shoal_groups_add(struct shoal_groups *groups,
                                   const struct shoal_row *row, struct shoal_error *err);

/* Takes note of a row's columns without counting it: with shoal_row_maker_head() a job
 * without rows has known names too. */
SHOAL_MUST_CHECK
enum shoal_status shoal_groups_know(struct shoal_groups *groups,
                                    const struct shoal_row *row, struct shoal_error *err);

/* Whether every name to group by was seen in a row. SHOAL_INVALID: the sentence lists
 * those that were. Can be asked early too: parameters are known from shoal_groups_know()
 * on, a program's columns only from its rows. shoal_groups_print() asks it. */
SHOAL_MUST_CHECK
enum shoal_status shoal_groups_check(const struct shoal_groups *groups,
                                     struct shoal_error *err);

/* Prints the groups; `options` without columns. Status as shoal_table_add(). */
SHOAL_MUST_CHECK
enum shoal_status shoal_groups_print(const struct shoal_groups *groups,
                                     const struct shoal_table_options *options,
                                     struct shoal_error *err);

/* The quantile of Student's t that bounds the middle 95 % for `df` degrees of freedom (>=
 * 1). */
double shoal_t_quantile(int64_t df);

#endif
