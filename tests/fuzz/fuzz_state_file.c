/* fuzz_state_file.c - whatever is in the state file: it is refused with a
 * sentence, or read into what can be written and read again, the same.
 * The first byte says whether the rest is a whole file, or contents to be put
 * behind a first line that fits them (no checksum is ever guessed). */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/state_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct link nothing = { &nothing, &nothing };

/* Consumes payload. */
static void
seal(struct buf *payload, struct buf *file)
{
	char header[STATE_HEADER];
	size_t n = state_header(buf_str(payload), header);

	buf_init(file, STATE_MAX);
	CHECK(buf_append(file, header, n) && buf_append(file, buf_str(payload).p, buf_len(payload)));
	buf_free(payload);
}

static void
write_state(const struct state *s, struct buf *file)
{
	struct buf payload;

	buf_init(&payload, STATE_MAX);
	CHECK(state_encode(s, &nothing, &payload));
	seal(&payload, file);
}

/* What the rest of teald relies on. */
static void
check_state(const struct state *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct record r = s->services[i]->record;

		CHECK(i == 0 || strcmp(s->services[i - 1]->name, s->services[i]->name) < 0);
		CHECK(state_find(s, s->services[i]->name) == s->services[i]);
		if (!s->services[i]->known)
			continue;
		CHECK(state_accept_record(&r));
		CHECK(memcmp(&r, &s->services[i]->record, sizeof(r)) == 0);
		CHECK(memcmp(&r, &s->services[i]->next, sizeof(r)) == 0);
	}
	for (const struct link *l = s->history.next; l != &s->history; l = l->next)
		n++;
	CHECK(n == s->n_history);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf file, again, third;
	struct state s, t;
	struct why why = { "" };

	if (size == 0)
		return 0;
	buf_init(&file, STATE_MAX);
	CHECK(buf_append(&file, data + 1, size - 1));
	if (data[0] & 1) {
		struct buf payload = file;

		seal(&payload, &file);
	}
	state_init(&s);
	if (state_decode(buf_str(&file), &s, &why) != OK) {
		CHECK(why.text[0] != '\0');
	} else {
		check_state(&s);
		write_state(&s, &again);
		state_init(&t);
		CHECK(state_decode(buf_str(&again), &t, &why) == OK);
		check_state(&t);
		write_state(&t, &third);
		CHECK(buf_len(&again) == buf_len(&third));
		CHECK(memcmp(buf_str(&again).p, buf_str(&third).p, buf_len(&again)) == 0);
		state_free(&t);
		buf_free(&again);
		buf_free(&third);
	}
	state_free(&s);
	buf_free(&file);
	return 0;
}
