// SPDX-License-Identifier: GPL-2.0-only
/* labvisor sched create, set, attach, switch, delete, load and unload. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "tool.h"

/* What the options of create and set say of a pool, and those of set of a VM. */
struct change {
	struct arguments arguments;
	struct lv_pool_config pool;
	struct lv_vm_set vm;
	const char *pool_name;
	int pid;
	bool has_period, has_budget;
};

static void set_name(char *to, const char *name, const char *what)
{
	if (!*name || strlen(name) >= LV_NAME_LEN ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789-_.") != strlen(name))
		die(EXIT_USAGE,
		    "'%s' is not the name of a %s: 1 to %d letters, digits, '-', '_' or '.'",
		    name, what, LV_NAME_LEN - 1);
	strcpy(to, name);
}

static void set_policy(struct lv_pool_config *pool, const char *name)
{
	set_name(pool->policy, name, "policy");
	pool->flags |= LV_POOL_POLICY;
}

/* Say which one there is instead. */
static void check_policy(const char *name)
{
	struct lv_policy_info info = { 0 };
	char names[1024] = "";
	size_t used = 0;

	for (; !sched_ioctl(LV_POLICY_INFO, &info); info.index++) {
		if (!strcmp(info.name, name))
			return;
		if (used < sizeof(names))
			used += snprintf(names + used, sizeof(names) - used,
					 " %s", info.name);
	}
	die(EXIT_HOST,
	    "there is no policy '%s', but%s: insmod the module that brings it, or load it ('labvisor sched load')",
	    name, names);
}

/* The pool that has one of these CPUs already, for the message. */
static const char *who_has(const __u64 *cpus, u32 but)
{
	static struct lv_pool_info info;
	unsigned int i;

	info.id = 1;
	for (; !sched_ioctl(LV_POOL_INFO, &info); info.id++)
		for (i = 0; i < LV_CPU_WORDS && info.id != but; i++)
			if (info.cpus[i] & cpus[i])
				return info.name;
	return "another one";
}

/* Why a pool cannot be as it was asked for. */
static void configure(unsigned long cmd, struct lv_pool_config *pool)
{
	int err;

	if (pool->flags & LV_POOL_POLICY)
		check_policy(pool->policy);
	err = sched_ioctl(cmd, pool);
	if (err == EEXIST)
		die(EXIT_HOST, "there is a pool '%s' already", pool->name);
	if (err == EBUSY)
		die(EXIT_HOST,
		    "the pool '%s' has one of these CPUs: a CPU is in one pool at most",
		    who_has(pool->cpus, cmd == LV_POOL_SET ? pool->id : 0));
	if (err == EINVAL && cmd == LV_POOL_SET && !pool->id)
		die(EXIT_HOST,
		    "the default pool stays as it is: create one, and attach VMs to it");
	if (err == EINVAL && pool->flags & LV_POOL_CPUS)
		die(EXIT_HOST, "none of these CPUs is online");
	if (err)
		sched_must(cmd, pool, "do that");
}

/* ---- options ---- */

enum {
	OPT_VCPU = 0x100,
	OPT_PERIOD,
	OPT_BUDGET,
	OPT_PID,
};

#define POOL_OPTIONS                                                       \
	{ "cpus", 'c', "LIST", 0, "Its CPUs: 0,2-5 or the like", 1 },      \
	{                                                                  \
		"slice", 's', "TIME", 0,                                   \
			"How long a vCPU runs if the policy has no other " \
			"idea, 50us to 10s; the default is 10ms",          \
			1                                                  \
	}

static const struct argp_option create_options[] = {
	POOL_OPTIONS,
	{ "policy", 'p', "NAME", 0, "Its policy; the default is host", 1 },
	{ 0 }
};

static const struct argp_option set_options[] = {
	{ NULL, 0, NULL, 0, "Of a VM:", 2 },
	{ "weight", 'w', "N", 0,
	  "Its share of CPU time against other VMs, 1 to 65535", 2 },
	{ "cap", 'l', "PERCENT", 0,
	  "At most that much of one CPU (200 is two CPUs); 0: no limit", 2 },
	{ "vcpu", OPT_VCPU, "N", 0, "Change only this vCPU (not weight, cap)",
	  2 },
	{ "group", 'g', "N", 0, "vCPUs with the same number belong together",
	  2 },
	{ "period", OPT_PERIOD, "TIME", 0,
	  "Period of its deadline, 500us to 10s; 0: none", 2 },
	{ "budget", OPT_BUDGET, "TIME", 0,
	  "CPU time for each vCPU in each period, 50us or more", 2 },
	{ NULL, 0, NULL, 0, "Of a pool:", 1 },
	{ "pool", 'P', "POOL", 0, "Change this pool, not a VM", 1 },
	POOL_OPTIONS,
	{ 0 }
};

static const struct argp_option attach_options[] = {
	{ "pid", OPT_PID, "PID", 0,
	  "All VMs that this process created, instead of one by its number",
	  1 },
	{ 0 }
};

static u64 parse_slice(const char *text, u64 min, u64 max)
{
	u64 ns = parse_time(text);

	if (ns < min || ns > max)
		die(EXIT_USAGE, "'%s' is out of range: it must be %s to %s",
		    text, show_time(min), show_time(max));
	return ns;
}

static bool parse_pool_option(int key, const char *arg,
			      struct lv_pool_config *pool)
{
	switch (key) {
	case 'c':
		parse_cpus(arg, pool->cpus);
		pool->flags |= LV_POOL_CPUS;
		return true;
	case 's':
		pool->slice_ns = parse_slice(arg, 50000, 10000000000);
		pool->flags |= LV_POOL_SLICE;
		return true;
	case 'p':
		set_policy(pool, arg);
		return true;
	default:
		return false;
	}
}

static bool parse_vm_option(int key, const char *arg, struct change *c)
{
	switch (key) {
	case 'w':
		c->vm.params.weight = parse_number(arg, 1, 65535, "a weight");
		c->vm.flags |= LV_PARAM_WEIGHT;
		return true;
	case 'l':
		c->vm.params.cap = parse_number(arg, 0, 25500, "a cap");
		c->vm.flags |= LV_PARAM_CAP;
		return true;
	case 'g':
		c->vm.params.group = parse_number(arg, 0, ~0u, "a group");
		c->vm.flags |= LV_PARAM_GROUP;
		return true;
	case OPT_VCPU:
		c->vm.vcpu = parse_number(arg, 0, 254, "a vCPU");
		return true;
	case OPT_PERIOD:
		c->vm.params.period_ns = parse_time(arg);
		c->vm.flags |= LV_PARAM_DEADLINE;
		c->has_period = true;
		return true;
	case OPT_BUDGET:
		c->vm.params.budget_ns = parse_time(arg);
		c->vm.flags |= LV_PARAM_DEADLINE;
		c->has_budget = true;
		return true;
	default:
		return false;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct change *c = state->input;

	switch (key) {
	case 'P':
		c->pool_name = arg;
		return 0;
	case OPT_PID:
		c->pid = parse_number(arg, 1, 1 << 22, "a process");
		return 0;
	case ARGP_KEY_ARG:
		argument_take(&c->arguments, 2, arg, state);
		return 0;
	default:
		return parse_pool_option(key, arg, &c->pool) ||
				       parse_vm_option(key, arg, c)
			       ? 0
			       : ARGP_ERR_UNKNOWN;
	}
}

/* Parse, and insist on @nr arguments. */
static void parse_change(const struct argp *argp, int argc, char **argv,
			 struct change *c)
{
	*c = (struct change){ .vm.vcpu = LV_ALL_VCPUS };
	argp_parse(argp, argc, argv, 0, NULL, c);
}

static void need_arguments(const struct change *c, unsigned int nr,
			   const char *command, const char *usage)
{
	if (c->arguments.nr != nr)
		die(EXIT_USAGE, "usage: labvisor sched %s %s", command, usage);
}

/* ---- pools ---- */

/** cmd_sched_create() - the command 'sched create' */
int cmd_sched_create(int argc, char **argv)
{
	static const struct argp argp = {
		.options = create_options,
		.parser = parse,
		.children = common_children,
		.args_doc = "NAME",
		.doc = "Make a pool of CPUs. VMs get into it by 'labvisor sched attach'.",
	};
	struct change c;

	parse_change(&argp, argc, argv, &c);
	need_arguments(&c, 1, "create", "NAME --cpus LIST");
	if (!(c.pool.flags & LV_POOL_CPUS))
		die(EXIT_USAGE, "which CPUs? Give --cpus, like --cpus 2-3");
	set_name(c.pool.name, c.arguments.texts[0], "pool");
	configure(LV_POOL_CREATE, &c.pool);
	note("pool %s has number %u", c.pool.name, c.pool.id);
	return 0;
}

/** cmd_sched_switch() - the command 'sched switch' */
int cmd_sched_switch(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.children = common_children,
		.args_doc = "POOL POLICY",
		.doc = "Give a pool another policy, while its VMs run.",
	};
	struct change c;

	parse_change(&argp, argc, argv, &c);
	need_arguments(&c, 2, "switch", "POOL POLICY");
	c.pool.id = find_pool(c.arguments.texts[0]).id;
	set_policy(&c.pool, c.arguments.texts[1]);
	configure(LV_POOL_SET, &c.pool);
	return 0;
}

/** cmd_sched_delete() - the command 'sched delete' */
int cmd_sched_delete(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.children = common_children,
		.args_doc = "POOL",
		.doc = "Delete a pool. Its VMs must have left it, to pool 'default' if to no other.",
	};
	struct lv_pool_info pool;
	struct change c;
	struct lv_pool_id id = { 0 };
	int err;

	parse_change(&argp, argc, argv, &c);
	need_arguments(&c, 1, "delete", "POOL");
	pool = find_pool(c.arguments.texts[0]);
	id.id = pool.id;
	if (!pool.id)
		die(EXIT_HOST, "the default pool stays");
	err = sched_ioctl(LV_POOL_DELETE, &id);
	if (err == EBUSY)
		die(EXIT_HOST,
		    "pool %s has VMs: move them away first, 'labvisor sched attach VM default'",
		    pool.name);
	if (err)
		sched_must(LV_POOL_DELETE, &id, "delete pool %s", pool.name);
	return 0;
}

