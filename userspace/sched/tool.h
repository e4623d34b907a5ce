/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands of 'labvisor sched' share: the ioctls with their errors in
 * words, a picture of all there is, numbers for people, and tables.
 */
#ifndef LABVISOR_SCHED_TOOL_H
#define LABVISOR_SCHED_TOOL_H

#include <argp.h>
#include <json-c/json.h>
#include <linux/labvisor.h>
#include <stdio.h>

#include "../util.h"
#include "commands.h"

/* What every command takes: --device and --json. */
extern const struct argp common_argp;
extern const struct argp_child common_children[];
extern bool json_wanted;

/* What stands on the command line beside options. */
struct arguments {
	const char *texts[16];
	unsigned int nr;
};
void argument_take(struct arguments *arguments, unsigned int max,
		   const char *text, struct argp_state *state);

int sched_ioctl(unsigned long cmd, void *arg);
void sched_must(unsigned long cmd, void *arg, const char *what, ...)
	__printf(3, 4);

struct lv_pool_info find_pool(const char *name);
struct lv_vm_info find_vm(u32 id);

/* struct vm_view - a VM with its vCPUs */
struct vm_view {
	struct lv_vm_info info;
	struct lv_vcpu_info *vcpus;
	size_t nr_vcpus;
};

/* struct view - all there is, as it was when we looked */
struct view {
	struct lv_pool_info *pools;
	size_t nr_pools;
	struct vm_view *vms;
	size_t nr_vms;
};

void view_take(struct view *view);
void view_copy(struct view *to, const struct view *from);
void view_free(struct view *view);
const struct lv_pool_info *view_pool(const struct view *view, u32 id);
const struct lv_vcpu_info *view_vcpu(const struct view *view, u32 vm, u32 vcpu);

/* Names of what the ABI numbers */
const char *exit_name(unsigned int reason);
const char *state_name(const struct lv_vcpu_info *v);
extern const char *const time_names[LV_INFO_TIMES];
extern const char *const wake_names[LV_INFO_WAKES];
extern const char *const stop_names[LV_INFO_STOPS];

/* Numbers for people; all but show_cpus() return one of a few static buffers. */
u64 parse_time(const char *text);
void parse_cpus(const char *text, __u64 *cpus);
u32 parse_id(const char *text, const char *what);
const char *show_time(u64 ns);
const char *show_count(u64 n);
const char *show_percent(u64 part, u64 whole);
void show_cpus(const __u64 *cpus, char *buf, size_t size);

/* Latencies come as counts per power of two of microseconds. */
u64 latency_quantile(const __u64 *counts, unsigned int percent);

/*
 * Tables: the header line names the columns, separated by blanks; a '>' before
 * a name aligns to the right. Then cells in rows.
 */
void table_begin(const char *header);
void table_cell(const char *fmt, ...) __printf(1, 2);
void table_end(FILE *out);

void json_add(struct json_object *to, const char *key, u64 n);
void json_add_text(struct json_object *to, const char *key, const char *text);
struct json_object *json_view(const struct view *view);
void json_print(struct json_object *object);

#endif
