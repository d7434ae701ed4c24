#include "worker/runner.h"

#include "common/option.h"
#include "common/scratch.h"
#include "worker/folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum shoal_status shoal_batch_argument(const struct shoal_batch *batch,
                                       const char **ret_argument, size_t *ret_len,
                                       struct shoal_error *err) {
    *ret_argument = NULL;
    *ret_len = 0;
    if (batch->arguments == NULL)
        return SHOAL_OK;
    struct shoal_record_reader reader = *batch->arguments;
    if (shoal_record_read_bytes(&reader, ret_argument, ret_len))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_GARBAGE,
                           "the argument of task %" PRId64 " is not there", batch->lo);
}

enum shoal_status shoal_batch_parameters(const struct shoal_batch *batch,
                                         struct shoal_parameters *ret_parameters,
                                         struct shoal_error *err) {
    const char *argument;
    size_t len;
    enum shoal_status status = shoal_batch_argument(batch, &argument, &len, err);
    if (status != SHOAL_OK)
        return status;
    return shoal_parameters_make(batch->spec, batch->lo, argument, len, ret_parameters,
                                 err);
}

enum shoal_status shoal_runner_make_room(const struct shoal_runner_settings *settings,
                                         const char *folder, struct shoal_error *err) {
    const struct shoal_user *user = settings->user;
    if (settings->folder_lock != NULL) {
        enum shoal_status status = shoal_folder_keep(settings->directory, user != NULL,
                                                     settings->folder_lock, err);
        if (status != SHOAL_OK)
            return status;
    }
    if (shoal_scratch_make_empty(folder) &&
        (user == NULL || lchown(folder, user->uid, user->gid) == 0))
        return SHOAL_OK;
    return shoal_error_set(err, SHOAL_SYSTEM,
                           "cannot make the temporary directory '%s': %s", folder,
                           strerror(errno));
}

/* Its group is called as its folder. */
enum shoal_status
shoal_runner_confine(const struct shoal_runner_settings *settings, const char *folder,
                     const struct shoal_limits *limits, struct shoal_cgroup **group,
                     struct shoal_child *child, struct shoal_error *err) {
    enum shoal_status status =
        shoal_cgroup_prepare(group, settings->cgroups, settings->session,
                             strrchr(folder, '/') + 1, limits, &child->limits, err);
    child->group = *group;
    child->user = settings->user;
    child->allow = settings->allow;
    child->sandbox = settings->sandbox;
    return status;
}

void shoal_runner_say_oom(const struct shoal_limits *limits,
                          const struct shoal_cgroup_usage *usage,
                          struct shoal_ending *ending, char *sentence, size_t room) {
    char most[24], peak[48] = "";
    shoal_size_print(limits->memory, most, sizeof(most));
    if (usage->peak > 0)
        snprintf(peak, sizeof(peak), ", its peak was %" PRId64 " KiB",
                 usage->peak / 1024);
    snprintf(sentence, room, "it needed more memory than its limit of %s%s%s%.*s", most,
             peak, ending->stderr_len > 0 ? "\n" : "", (int)ending->stderr_len,
             ending->stderr_end);
    ending->stderr_end = sentence;
    ending->stderr_len = strlen(sentence);
}

void shoal_runner_carry(const struct shoal_runner_settings *settings, const char *folder,
                        struct shoal_limits *limits, struct shoal_cgroup **group,
                        struct shoal_handover *handover) {
    SHOAL_CARRY(handover, limits->memory, 0, INT64_MAX);
    SHOAL_CARRY(handover, limits->millicpus, 0, INT64_MAX);
    SHOAL_CARRY(handover, limits->processes, 0, INT64_MAX);
    SHOAL_CARRY(handover, limits->file_size, 0, INT64_MAX);
    shoal_cgroup_carry(group, settings->cgroups, settings->session,
                       strrchr(folder, '/') + 1, handover);
}