/* ---- VMs ---- */

static void change_pool(struct change *c)
{
	if (c->vm.flags || c->arguments.nr)
		die(EXIT_USAGE,
		    "a pool has no parameters of VMs: leave out --pool, or them");
	if (!c->pool.flags)
		die(EXIT_USAGE, "change what of the pool? --cpus or --slice");
	c->pool.id = find_pool(c->pool_name).id;
	configure(LV_POOL_SET, &c->pool);
}

static void check_deadline(const struct lv_vm_params *p)
{
	if (p->period_ns &&
	    (p->period_ns < 500000 || p->period_ns > 10000000000 ||
	     p->budget_ns < 50000 || p->budget_ns > p->period_ns))
		die(EXIT_USAGE,
		    "the period must be 500us to 10s, the budget 50us up to the period");
}

static void change_vm(struct change *c)
{
	u32 all = c->vm.vcpu == LV_ALL_VCPUS;
	int err;

	if (c->pool.flags)
		die(EXIT_USAGE, "--cpus and --slice are a pool's: give --pool");
	if (!c->vm.flags)
		die(EXIT_USAGE,
		    "change what of the VM? --weight, --cap, --group, or --period and --budget");
	if (c->has_budget != (c->has_period && c->vm.params.period_ns))
		die(EXIT_USAGE,
		    "--period and --budget go together; --period 0 goes alone");
	if (!all && c->vm.flags & (LV_PARAM_WEIGHT | LV_PARAM_CAP))
		die(EXIT_USAGE,
		    "--weight and --cap are the VM's: they do not go with --vcpu");
	check_deadline(&c->vm.params);
	c->vm.vm = parse_id(c->arguments.texts[0], "VM");
	find_vm(c->vm.vm);
	err = sched_ioctl(LV_VM_SET, &c->vm);
	if (err == ENOENT)
		die(EXIT_HOST, "VM %u has no vCPU %u", c->vm.vm, c->vm.vcpu);
	if (err)
		sched_must(LV_VM_SET, &c->vm, "change VM %u", c->vm.vm);
}

