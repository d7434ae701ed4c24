/* Ctrl-C and its like, for commands that would leave something half done. */
#ifndef SHOAL_INTERRUPT_H
#define SHOAL_INTERRUPT_H

/* From now on SIGINT, SIGTERM and SIGHUP are counted and end nothing by themselves; may
 * be called again. SIGHUP stays ignored where it was, as below nohup. */
void shoal_interrupts_begin(void);

/* How many there were. A terminal that hangs up is one, however many signals say so. */
int shoal_interrupts(void);

/* The terminal was found to be gone, before SIGHUP told of it. */
void shoal_interrupts_hung_up(void);

#endif
