/* http1_head_avx2.c - heads read 32 bytes at a time.  Pure; any thread. */
#ifdef __x86_64__

#define PATH __attribute__((target("avx2,bmi")))
#include "proto/http1_simd.h"

static inline PATH __m256i
load32(const unsigned char *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline PATH uint32_t
stops32(__m256i bytes, __m128i low)
{
	const __m256i half = _mm256_set1_epi8(15);
	__m256i l = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(low), _mm256_and_si256(bytes, half));
	__m256i h = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_setr_epi8(HIGH)),
					_mm256_and_si256(_mm256_srli_epi16(bytes, 4), half));

	return (uint32_t)_mm256_movemask_epi8(
		_mm256_cmpeq_epi8(_mm256_and_si256(l, h), _mm256_setzero_si256()));
}

static inline PATH uint32_t
target32(const unsigned char *p)
{
	return stops32(load32(p), _mm_setr_epi8(LOW_TARGET));
}

static inline PATH uint32_t
value32(const unsigned char *p)
{
	__m256i b = load32(p), control = _mm256_cmpeq_epi8(_mm256_min_epu8(b, _mm256_set1_epi8(31)), b);

	return (uint32_t)_mm256_movemask_epi8(
		_mm256_or_si256(_mm256_andnot_si256(_mm256_cmpeq_epi8(b, _mm256_set1_epi8('\t')), control),
				_mm256_cmpeq_epi8(b, _mm256_set1_epi8(127))));
}

#define SCAN(name, steps) \
	static inline PATH size_t scan_##name(const unsigned char *p, size_t at, size_t end) \
	{ \
		steps SCAN_STEPS(name, 16) return rest_##name(p, at, end); \
	}
/* Names are short: half the width finds their end as soon. */
SCAN(token, )
SCAN(target, SCAN_STEPS(target, 32))
SCAN(value, SCAN_STEPS(value, 32))

#include "proto/http1_steps.h"

PATH enum http1_verdict
http1_parse_avx2(struct http1_head *h, const char *p, size_t end)
{
	return parse(h, p, end);
}

#else
extern int http1_no_avx2;	/* ISO C wants something in every file */
#endif
