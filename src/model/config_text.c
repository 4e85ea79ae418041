/* config_text.c - reads a configuration file and splices in what it
 * includes; keeps the complaints.  Start-up thread only.
 * Includes are resolved here and not by libconfig, because that one looks
 * for them in the working directory, ends the process when one is a folder,
 * and follows a file that includes itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "model/config_text.h"

/* Far above any real configuration; below what hurts. */
#define TEXT_MAX ((size_t)16 << 20)
#define DEPTH_MAX 10
#define FILES_MAX 1000

void
complaint_add(struct complaint_list *list, size_t at, char *text)
{
	/* Two services that do not fit do so on each listener they share. */
	for (size_t i = 0; i < list->n; i++)
		if (list->entries[i].at == at && strcmp(list->entries[i].text, text) == 0) {
			free(text);
			return;
		}
	list->entries = must_grow(list->entries, list->n + 1, sizeof(*list->entries));
	list->entries[list->n] = (struct complaint){ at, list->n, text };
	list->n++;
}

static int
compare_complaints(const void *a, const void *b)
{
	const struct complaint *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->nth < y->nth ? -1 : x->nth > y->nth;
}

void
complaint_list_move(struct complaint_list *list, struct complaints *out)
{
	if (list->n > 0) {
		qsort(list->entries, list->n, sizeof(*list->entries), compare_complaints);
		out->lines = must_grow(out->lines, out->n + list->n, sizeof(*out->lines));
	}
	for (size_t i = 0; i < list->n; i++)
		out->lines[out->n++] = list->entries[i].text;
	free(list->entries);
	*list = (struct complaint_list){ NULL, 0 };
}

void
complaints_free(struct complaints *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->lines[i]);
	free(c->lines);
	*c = (struct complaints){ NULL, 0 };
}

struct shown
show_bytes(const char *p, size_t n)
{
	struct shown out;
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		/* Room for the longest step, the ellipsis and the NUL. */
		if (used + 4 + 3 + 1 > sizeof(out.s)) {
			used += (size_t)sprintf(out.s + used, "...");
			break;
		}
		if (c == '"' || c == '\\')
			used += (size_t)sprintf(out.s + used, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			used += (size_t)sprintf(out.s + used, "\\x%02x", c);
		else
			out.s[used++] = (char)c;
	}
	out.s[used] = '\0';
	return out;
}

struct shown
show(const char *text)
{
	return show_bytes(text, strlen(text));
}

struct config_line
config_text_line(const struct config_text *t, size_t at)
{
	if (t->n_lines == 0)
		return (struct config_line){ t->files[0].path, 1 };
	return t->lines[at == 0 ? 0 : at > t->n_lines ? t->n_lines - 1 : at - 1];
}

void
config_text_free(struct config_text *t)
{
	config_files_free(t->files, t->n_files);
	free(t->lines);
	free(t->bytes);
	*t = (struct config_text){ 0 };
}

/* One run of config_text_read(). */
struct splicer {
	EVP_MD_CTX *digest;	/* of what was read */
	const struct config_copy *copy;	/* NULL: the disk is read */
	struct config_text *t;
	struct complaint_list *errors;
	size_t cap, lines_cap;
	bool fresh;	/* the next byte begins a line */
};

static void
put_char(struct splicer *s, const char *file, unsigned line, char c)
{
	struct config_text *t = s->t;

	if (s->fresh) {
		if (t->n_lines == s->lines_cap) {
			s->lines_cap = s->lines_cap == 0 ? 256 : 2 * s->lines_cap;
			t->lines = must_grow(t->lines, s->lines_cap, sizeof(*t->lines));
		}
		t->lines[t->n_lines++] = (struct config_line){ file, line };
	}
	s->fresh = c == '\n';
	if (t->n + 1 >= s->cap) {
		s->cap = s->cap == 0 ? 4096 : 2 * s->cap;
		t->bytes = must_grow(t->bytes, s->cap, 1);
	}
	t->bytes[t->n++] = c;
	t->bytes[t->n] = '\0';
}

