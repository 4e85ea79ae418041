/* admission.h - limits that are exact over all workers: relaxed counters, no
 * locks, nothing divided by the number of threads. */
#ifndef MODEL_ADMISSION_H
#define MODEL_ADMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct admission {
	_Alignas(64) _Atomic uint32_t held;
	_Atomic uint32_t limit;	/* 0: no limit; main may set another */
	_Atomic uint64_t refused;	/* since the start */
};

static inline void
admission_init(struct admission *a, uint32_t limit)
{
	atomic_init(&a->held, 0);
	atomic_init(&a->refused, 0);
	atomic_init(&a->limit, limit);
}

/* Those who are in stay, also where they are more than that. */
static inline void
admission_set_limit(struct admission *a, uint32_t limit)
{
	atomic_store_explicit(&a->limit, limit, memory_order_relaxed);
}

/* Takes n places; false, and nothing taken, when the limit would be passed.
 * Never lets more in than the limit, not even for a moment. */
static inline bool
admission_enter(struct admission *a, uint32_t n)
{
	uint32_t held = atomic_load_explicit(&a->held, memory_order_relaxed);
	uint32_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);

	do {
		if (limit > 0 && (held >= limit || n > limit - held)) {
			atomic_fetch_add_explicit(&a->refused, 1, memory_order_relaxed);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(&a->held, &held, held + n, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

/* Takes them whatever the limit: of those who are in already, elsewhere. */
static inline void
admission_adopt(struct admission *a, uint32_t n)
{
	atomic_fetch_add_explicit(&a->held, n, memory_order_relaxed);
}

/* At this moment; for messages that give the reason. */
static inline bool
admission_is_full(const struct admission *a)
{
	uint32_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);

	return limit > 0 && atomic_load_explicit(&a->held, memory_order_relaxed) >= limit;
}

/* More are in than may be: another process' came here, or the limit was lowered. */
static inline bool
admission_is_passed(const struct admission *a)
{
	uint32_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);

	return limit > 0 && atomic_load_explicit(&a->held, memory_order_relaxed) > limit;
}

static inline void
admission_leave(struct admission *a, uint32_t n)
{
	atomic_fetch_sub_explicit(&a->held, n, memory_order_relaxed);
}

#endif
