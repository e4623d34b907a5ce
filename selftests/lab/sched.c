// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests under every scheduling policy that is there: all of them run, whatever
 * happens to their pool, to their threads and to the CPUs below them.
 *
 * A guest shows that it runs by counting. The tests wait for counters to move,
 * as long as it takes: a guest that stalls ends in the time limit of the run.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <asm/kvm_para.h>
#include "guest.h"
#include "pool.h"
#include <kselftest_harness.h>

#define IPI 0x51
#define TIMER 0x52
#define PATIENCE 300 /* s: for emulators, and kernels that check */

static volatile u32 nr_cpus;
static volatile u64 beats[MAX_VCPUS], woken[MAX_VCPUS];

static u32 my_id(void)
{
	return apic_read(APIC_ID) >> 24;
}

/* ---- guests ---- */

/* Computes, without an exit of its own. */
static void spin_cpu(void)
{
	u32 id = my_id();

	for (;;)
		beats[id]++;
}

static void on_wake(struct trap_frame *frame)
{
	woken[my_id()]++;
	apic_eoi();
}

/* Sleeps, and wakes up by its own timer. */
static void nap_cpu(void)
{
	u32 id = my_id();

	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, 0x20000 | TIMER);
	apic_write(APIC_TMICT, 1000000);
	for (;;) {
		sti_hlt();
		cli();
		beats[id]++;
	}
}

/* Sleeps until its neighbour wakes it up, and then does that to the next. */
static void relay_cpu(void)
{
	u32 id = my_id(), next = (id + 1) % nr_cpus;

	if (!id)
		apic_icr(next, ICR_FIXED | IPI);
	for (;;) {
		sti_hlt();
		cli();
		beats[id]++;
		apic_icr(next, ICR_FIXED | IPI);
	}
}

/* Asks user space for something all the time. */
static void talk_cpu(void)
{
	u32 id = my_id();

	for (;;) {
		outb(0x80, 0);
		beats[id]++;
	}
}

static struct kvm_steal_time steal __attribute__((aligned(64)));

/* Computes, and is told what others took. */
static void watch_cpu(void)
{
	wrmsr(MSR_KVM_STEAL_TIME, (u64)&steal | KVM_MSR_ENABLED);
	spin_cpu();
}

static void (*volatile main_of_all)(void);
static volatile u32 nr_up;

static void ap_start(void)
{
	apic_enable();
	__atomic_fetch_add(&nr_up, 1, __ATOMIC_SEQ_CST);
	main_of_all();
}

static void boot(void)
{
	u32 i;

	trap_handlers[IPI] = on_wake;
	trap_handlers[TIMER] = on_wake;
	apic_enable();
	ap_main = ap_start;
	apic_icr(0, ICR_OTHERS | ICR_INIT | ICR_ASSERT);
	for (i = 1; i < nr_cpus; i++)
		apic_icr(i, ICR_SIPI | SIPI_GPA >> 12);
	while (nr_up < nr_cpus - 1)
		pause_cpu();
	main_of_all();
}

/* ---- the host ---- */

static int dev = -1;

struct guest {
	struct vm *vm;
	struct vcpu *vcpus[MAX_VCPUS];
	u32 n, id;
};

/* KVM_RUN for as long as the guest is wanted: it only ever asks for port 0x80. */
static void *run_vcpu(void *arg)
{
	struct vcpu *vcpu = arg;
	int err;

	do {
		err = vcpu_run(vcpu);
	} while ((!err && vcpu->run->exit_reason == KVM_EXIT_IO) ||
		 (err == -EINTR && !vcpu->run->immediate_exit));
	if (err != -EINTR)
		die("vCPU %u stopped: %s", vcpu->id, vcpu_describe(vcpu));
	return NULL;
}

static struct guest *guest_new(void (*main)(void), u32 n)
{
	struct guest *g = calloc(1, sizeof(*g));
	u32 i;

	g->vm = vm_new_irqchip();
	g->id = vm_newest(dev).id;
	g->n = n;
	for (i = 0; i < n; i++)
		g->vcpus[i] = vcpu_new(g->vm, i);
	GUEST_VAR(g->vm, nr_cpus) = n;
	GUEST_VAR(g->vm, main_of_all) = main;
	vcpu_call(g->vcpus[0], boot);
	return g;
}

static void ignore_signal(int signal)
{
}

