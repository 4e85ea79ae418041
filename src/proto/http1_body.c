/* http1_body.c - the bytes of a message's body as they come.  Pure; any thread. */
#include "base/check.h"
#include "proto/http1_body.h"
#include "proto/http1_machine.h"

enum state {
	SIZE,	/* the digits of a chunk's size */
	SIZE_BLANK,	/* white space after them: an extension must follow */
	EXT,	/* after ';' */
	EXT_NAME,
	EXT_NAME_BLANK,
	EXT_EQUALS,	/* after '=' */
	EXT_TOKEN,
	EXT_QUOTED,
	EXT_ESCAPE,	/* after a backslash */
	EXT_END,	/* after the closing quote */
	EXT_BLANK,	/* white space after a value: another extension must follow */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER,	/* at the first byte of a trailer's line */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
};

_Static_assert(sizeof(struct http1_body) <= 48, "one for each direction of each exchange");

/* What may not come after the body, because it had to be known before it
 * (RFC 9110 section 6.5.1): framing, routing, request modifiers,
 * authentication, response controls, content format; and what tells of the
 * client.  Sorted; '-' stands for '_' too. */
static const char *const forbidden[] = {
	"accept", "accept-charset", "accept-encoding", "accept-language", "age", "authorization",
	"cache-control", "clear-site-data", "connection", "content-disposition", "content-encoding",
	"content-language", "content-length", "content-location", "content-range",
	"content-security-policy", "content-type", "cookie", "date", "expect", "expires", "forwarded",
	"host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
	"keep-alive", "location", "max-forwards", "origin", "pragma", "proxy-authenticate",
	"proxy-authorization", "proxy-connection", "range", "retry-after", "set-cookie",
	"strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade", "vary", "via",
	"warning", "www-authenticate", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
	"x-forwarded-proto", "x-real-ip", "x-request-id",
};
#define NO_ROW 255
_Static_assert(ARRAY_LEN(forbidden) < NO_ROW, "rows fit in a byte");

static bool
body_bad(struct http1_body *b, enum http1_reason reason)
{
	b->reason = (uint8_t)reason;
	return false;
}

static bool
bad_byte(struct http1_body *b, unsigned char c, enum http1_reason otherwise)
{
	return body_bad(b, c == '\0' ? HTTP1_NUL : c == '\n' ? HTTP1_BARE_LF : otherwise);
}

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

