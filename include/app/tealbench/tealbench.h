/* tealbench.h - the subcommands. */
#ifndef APP_TEALBENCH_TEALBENCH_H
#define APP_TEALBENCH_TEALBENCH_H

#include "base/err.h"

/* Each gets what follows its name, runs until it is done, and returns OK or
 * an error with its sentence. */
MUST_USE enum err serve_main(int argc, char **argv, struct why *why);
MUST_USE enum err load_main(int argc, char **argv, struct why *why);
MUST_USE enum err drill_main(int argc, char **argv, struct why *why);

#endif