static void guest_start(struct guest *g)
{
	/* Of vcpu_kick() */
	struct sigaction action = { .sa_handler = ignore_signal };
	u32 i;

	sigaction(SIGUSR1, &action, NULL);
	for (i = 0; i < g->n; i++)
		if (pthread_create(&g->vcpus[i]->thread, NULL, run_vcpu,
				   g->vcpus[i]))
			die("no thread");
}

static void guest_stop(struct guest *g)
{
	u32 i;

	for (i = 0; i < g->n; i++)
		vcpu_kick(g->vcpus[i]);
	for (i = 0; i < g->n; i++)
		pthread_join(g->vcpus[i]->thread, NULL);
	for (i = 0; i < g->n; i++)
		vcpu_free(g->vcpus[i]);
	vm_free(g->vm);
	free(g);
}

static u64 beat(struct guest *g, u32 i)
{
	return GUEST_VAR(g->vm, beats[i]);
}

/* Short slices: eight vCPUs have their turns in no time. */
static u32 must_create(const char *name, const char *policy, u64 cpus)
{
	int id = pool_create(dev, name, policy, cpus, MS / 2);

	if (id < 0)
		die("pool %s with policy %s: %s", name, policy, strerror(-id));
	return id;
}

/* A test that was cut short has left its pool behind. */
static void delete_leftovers(void)
{
	struct lv_pool_info info = { .size = sizeof(info), .id = 1 };

	while (!dev_ioctl(dev, LV_POOL_INFO, &info)) {
		pool_delete(dev, info.id);
		info.id++;
	}
}

/* For whoever has to find out why a guest stalls. */
static void describe(struct guest *g)
{
	static const char *const states[] = { "free", "out", "ready",
					      "running" };
	struct lv_vcpu_info info;
	u32 i;

	for (i = 0; i < g->n; i++) {
		info = vcpu_info(dev, g->id, i);
		printf("# vm %u vcpu %u: %s%s cpu %d, %llu dispatches, beat %llu, exits %llu, run %llu steal %llu away %llu ready %llu blocked %llu out %llu us, stops %llu %llu %llu %llu %llu %llu %llu\n",
		       g->id, i, states[info.state & 3],
		       info.parked ? " parked" : "", (int)info.cpu,
		       info.dispatches, (unsigned long long)beat(g, i),
		       info.exits, info.time_ns[0] / 1000,
		       info.time_ns[1] / 1000, info.time_ns[2] / 1000,
		       info.time_ns[3] / 1000, info.time_ns[5] / 1000,
		       info.time_ns[6] / 1000, info.stops[1], info.stops[2],
		       info.stops[3], info.stops[4], info.stops[5],
		       info.stops[6], info.stops[7]);
	}
}

/* Each vCPU of the guest has run since. */
static void wait_for_beats(struct guest *g)
{
	u64 before[MAX_VCPUS];
	u32 i, tries = 0;

	for (i = 0; i < g->n; i++)
		before[i] = beat(g, i);
	for (i = 0; i < g->n; i++) {
		while (beat(g, i) == before[i]) {
			usleep(500);
			if (++tries % 10000 == 0)
				describe(g);
		}
	}
}

/* How often to do it: on Bochs a kernel that checks everything has no hurry. */
static u32 rounds(u32 n)
{
	char version[256] = "";
	FILE *file = fopen("/proc/version", "r");

	if (!file || !fgets(version, sizeof(version), file))
		die("no version");
	fclose(file);
	return lab_is_vmx() && strstr(version, "labdebug") ? n / 10 + 1 : n;
}

static u64 all_cpus(void)
{
	return (1ull << sysconf(_SC_NPROCESSORS_ONLN)) - 1;
}

/* What the module knows, "host" included. */
static char policies[MAX_POLICIES][LV_NAME_LEN];
static u32 nr_policies;

/* ---- four guests of two vCPUs each, in one pool ---- */

FIXTURE(pool)
{
	struct guest *g[4];
	u32 id;
};

FIXTURE_SETUP(pool)
{
	static void (*const mains[])(void) = { spin_cpu, nap_cpu, relay_cpu,
					       talk_cpu };
	u32 i;

	if (!lab_is_labvisor())
		SKIP(return, "KVM has no pools");
	dev = lab_open();
	nr_policies = policy_names(dev, policies);
	delete_leftovers();
	self->id = must_create("test", "rr", all_cpus());
	for (i = 0; i < 4; i++) {
		self->g[i] = guest_new(mains[i], 2);
		ASSERT_EQ(0, vm_attach(dev, self->g[i]->id, self->id));
		guest_start(self->g[i]);
	}
}

