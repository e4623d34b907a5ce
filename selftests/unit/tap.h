/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test Anything Protocol for the unit tests, one line per proof.
 *
 *	int main(void)
 *	{
 *		ok(cond, "what holds when cond does");
 *		is(got, want, "name of the value");
 *		return tap_done();
 *	}
 */
#ifndef LABVISOR_TAP_H
#define LABVISOR_TAP_H

#include <stdio.h>

static unsigned int tap_count, tap_failed;

#define ok(cond, ...) tap_ok(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

#define is(got, want, ...)                                                   \
	do {                                                                 \
		unsigned long long tap_g = (unsigned long long)(got);        \
		unsigned long long tap_w = (unsigned long long)(want);       \
                                                                             \
		if (!ok(tap_g == tap_w, __VA_ARGS__))                        \
			printf("#   got %#llx, want %#llx\n", tap_g, tap_w); \
	} while (0)

static inline int __attribute__((format(printf, 4, 5)))
tap_ok(int cond, const char *file, int line, const char *fmt, ...)
{
	__builtin_va_list args;

	printf("%sok %u - ", cond ? "" : "not ", ++tap_count);
	__builtin_va_start(args, fmt);
	vprintf(fmt, args);
	__builtin_va_end(args);
	printf("\n");
	if (!cond) {
		tap_failed++;
		printf("#   at %s:%d\n", file, line);
	}
	return cond;
}

/** tap_done - print the plan; return the exit status of the program */
static inline int tap_done(void)
{
	printf("1..%u\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif /* LABVISOR_TAP_H */
