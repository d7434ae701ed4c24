#include "common/cleanup.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void shoal_cleanup_free(void *pointer_to_pointer) {
    free(*(void **)pointer_to_pointer);
}

void shoal_cleanup_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

void shoal_cleanup_file(void *stream) {
    FILE *file = *(FILE **)stream;
    if (file != NULL)
        fclose(file);
}

void shoal_cleanup_reply(void *reply) {
    if (*(void **)reply != NULL)
        freeReplyObject(*(void **)reply);
}
