// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write a recording in trace-cmd's format (trace-cmd.dat.v6(5)): how events look,
 * as the kernel tells, then the pages of its buffers as they are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <tracefs.h>

#include "trace.h"

#define OPTION_DONE 0
#define OPTION_CLOCK 4

static FILE *out;

static void put(const void *data, size_t size)
{
	if (size && fwrite(data, size, 1, out) != 1)
		die(EXIT_HOST, "cannot write the recording: %s",
		    strerror(errno));
}

static void put_text(const char *text)
{
	put(text, strlen(text) + 1);
}

static void put_u16(uint16_t n)
{
	put(&n, sizeof(n));
}

static void put_u32(u32 n)
{
	put(&n, sizeof(n));
}

static void put_u64(u64 n)
{
	put(&n, sizeof(n));
}

/* A file of tracefs, with its size before it. */
static void put_file(const char *name, bool wide)
{
	int size = 0;
	char *text = tracefs_instance_file_read(NULL, name, &size);

	if (!text)
		size = 0;
	if (wide)
		put_u64(size);
	else
		put_u32(size);
	put(text, size);
	free(text);
}

static void put_format(const char *system, const char *event)
{
	char name[128];

	snprintf(name, sizeof(name), "events/%s/%s/format", system, event);
	put_file(name, true);
}

static bool has_format(const char *system, const char *event)
{
	char name[128], *text;

	snprintf(name, sizeof(name), "events/%s/%s/format", system, event);
	text = tracefs_instance_file_read(NULL, name, NULL);
	free(text);
	return text;
}

static void put_formats(const char *system)
{
	char **events = tracefs_system_events(NULL, system);
	u32 i, nr = 0;

	for (i = 0; events && events[i]; i++)
		nr += has_format(system, events[i]);
	put_u32(nr);
	for (i = 0; events && events[i]; i++)
		if (has_format(system, events[i]))
			put_format(system, events[i]);
	tracefs_list_free(events);
}

/* Each system of the events once. */
static void put_systems(const char *const *events, unsigned int nr_events)
{
	char names[nr_events][64];
	unsigned int i, j, nr = 0;

	for (i = 0; i < nr_events; i++) {
		snprintf(names[nr], sizeof(names[nr]), "%.*s",
			 (int)strcspn(events[i], ":"), events[i]);
		for (j = 0; strcmp(names[j], names[nr]); j++)
			;
		nr += j == nr;
	}
	put_u32(nr);
	for (i = 0; i < nr; i++) {
		put_text(names[i]);
		put_formats(names[i]);
	}
}

static void put_header(const struct trace_data *data, const char *const *events,
		       unsigned int nr_events)
{
	static const char clock[] = "[mono]";

	put("\x17\x08\x44tracing", 10);
	put_text("6");
	put("\0", 1); /* little endian */
	put("\x08", 1); /* bytes of a long */
	put_u32(data->page_size);
	put_text("header_page");
	put_file("events/header_page", true);
	put_text("header_event");
	put_file("events/header_event", true);
	put_formats("ftrace");
	put_systems(events, nr_events);
	put_u32(0); /* symbols */
	put_file("printk_formats", false);
	put_file("saved_cmdlines", true);
	put_u32(data->nr_cpus);
	put_text("options  ");
	put_u16(OPTION_CLOCK);
	put_u32(sizeof(clock));
	put(clock, sizeof(clock));
	put_u16(OPTION_DONE);
	put_text("flyrecord");
}

static u64 align(u64 at, u64 size)
{
	return (at + size - 1) / size * size;
}

static void put_pages(FILE *file)
{
	char page[4096];
	size_t n;

	rewind(file);
	while ((n = fread(page, 1, sizeof(page), file)))
		put(page, n);
}

/** trace_write() - what was recorded becomes a file. */
void trace_write(const char *path, const struct trace_data *data,
		 const char *const *events, unsigned int nr_events)
{
	unsigned int cpu;
	u64 at;

	out = fopen(path, "we");
	if (!out)
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	put_header(data, events, nr_events);
	at = align(ftell(out) + 16ull * data->nr_cpus, data->page_size);
	for (cpu = 0; cpu < data->nr_cpus; cpu++) {
		put_u64(at);
		put_u64(ftell(data->files[cpu]));
		at = align(at + ftell(data->files[cpu]), data->page_size);
	}
	for (cpu = 0; cpu < data->nr_cpus; cpu++) {
		while (ftell(out) % data->page_size)
			put("", 1);
		put_pages(data->files[cpu]);
	}
	if (fclose(out))
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
}
