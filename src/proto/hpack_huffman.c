/* hpack_huffman.c - the Huffman code of field compression.  Pure; any thread.
 * The code is canonical (shorter ones first, equal ones by symbol), so the lengths of appendix B tell
 * all of it; the tables are made from them when the program starts. */
#include <endian.h>

#include "base/check.h"
#include "proto/hpack_huffman.h"

#define EOS 256
#define SYMBOLS 257
#define LONGEST 30
/* Bits looked at at once: two of the usual characters have room in them. */
#define WIDE 12

static const uint8_t lengths[SYMBOLS] = {
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,	/* 0x00 */
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,	/* 0x20 */
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,	/* 0x40 */
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,	/* 0x60 */
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,	/* 0x80 */
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,	/* 0xa0 */
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,	/* 0xc0 */
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,	/* 0xe0 */
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
	30,	/* EOS */
};

static uint32_t codes[SYMBOLS];

/* What the next WIDE bits say: one symbol or two; bits 0: a longer code begins. */
struct wide {
	uint8_t symbols[2];
	uint8_t first;	/* bits of the first symbol */
	uint8_t bits : 4, count : 4;	/* of all; symbols */
};
static struct wide wide[1 << WIDE];

/* Of codes longer than that, by their length: left-aligned, the first code that is no shorter one's or its own,
 * and where its symbols begin in `sorted`. */
static struct {
	uint32_t end, first;
	uint16_t at;
} longer[LONGEST + 1];
static uint16_t sorted[SYMBOLS];

static void
fill_wide(unsigned symbol)
{
	unsigned spare = WIDE - lengths[symbol];

	for (unsigned i = 0; i < 1u << spare; i++)
		wide[codes[symbol] << spare | i] =
			(struct wide){ { (uint8_t)symbol, 0 }, lengths[symbol], lengths[symbol], 1 };
}

/* A second symbol where it is there whole. */
static void
fill_second(unsigned i)
{
	struct wide *w = &wide[i];
	const struct wide *next = &wide[i << w->first & ((1u << WIDE) - 1)];

	if (w->count == 0 || next->count == 0 || next->first + w->first > WIDE)
		return;
	w->symbols[1] = next->symbols[0];
	w->bits = (w->first + next->first) & 15;
	w->count = 2;
}

/* Before main(), when there is one thread. */
__attribute__((constructor)) static void
make_tables(void)
{
	unsigned n = 0;
	uint32_t code = 0;

	for (unsigned length = 1; length <= LONGEST; length++, code <<= 1) {
		longer[length].at = (uint16_t)n;
		longer[length].first = code;
		for (unsigned symbol = 0; symbol < SYMBOLS; symbol++) {
			if (lengths[symbol] != length)
				continue;
			codes[symbol] = code++;
			sorted[n++] = (uint16_t)symbol;
			if (length <= WIDE)
				fill_wide(symbol);
		}
		longer[length].end = length < LONGEST ? code << (32 - length) : UINT32_MAX;
	}
	for (unsigned i = 0; i < 1u << WIDE; i++)
		fill_second(i);
}

/* The symbol at the top of bits, one of more than WIDE bits; *length: of its code. */
static unsigned
long_symbol(uint64_t bits, unsigned *length)
{
	uint32_t top = (uint32_t)(bits >> 32);
	unsigned n = WIDE + 1;

	while (n < LONGEST && top >= longer[n].end)
		n++;
	*length = n;
	return sorted[longer[n].at + ((top >> (32 - n)) - longer[n].first)];
}

struct decoding {
	const unsigned char *p, *end;
	uint64_t bits;	/* the next ones, from the top; below them zeros */
	unsigned have;
	char *out;
};

/* While eight bytes of the input are left: at most 12 symbols.  False: EOS. */
static bool
decode_fast(struct decoding *d)
{
	uint64_t bits = d->bits, next;
	unsigned have = d->have;
	char *out = d->out;

	memcpy(&next, d->p, 8);
	bits |= be64toh(next) >> have;
	d->p += (63 - have) >> 3;
	have |= 56;
	while (have >= LONGEST) {
		const struct wide *w = &wide[bits >> (64 - WIDE)];
		unsigned length, symbol;

		if (w->count > 0) {
			memcpy(out, w->symbols, 2);
			out += w->count;
			bits <<= w->bits;
			have -= w->bits;
			continue;
		}
		symbol = long_symbol(bits, &length);
		if (symbol == EOS)
			return false;
		*out++ = (char)symbol;
		bits <<= length;
		have -= length;
	}
	/* What lies below was no whole byte: it comes again. */
	d->bits = bits & ~(UINT64_MAX >> have);
	d->have = have;
	d->out = out;
	return true;
}

/* Of the last bytes: one symbol.  False: there is none; *padded: what is left is padding as it must be. */
static bool
decode_last(struct decoding *d, bool *padded)
{
	const struct wide *w;
	unsigned length, symbol;
	uint64_t bits;

	for (; d->have <= 56 && d->p < d->end; d->have += 8)
		d->bits |= (uint64_t)*d->p++ << (56 - d->have);
	/* Padding is the beginning of EOS, so among ones no symbol ends that is not there. */
	bits = d->have < 64 ? d->bits | UINT64_MAX >> d->have : d->bits;
	w = &wide[bits >> (64 - WIDE)];
	length = w->first;
	symbol = w->symbols[0];
	if (w->count == 0)
		symbol = long_symbol(bits, &length);
	*padded = d->have < 8 && bits == UINT64_MAX;
	if (length > d->have || symbol == EOS)
		return false;
	*d->out++ = (char)symbol;
	d->bits <<= length;
	d->have -= length;
	return true;
}

ptrdiff_t
hpack_huffman_decode(struct str in, char *out, size_t room)
{
	struct decoding d = { .p = (const unsigned char *)in.p,
			      .end = (const unsigned char *)in.p + in.n,
			      .out = out };
	ptrdiff_t most = (ptrdiff_t)(room - HPACK_HUFFMAN_SPARE), before = 0;
	bool padded;

	CHECK(room >= HPACK_HUFFMAN_SPARE);
	for (;;) {
		if (d.out - out > most) {	/* only the number counts from now on */
			before += d.out - out;
			d.out = out;
		}
		if (d.end - d.p < 8)
			break;
		if (!decode_fast(&d))
			return -1;
	}
	while (decode_last(&d, &padded))
		continue;
	return padded ? before + (d.out - out) : -1;
}

size_t
hpack_huffman_size(struct str in)
{
	size_t bits = 0;

	for (size_t i = 0; i < in.n; i++)
		bits += lengths[(unsigned char)in.p[i]];
	return (bits + 7) / 8;
}

char *
hpack_huffman_encode(struct str in, char *out)
{
	uint64_t bits = 0;
	unsigned have = 0;	/* of bits, at the bottom */

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		bits = bits << lengths[c] | codes[c];
		have += lengths[c];
		if (have >= 32) {
			uint32_t word = htobe32((uint32_t)(bits >> (have - 32)));

			memcpy(out, &word, 4);
			out += 4;
			have -= 32;
		}
	}
	for (; have >= 8; have -= 8)
		*out++ = (char)(bits >> (have - 8));
	if (have > 0)
		*out++ = (char)(bits << (8 - have) | 0xffu >> have);
	return out;
}
