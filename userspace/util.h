/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_UTIL_H
#define LABVISOR_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

#define BIT(n) (1ULL << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a)-1))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + (a)-1, a)

#define __printf(f, a) __attribute__((format(printf, f, a)))

/**
 * enum exit_status - how labvisor tells its caller how the guest ended
 * @EXIT_POWEROFF: the guest powered itself off
 * @EXIT_HOST: something on the host prevents the guest from running
 * @EXIT_USAGE: the command line makes no sense
 * @EXIT_RESET: the guest asked for a reset
 * @EXIT_TRIPLE_FAULT: a virtual CPU shut down after a triple fault
 * @EXIT_VM_ERROR: the hypervisor could not run the guest any further
 * @EXIT_SIGNAL: added to the number of the signal that ended the guest
 *
 * Other values come from the guest through its debug-exit port.
 */
enum exit_status {
	EXIT_POWEROFF = 0,
	EXIT_HOST = 1,
	EXIT_USAGE = 2,
	EXIT_RESET = 3,
	EXIT_TRIPLE_FAULT = 4,
	EXIT_VM_ERROR = 5,
	EXIT_SIGNAL = 128,
};

/**
 * struct file - a file mapped for reading
 * @path: its name, for messages
 * @data: its content
 * @size: its length, never 0
 */
struct file {
	const char *path;
	const u8 *data;
	size_t size;
};

extern bool verbose;

void note(const char *fmt, ...) __printf(1, 2);
void warn_user(const char *fmt, ...) __printf(1, 2);
void die(int status, const char *fmt, ...) __printf(2, 3)
	__attribute__((noreturn));

void *xzalloc(size_t size);
struct file file_map(const char *path);
void file_unmap(struct file *file);
u64 parse_size(const char *text);
u64 parse_number(const char *text, u64 min, u64 max, const char *what);
u64 clock_ns(int clock);
u8 checksum8(const void *data, size_t size);

#endif
