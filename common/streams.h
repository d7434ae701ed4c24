/* The three streams that a program is started with. */
#ifndef SHOAL_STREAMS_H
#define SHOAL_STREAMS_H

/* Puts what can be neither read nor written, as it should be, in the place of those that
 * are closed. A file that is opened later would get what is printed. First in main(). */
void shoal_streams_keep(void);

#endif