/** cmd_sched_set() - the command 'sched set' */
int cmd_sched_set(int argc, char **argv)
{
	static const struct argp argp = {
		.options = set_options,
		.parser = parse,
		.children = common_children,
		.args_doc = "VM\n--pool POOL",
		.doc = "Change the parameters of a VM, or a pool. What they mean is up to the policy: "
		       "credit keeps to weight and cap, edf to period and budget, gang to groups.",
	};
	struct change c;

	parse_change(&argp, argc, argv, &c);
	if (c.pool_name) {
		change_pool(&c);
		return 0;
	}
	need_arguments(&c, 1, "set", "VM --weight N (or other parameters)");
	change_vm(&c);
	return 0;
}

/** cmd_sched_attach() - the command 'sched attach' */
int cmd_sched_attach(int argc, char **argv)
{
	static const struct argp argp = {
		.options = attach_options,
		.parser = parse,
		.children = common_children,
		.args_doc = "VM POOL\n--pid PID POOL",
		.doc = "Move a VM into a pool, while it runs, whichever program it belongs to.",
	};
	struct lv_vm_attach attach = { 0 };
	struct lv_pool_info pool;
	struct change c;
	int err;

	parse_change(&argp, argc, argv, &c);
	need_arguments(&c, c.pid ? 1 : 2, "attach",
		       c.pid ? "--pid PID POOL" : "VM POOL");
	pool = find_pool(c.arguments.texts[c.arguments.nr - 1]);
	attach.pool = pool.id;
	attach.pid = c.pid;
	if (!c.pid)
		attach.vm = find_vm(parse_id(c.arguments.texts[0], "VM")).id;
	err = sched_ioctl(LV_VM_ATTACH, &attach);
	if (err == ESRCH)
		die(EXIT_HOST, "process %d has created no VM", c.pid);
	if (err)
		sched_must(LV_VM_ATTACH, &attach, "attach it to pool %s",
			   pool.name);
	return 0;
}

/* ---- policies in BPF ---- */

static error_t parse_names(int key, char *arg, struct argp_state *state)
{
	struct arguments *names = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		argument_take(names, ARRAY_SIZE(names->texts) - 1, arg, state);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which one?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/** cmd_sched_load() - the command 'sched load' */
int cmd_sched_load(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_names,
		.children = common_children,
		.args_doc = "FILE.o...",
		.doc = "Load policies written in BPF (Linux 6.9 and newer). They stay until "
		       "'labvisor sched unload'.",
	};
	struct arguments paths = { 0 };

	argp_parse(&argp, argc, argv, 0, NULL, &paths);
	sched_load((char **)paths.texts);
	return 0;
}

/** cmd_sched_unload() - the command 'sched unload' */
int cmd_sched_unload(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_names,
		.children = common_children,
		.args_doc = "POLICY...",
		.doc = "Take back policies written in BPF. Pools that have one get policy host.",
	};
	struct arguments names = { 0 };
	unsigned int i;

	argp_parse(&argp, argc, argv, 0, NULL, &names);
	for (i = 0; i < names.nr; i++)
		sched_unload(names.texts[i]);
	return 0;
}
