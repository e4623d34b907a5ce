/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User-space stand-ins for the few kernel helpers that module/pure.h offers
 * to pure logic. Atomic where the kernel's are.
 */
#ifndef LABVISOR_PURE_USER_H
#define LABVISOR_PURE_USER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned long ulong;

#define BITS_PER_LONG 64
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK(h, l) (((~0UL) << (l)) & (~0UL >> (63 - (h))))
#define GENMASK_ULL(h, l) GENMASK(h, l)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BITS_TO_LONGS(n) (((n) + 63) / 64)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(t, a, b) ((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define max_t(t, a, b) ((t)(a) > (t)(b) ? (t)(a) : (t)(b))
#define clamp_t(t, v, lo, hi) min_t(t, max_t(t, v, lo), hi)
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define fallthrough __attribute__((__fallthrough__))
#undef __always_inline /* glibc has one, too */
#undef __always_inline /* the C library has one */
#define __always_inline inline __attribute__((__always_inline__))
#define noinline __attribute__((__noinline__))
#define static_assert _Static_assert
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr)-offsetof(type, member)))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_mb__after_atomic() smp_mb()
#define smp_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define xchg(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define array_index_nospec(i, n) (i)
#define WARN_ON_ONCE(c)          \
	({                       \
		bool c_ = !!(c); \
		if (c_)          \
			abort(); \
		c_;              \
	})

static inline void set_bit(long nr, volatile unsigned long *p)
{
	__atomic_fetch_or(p + nr / 64, 1UL << (nr % 64), __ATOMIC_SEQ_CST);
}

static inline void clear_bit(long nr, volatile unsigned long *p)
{
	__atomic_fetch_and(p + nr / 64, ~(1UL << (nr % 64)), __ATOMIC_SEQ_CST);
}

static inline bool test_bit(long nr, const volatile unsigned long *p)
{
	return p[nr / 64] >> (nr % 64) & 1;
}

static inline bool test_and_set_bit(long nr, volatile unsigned long *p)
{
	unsigned long m = 1UL << (nr % 64);

	return __atomic_fetch_or(p + nr / 64, m, __ATOMIC_SEQ_CST) & m;
}

static inline bool test_and_clear_bit(long nr, volatile unsigned long *p)
{
	unsigned long m = 1UL << (nr % 64);

	return __atomic_fetch_and(p + nr / 64, ~m, __ATOMIC_SEQ_CST) & m;
}

static inline void __set_bit(long nr, unsigned long *p)
{
	p[nr / 64] |= 1UL << (nr % 64);
}

static inline void __clear_bit(long nr, unsigned long *p)
{
	p[nr / 64] &= ~(1UL << (nr % 64));
}

static inline int fls(unsigned int x)
{
	return x ? 32 - __builtin_clz(x) : 0;
}

static inline int fls64(u64 x)
{
	return x ? 64 - __builtin_clzll(x) : 0;
}

static inline unsigned long __ffs(unsigned long x)
{
	return __builtin_ctzl(x);
}

static inline unsigned long __fls(unsigned long x)
{
	return 63 - __builtin_clzl(x);
}

static inline unsigned int hweight32(u32 x)
{
	return __builtin_popcount(x);
}

static inline unsigned int hweight64(u64 x)
{
	return __builtin_popcountll(x);
}

static inline u64 div64_u64(u64 a, u64 b)
{
	return a / b;
}

static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}

static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (unsigned __int128)a * b / c;
}

static inline u64 mul_u64_u32_div(u64 a, u32 b, u32 c)
{
	return (unsigned __int128)a * b / c;
}

#endif /* LABVISOR_PURE_USER_H */
