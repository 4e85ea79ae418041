/* version.c - the version, compiled in by the Makefile.  Any thread. */
#include "base/version.h"

#ifndef TEAL_VERSION
#error "TEAL_VERSION comes from the Makefile"
#endif

const char *
teal_version(void)
{
	return TEAL_VERSION;
}
