// SPDX-License-Identifier: GPL-2.0-only
/* Messages, files, numbers: what every part of the launcher needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

bool verbose;

static void vsay(const char *fmt, va_list ap)
{
	flockfile(stderr);
	fputs("labvisor: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	funlockfile(stderr);
}

/** note() - tell what goes on, for those who asked with -v. */
void note(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

/** warn_user() - print one line to standard error. */
void warn_user(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

/** die() - print why, then exit; not for vCPU threads, they vm_stop(). */
void die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	exit(status);
}

/** xzalloc() - allocate zeroed memory or die. */
void *xzalloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		die(EXIT_HOST, "out of memory for %zu bytes", size);
	return p;
}

/** file_map() - map a regular, non-empty file or die saying why not. */
struct file file_map(const char *path)
{
	struct file file = { .path = path };
	struct stat st;
	void *data;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die(EXIT_HOST, "%s: not a regular file", path);
	if (!st.st_size)
		die(EXIT_HOST, "%s: the file is empty", path);
	data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die(EXIT_HOST, "%s: cannot map: %s", path, strerror(errno));
	close(fd);
	file.data = data;
	file.size = st.st_size;
	return file;
}

/** file_unmap() - undo file_map(). */
void file_unmap(struct file *file)
{
	munmap((void *)file->data, file->size);
	file->data = NULL;
}

/** parse_size() - read "512M" and the like; without a suffix, MiB. */
u64 parse_size(const char *text)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 20;
	const char *suffix;
	char *end;
	u64 value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (end == text || *text == '-' || errno)
		goto bad;
	if (*end) {
		suffix = strchr(suffixes, *end & ~0x20);
		if (!suffix || !*suffix || end[1])
			goto bad;
		shift = 10 * (suffix - suffixes + 1);
	}
	if (value && value <= UINT64_MAX >> shift)
		return value << shift;
bad:
	die(EXIT_USAGE, "'%s' is not a size: write 512M, 2G or the like", text);
}

/** parse_number() - read a number between @min and @max. */
u64 parse_number(const char *text, u64 min, u64 max, const char *what)
{
	char *end;
	u64 value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (end == text || *end || *text == '-' || errno || value < min ||
	    value > max)
		die(EXIT_USAGE, "'%s' is not %s: it must be %#llx to %#llx",
		    text, what, (unsigned long long)min,
		    (unsigned long long)max);
	return value;
}

/** clock_ns() - read one of the host's clocks in nanoseconds. */
u64 clock_ns(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/** checksum8() - the byte that makes a firmware table's bytes sum to 0. */
u8 checksum8(const void *data, size_t size)
{
	const u8 *p = data;
	u8 sum = 0;

	while (size--)
		sum += *p++;
	return -sum;
}
