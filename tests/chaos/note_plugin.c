/* The same as a function: writes down its run where the parameter `file` names one, and
 * rests for `ms`. A plug-in is not told its job's name; its tag stands in its place. */
#include "tests/chaos/note.h"
#include "worker/shoal_task.h"

static int noted(struct shoal_call *call) {
    const char *file = shoal_call_text(call, "file", "");
    const char *tag = shoal_call_text(call, "tag", "-");
    int64_t task = shoal_call_index(call), attempt = shoal_call_attempt(call);
    long ms = (long)shoal_call_int(call, "ms", 0);
    if (*file != '\0' && !note(file, 'b', tag, task, attempt))
        return 2;
    if (ms > 0)
        rest_ms(ms);
    if (*file != '\0' && !note(file, 'e', tag, task, attempt))
        return 2;
    shoal_call_add_int(call, "did", task);
    return 0;
}

static const struct shoal_task_entry tasks[] = {{"note", noted}, {0}};
SHOAL_TASK_API const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION, tasks};