FIXTURE_TEARDOWN(pool)
{
	u32 i;

	if (!self->id)
		return;
	for (i = 0; i < 4; i++)
		guest_stop(self->g[i]);
	ASSERT_EQ(0, pool_delete(dev, self->id));
	close(dev);
}

static void all_run(struct guest **g)
{
	u32 i;

	for (i = 0; i < 4; i++)
		wait_for_beats(g[i]);
}

TEST_F_TIMEOUT(pool, all_run, PATIENCE)
{
	struct lv_vcpu_info info;
	u32 i;

	for (i = 0; i < 3; i++)
		all_run(self->g);
	info = vcpu_info(dev, self->g[0]->id, 0);
	EXPECT_NE(0, info.dispatches);
	EXPECT_NE(0, info.ran_ns);
	EXPECT_NE(0,
		  info.time_ns[3]); /* eight vCPUs had to wait now and then */
	EXPECT_EQ(0, info.wakes[3]); /* that one never halts */
	info = vcpu_info(dev, self->g[1]->id, 0);
	EXPECT_NE(0, info.wakes[2]); /* timer */
	info = vcpu_info(dev, self->g[2]->id, 1);
	EXPECT_NE(0, info.wakes[3]); /* IPI */
	EXPECT_STREQ("", pool_info(dev, self->id).fault);
}

/* A policy may refuse what it cannot do: then the one before goes on. */
TEST_F_TIMEOUT(pool, switch_policies, PATIENCE)
{
	u32 i, refused = 0, seed = 1, n = lab_param("SWITCHES", rounds(200));
	int err;

	for (i = 0; i < n; i++) {
		err = pool_set_policy(dev, self->id,
				      policies[rand_r(&seed) % nr_policies]);
		if (err)
			ASSERT_EQ(-ENOSPC, err);
		refused += !!err;
		all_run(self->g);
		ASSERT_STREQ("", pool_info(dev, self->id).fault);
	}
	TH_LOG("%u switches among %u policies, %u refused", n, nr_policies,
	       refused);
	EXPECT_EQ(n - refused, pool_info(dev, self->id).switches - 1);
}

TEST_F_TIMEOUT(pool, move_vms, PATIENCE)
{
	u32 i, n = lab_param("MOVES", rounds(100));

	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, vm_attach(dev, self->g[i % 4]->id,
				       i / 4 % 2 ? self->id : 0));
		all_run(self->g);
	}
}

/* A CPU goes and comes while guests run on it. */
TEST_F_TIMEOUT(pool, cpu_hotplug, PATIENCE)
{
	static const char path[] = "/sys/devices/system/cpu/cpu1/online";
	u32 i, n = 2 * rounds(5);

	if (access(path, W_OK))
		SKIP(return, "the lab host has one CPU");
	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, write_text(path, i % 2 ? "1" : "0"));
		all_run(self->g);
		EXPECT_EQ(i % 2 ? sysconf(_SC_NPROCESSORS_CONF)
				: sysconf(_SC_NPROCESSORS_CONF) - 1,
			  pool_info(dev, self->id).nr_cpus);
	}
	EXPECT_STREQ("", pool_info(dev, self->id).fault);
}

static bool is_on_one_cpu(int tid)
{
	cpu_set_t set;

	if (sched_getaffinity(tid, sizeof(set), &set))
		die("no affinity of thread %d", tid);
	return CPU_COUNT(&set) == 1;
}

/* Threads are bound to CPUs in a pool, and no longer once it is "host". */
TEST_F(pool, affinity_comes_back)
{
	u32 i;

	all_run(self->g);
	EXPECT_TRUE(is_on_one_cpu(vcpu_info(dev, self->g[0]->id, 0).tid));
	ASSERT_EQ(0, pool_set_policy(dev, self->id, "host"));
	all_run(self->g);
	if (sysconf(_SC_NPROCESSORS_ONLN) == 1)
		SKIP(return, "with one CPU there is nothing to see");
	for (i = 0; i < 4; i++)
		EXPECT_FALSE(
			is_on_one_cpu(vcpu_info(dev, self->g[i]->id, 0).tid));
}

