/* chunked.c - a chunked body, piece by piece.  Pure; any thread. */
#include "app/tealbench/chunked.h"

enum {
	SIZE,	/* hex digits */
	EXTENSION,	/* ;name=value, skipped */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START,	/* the last chunk is read; a line or the empty one */
	TRAILER,
	TRAILER_LF,
	END_LF,
	DONE,
};

void
chunked_init(struct chunked *c)
{
	*c = (struct chunked){ .state = SIZE };
}

/* One byte outside the data; false when it may not stand there. */
static int
chunk_step(struct chunked *c, char ch)
{
	int digit;

	switch (c->state) {
	case SIZE:
		if ((digit = hex_digit(ch)) >= 0 && c->digits < 15) {
			c->left = c->left << 4 | (unsigned)digit;
			c->digits++;
			return 1;
		}
		if (c->digits == 0 || (ch != '\r' && ch != ';'))
			return 0;
		c->state = ch == '\r' ? SIZE_LF : EXTENSION;
		return 1;
	case EXTENSION:
		if (ch == '\r')
			c->state = SIZE_LF;
		return ch != '\n';
	case SIZE_LF:
		c->state = c->left > 0 ? DATA : TRAILER_START;
		return ch == '\n';
	case DATA_CR:
		c->state = DATA_LF;
		return ch == '\r';
	case DATA_LF:
		chunked_init(c);
		return ch == '\n';
	case TRAILER_START:
		c->state = ch == '\r' ? END_LF : TRAILER;
		return ch != '\n';
	case TRAILER:
		if (ch == '\r')
			c->state = TRAILER_LF;
		return ch != '\n';
	case TRAILER_LF:
		c->state = TRAILER_START;
		return ch == '\n';
	case END_LF:
		c->state = DONE;
		return ch == '\n';
	}
	return 0;
}

enum chunked_verdict
chunked_read(struct chunked *c, const char *p, size_t n, size_t *used, struct str *data)
{
	for (*used = 0; *used < n && c->state != DONE;) {
		if (c->state == DATA) {
			data->p = p + *used;
			data->n = n - *used < c->left ? n - *used : (size_t)c->left;
			*used += data->n;
			c->left -= data->n;
			if (c->left == 0)
				c->state = DATA_CR;
			return CHUNKED_DATA;
		}
		if (!chunk_step(c, p[(*used)++]))
			return CHUNKED_BAD;
	}
	return c->state == DONE ? CHUNKED_DONE : CHUNKED_MORE;
}
