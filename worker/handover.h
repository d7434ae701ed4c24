/* What a program hands over to the one that takes its place in the same process, so that
 * a worker is upgraded without stopping: its state in a file without a name, which stays
 * open across exec.
 *
 *     old: begin, carry …, exec ── SHOAL_HANDOVER=role:descriptor ──> new: open, carry …
 *
 * Whatever has state carries it through one function for both directions: it writes what
 * stands there, or reads it back, so that they cannot differ. The file is
 * "shoal-handover", its version, length and checksum, in 64 bytes, and records behind
 * them. It may be garbage all the same: numbers have bounds, texts have room, and the
 * first that does not fit marks the handover as failed; then nothing more is carried, and
 * what was not read stays as it was.
 *
 * What is carried, and in which order, is what a version is: whoever changes it counts
 * SHOAL_HANDOVER_VERSION up. */
#ifndef SHOAL_HANDOVER_H
#define SHOAL_HANDOVER_H

#include "broker/session.h"
#include "common/records.h"

#include <event2/event.h>

enum { SHOAL_HANDOVER_VERSION = 7, SHOAL_HANDOVER_FDS_MAX = 16384 };

struct shoal_handover {
    bool saves; /* else it restores */
    bool failed;
    int file;
    struct shoal_buffer bytes; /* not yet in the file */
    size_t len;                /* that are in it, behind the head */
    unsigned long sum;         /* CRC-32 of them */
    int *fds;                  /* what stays open across exec */
    size_t n_fds;
    void *map; /* of one that is read */
    size_t map_len;
    struct shoal_record_reader reader;
};

/* Begins one to write. Finish it whatever comes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_handover_begin(struct shoal_handover *handover,
                                       struct shoal_error *err);
void shoal_handover_finish(struct shoal_handover *handover);

/* Becomes `program`, which is told its role and gets what was written. Returns only when
 * that cannot be; then all is as before. */
enum shoal_status shoal_handover_exec(struct shoal_handover *handover, const char *role,
                                      const char *program, char *const *argv,
                                      struct shoal_error *err);

/* Whether this program was given one, for that role. */
bool shoal_handover_is_given(const char *role);

/* Reads the one that was given. SHOAL_GARBAGE: it is none, not whole, or of another
 * version. Finish it whatever comes. */
SHOAL_MUST_CHECK
enum shoal_status shoal_handover_open(struct shoal_handover *handover,
                                      struct shoal_error *err);

/* All was carried and nothing is left. */
bool shoal_handover_is_whole(const struct shoal_handover *handover);

/* ---- carrying */

void shoal_carry_number(struct shoal_handover *handover, int64_t *number, int64_t least,
                        int64_t most);

/* A number of any type, of `least` to `most`. */
#define SHOAL_CARRY(handover, place, least, most)                                        \
    do {                                                                                 \
        int64_t number_ = (int64_t)(place);                                              \
        shoal_carry_number((handover), &number_, (least), (most));                       \
        (place) = (__typeof__(place))number_;                                            \
    } while (0)

void shoal_carry_flag(struct shoal_handover *handover, bool *flag);

/* A text of less than `room` bytes. */
void shoal_carry_text(struct shoal_handover *handover, char *text, size_t room);

/* Bytes, `most` at the most; those that were read are the handover's. */
void shoal_carry_view(struct shoal_handover *handover, const char **bytes, size_t *len,
                      size_t most);

/* The same, and the caller's: malloc'ed, with a NUL behind them. NULL stays NULL. */
void shoal_carry_bytes(struct shoal_handover *handover, char **bytes, size_t *len,
                       size_t most);

/* What a buffer holds. */
void shoal_carry_buffer(struct shoal_handover *handover, struct shoal_buffer *buffer);

/* A commit, which is made when it is read; it may be none but for want of memory. */
void shoal_carry_commit(struct shoal_handover *handover, struct shoal_commit **commit);

/* A descriptor, which stays open; -1: none. */
void shoal_carry_fd(struct shoal_handover *handover, int *fd);

/* When it will be due, if it will. */
void shoal_carry_timer(struct shoal_handover *handover, struct event *timer);

/* Whether a list has another item: what is said, or what was. False once it failed. */
bool shoal_carry_more(struct shoal_handover *handover, bool more);

#endif
