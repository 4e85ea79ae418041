/* version.h - which Teal this is. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

/* "0.1.0", or between releases what git describe says ("0.1.0-3-gabc1234").
 * Static; any thread. */
const char *teal_version(void);

#endif