/* For a guest, to wait for other vCPUs is as if the host had stolen its time. */
TEST_F_TIMEOUT(pool, waiting_is_stolen_time, PATIENCE)
{
	struct guest *g = guest_new(watch_cpu, 1);
	u64 waited, first;

	ASSERT_EQ(0, vm_attach(dev, g->id, self->id));
	guest_start(g);
	/* It counts once it is being told; of what was before it knows nothing. */
	wait_for_beats(g);
	first = vcpu_info(dev, g->id, 0).time_ns[3];
	/* What it had waited for until then it knows when it has run once more. */
	do {
		waited = vcpu_info(dev, g->id, 0).time_ns[3] - first;
		wait_for_beats(g);
		ASSERT_LE(waited, GUEST_VAR(g->vm, steal.steal));
	} while (waited < 50000000);
	guest_stop(g);
}

/* ---- policies that do wrong ---- */

struct broken {
	const char *name, *fault;
};

/* Thrown out, for that reason; and not one guest has stalled. */
static void check_thrown_out(struct __test_metadata *_metadata,
			     FIXTURE_DATA(pool) * self,
			     const struct broken *broken)
{
	ASSERT_EQ(0, pool_set_policy(dev, self->id, broken->name));
	while (!pool_info(dev, self->id).fault[0])
		usleep(1000);
	EXPECT_STREQ("host", pool_info(dev, self->id).policy);
	EXPECT_NE(NULL, strstr(pool_info(dev, self->id).fault, broken->fault))
	TH_LOG("%s: %s", broken->name, pool_info(dev, self->id).fault);
	all_run(self->g);
	ASSERT_EQ(0, pool_set_policy(dev, self->id, "rr"));
	EXPECT_STREQ("", pool_info(dev, self->id).fault);
	all_run(self->g);
}

static const struct broken broken_policies[] = {
	{ "never-picks", "picks nobody" },
	{ "picks-blocked", "not runnable" },
	{ "picks-elsewhere", "was not asked about" },
	{ "no-slice", "shorter than" },
	{ "stalls", "too long" },
	{ "starves", "starve" },
};

TEST_F_TIMEOUT(pool, broken_policies, PATIENCE)
{
	u32 i;
	int file = open("broken.ko", O_RDONLY | O_CLOEXEC);

	if (file < 0)
		SKIP(return, "broken.ko is not here");
	ASSERT_EQ(0, syscall(SYS_finit_module, file, "", 0));
	close(file);
	ASSERT_EQ(0, pool_set_policy(dev, self->id, "checks-exits"));
	while (!vcpu_info(dev, self->g[1]->id, 0).stops[4] ||
	       !vcpu_info(dev, self->g[3]->id, 0).stops[5])
		all_run(self->g);
	EXPECT_STREQ("", pool_info(dev, self->id).fault);
	for (i = 0; i < ARRAY_LEN(broken_policies); i++)
		check_thrown_out(_metadata, self, &broken_policies[i]);
	EXPECT_EQ(0, syscall(SYS_delete_module, "broken", O_NONBLOCK));
}

/* ---- a guest of another process, to which things happen ---- */

struct victim {
	pid_t pid;
};

static struct victim victim_new(void (*main)(void), u32 pool)
{
	struct guest *g;
	struct victim v;

	v.pid = fork();
	if (v.pid < 0)
		die("no fork");
	if (v.pid)
		return v;
	dev = lab_open();
	g = guest_new(main, 2);
	if (vm_attach(dev, g->id, pool))
		die("the pool refuses the victim");
	guest_start(g);
	for (;;)
		pause();
}

static u64 ran(u32 vm)
{
	struct lv_vcpu_info info = { .size = sizeof(info), .vm = vm };

	return dev_ioctl(dev, LV_VCPU_INFO, &info) ? 0 : info.ran_ns;
}

/* The victim's vCPU 0 got CPU time since. */
static void wait_for_victim(struct victim *v)
{
	u64 before;
	u32 vm;

	while (!(vm = vm_of_process(dev, v->pid)))
		usleep(500);
	before = ran(vm);
	while (ran(vm) <= before)
		usleep(500);
}

