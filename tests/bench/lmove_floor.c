/* The floor under every queue in Redis: bare hiredis, a message there by LMOVE and back,
 * between two processes.
 *
 *     lmove_floor SOCKET COUNT      microseconds of each, a line each */
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static redisContext *redis_at(const char *path) {
    redisContext *redis = redisConnectUnix(path);
    if (redis == NULL || redis->err != 0) {
        fprintf(stderr, "lmove_floor: cannot connect to '%s'\n", path);
        exit(1);
    }
    return redis;
}

static void command(redisContext *redis, const char *text) {
    redisReply *reply = redisCommand(redis, text);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "lmove_floor: %s failed\n", text);
        exit(1);
    }
    freeReplyObject(reply);
}

/* Takes each message and gives it back. */
static _Noreturn void be_worker(const char *path) {
    redisContext *redis = redis_at(path);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        command(redis, "BLMOVE floor:there floor:back LEFT RIGHT 0");
}

static double microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

int main(int argc, char **argv) {
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (count < 1) {
        fprintf(stderr, "Usage: lmove_floor SOCKET COUNT\n");
        return 2;
    }
    redisContext *redis = redis_at(argv[1]);
    pid_t worker = fork();
    if (worker == 0)
        be_worker(argv[1]);
    for (long i = 0; i < count; i++) {
        double begin = microseconds();
        command(redis, "RPUSH floor:there message");
        command(redis, "BLPOP floor:back 10");
        printf("%.1f\n", microseconds() - begin);
    }
    kill(worker, SIGKILL);
    waitpid(worker, NULL, 0);
    redisFree(redis);
    return 0;
}
