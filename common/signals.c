#include "common/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void listen_once(evutil_socket_t fd, short what, void *owner) {
    struct shoal_signals *signals = owner;
    struct signalfd_siginfo heard;
    (void)what;
    while (read(fd, &heard, sizeof(heard)) == (ssize_t)sizeof(heard) &&
           signals->hear((int)heard.ssi_signo, signals->owner))
        continue;
}

bool shoal_signals_begin(struct shoal_signals *signals, struct event_base *base,
                         const int *numbers, size_t n, shoal_signal_fn *hear,
                         void *owner) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < n; i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_SETMASK, &set, NULL);
    *signals = (struct shoal_signals){.hear = hear, .owner = owner};
    signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals->fd < 0)
        return false;
    signals->event =
        event_new(base, signals->fd, EV_READ | EV_PERSIST, listen_once, signals);
    if (signals->event != NULL && event_add(signals->event, NULL) == 0)
        return true;
    errno = ENOMEM;
    return false;
}

void shoal_signals_finish(struct shoal_signals *signals) {
    if (signals->event != NULL)
        event_free(signals->event);
    if (signals->fd >= 0)
        close(signals->fd);
}
