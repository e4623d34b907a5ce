// SPDX-License-Identifier: GPL-2.0-only
/* The ioctls of the scheduler, and a picture of all there is. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../options.h"
#include "tool.h"

static const char *device;
bool json_wanted;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)state;
	switch (key) {
	case 'd':
		device = arg;
		return 0;
	case 'j':
		json_wanted = true;
		return 0;
	case 'v':
		verbose = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "device", 'd', "PATH", 0,
	  "Device node (default $LABVISOR_DEV, else " DEFAULT_DEVICE ")", 0 },
	{ "json", 'j', NULL, 0, "Print JSON, for programs", 0 },
	{ "verbose", 'v', NULL, 0, "Tell what is done", 0 },
	{ 0 }
};

const struct argp common_argp = { .options = options, .parser = parse };

const struct argp_child common_children[] = {
	{ .argp = &common_argp, .header = "In all commands:", .group = 9 },
	{ 0 }
};

/** argument_take() - one more argument; no more than @max. */
void argument_take(struct arguments *arguments, unsigned int max,
		   const char *text, struct argp_state *state)
{
	if (arguments->nr == max || max > ARRAY_SIZE(arguments->texts))
		argp_error(state, "'%s' is too much", text);
	arguments->texts[arguments->nr++] = text;
}

/* ---- the device ---- */

static int open_device(void)
{
	const char *env = getenv("LABVISOR_DEV");
	int fd;

	if (!device)
		device = env && *env ? env : DEFAULT_DEVICE;
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		die(EXIT_HOST,
		    "%s does not exist: load the module, 'insmod labvisor.ko'",
		    device);
	if (errno == EACCES)
		die(EXIT_HOST,
		    "%s: permission denied: run as root, or let your group open it",
		    device);
	die(EXIT_HOST, "%s: %s", device, strerror(errno));
}

/** sched_ioctl() - one of linux/labvisor.h; 0 or the errno. */
int sched_ioctl(unsigned long cmd, void *arg)
{
	static int fd = -1;

	if (fd < 0)
		fd = open_device();
	/* The size that we know is the struct's first member. */
	*(u32 *)arg = _IOC_SIZE(cmd);
	if (!ioctl(fd, cmd, arg))
		return 0;
	if (errno == ENOTTY)
		die(EXIT_HOST,
		    "%s schedules no vCPUs: it is not Labvisor's, or that is too old",
		    device);
	return errno;
}

static const char *advice(int err)
{
	switch (err) {
	case EPERM:
		return "not permitted: it takes CAP_SYS_NICE, so run it as root";
	case ENOSPC:
		return "the policy refuses: it could not keep what it has promised to others";
	case ENOMEM:
		return "the kernel is out of memory";
	default:
		return strerror(err);
	}
}

/** sched_must() - an ioctl without which the command has failed. */
void sched_must(unsigned long cmd, void *arg, const char *what, ...)
{
	int err = sched_ioctl(cmd, arg);
	char text[256];
	va_list ap;

	if (!err)
		return;
	va_start(ap, what);
	vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	die(EXIT_HOST, "cannot %s: %s", text, advice(err));
}

/* ---- look-up ---- */

/** find_pool() - by its name or number, or die. */
struct lv_pool_info find_pool(const char *name)
{
	struct lv_pool_info info = { 0 };
	char *end;
	u64 id = strtoull(name, &end, 10);
	bool number = *name && !*end;

	for (; !sched_ioctl(LV_POOL_INFO, &info); info.id++)
		if (!strcmp(info.name, name) || (number && info.id == id))
			return info;
	die(EXIT_HOST,
	    "there is no pool '%s': 'labvisor sched list' shows those there are, 'labvisor sched create' makes one",
	    name);
}

/** find_vm() - by its number, or die. */
struct lv_vm_info find_vm(u32 id)
{
	struct lv_vm_info info = { .id = id };

	if (sched_ioctl(LV_VM_INFO, &info) || info.id != id)
		die(EXIT_HOST,
		    "there is no VM %u: 'labvisor sched list' shows those there are",
		    id);
	return info;
}

/* ---- the picture ---- */

static void *grow(void *array, size_t nr, size_t size)
{
	/* At 0, 1, 2, 4, ... elements it is full. */
	if (nr & (nr - 1))
		return array;
	array = reallocarray(array, nr ? 2 * nr : 1, size);
	if (!array)
		die(EXIT_HOST, "out of memory");
	return array;
}

/*
 * Of a vCPU that Linux schedules the module does not know when it ran, but
 * Linux does: how long its thread was running and waiting.
 */
