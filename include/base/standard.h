/* standard.h - descriptors 0, 1 and 2 are never anything else.
 * Started with one of them closed, a program would get a socket for it, and
 * what it prints would go there. */
#ifndef BASE_STANDARD_H
#define BASE_STANDARD_H

/* Opens /dev/null for each that is closed; first thing in main(). */
void standard_descriptors(void);

#endif