/* The whole file, read once; NULL with the reason in why. */
static char *
slurp(const char *file, size_t *n, struct why *why)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *bytes = NULL;
	size_t cap = 0;
	struct stat st;

	*n = 0;
	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)why_set(why, E_USAGE, "cannot be read: %s", strerror(errno));
		goto fail;
	}
	if (S_ISDIR(st.st_mode)) {
		(void)why_set(why, E_USAGE, "is a folder, not a file");
		goto fail;
	}
	for (;;) {
		ssize_t got;

		if (*n + 1 >= cap) {
			cap = cap == 0 ? 16384 : 2 * cap;
			bytes = must_grow(bytes, cap, 1);
		}
		got = read(fd, bytes + *n, cap - *n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			(void)why_set(why, E_USAGE, "cannot be read: %s", strerror(errno));
			goto fail;
		}
		if (got == 0)
			break;
		*n += (size_t)got;
		if (*n > TEXT_MAX) {
			(void)why_set(why, E_USAGE, "is larger than 16 MiB; is this the right file?");
			goto fail;
		}
	}
	bytes[*n] = '\0';
	close(fd);
	return bytes;
fail:
	if (fd >= 0)
		close(fd);
	free(bytes);
	return NULL;
}

/* One more file of the text; NULL with the reason in why. */
static const struct config_file *
take_file(struct splicer *s, const char *path, struct why *why)
{
	struct config_text *t = s->t;
	struct config_file f = { 0 };

	f.bytes = s->copy != NULL ? config_copy_read(s->copy, path, &f.n, why) : slurp(path, &f.n, why);
	if (f.bytes == NULL)
		return NULL;
	CHECK(EVP_DigestUpdate(s->digest, f.bytes, f.n) == 1);
	f.path = must_strdup(path);
	t->files = must_grow(t->files, t->n_files + 1, sizeof(*t->files));
	t->files[t->n_files] = f;
	return &t->files[t->n_files++];
}

/* How many bytes an @include directive takes at p, and the name it gives;
 * 0 when there is none.  *name is NULL when the name is unfinished. */
static size_t
match_include(const char *p, char **name)
{
	const char *q = p + strspn(p, " \t"), *from;
	char *out;

	if (strncmp(q, "@include", 8) != 0)
		return 0;
	q += 8;
	from = q += strspn(q, " \t");
	*name = NULL;
	if (*q++ != '"')
		return (size_t)(from - p);
	while (*q != '"') {
		if (*q == '\\' && q[1] != '\0')
			q++;
		if (*q == '\0' || *q == '\n')
			return (size_t)(q - p);
		q++;
	}
	out = *name = must_alloc((size_t)(q - from));
	for (from++; from < q; from++) {
		if (*from == '\\')
			from++;
		*out++ = *from;
	}
	return (size_t)(q + 1 - p);
}

static enum err
text_error(struct splicer *s, const char *file, unsigned line, const char *fmt, ...) PRINTF_LIKE(4, 5);

static enum err
text_error(struct splicer *s, const char *file, unsigned line, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	complaint_add(s->errors, s->t->n_lines, must_printf("%s:%u: %s", file, line, text));
	return E_USAGE;
}

static enum err splice_file(struct splicer *s, const struct config_file *f, unsigned depth);

/* The file an @include on that line names, relative to the folder of the
 * file it stands in. */
static enum err
include(struct splicer *s, const char *file, unsigned line, const char *name, unsigned depth)
{
	const char *slash = strrchr(file, '/');
	struct config_text *t = s->t;
	const struct config_file *f;
	struct why why;
	enum err e;
	char *path;

	if (name[0] == '\0')
		return text_error(s, file, line, "@include \"\": the name of a file is missing");
	if (depth == DEPTH_MAX)
		return text_error(s, file, line,
				  "@include \"%s\": more than %d files deep; does a file include itself?",
				  show(name).s, DEPTH_MAX);
	if (t->n_files == FILES_MAX)
		return text_error(s, file, line, "@include \"%s\": more than %d files", show(name).s,
				  FILES_MAX);
	path = name[0] == '/' || slash == NULL ? must_strdup(name) :
						 must_printf("%.*s/%s", (int)(slash - file), file, name);
	if ((f = take_file(s, path, &why)) != NULL)
		e = splice_file(s, f, depth + 1);
	else
		e = text_error(s, file, line, "@include: %s %s", show(path).s, why.text);
	free(path);
	return e;
}

