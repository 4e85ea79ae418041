/* options.h - teald's command line.  One thread. */
#ifndef APP_TEALD_OPTIONS_H
#define APP_TEALD_OPTIONS_H

#include <stdbool.h>

#define EXIT_FAILED 1
#define EXIT_USAGE 2

struct options {
	const char *config;
	bool test;
	bool print;
	const char *against;	/* an admin socket; NULL: none */
	const char *user;	/* of -t: who would serve; NULL: who asks, or the configuration's */
	bool assume_initial;
	bool successor;	/* of the process whose supervisor started this one */
};

/* What it borrows is of argv.  Returns an exit status, or -1 to go on; what is to be said was printed. */
int options_parse(int argc, char **argv, struct options *o);

#endif
