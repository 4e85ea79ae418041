/* mark.h - the conntrack mark of a flow of ours: whose it is, in 32 bits.
 *
 *	31..24	tag: which teald of this host; never 0
 *	23..12	service: its number in the table, 1 to 4095
 *	11	color
 *	10	entrance: 0 main, 1 preview
 *	9	the client has ended its side (TCP)
 *	8	so has the backend, after it: the connection is over; without
 *		bit 9: its client's port has come again, and it may go
 *	7..0	generation: the service's epoch, mod 256, when the flow began
 *
 * nftables writes it with a flow's first packet, before anything chooses a
 * backend, and the bits of the end with the last ones; ruleset makes the values,
 * flows reads them back.  Pure. */
#ifndef KERNEL_MARK_H
#define KERNEL_MARK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "model/color.h"
#include "model/tally.h"

#define MARK_SERVICES 4095	/* at most, numbered from 1 */
#define MARK_GENERATIONS 256
/* The parts, in place. */
#define MARK_TAG UINT32_C(0xff000000)
#define MARK_SERVICE UINT32_C(0x00fff000)
#define MARK_COLOR UINT32_C(0x00000800)
#define MARK_ENTRANCE UINT32_C(0x00000400)
#define MARK_LEFT UINT32_C(0x00000200)
#define MARK_OVER UINT32_C(0x00000100)
#define MARK_GENERATION UINT32_C(0x000000ff)

/* tag 1 to 255, service 1 to MARK_SERVICES. */
static inline uint32_t
mark_make(unsigned tag, unsigned service, enum color color, enum entrance entrance, uint64_t generation)
{
	DCHECK(tag >= 1 && tag <= 255 && service >= 1 && service <= MARK_SERVICES);
	return (uint32_t)tag << 24 | (uint32_t)service << 12 | (color == BLUE ? MARK_COLOR : 0) |
	       (entrance == ENTRANCE_PREVIEW ? MARK_ENTRANCE : 0) | (uint32_t)(generation % MARK_GENERATIONS);
}

static inline unsigned
mark_tag(uint32_t mark)
{
	return mark >> 24;
}

/* What a table of that name takes unless another has it: the same over restarts. */
static inline unsigned
mark_tag_of_name(const char *name)
{
	return 1 + (unsigned)(hash_bytes(name, strlen(name), 0) % 255);
}

static inline unsigned
mark_service(uint32_t mark)
{
	return (mark & MARK_SERVICE) >> 12;
}

static inline enum color
mark_color(uint32_t mark)
{
	return (mark & MARK_COLOR) != 0 ? BLUE : GREEN;
}

static inline enum entrance
mark_entrance(uint32_t mark)
{
	return (mark & MARK_ENTRANCE) != 0 ? ENTRANCE_PREVIEW : ENTRANCE_MAIN;
}

static inline bool
mark_is_over(uint32_t mark)
{
	return (mark & (MARK_LEFT | MARK_OVER)) == (MARK_LEFT | MARK_OVER);
}

static inline bool
mark_is_reused(uint32_t mark)
{
	return (mark & (MARK_LEFT | MARK_OVER)) == MARK_OVER;
}

static inline unsigned
mark_generation(uint32_t mark)
{
	return mark & MARK_GENERATION;
}

#endif
