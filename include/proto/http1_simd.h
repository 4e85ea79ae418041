/* http1_simd.h - private: finds the end of a token, a target or a value
 * 16 bytes at a time, with SSE4.2 or what came after it.  Pure; any thread.
 * Who includes it has defined PATH.
 *
 * A byte is looked up by halves (Muła, Lemire): bit h of low[l] is set when
 * the byte h * 16 + l is of the class, and the high half picks the bit; what is
 * not ASCII picks none.  Nothing beyond p[end - 1] is read: the last bytes are
 * loaded together with some before them, which are shifted out. */
#ifndef PROTO_HTTP1_SIMD_H
#define PROTO_HTTP1_SIMD_H

#include <immintrin.h>

#include "proto/http1_machine.h"

#define LOW_TOKEN -24, -4, -8, -4, -4, -4, -4, -4, -8, -8, -12, 84, -48, 84, -12, 112
#define LOW_TARGET -8, -4, -4, -8, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, 124
#define HIGH 1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0

static inline PATH __m128i
load16(const unsigned char *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* A bit for each byte that is not of the class. */
static inline PATH uint32_t
stops16(__m128i bytes, __m128i low)
{
	const __m128i half = _mm_set1_epi8(15);
	__m128i l = _mm_shuffle_epi8(low, _mm_and_si128(bytes, half));
	__m128i h = _mm_shuffle_epi8(_mm_setr_epi8(HIGH), _mm_and_si128(_mm_srli_epi16(bytes, 4), half));

	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(l, h), _mm_setzero_si128()));
}

static inline PATH uint32_t
token16(const unsigned char *p)
{
	return stops16(load16(p), _mm_setr_epi8(LOW_TOKEN));
}

static inline PATH uint32_t
target16(const unsigned char *p)
{
	return stops16(load16(p), _mm_setr_epi8(LOW_TARGET));
}

/* The controls but tab, and DEL. */
static inline PATH uint32_t
value16(const unsigned char *p)
{
	__m128i b = load16(p), control = _mm_cmpeq_epi8(_mm_min_epu8(b, _mm_set1_epi8(31)), b);

	return (uint32_t)_mm_movemask_epi8(
		_mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(b, _mm_set1_epi8('\t')), control),
			     _mm_cmpeq_epi8(b, _mm_set1_epi8(127))));
}

/* What is left when fewer than 16 bytes are. */
#define SCAN_REST(name, class) \
	static inline PATH size_t rest_##name(const unsigned char *p, size_t at, size_t end) \
	{ \
		uint32_t stops; \
\
		if (end < 16) { \
			while (at < end && (http1_class[p[at]] & (class))) \
				at++; \
			return at; \
		} \
		stops = name##16(p + end - 16) >> (16 - (end - at)); \
		return stops != 0 ? at + (unsigned)__builtin_ctz(stops) : end; \
	}
SCAN_REST(token, C_TOKEN)
SCAN_REST(target, C_TARGET)
SCAN_REST(value, C_VALUE)

/* Whole steps of that many bytes from at on, as long as there is nothing else. */
#define SCAN_STEPS(name, width) \
	while (end - at >= (width)) { \
		uint32_t stops = name##width(p + at); \
\
		if (stops != 0) \
			return at + (unsigned)__builtin_ctz(stops); \
		at += (width); \
	}

#endif