static void ask_linux(struct lv_vcpu_info *v)
{
	unsigned long long ran, waited;
	char path[64];
	FILE *file;

	if (v->state || !v->tid)
		return;
	snprintf(path, sizeof(path), "/proc/%d/schedstat", v->tid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%llu %llu", &ran, &waited) == 2) {
		v->time_ns[0] = ran;
		v->time_ns[3] = waited;
	}
	if (file)
		fclose(file);
}

static void take_vcpus(struct vm_view *vm)
{
	struct lv_vcpu_info info = { .vm = vm->info.id };

	while (!sched_ioctl(LV_VCPU_INFO, &info)) {
		ask_linux(&info);
		vm->vcpus = grow(vm->vcpus, vm->nr_vcpus, sizeof(info));
		vm->vcpus[vm->nr_vcpus++] = info;
		info = (struct lv_vcpu_info){ .vm = vm->info.id,
					      .index = vm->nr_vcpus };
	}
}

/** view_take() - look at all there is. */
void view_take(struct view *view)
{
	struct lv_pool_info pool = { 0 };
	struct vm_view vm = { 0 };

	*view = (struct view){ 0 };
	for (; !sched_ioctl(LV_POOL_INFO, &pool); pool.id++) {
		view->pools = grow(view->pools, view->nr_pools, sizeof(pool));
		view->pools[view->nr_pools++] = pool;
	}
	for (; !sched_ioctl(LV_VM_INFO, &vm.info); vm.info.id++) {
		vm.vcpus = NULL;
		vm.nr_vcpus = 0;
		take_vcpus(&vm);
		view->vms = grow(view->vms, view->nr_vms, sizeof(vm));
		view->vms[view->nr_vms++] = vm;
	}
}

static void *copy(const void *array, size_t nr, size_t size)
{
	void *to = xzalloc(nr * size + 1);

	if (nr)
		memcpy(to, array, nr * size);
	return to;
}

/** view_copy() - another one, of the same. */
void view_copy(struct view *to, const struct view *from)
{
	size_t i;

	*to = *from;
	to->pools = copy(from->pools, from->nr_pools, sizeof(*from->pools));
	to->vms = copy(from->vms, from->nr_vms, sizeof(*from->vms));
	for (i = 0; i < from->nr_vms; i++)
		to->vms[i].vcpus = copy(from->vms[i].vcpus,
					from->vms[i].nr_vcpus,
					sizeof(*from->vms[i].vcpus));
}

/** view_free() - forget it. */
void view_free(struct view *view)
{
	size_t i;

	for (i = 0; i < view->nr_vms; i++)
		free(view->vms[i].vcpus);
	free(view->vms);
	free(view->pools);
	*view = (struct view){ 0 };
}

/** view_pool() - the pool of that number, or NULL. */
const struct lv_pool_info *view_pool(const struct view *view, u32 id)
{
	size_t i;

	for (i = 0; i < view->nr_pools; i++)
		if (view->pools[i].id == id)
			return &view->pools[i];
	return NULL;
}

/** view_vcpu() - the vCPU of that number in that VM, or NULL. */
const struct lv_vcpu_info *view_vcpu(const struct view *view, u32 vm, u32 vcpu)
{
	size_t i, j;

	for (i = 0; i < view->nr_vms; i++)
		for (j = 0; j < view->vms[i].nr_vcpus; j++)
			if (view->vms[i].info.id == vm &&
			    view->vms[i].vcpus[j].vcpu == vcpu)
				return &view->vms[i].vcpus[j];
	return NULL;
}

/* ---- names ---- */

const char *const time_names[LV_INFO_TIMES] = {
	"run", "steal", "away", "ready", "parked", "blocked", "out",
};

const char *const wake_names[LV_INFO_WAKES] = {
	"other", "irq", "timer", "ipi", "unhalt", "user", "host", "switch",
};

const char *const stop_names[LV_INFO_STOPS] = {
	NULL, "slice", "preempt", "yield", "block", "user", "host", "leave",
};

/** state_name() - where a vCPU stands, in one word. */
const char *state_name(const struct lv_vcpu_info *v)
{
	static const char *const names[] = { "host", "out", "ready",
					     "running" };

	if (v->parked && v->state)
		return "parked";
	return v->state < ARRAY_SIZE(names) ? names[v->state] : "?";
}

/** exit_name() - a reason of exits, or NULL if there is none of that number. */
const char *exit_name(unsigned int reason)
{
	static struct lv_exit_info info[LV_INFO_EXITS];
	static bool known;
	unsigned int i;

	for (i = 0; i < LV_INFO_EXITS && !known; i++) {
		info[i].index = i;
		if (sched_ioctl(LV_EXIT_INFO, &info[i]))
			info[i].name[0] = 0;
	}
	known = true;
	return reason < LV_INFO_EXITS && info[reason].name[0]
		       ? info[reason].name
		       : NULL;
}
