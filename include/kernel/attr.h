/* attr.h - the attributes of a netlink message, read in place.  What libmnl does,
 * in the header, for the flows thread reads some forty of them for every
 * connection: as calls into a library they are a seventh of its time.
 * Format: linux/netlink.h, struct nlattr. */
#ifndef KERNEL_ATTR_H
#define KERNEL_ATTR_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline unsigned
attr_type(const struct nlattr *a)
{
	return a->nla_type & NLA_TYPE_MASK;
}

static inline const void *
attr_data(const struct nlattr *a)
{
	return (const char *)a + NLA_HDRLEN;
}

/* Bytes of data. */
static inline unsigned
attr_len(const struct nlattr *a)
{
	return (unsigned)a->nla_len - NLA_HDRLEN;
}

/* As they came: of the byte order that the attribute has. */
static inline uint16_t
attr_u16(const struct nlattr *a)
{
	uint16_t v;

	memcpy(&v, attr_data(a), sizeof(v));
	return v;
}

static inline uint32_t
attr_u32(const struct nlattr *a)
{
	uint32_t v;

	memcpy(&v, attr_data(a), sizeof(v));
	return v;
}

static inline uint64_t
attr_u64(const struct nlattr *a)
{
	uint64_t v;

	memcpy(&v, attr_data(a), sizeof(v));
	return v;
}

static inline const struct nlattr *
attr_next(const struct nlattr *a)
{
	return (const struct nlattr *)((const char *)a + NLA_ALIGN(a->nla_len));
}

/* Is there a whole attribute at a, before end? */
static inline bool
attr_ok(const struct nlattr *a, const void *end)
{
	const char *from = (const char *)a, *to = end;

	return from < to && (size_t)(to - from) >= NLA_HDRLEN && a->nla_len >= NLA_HDRLEN &&
	       a->nla_len <= (size_t)(to - from);
}

#define attr_for_each(a, from, end) \
	for ((a) = (const struct nlattr *)(from); attr_ok((a), (end)); (a) = attr_next(a))

#define attr_for_each_nested(a, nest) \
	attr_for_each (a, attr_data(nest), (const char *)(nest) + (nest)->nla_len)

#endif