static int
hex_of(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
go(struct http1_body *b, enum state to)
{
	b->state = (uint8_t)to;
	return true;
}

/* Another letter of a trailer's name: on to the row that begins like it. */
static void
match_letter(struct http1_body *b, unsigned char c)
{
	unsigned row = b->row, n = b->matched;
	const char *prefix;

	if (row == NO_ROW)
		return;
	prefix = forbidden[row];
	if (c == '_')
		c = '-';
	else if (c >= 'A' && c <= 'Z')
		c |= 0x20;
	for (; row < ARRAY_LEN(forbidden) && strncmp(forbidden[row], prefix, n) == 0; row++) {
		if ((unsigned char)forbidden[row][n] != c)
			continue;
		b->row = (uint8_t)row;
		b->matched++;
		return;
	}
	b->row = NO_ROW;
}

static bool
is_forbidden(const struct http1_body *b)
{
	return b->row != NO_ROW && forbidden[b->row][b->matched] == '\0';
}

/* The two that say where a message ends: who sends one behind it has lost count. */
static bool
frames(const struct http1_body *b)
{
	return is_forbidden(b) && (strcmp(forbidden[b->row], "content-length") == 0 ||
				   strcmp(forbidden[b->row], "transfer-encoding") == 0);
}

static void
begin_chunks(struct http1_body *b)
{
	b->digits = 0;
	b->left = 0;
	go(b, SIZE);
}

/* Of a chunk of b->left bytes, which pay for extensions. */
static bool
begin_data(struct http1_body *b)
{
	b->extensions = b->left > b->extensions / 2 ? 0 : (uint16_t)(b->extensions - 2 * b->left);
	return go(b, DATA);
}

static bool
step_size(struct http1_body *b, unsigned char c)
{
	int value = hex_of(c);

	if (value >= 0) {
		/* No chunk is that large, and sums cannot overflow. */
		if (b->digits == 16 || b->left >= UINT64_C(1) << 59)
			return body_bad(b, HTTP1_CHUNK_SIZE_LONG);
		b->left = b->left << 4 | (unsigned)value;
		b->digits++;
		/* Known before the first byte of the chunk: none of it is sent. */
		return b->most == 0 || b->left <= b->most - b->total || body_bad(b, HTTP1_BODY_LARGE);
	}
	if (b->digits == 0)
		return bad_byte(b, c, HTTP1_CHUNK_SIZE_BAD);
	if (c == '\r')
		return go(b, SIZE_LF);
	if (c == ';')
		return go(b, EXT);
	if (is_blank(c))
		return go(b, SIZE_BLANK);
	return bad_byte(b, c, HTTP1_CHUNK_SIZE_BAD);
}

/* RFC 9112 section 7.1.1; what it calls bad white space is let pass where it
 * says so and nowhere else. */
static bool
step_extension(struct http1_body *b, unsigned char c)
{
	bool token = (http1_class[c] & C_TOKEN) != 0;

	if (++b->extensions > HTTP1_EXTENSIONS_MAX)
		return body_bad(b, HTTP1_CHUNK_EXT_LONG);
	switch ((enum state)b->state) {
	case SIZE_BLANK:
	case EXT_BLANK:
		if (is_blank(c) || (c == ';' && go(b, EXT)))
			return true;
		/* Servers that write sizes into a field of fixed width fill it. */
		if (c == '\r' && b->lenient) {
			b->odd |= HTTP1_ODD_BIT(HTTP1_ODD_CHUNK_BLANK);
			return go(b, SIZE_LF);
		}
		break;
	case EXT:
		if (is_blank(c) || (token && go(b, EXT_NAME)))
			return true;
		break;
	case EXT_NAME:
		if (token || (c == '=' && go(b, EXT_EQUALS)) || (c == ';' && go(b, EXT)) ||
		    (is_blank(c) && go(b, EXT_NAME_BLANK)) || (c == '\r' && go(b, SIZE_LF)))
			return true;
		break;
	case EXT_NAME_BLANK:
		if (is_blank(c) || (c == '=' && go(b, EXT_EQUALS)) || (c == ';' && go(b, EXT)))
			return true;
		break;
	case EXT_EQUALS:
		if (is_blank(c) || (token && go(b, EXT_TOKEN)) || (c == '"' && go(b, EXT_QUOTED)))
			return true;
		break;
	case EXT_TOKEN:
		if (token)
			return true;
		/* fall through */
	case EXT_END:
		if ((c == ';' && go(b, EXT)) || (is_blank(c) && go(b, EXT_BLANK)) ||
		    (c == '\r' && go(b, SIZE_LF)))
			return true;
		break;
	case EXT_QUOTED:
		if ((c == '"' && go(b, EXT_END)) || (c == '\\' && go(b, EXT_ESCAPE)) ||
		    (http1_class[c] & C_VALUE))
			return true;
		break;
	case EXT_ESCAPE:
		if (http1_class[c] & C_VALUE)
			return go(b, EXT_QUOTED);
		break;
	default:
		CHECK(!"a state of extensions");
	}
	if (c == '\r' && (b->state == EXT_QUOTED || b->state == EXT_ESCAPE))
		return body_bad(b, HTTP1_BARE_CR);
	return bad_byte(b, c, HTTP1_CHUNK_EXT_BAD);
}

static bool
step_trailer(struct http1_body *b, unsigned char c)
{
	if (++b->trailers > HTTP1_TRAILERS_MAX)
		return body_bad(b, HTTP1_TRAILERS_LONG);
	switch ((enum state)b->state) {
	case TRAILER:
		if (c == '\r')
			return go(b, END_LF);
		if (is_blank(c))
			return body_bad(b, HTTP1_OBS_FOLD);
		if (c == ':')
			return body_bad(b, HTTP1_NAME_EMPTY);
		b->row = b->matched = 0;
		b->left_out = false;
		go(b, TRAILER_NAME);
		/* fall through */
	case TRAILER_NAME:
		if (http1_class[c] & C_TOKEN) {
			match_letter(b, c);
			return true;
		}
		if (c == ':') {
			b->left_out = is_forbidden(b);
			return b->left_out && (!b->response || frames(b)) ?
				       body_bad(b, HTTP1_TRAILER_FORBIDDEN) :
				       go(b, TRAILER_VALUE);
		}
		if (is_blank(c))
			return body_bad(b, HTTP1_NAME_SPACE);
		return c == '\r' ? body_bad(b, HTTP1_COLON_MISSING) : bad_byte(b, c, HTTP1_NAME_BAD);
	case TRAILER_VALUE:
		if (c == '\r')
			return go(b, TRAILER_LF);
		return (http1_class[c] & C_VALUE) || bad_byte(b, c, HTTP1_VALUE_BAD);
	default:
		CHECK(!"a state of trailers");
	}
	return false;
}

/* One byte that is no data. */
static bool
body_step(struct http1_body *b, unsigned char c)
{
	switch ((enum state)b->state) {
	case SIZE:
		return step_size(b, c);
	case SIZE_LF:
		if (c != '\n')
			return body_bad(b, HTTP1_BARE_CR);
		return b->left > 0 ? begin_data(b) : go(b, TRAILER);
	case DATA_CR:
		return c == '\r' ? go(b, DATA_LF) : body_bad(b, HTTP1_CHUNK_END_BAD);
	case DATA_LF:
		if (c != '\n')
			return body_bad(b, HTTP1_CHUNK_END_BAD);
		begin_chunks(b);
		return true;
	case TRAILER:
	case TRAILER_NAME:
	case TRAILER_VALUE:
		return step_trailer(b, c);
	case TRAILER_LF:
		return c == '\n' ? go(b, TRAILER) : body_bad(b, HTTP1_BARE_CR);
	case END_LF:
		if (c != '\n')
			return body_bad(b, HTTP1_BARE_CR);
		b->done = true;
		return true;
	case DATA:
		CHECK(!"data is taken elsewhere");
		break;
	case SIZE_BLANK:
	case EXT:
	case EXT_NAME:
	case EXT_NAME_BLANK:
	case EXT_EQUALS:
	case EXT_TOKEN:
	case EXT_QUOTED:
	case EXT_ESCAPE:
	case EXT_END:
	case EXT_BLANK:
		return step_extension(b, c);
	}
	return false;
}

uint64_t
http1_body_skippable(const struct http1_body *b)
{
	if (b->reason != HTTP1_FINE)
		return 0;
	switch ((enum http1_framing)b->framing) {
	case HTTP1_BODY_NONE:
		return 0;
	case HTTP1_BODY_LENGTH:
		return b->left;
	case HTTP1_BODY_CHUNKED:
		return b->state == DATA ? b->left : 0;
	case HTTP1_BODY_CLOSE:
		return b->done ? 0 : UINT64_MAX;
	}
	return 0;
}

enum http1_verdict
http1_body_skip(struct http1_body *b, uint64_t n)
{
	CHECK(n <= http1_body_skippable(b));
	b->total += n;
	if (b->framing == HTTP1_BODY_LENGTH || b->framing == HTTP1_BODY_CHUNKED)
		b->left -= n;
	if (b->framing == HTTP1_BODY_LENGTH && b->left == 0)
		b->done = true;
	if (b->framing == HTTP1_BODY_CHUNKED && n > 0 && b->left == 0)
		go(b, DATA_CR);
	return b->done ? HTTP1_DONE : HTTP1_NEED_MORE;
}

/* What the byte is that led from one state to another. */
static enum http1_piece
piece_of(const struct http1_body *b, enum state before)
{
	bool last = b->left == 0;	/* or zeros, so far */

	switch (before) {
	case SIZE:
		return b->state == EXT || b->state == SIZE_BLANK || last ? HTTP1_PIECE_NOTHING :
									   HTTP1_PIECE_FRAME;
	case SIZE_BLANK:
	case EXT:
	case EXT_NAME:
	case EXT_NAME_BLANK:
	case EXT_EQUALS:
	case EXT_TOKEN:
	case EXT_QUOTED:
	case EXT_ESCAPE:
	case EXT_END:
	case EXT_BLANK:
		return b->state == SIZE_LF && !last ? HTTP1_PIECE_FRAME : HTTP1_PIECE_NOTHING;
	case SIZE_LF:
		return last ? HTTP1_PIECE_NOTHING : HTTP1_PIECE_FRAME;
	case DATA:
	case DATA_CR:
	case DATA_LF:
		return HTTP1_PIECE_FRAME;
	case TRAILER:
		return b->state == END_LF ? HTTP1_PIECE_NOTHING : HTTP1_PIECE_TRAILER;
	case TRAILER_NAME:
	case TRAILER_VALUE:
	case TRAILER_LF:
		return HTTP1_PIECE_TRAILER;
	case END_LF:
		break;
	}
	return HTTP1_PIECE_NOTHING;
}

/* What servers write between the data of two chunks, or before the first: the size
 * line of a chunk in its plain form, here to its end, and within all limits.  Its
 * bytes, which are taken; 0, and nothing is, where it is anything else.  Small
 * chunks are most of the bytes that are looked at one by one. */
static size_t
take_plain_line(struct http1_body *b, const char *p, size_t n)
{
	size_t from = b->state == DATA_CR ? 2 : 0, i;
	uint64_t size = 0;
	int value;

	if (from == 0 ? b->state != SIZE || b->digits > 0 : n < 2 || p[0] != '\r' || p[1] != '\n')
		return 0;
	for (i = from; i < n && i < from + 8 && (value = hex_of((unsigned char)p[i])) >= 0; i++)
		size = size << 4 | (unsigned)value;
	if (n - i < 2 || p[i] != '\r' || p[i + 1] != '\n' || size == 0 || p[from] == '0' ||
	    (b->most != 0 && size > b->most - b->total))
		return 0;
	b->digits = (uint8_t)(i - from);
	b->left = size;
	begin_data(b);
	return i + 2;
}

size_t
http1_body_piece(struct http1_body *b, const char *p, size_t n, enum http1_piece *kind, enum http1_verdict *v)
{
	uint64_t most = http1_body_skippable(b);
	size_t i = 0;

	*kind = HTTP1_PIECE_NOTHING;
	*v = b->reason != HTTP1_FINE ? HTTP1_BAD : b->done ? HTTP1_DONE : HTTP1_NEED_MORE;
	if (*v != HTTP1_NEED_MORE || n == 0)
		return 0;
	if (most > 0) {
		*kind = HTTP1_PIECE_DATA;
		most = most < n ? most : n;
		*v = http1_body_skip(b, most);
		return (size_t)most;
	}
	if (b->framing == HTTP1_BODY_CHUNKED && (i = take_plain_line(b, p, n)) > 0) {
		*kind = HTTP1_PIECE_FRAME;
		return i;
	}
	while (i < n && http1_body_skippable(b) == 0) {
		struct http1_body before = *b;
		enum http1_piece piece;

		if (!body_step(b, (unsigned char)p[i])) {
			*v = HTTP1_BAD;
			return i;
		}
		piece = piece_of(b, (enum state)before.state);
		if (i > 0 && piece != *kind) {
			*b = before;
			break;
		}
		*kind = piece;
		i++;
		if (b->done) {
			*v = HTTP1_DONE;
			break;
		}
		if (before.state == TRAILER_LF)
			break;
	}
	return i;
}

size_t
http1_body_take(struct http1_body *b, const char *p, size_t n, struct str *data, enum http1_verdict *v)
{
	enum http1_piece kind;
	size_t i = 0;

	*data = (struct str){ p, 0 };
	do {
		size_t piece = http1_body_piece(b, p + i, n - i, &kind, v);

		if (kind == HTTP1_PIECE_DATA)
			*data = (struct str){ p + i, piece };
		i += piece;
	} while (i < n && *v == HTTP1_NEED_MORE && kind != HTTP1_PIECE_DATA);
	return i;
}

bool
http1_trailer_is_forbidden(struct str name)
{
	struct http1_body b = { 0 };

	for (size_t i = 0; i < name.n; i++)
		match_letter(&b, (unsigned char)name.p[i]);
	return is_forbidden(&b);
}

bool
http1_trailer_is_odd(struct str line)
{
	size_t end = line.n, from;

	while (end > 0 && (is_blank((unsigned char)line.p[end - 1]) || line.p[end - 1] == '\r' ||
			   line.p[end - 1] == '\n'))
		end--;
	for (from = end; from > 0 && !is_blank((unsigned char)line.p[from - 1]) && line.p[from - 1] != ':';)
		from--;
	return end - from >= 5 && str_case_eq((struct str){ line.p + from, 5 }, "http/");
}

enum http1_verdict
http1_body_finish(struct http1_body *b)
{
	if (b->reason == HTTP1_FINE && b->framing == HTTP1_BODY_CLOSE)
		b->done = true;
	if (b->done)
		return HTTP1_DONE;
	if (b->reason == HTTP1_FINE)
		body_bad(b, HTTP1_BODY_CUT);
	return HTTP1_BAD;
}

size_t
http1_chunk_line(uint64_t n, char out[HTTP1_CHUNK_LINE])
{
	unsigned digits = (64 - (unsigned)__builtin_clzll(n) + 3) / 4;

	CHECK(n > 0);
	for (unsigned i = 0; i < digits; i++)
		out[i] = "0123456789abcdef"[n >> 4 * (digits - 1 - i) & 15];
	out[digits] = '\r';
	out[digits + 1] = '\n';
	return digits + 2;
}