/* Follows comments and strings just far enough to tell a directive from
 * text that looks like one. */
enum place { CODE, COMMENT_LINE, COMMENT, TEXT };

static enum place
next_place(enum place now, const char *p, size_t *took)
{
	*took = 1;
	switch (now) {
	case CODE:
		if (p[0] == '#')
			return COMMENT_LINE;
		if (p[0] == '"')
			return TEXT;
		if (p[0] != '/' || (p[1] != '/' && p[1] != '*'))
			return CODE;
		*took = 2;
		return p[1] == '/' ? COMMENT_LINE : COMMENT;
	case COMMENT_LINE:
		return p[0] == '\n' ? CODE : COMMENT_LINE;
	case COMMENT:
		if (p[0] != '*' || p[1] != '/')
			return COMMENT;
		*took = 2;
		return CODE;
	case TEXT:
		if (p[0] == '\\' && (p[1] == '"' || p[1] == '\\'))
			*took = 2;
		return p[0] == '"' ? CODE : TEXT;
	}
	return now;
}

static enum err
splice_file(struct splicer *s, const struct config_file *f, unsigned depth)
{
	/* The list may move meanwhile, what it points to does not. */
	const char *file = f->path, *bytes = f->bytes;
	size_t n = f->n;
	enum place place = CODE;
	unsigned line = 1, opened = 1;
	bool at_start = true;
	enum err e;

	for (size_t i = 0, took; i < n; i += took) {
		enum place next;
		char *name;

		if (s->t->n > TEXT_MAX)
			return text_error(s, file, line, "all files together are larger than 16 MiB");
		if (at_start && place == CODE && (took = match_include(bytes + i, &name)) > 0) {
			if (name == NULL)
				return text_error(s, file, line,
						  "@include needs the name of a file in double quotes");
			e = include(s, file, line, name, depth);
			free(name);
			if (e != OK)
				return e;
			if (!s->fresh)
				put_char(s, file, line, '\n');
			at_start = false;
			continue;
		}
		if (bytes[i] == '\0')
			return text_error(s, file, line, "a NUL byte; is this a text file?");
		next = next_place(place, bytes + i, &took);
		if (next != place)
			opened = line;
		place = next;
		for (size_t k = i; k < i + took; k++)
			put_char(s, file, line, bytes[k]);
		at_start = bytes[i] == '\n';
		line += at_start;
	}
	if (place == TEXT)
		return text_error(s, file, opened, "the text that begins here with \" is never closed");
	if (place == COMMENT)
		return text_error(s, file, opened, "the comment that begins here with /* is never closed");
	return OK;
}

static void
take_digest(struct splicer *s)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char *to = s->t->checksum + sprintf(s->t->checksum, "sha256:");

	CHECK(EVP_DigestFinal_ex(s->digest, digest, &n) == 1);
	EVP_MD_CTX_free(s->digest);
	for (unsigned i = 0; i < n; i++)
		to += sprintf(to, "%02x", digest[i]);
}

enum err
config_text_read(struct config_text *t, const char *path, const struct config_copy *copy,
		 struct complaint_list *errors)
{
	struct splicer s = {
		.digest = EVP_MD_CTX_new(), .copy = copy, .t = t, .errors = errors, .fresh = true
	};
	const struct config_file *f;
	struct why why;
	enum err e = E_USAGE;

	*t = (struct config_text){ 0 };
	t->bytes = must_alloc(1);
	CHECK(s.digest != NULL && EVP_DigestInit_ex(s.digest, EVP_sha256(), NULL) == 1);
	if ((f = take_file(&s, path, &why)) == NULL) {
		complaint_add(errors, 0, must_printf("%s: %s", path, why.text));
	} else {
		e = splice_file(&s, f, 0);
		/* libconfig takes a comment without a line end for a syntax error. */
		if (!s.fresh)
			put_char(&s, t->files[0].path, config_text_line(t, t->n_lines).line, '\n');
	}
	take_digest(&s);
	return e;
}
