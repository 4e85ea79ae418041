/* screen.c - the terminal, taken and put back.  One thread, and its signals. */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "app/tealctl/screen.h"
#include "base/utf8.h"

/* The other screen, an empty one, without a cursor; and back. */
#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"
#define SHOWN_MAX (4u << 20)

/* Signals know no arguments. */
static struct {
	volatile sig_atomic_t taken;	/* the terminal is ours */
	volatile sig_atomic_t changed;
	int keys;
	struct termios before;
} terminal = { .keys = -1 };

static FILE *kept_stdout;
static char *captured;
static size_t captured_n;

static void
write_screen(const char *text, size_t n)
{
	ssize_t done;

	while (n > 0) {
		done = write(STDOUT_FILENO, text, n);
		if (done <= 0)
			return;
		text += done;
		n -= (size_t)done;
	}
}

/* Only what a signal handler may call. */
static void
put_back(void)
{
	if (!terminal.taken)
		return;
	terminal.taken = 0;
	write_screen(LEAVE, sizeof(LEAVE) - 1);
	if (terminal.keys >= 0)
		tcsetattr(terminal.keys, TCSANOW, &terminal.before);
}

/* Keys one by one, unseen; ^C and ^Z are still signals. */
static void
take_terminal(void)
{
	struct termios raw;

	if (terminal.keys >= 0) {
		raw = terminal.before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(terminal.keys, TCSADRAIN, &raw);
	}
	terminal.taken = 1;
	write_screen(ENTER, sizeof(ENTER) - 1);
}

static void
on_end(int sig)
{
	put_back();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void
on_resize(int sig)
{
	(void)sig;
	terminal.changed = 1;
}

/* ^Z: the shell gets its terminal as it was, and what comes after `fg` begins
 * with an empty screen again. */
static void
on_suspend(int sig)
{
	(void)sig;
	put_back();
	raise(SIGSTOP);
	take_terminal();
	terminal.changed = 1;
}

static void
measure_terminal(struct screen *s)
{
	struct winsize size;

	s->rows = 24;
	s->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
		s->rows = size.ws_row;
		s->columns = size.ws_col;
	}
}

void
screen_open(struct screen *s)
{
	static const int ends[] = { SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGPIPE,
				    SIGABRT, SIGSEGV, SIGBUS, SIGFPE,  SIGILL };

	s->keys = tcgetattr(STDIN_FILENO, &terminal.before) == 0 ? STDIN_FILENO : -1;
	terminal.keys = s->keys;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		signal(ends[i], on_end);
	/* Neither restarts what waits: the loop looks again. */
	sigaction(SIGWINCH, &(struct sigaction){ .sa_handler = on_resize }, NULL);
	sigaction(SIGTSTP, &(struct sigaction){ .sa_handler = on_suspend }, NULL);
	atexit(put_back);
	measure_terminal(s);
	take_terminal();
}

void
screen_close(struct screen *s)
{
	(void)s;
	put_back();
}

bool
screen_changed(struct screen *s)
{
	if (!terminal.changed)
		return false;
	terminal.changed = 0;
	measure_terminal(s);
	write_screen("\033[2J", 4);
	return true;
}

/* Bytes of the color sequence at p, or 0. */
static size_t
sequence(const char *p, size_t n)
{
	size_t i = 2;

	if (n < 3 || p[0] != '\033' || p[1] != '[')
		return 0;
	while (i < n && (p[i] == ';' || (p[i] >= '0' && p[i] <= '9')))
		i++;
	return i < n && p[i] == 'm' ? i + 1 : 0;
}

/* Appends a line as far as it fits. */
static void
put_screen_line(struct buf *out, struct str line, int columns)
{
	uint32_t point;
	size_t n;
	int at = 0;

	for (size_t i = 0; i < line.n; i += n) {
		if ((n = sequence(line.p + i, line.n - i)) > 0) {
			buf_append(out, line.p + i, n);
			continue;
		}
		if ((n = utf8_next(line.p + i, line.n - i, &point)) == 0)
			n = 1;
		if (at++ < columns)
			buf_append(out, line.p + i, n);
	}
	buf_printf(out, "\033[0m\033[K");
}

void
screen_show(struct screen *s, struct str text)
{
	struct buf out;

	buf_init(&out, SHOWN_MAX);
	buf_printf(&out, "\033[H");
	for (int row = 0; row < s->rows && text.n > 0; row++) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t n = end != NULL ? (size_t)(end - text.p) : text.n;

		if (row > 0)
			buf_append(&out, "\r\n", 2);
		put_screen_line(&out, (struct str){ text.p, n }, s->columns);
		n += end != NULL;
		text.p += n;
		text.n -= n;
	}
	buf_printf(&out, "\033[J");
	write_screen(buf_str(&out).p, buf_len(&out));
	buf_free(&out);
}

static enum key
escape_sequence(const char *p, size_t n)
{
	static const struct {
		const char *text;
		enum key key;
	} known[] = {
		{ "[A", KEY_UP },       { "OA", KEY_UP },         { "[B", KEY_DOWN }, { "OB", KEY_DOWN },
		{ "[5~", KEY_PAGE_UP }, { "[6~", KEY_PAGE_DOWN }, { "[H", KEY_HOME }, { "OH", KEY_HOME },
		{ "[1~", KEY_HOME },    { "[F", KEY_END },        { "OF", KEY_END },  { "[4~", KEY_END },
	};

	if (n == 0)
		return KEY_ESCAPE;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (n == strlen(known[i].text) && memcmp(p, known[i].text, n) == 0)
			return known[i].key;
	return KEY_OTHER;
}

enum key
screen_key(struct screen *s, char *c)
{
	char rest[16];
	size_t n = 0;
	ssize_t got;

	if (s->keys < 0 || (got = read(s->keys, c, 1)) < 0)
		return KEY_NONE;
	if (got == 0)	/* none with VMIN 0; a terminal that hung up sends SIGHUP */
		return KEY_NONE;
	switch (*c) {
	case '\r':
	case '\n':
		return KEY_ENTER;
	case 0x7f:
	case 0x08:
		return KEY_BACKSPACE;
	case 0x04:
		return KEY_GONE;
	case '\033':
		/* A sequence comes at once, up to its last letter. */
		while (n < sizeof(rest) && read(s->keys, rest + n, 1) == 1) {
			n++;
			if (n > 1 && ((rest[n - 1] >= 'A' && rest[n - 1] <= 'Z') || rest[n - 1] == '~' ||
				      (rest[n - 1] >= 'a' && rest[n - 1] <= 'z')))
				break;
		}
		return escape_sequence(rest, n);
	}
	return KEY_CHAR;
}

int
screen_width(struct str text)
{
	uint32_t point;
	int n = 0;

	for (size_t len; text.n > 0; text.p += len, text.n -= len, n++)
		if ((len = utf8_next(text.p, text.n, &point)) == 0)
			len = 1;
	return n;
}

bool
screen_is_utf8(void)
{
	setlocale(LC_CTYPE, "");
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* glibc's stdout is a variable like any other (glibc manual, Standard Streams). */
void
screen_capture(void)
{
	FILE *memory;

	captured = NULL;
	captured_n = 0;
	memory = open_memstream(&captured, &captured_n);
	if (memory == NULL)
		return;
	fflush(stdout);
	kept_stdout = stdout;
	stdout = memory;
}

void
screen_captured(struct buf *out)
{
	if (kept_stdout == NULL)
		return;
	fclose(stdout);
	stdout = kept_stdout;
	kept_stdout = NULL;
	buf_append(out, captured, captured_n);
	free(captured);
}