TEST_F_TIMEOUT(pool, stopped_threads_block_nobody, PATIENCE)
{
	void (*const mains[])(void) = { spin_cpu, nap_cpu, talk_cpu };
	struct victim v;
	u32 i, k;

	for (i = 0; i < ARRAY_LEN(mains); i++) {
		v = victim_new(mains[i], self->id);
		for (k = 0; k < rounds(3); k++) {
			wait_for_victim(&v);
			ASSERT_EQ(0, kill(v.pid, SIGSTOP));
			all_run(self->g);
			all_run(self->g);
			ASSERT_EQ(0, kill(v.pid, SIGCONT));
			wait_for_victim(&v);
		}
		ASSERT_EQ(0, kill(v.pid, SIGKILL));
		ASSERT_EQ(v.pid, waitpid(v.pid, NULL, 0));
		all_run(self->g);
	}
}

static bool write_to(const char *dir, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return !write_text(path, text);
}

/* The host has held up a VM's first vCPU once more, and @other went on. */
static struct lv_vcpu_info wait_for_host_stop(struct guest *other, u32 vm)
{
	u64 before = vcpu_info(dev, vm, 0).stops[6];
	struct lv_vcpu_info info;

	do {
		wait_for_beats(other);
		info = vcpu_info(dev, vm, 0);
	} while (info.stops[6] == before);
	return info;
}

/* A hundredth of a CPU for the victim, and then now and then nothing at all. */
TEST_F_TIMEOUT(pool, throttled_and_frozen_threads_block_nobody, PATIENCE)
{
	static const char root[] = "cg", group[] = "cg/victim";
	struct guest *napping = self->g[1];
	struct lv_vcpu_info info;
	u64 slices, host;
	struct victim v;
	char pid[16];
	u32 i, v_id;

	mkdir(root, 0755);
	if (mount("none", root, "cgroup2", 0, NULL))
		SKIP(return, "the kernel has no cgroup2");
	if (!write_to(root, "cgroup.subtree_control", "+cpu") ||
	    mkdir(group, 0755) || !write_to(group, "cpu.max", "1000 100000")) {
		umount(root);
		SKIP(return, "the kernel does not throttle");
	}
	v = victim_new(spin_cpu, self->id);
	wait_for_victim(&v);
	snprintf(pid, sizeof(pid), "%d", v.pid);
	ASSERT_TRUE(write_to(group, "cgroup.procs", pid));
	for (i = 0; i < 3; i++) {
		wait_for_victim(&v);
		all_run(self->g);
	}
	/* Its vCPUs lose a CPU that they cannot use, long before a slice ends. */
	for (i = 0; i < 4; i++)
		if (self->g[i] != napping)
			ASSERT_EQ(0, vm_attach(dev, self->g[i]->id, 0));
	pool_set_slice(dev, self->id, 10000000000);
	v_id = vm_of_process(dev, v.pid);
	host = wait_for_host_stop(napping, v_id).stops[6];
	info = wait_for_host_stop(napping, v_id);
	slices = info.stops[1];
	while (info.stops[6] < host + 3)
		info = wait_for_host_stop(napping, v_id);
	EXPECT_EQ(slices, info.stops[1]);
	pool_set_slice(dev, self->id, 500000);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, vm_attach(dev, self->g[i]->id, self->id));

	ASSERT_TRUE(write_to(group, "cpu.max", "max"));
	for (i = 0; i < 5; i++) {
		wait_for_victim(&v);
		ASSERT_TRUE(write_to(group, "cgroup.freeze", "1"));
		all_run(self->g);
		ASSERT_TRUE(write_to(group, "cgroup.freeze", "0"));
	}
	wait_for_victim(&v);
	ASSERT_EQ(0, kill(v.pid, SIGKILL));
	ASSERT_EQ(v.pid, waitpid(v.pid, NULL, 0));
	rmdir(group);
	umount(root);
}

TEST_F_TIMEOUT(pool, killed_launchers, PATIENCE)
{
	void (*const mains[])(void) = { spin_cpu, nap_cpu, relay_cpu,
					talk_cpu };
	struct victim v;
	u32 i, n = rounds(20);

	for (i = 0; i < n; i++) {
		v = victim_new(mains[i % 4], self->id);
		wait_for_victim(&v);
		ASSERT_EQ(0, kill(v.pid, SIGKILL));
		ASSERT_EQ(v.pid, waitpid(v.pid, NULL, 0));
		all_run(self->g);
	}
	/* The last reference may go a little later than its process. */
	while (pool_info(dev, self->id).nr_vms != 4)
		usleep(500);
}

TEST_HARNESS_MAIN
