#include "client/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t counted;
static volatile sig_atomic_t hung_up;

static void note(int number) {
    (void)number;
    counted++;
}

/* The kernel and the shell both tell of it. */
static void note_hang_up(int number) {
    (void)number;
    hung_up = 1;
}

void shoal_interrupts_begin(void) {
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART}, old;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = note_hang_up;
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

int shoal_interrupts(void) {
    return (int)counted + (int)hung_up;
}

void shoal_interrupts_hung_up(void) {
    hung_up = 1;
}
