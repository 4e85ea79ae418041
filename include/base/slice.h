/* slice.h - short scheduler slices for threads that do little, and soon. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

/* The calling thread asks the scheduler for short slices, so that on a busy
 * machine it does not wait for the end of another thread's long one: it gets no
 * more of the CPU, but sooner.  For threads that decide and wait, not for those
 * that move bytes.  Threads that it starts from then on inherit it.
 * Linux 6.12 and newer (kernel documentation, scheduler/sched-eevdf); older
 * ones leave everything as it is. */
void slice_shorten(void);

#endif
