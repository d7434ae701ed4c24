/* A plug-in of another version. */
#include "worker/shoal_task.h"

SHOAL_TASK_API const struct shoal_plugin shoal_plugin = {SHOAL_TASK_VERSION + 1, NULL};
