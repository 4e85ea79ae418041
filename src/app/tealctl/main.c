/* main.c - tealctl: the command line of teald.  One thread. */
#include <stdio.h>

#include "base/standard.h"
#include "app/tealctl/options.h"
#include "app/tealctl/output.h"
#include "app/tealctl/talk.h"
#include "app/tealctl/watch.h"

static int
report_error(enum err e, const char *sentence)
{
	struct buf b;

	buf_init(&b, 16384);
	text_safe(&b, str_from(sentence));
	fprintf(stderr, "tealctl: %.*s\n", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
	return err_exit_status(e);
}

static int
run_command(const struct options *o)
{
	struct output out;

	if (o->task == OPTIONS_HELP) {
		printf("%.*s", (int)buf_len(&o->text), buf_str(&o->text).p);
		return 0;
	}
	output_init(&out, o->no_color);
	return o->view != VIEW_ONCE ? watch(o, &out) : talk(o, &out);
}

int
main(int argc, char **argv)
{
	struct options o;
	struct why why;
	enum err e;
	int status;

	standard_descriptors();
	e = options_parse(&o, argc, argv, &why);
	status = e == OK ? run_command(&o) : report_error(e, why.text);
	options_free(&o);
	/* Output that got lost, on a full disk say, is not done. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0)
		status = report_error(E_INTERNAL, "cannot write to standard output");
	return status;
}
