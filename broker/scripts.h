/* The moves as functions of one library, which embed.sh makes of the scripts. */
#ifndef SHOAL_SCRIPTS_H
#define SHOAL_SCRIPTS_H

#include "common/redis.h"

extern const struct shoal_script shoal_script_acknowledge;
extern const struct shoal_script shoal_script_advance;
extern const struct shoal_script shoal_script_append;
extern const struct shoal_script shoal_script_audit;
extern const struct shoal_script shoal_script_cancel;
extern const struct shoal_script shoal_script_close;
extern const struct shoal_script shoal_script_drain;
extern const struct shoal_script shoal_script_finish;
extern const struct shoal_script shoal_script_forget;
extern const struct shoal_script shoal_script_heartbeat;
extern const struct shoal_script shoal_script_housekeep;
extern const struct shoal_script shoal_script_queue;
extern const struct shoal_script shoal_script_register;
extern const struct shoal_script shoal_script_release;
extern const struct shoal_script shoal_script_retry;
extern const struct shoal_script shoal_script_submit;

#endif
