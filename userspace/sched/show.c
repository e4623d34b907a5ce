// SPDX-License-Identifier: GPL-2.0-only
/* Numbers, lists of CPUs and tables, for people and from people. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- from people ---- */

/** parse_time() - read "500us", "10ms", "1.5s" as nanoseconds. */
u64 parse_time(const char *text)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
	char *end;
	double n = strtod(text, &end);
	size_t i;

	if (end != text && n == 0 && !*end)
		return 0;
	for (i = 0; i < ARRAY_SIZE(units); i++)
		if (end != text && n >= 0 && n * units[i].ns < 1e18 &&
		    !strcmp(end, units[i].name))
			return n * units[i].ns + 0.5;
	die(EXIT_USAGE,
	    "'%s' is not a time: write 500us, 10ms, 1.5s or the like", text);
}

static unsigned int parse_cpu(const char **text)
{
	char *end;
	unsigned long cpu = strtoul(*text, &end, 10);

	if (!isdigit((unsigned char)**text) || cpu >= 64 * LV_CPU_WORDS)
		return ~0u;
	*text = end;
	return cpu;
}

/** parse_cpus() - read "0,2-5" as bits. */
void parse_cpus(const char *text, __u64 *cpus)
{
	const char *at = text;
	unsigned int first, last;

	memset(cpus, 0, LV_CPU_WORDS * sizeof(*cpus));
	do {
		first = last = parse_cpu(&at);
		if (*at == '-') {
			at++;
			last = parse_cpu(&at);
		}
		if (first > last || last == ~0u)
			break;
		for (; first <= last; first++)
			cpus[first / 64] |= BIT(first % 64);
		if (!*at)
			return;
	} while (*at++ == ',');
	die(EXIT_USAGE,
	    "'%s' is no list of CPUs: write 0,2-5 or the like, up to %d", text,
	    64 * LV_CPU_WORDS - 1);
}

/** parse_id() - read a number that something has. */
u32 parse_id(const char *text, const char *what)
{
	char *end;
	unsigned long long id;

	errno = 0;
	id = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || id > ~0u)
		die(EXIT_USAGE, "'%s' is not the number of a %s", text, what);
	return id;
}

/* ---- for people ---- */

#define NR_TEXTS 16
#define TEXT_SIZE 24

static char *text_buffer(void)
{
	static char texts[NR_TEXTS][TEXT_SIZE];
	static unsigned int next;

	return texts[next++ % NR_TEXTS];
}

/* Three digits, whatever the size. */
static const char *show_scaled(double n, const char *unit)
{
	char *text = text_buffer();
	int digits = n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;

	snprintf(text, TEXT_SIZE, "%.*f%s", digits, n, unit);
	return text;
}

/** show_time() - nanoseconds with three digits and a unit. */
const char *show_time(u64 ns)
{
	if (!ns)
		return "0";
	if (ns < 1000)
		return show_scaled(ns, "ns");
	if (ns < 999500)
		return show_scaled(ns / 1e3, "us");
	if (ns < 999500000)
		return show_scaled(ns / 1e6, "ms");
	return show_scaled(ns / 1e9, "s");
}

/** show_count() - a count, with k or M when it is long. */
const char *show_count(u64 n)
{
	char *text;

	if (n >= 99999500)
		return show_scaled(n / 1e6, "M");
	if (n >= 100000)
		return show_scaled(n / 1e3, "k");
	text = text_buffer();
	snprintf(text, TEXT_SIZE, "%llu", (unsigned long long)n);
	return text;
}

/** show_percent() - a part of a whole. */
const char *show_percent(u64 part, u64 whole)
{
	char *text = text_buffer();

	if (!whole)
		return "-";
	snprintf(text, TEXT_SIZE, "%.1f", 100.0 * part / whole);
	return text;
}

static bool cpu_set(const __u64 *cpus, unsigned int cpu)
{
	return cpu < 64 * LV_CPU_WORDS && cpus[cpu / 64] >> cpu % 64 & 1;
}

/** show_cpus() - bits as "0,2-5", "-" if there are none. */
void show_cpus(const __u64 *cpus, char *buf, size_t size)
{
	unsigned int first, last;
	size_t used = 0;

	snprintf(buf, size, "-");
	for (first = 0; first < 64 * LV_CPU_WORDS && used < size; first++) {
		if (!cpu_set(cpus, first))
			continue;
		for (last = first; cpu_set(cpus, last + 1); last++)
			;
		used += snprintf(buf + used, size - used, "%s%u",
				 used ? "," : "", first);
		if (last > first && used < size)
			used += snprintf(buf + used, size - used, "-%u", last);
		first = last;
	}
}

/** latency_quantile() - below which time so many percent are, at the latest. */
u64 latency_quantile(const __u64 *counts, unsigned int percent)
{
	u64 all = 0, seen = 0;
	unsigned int i;

	for (i = 0; i < LV_INFO_LATENCIES; i++)
		all += counts[i];
	for (i = 0; i < LV_INFO_LATENCIES && all; i++) {
		seen += counts[i];
		if (seen * 100 >= all * percent)
			return 1000 * BIT(i);
	}
	return 0;
}

/* ---- tables ---- */

#define MAX_COLUMNS 24

static struct {
	char *header;
	const char *names[MAX_COLUMNS];
	unsigned int columns, used, room;
	char **cells;
} table;

/** table_begin() - start one, with the names of its columns. */
void table_begin(const char *header)
{
	char *rest = NULL, *name;

	table.header = strdup(header);
	table.columns = table.used = 0;
	for (name = strtok_r(table.header, " ", &rest);
	     name && table.columns < MAX_COLUMNS;
	     name = strtok_r(NULL, " ", &rest))
		table.names[table.columns++] = name;
}

/** table_cell() - the next cell. */
void table_cell(const char *fmt, ...)
{
	va_list ap;
	int err;

	if (table.used == table.room) {
		table.room = table.room ? 2 * table.room : 256;
		table.cells = reallocarray(table.cells, table.room,
					   sizeof(*table.cells));
		if (!table.cells)
			die(EXIT_HOST, "out of memory");
	}
	va_start(ap, fmt);
	err = vasprintf(&table.cells[table.used++], fmt, ap);
	va_end(ap);
	if (err < 0)
		die(EXIT_HOST, "out of memory");
}

static size_t column_width(unsigned int column)
{
	size_t width = strlen(table.names[column]), len;
	unsigned int i;

	if (table.names[column][0] == '>')
		width--;
	for (i = column; i < table.used; i += table.columns) {
		len = strlen(table.cells[i]);
		width = len > width ? len : width;
	}
	return width;
}

static void print_cell(FILE *out, unsigned int column, const char *text,
		       size_t width)
{
	bool right = table.names[column][0] == '>';
	bool last = column == table.columns - 1;

	if (right)
		fprintf(out, "%*s", (int)width, text);
	else
		fprintf(out, "%-*s", last ? 0 : (int)width, text);
	fputs(last ? "\n" : "  ", out);
}

/** table_end() - print it. */
void table_end(FILE *out)
{
	size_t widths[MAX_COLUMNS];
	unsigned int i;

	for (i = 0; i < table.columns; i++)
		widths[i] = column_width(i);
	for (i = 0; i < table.columns; i++)
		print_cell(out, i, table.names[i] + (*table.names[i] == '>'),
			   widths[i]);
	for (i = 0; i < table.used; i++) {
		print_cell(out, i % table.columns, table.cells[i],
			   widths[i % table.columns]);
		free(table.cells[i]);
	}
	free(table.header);
}
