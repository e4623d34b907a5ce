// SPDX-License-Identifier: GPL-2.0-only
/*
 * labvisor sched record: what the scheduler does, by Linux's tracing, into a
 * file that trace-cmd and 'labvisor sched report' read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <tracefs.h>
#include <unistd.h>

#include "trace.h"

#define MAX_EVENTS 16
#define DEFAULT_BUFFER_KB 8192

struct record {
	const char *path, *perfetto;
	const char *events[MAX_EVENTS];
	unsigned int nr_events;
	u64 time_ns;
	u32 buffer_kb;
	bool exits;
	char **command;
	struct tracefs_instance *instance;
	struct trace_data data;
	struct pollfd *fds; /* one for each CPU, one for signals */
};

enum {
	OPT_PERFETTO = 0x100,
	OPT_NO_EXITS,
};

static const struct argp_option options[] = {
	{ "output", 'o', "FILE", 0, "Where to; the default is labvisor.dat",
	  1 },
	{ "time", 't', "TIME", 0,
	  "End after that time; without it, when COMMAND ends, or by Ctrl-C",
	  1 },
	{ "event", 'e', "SYSTEM:EVENT", 0,
	  "Record this event of Linux, too, like sched:sched_switch (may repeat)",
	  1 },
	{ "no-exits", OPT_NO_EXITS, NULL, 0,
	  "Leave out VM entries and exits: much less to record", 1 },
	{ "buffer", 'b', "KIB", 0, "Buffer for each CPU; the default is 8192",
	  1 },
	{ "perfetto", OPT_PERFETTO, "FILE", 0,
	  "Write it for the Perfetto UI, too", 1 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct record *r = state->input;

	switch (key) {
	case 'o':
		r->path = arg;
		return 0;
	case 't':
		r->time_ns = parse_time(arg);
		return 0;
	case 'e':
		if (r->nr_events == MAX_EVENTS || !strchr(arg, ':'))
			argp_error(state,
				   "'%s': write SYSTEM:EVENT, %d times at most",
				   arg, MAX_EVENTS);
		r->events[r->nr_events++] = arg;
		return 0;
	case 'b':
		r->buffer_kb = parse_number(arg, 64, 1 << 20, "a size in KiB");
		return 0;
	case OPT_PERFETTO:
		r->perfetto = arg;
		return 0;
	case OPT_NO_EXITS:
		r->exits = false;
		return 0;
	case ARGP_KEY_ARG:
		r->command = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- Linux's tracing ---- */

static struct record *leave_nothing;

/* It stays as long as anybody has a file of it open. */
static void destroy_instance(void)
{
	struct record *r = leave_nothing;
	unsigned int cpu;

	for (cpu = 0; cpu < r->data.nr_cpus && r->fds; cpu++)
		if (r->fds[cpu].fd > 0)
			close(r->fds[cpu].fd);
	if (tracefs_instance_destroy(r->instance))
		warn_user("%s stays: %s",
			  tracefs_instance_get_name(r->instance),
			  strerror(errno));
}

static void enable_event(struct record *r, const char *name)
{
	char *copy = strdup(name), *event = strchr(copy, ':');

	*event++ = 0;
	if (tracefs_event_enable(r->instance, copy, event))
		die(EXIT_HOST, "cannot record %s: does this kernel have it?",
		    name);
	free(copy);
}

static void set_up_tracing(struct record *r)
{
	char name[32], size[16];
	unsigned int i;

	snprintf(name, sizeof(name), "labvisor-%d", getpid());
	r->instance = tracefs_instance_create(name);
	if (!r->instance)
		die(EXIT_HOST,
		    "cannot use Linux's tracing: %s (it takes root, and CONFIG_FTRACE with a mounted tracefs)",
		    strerror(errno));
	leave_nothing = r;
	atexit(destroy_instance);
	tracefs_trace_off(r->instance);
	snprintf(size, sizeof(size), "%u", r->buffer_kb);
	if (tracefs_instance_file_write(r->instance, "buffer_size_kb", size) <
	    0)
		die(EXIT_HOST, "no room for buffers of %u KiB", r->buffer_kb);
	tracefs_instance_file_write(r->instance, "trace_clock", "mono");
	for (i = 0; i < r->nr_events; i++)
		enable_event(r, r->events[i]);
}

/* ---- what is read ---- */

static void open_cpu(struct record *r, unsigned int cpu)
{
	char path[64];

	snprintf(path, sizeof(path), "per_cpu/cpu%u/trace_pipe_raw", cpu);
	r->fds[cpu].fd = tracefs_instance_file_open(r->instance, path,
						    O_RDONLY | O_NONBLOCK);
	r->fds[cpu].events = POLLIN;
	if (r->fds[cpu].fd < 0)
		die(EXIT_HOST, "cannot read the trace of CPU %u", cpu);
	r->data.files[cpu] = tmpfile();
	if (!r->data.files[cpu])
		die(EXIT_HOST, "no room for a temporary file: %s",
		    strerror(errno));
}

static void open_cpus(struct record *r)
{
	unsigned int cpu, nr = sysconf(_SC_NPROCESSORS_CONF);

	r->data.nr_cpus = nr;
	r->data.page_size = sysconf(_SC_PAGESIZE);
	r->data.files = xzalloc(nr * sizeof(*r->data.files));
	r->fds = xzalloc((nr + 1) * sizeof(*r->fds));
	for (cpu = 0; cpu < nr; cpu++)
		open_cpu(r, cpu);
}

static void drain_cpu(struct record *r, unsigned int cpu)
{
	static char page[1 << 16];
	ssize_t n;

	while ((n = read(r->fds[cpu].fd, page, r->data.page_size)) > 0)
		if (fwrite(page, n, 1, r->data.files[cpu]) != 1)
			die(EXIT_HOST, "no room for the recording: %s",
			    strerror(errno));
}

static void drain(struct record *r)
{
	unsigned int cpu;

	for (cpu = 0; cpu < r->data.nr_cpus; cpu++)
		drain_cpu(r, cpu);
}

static u64 count_lost(struct record *r)
{
	unsigned long long lost, all = 0;
	unsigned int cpu;
	char path[64], *text, *at;

	for (cpu = 0; cpu < r->data.nr_cpus; cpu++) {
		snprintf(path, sizeof(path), "per_cpu/cpu%u/stats", cpu);
		text = tracefs_instance_file_read(r->instance, path, NULL);
		at = text ? strstr(text, "overrun: ") : NULL;
		if (at && sscanf(at, "overrun: %llu", &lost) == 1)
			all += lost;
		free(text);
	}
	return all;
}

/* ---- what the events do not tell: a line of JSON each ---- */

static void mark(int fd, struct json_object *object)
{
	char *line;

	if (asprintf(&line, TRACE_MARK "%s\n",
		     json_object_to_json_string_ext(
			     object, JSON_C_TO_STRING_PLAIN)) < 0)
		die(EXIT_HOST, "out of memory");
	if (write(fd, line, strlen(line)) < 0)
		warn_user("a name is lost: %s", strerror(errno));
	free(line);
	json_object_put(object);
}

static struct json_object *new_mark(const char *kind, u64 id)
{
	struct json_object *object = json_object_new_object();

	json_add(object, kind, id);
	return object;
}

static void mark_vcpu(int fd, const struct lv_vcpu_info *v)
{
	struct json_object *object = new_mark("vcpu", v->vcpu);

	json_add(object, "vm", v->vm);
	json_add(object, "tid", v->tid);
	json_add(object, "state", v->state);
	json_add(object, "parked", v->parked);
	if (v->cpu != ~0u)
		json_add(object, "cpu", v->cpu);
	json_add(object, "period", v->period_ns);
	json_add(object, "budget", v->budget_ns);
	mark(fd, object);
}

static void mark_vm(int fd, const struct vm_view *vm)
{
	struct json_object *object = new_mark("vm", vm->info.id);
	size_t i;

	json_add(object, "pool", vm->info.pool);
	json_add(object, "weight", vm->info.params.weight);
	json_add(object, "cap", vm->info.params.cap);
	json_add_text(object, "command", vm->info.comm);
	mark(fd, object);
	for (i = 0; i < vm->nr_vcpus; i++)
		mark_vcpu(fd, &vm->vcpus[i]);
}

static void mark_pool(int fd, const struct lv_pool_info *pool)
{
	struct json_object *object = new_mark("pool", pool->id);
	char cpus[256];

	show_cpus(pool->cpus, cpus, sizeof(cpus));
	json_add_text(object, "name", pool->name);
	json_add_text(object, "policy", pool->policy);
	json_add_text(object, "cpus", cpus);
	json_add(object, "slice", pool->slice_ns);
	mark(fd, object);
}

static void mark_exits(int fd)
{
	struct json_object *names = json_object_new_array(), *object;
	unsigned int i;

	for (i = 0; i < LV_INFO_EXITS; i++)
		json_object_array_add(
			names, json_object_new_string(exit_name(i) ?: ""));
	object = new_mark("exits", 0);
	json_object_object_add(object, "names", names);
	mark(fd, object);
}

/* At the beginning and, for what came meanwhile, at the end. */
static void mark_all(struct record *r)
{
	int fd = tracefs_instance_file_open(r->instance, "trace_marker",
					    O_WRONLY);
	struct view view;
	size_t i;

	if (fd < 0)
		die(EXIT_HOST, "Linux's tracing has no trace_marker");
	view_take(&view);
	mark_exits(fd);
	for (i = 0; i < view.nr_pools; i++)
		mark_pool(fd, &view.pools[i]);
	for (i = 0; i < view.nr_vms; i++)
		mark_vm(fd, &view.vms[i]);
	view_free(&view);
	close(fd);
}

/* ---- until it ends ---- */

static pid_t start_command(char **command, const sigset_t *signals)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	sigprocmask(SIG_UNBLOCK, signals, NULL);
	execvp(command[0], command);
	warn_user("%s: %s", command[0], strerror(errno));
	_exit(127);
}

static int left_ms(u64 end)
{
	u64 now = clock_ns(CLOCK_MONOTONIC), left = end > now ? end - now : 0;

	if (end == ~0ull)
		return -1;
	return left > 3600000000000ull ? 3600000 : (left + 999999) / 1000000;
}

static void read_until(struct record *r, u64 end)
{
	unsigned int cpu, nr = r->data.nr_cpus;
	int left;

	while ((left = left_ms(end))) {
		if (poll(r->fds, nr + 1, left) < 0)
			die(EXIT_HOST, "poll: %s", strerror(errno));
		if (r->fds[nr].revents)
			return;
		for (cpu = 0; cpu < nr; cpu++)
			if (r->fds[cpu].revents)
				drain_cpu(r, cpu);
	}
}

/* Ctrl-C is for the command, if there is one, and ends both. */
static int run(struct record *r)
{
	int status = 0;
	sigset_t signals;
	pid_t pid = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	r->fds[r->data.nr_cpus] = (struct pollfd){
		.fd = signalfd(-1, &signals, SFD_CLOEXEC),
		.events = POLLIN,
	};

	tracefs_trace_on(r->instance);
	mark_all(r);
	if (r->command)
		pid = start_command(r->command, &signals);
	read_until(r,
		   r->time_ns ? clock_ns(CLOCK_MONOTONIC) + r->time_ns : ~0ull);
	mark_all(r);
	tracefs_trace_off(r->instance);
	drain(r);
	if (pid) {
		kill(pid, SIGTERM);
		waitpid(pid, &status, 0);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/** cmd_sched_record() - the command 'sched record' */
int cmd_sched_record(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.children = common_children,
		.args_doc = "[COMMAND [ARGUMENT...]]",
		.doc = "Record what the scheduler does, while COMMAND runs or until Ctrl-C."
		       "\v"
		       "The file opens in trace-cmd and kernelshark. 'labvisor sched report' draws "
		       "it, sums it up, and makes a file for https://ui.perfetto.dev of it.",
	};
	static struct record r = {
		.path = "labvisor.dat",
		.events = { "labvisor:lv_sched" },
		.nr_events = 1,
		.buffer_kb = DEFAULT_BUFFER_KB,
		.exits = true,
	};
	struct trace trace;
	u64 lost;
	int status;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &r);
	if (r.exits && r.nr_events + 2 <= MAX_EVENTS) {
		r.events[r.nr_events++] = "labvisor:lv_entry";
		r.events[r.nr_events++] = "labvisor:lv_exit";
	}
	set_up_tracing(&r);
	open_cpus(&r);
	status = run(&r);
	lost = count_lost(&r);
	trace_write(r.path, &r.data, r.events, r.nr_events);
	if (lost)
		warn_user("%llu events are lost: take --buffer, or --no-exits",
			  (unsigned long long)lost);
	if (r.perfetto) {
		trace_read(&trace, r.path);
		perfetto_write(&trace, r.perfetto);
	}
	return status;
}
