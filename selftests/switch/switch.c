// SPDX-License-Identifier: GPL-2.0-only
/*
 * switch SWITCHES COMMAND...: in a lab host with two CPUs, COMMAND boots a guest
 * of two vCPUs which runs guest.sh. Two such guests share a pool, that goes from
 * each policy to each other one. After each step all vCPUs are asked if they go
 * on, and answer when they have.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include "pool.h"

#define NR_GUESTS 2
#define NR_VCPUS 2 /* of each */
#define PATIENCE 300 /* s, for an answer */

struct guest {
	pid_t pid;
	u32 vm, nr;
	FILE *in, *out; /* its console */
	u64 chunks[NR_VCPUS];
	char said[256]; /* its latest line */
};

static struct guest guests[NR_GUESTS];
static int dev;
static u32 pool, switches, refused, question;
static unsigned long long longest; /* ms */
static const char *policy = "rr";

static unsigned long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / MS;
}

/* ---- guests ---- */

static void boot(struct guest *g, char **command)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe: %m");
	g->pid = fork();
	if (!g->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(command[0], command);
		die("%s: %m", command[0]);
	}
	close(in[0]);
	close(out[1]); /* or the guest's end would not be one */
	g->in = fdopen(in[1], "w");
	g->out = fdopen(out[0], "r");
}

static bool hear(struct guest *g)
{
	return fgets(g->said, sizeof(g->said), g->out);
}

static void say(struct guest *g, const char *what)
{
	fprintf(g->in, "%s\n", what);
	fflush(g->in);
}

/* It said what a guest that is well does not say: listen to the rest. */
static void not_well(struct guest *g)
{
	do {
		printf("guest %u says: %s", g->nr, g->said);
	} while (hear(g));
	die("guest %u is not well", g->nr);
}

/* Nobody answers: for whoever has to find out why. */
static void show_where_it_stands(int signal)
{
	execl("/bin/sh", "sh", "-c", "./labvisor sched stat; exit 1", NULL);
}

/* What it said when it booted tells why, if it did not. */
static void wait_until_ready(struct guest *g)
{
	alarm(PATIENCE);
	do {
		if (!hear(g))
			die("guest %u does not boot", g->nr);
		printf("guest %u after %llu ms: %s", g->nr, now_ms(), g->said);
	} while (strncmp(g->said, "ready ", 6));
	g->vm = vm_of_process(dev, g->pid);
}

/* Each of its vCPUs has computed since it answered last. */
static void hear_answers(struct guest *g)
{
	unsigned long long chunks;
	u32 i, vcpu, to;

	for (i = 0; i < NR_VCPUS; i++) {
		if (!hear(g))
			die("guest %u ended", g->nr);
		if (sscanf(g->said, "beat %u %u %llu\n", &vcpu, &to, &chunks) !=
			    3 ||
		    vcpu >= NR_VCPUS || to != question ||
		    chunks <= g->chunks[vcpu])
			not_well(g);
		g->chunks[vcpu] = chunks;
	}
}

static void all_go_on(void)
{
	unsigned long long began = now_ms(), took;
	char text[16];
	u32 i;

	alarm(PATIENCE);
	snprintf(text, sizeof(text), "%u", ++question);
	for (i = 0; i < NR_GUESTS; i++)
		say(&guests[i], text);
	for (i = 0; i < NR_GUESTS; i++)
		hear_answers(&guests[i]);
	took = now_ms() - began;
	if (took > longest)
		longest = took;
}

/* It ends by itself, with the results of its work. */
static void finish(struct guest *g)
{
	int status;

	alarm(PATIENCE);
	say(g, "stop");
	while (hear(g)) {
		if (strncmp(g->said, "result ", 7))
			not_well(g);
		printf("guest %u: %s", g->nr, g->said);
	}
	if (waitpid(g->pid, &status, 0) != g->pid || status)
		die("guest %u ended with status %x", g->nr, status);
}

/* ---- the pool ---- */

static void set_policy(const char *name)
{
	int err = pool_set_policy(dev, pool, name);

	if (err)
		die("from %s to %s: %s", policy, name, strerror(-err));
}

static void attach(const struct guest *g, u32 to)
{
	int err = vm_attach(dev, g->vm, to);

	if (err)
		die("guest %u to pool %u: %s", g->nr, to, strerror(-err));
}

/* Two CPUs have no room for four vCPUs that want one each. */
static void enter_partition(void)
{
	if (pool_set_policy(dev, pool, "partition") != -ENOSPC)
		die("partition took four vCPUs");
	refused++;
	all_go_on();
	attach(&guests[1], 0);
	set_policy("partition");
}

static void switch_to(const char *to)
{
	bool from_partition = !strcmp(policy, "partition");

	if (!strcmp(to, policy))
		return;
	if (!strcmp(to, "partition"))
		enter_partition();
	else
		set_policy(to);
	if (from_partition)
		attach(&guests[1], pool);
	policy = to;
	switches++;
	all_go_on();
	if (pool_info(dev, pool).fault[0])
		die("%s: %s", policy, pool_info(dev, pool).fault);
}

/* From each policy to each other one and back, as often as it takes. */
static void tour(u32 wanted)
{
	char names[MAX_POLICIES][LV_NAME_LEN];
	unsigned long long began = now_ms();
	u32 from, to, n = policy_names(dev, names);

	for (from = 0; switches < wanted; from = (from + 1) % n) {
		for (to = 0; to < n && switches < wanted; to++) {
			switch_to(names[from]);
			switch_to(names[to]);
		}
	}
	printf("switched %u times among %u policies in %llu ms, refused %u, longest wait for an answer %llu ms\n",
	       switches, n, now_ms() - began, refused, longest);
	if (pool_info(dev, pool).switches != switches + 1)
		die("the pool counts %llu", pool_info(dev, pool).switches);
}

static void set_up_pool(void)
{
	int id = pool_create(dev, "pool", policy, 3, 2 * MS);

	if (id < 0 ||
	    VM_SET(dev, guests[0].vm, LV_ALL_VCPUS, LV_PARAM_DEADLINE,
		   .period_ns = 20 * MS, .budget_ns = 5 * MS) ||
	    VM_SET(dev, guests[1].vm, LV_ALL_VCPUS, LV_PARAM_WEIGHT,
		   .weight = 512))
		die("no pool, or not with these parameters");
	pool = id;
	attach(&guests[0], pool);
	attach(&guests[1], pool);
}

int main(int argc, char **argv)
{
	u32 i;

	if (argc < 3)
		die("usage: switch SWITCHES COMMAND...");
	setlinebuf(stdout);
	dev = lab_open();
	signal(SIGALRM, show_where_it_stands);
	for (i = 0; i < NR_GUESTS; i++) {
		guests[i].nr = i;
		boot(&guests[i], argv + 2);
	}
	/* What became of a guest that is gone is what it said last. */
	signal(SIGPIPE, SIG_IGN);
	/* Guests are not to keep from its CPU who watches them. */
	setpriority(PRIO_PROCESS, 0, -20);
	for (i = 0; i < NR_GUESTS; i++)
		wait_until_ready(&guests[i]);
	set_up_pool();
	all_go_on();
	tour(strtoul(argv[1], NULL, 0));
	for (i = 0; i < NR_GUESTS; i++)
		finish(&guests[i]);
	return pool_delete(dev, pool) ? 1 : 0;
}
