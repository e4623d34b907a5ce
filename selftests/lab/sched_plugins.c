// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies that are not built in: the examples, as a module of its own and in
 * BPF, come and go while guests run under them; what a BPF program may not do is
 * refused or thrown out.
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include "guest.h"
#include "pool.h"
#include <kselftest_harness.h>

#define HEAVY 1024
#define LIGHT 256

SNIPPET(16, spin_code, "1: lock incl 0xa000\njmp 1b\n");

/* ---- the host's side of pools ---- */

static int fd = -1;

/* Which module a policy is from; NULL: there is no such policy. */
static const char *module_of(const char *policy)
{
	static struct lv_policy_info info;
	u32 i;

	for (i = 0;; i++) {
		info = (struct lv_policy_info){ .size = sizeof(info),
						.index = i };
		if (dev_ioctl(fd, LV_POLICY_INFO, &info))
			return NULL;
		if (!strcmp(info.name, policy))
			return info.module;
	}
}

/* ---- two guests, one of which has four times the weight, and one CPU ---- */

struct guest {
	struct vm *vm;
	struct vcpu *vcpu;
	u32 id;
};

static void guest_start(struct guest *g, u32 pool, u32 weight)
{
	g->vm = vm_new();
	g->id = vm_newest(fd).id;
	if (vm_attach(fd, g->id, pool) ||
	    VM_SET(fd, g->id, LV_ALL_VCPUS, LV_PARAM_WEIGHT, .weight = weight))
		die("the pool refuses a guest");
	g->vcpu = vcpu_new(g->vm, 0);
	VCPU_SNIPPET(g->vcpu, MODE_REAL, spin_code);
	vcpu_start_run(g->vcpu);
}

static void guest_stop(struct guest *g)
{
	if (!g->vcpu)
		return;
	vcpu_kick(g->vcpu);
	vcpu_join(g->vcpu);
	vcpu_free(g->vcpu);
	vm_free(g->vm);
}

static void wait_for_beat(struct guest *g)
{
	volatile u32 *beat = (void *)(g->vm->mem + DATA_GPA);
	u32 before = *beat;

	while (*beat == before)
		usleep(500);
}

static u64 ran(struct guest *g)
{
	return vcpu_info(fd, g->id, 0).ran_ns;
}

/* The kernel frees BPF programs, which keep the module, some time after their use. */
static void wait_until_unused(void)
{
	long users;

	do {
		usleep(10000);
		if (read_number("/sys/module/labvisor/refcnt", &users))
			die("no count of the module's users");
	} while (users);
}

FIXTURE(plugins)
{
	u32 pool;
	struct guest heavy, light;
};

FIXTURE_SETUP(plugins)
{
	int id;

	if (!lab_is_labvisor())
		SKIP(return, "KVM has no pools");
	fd = lab_open();
	ASSERT_LT(0, id = pool_create(fd, "plugins", NULL, 1, 0));
	self->pool = id;
	guest_start(&self->heavy, self->pool, HEAVY);
	guest_start(&self->light, self->pool, LIGHT);
}

FIXTURE_TEARDOWN(plugins)
{
	if (!self->pool)
		return;
	guest_stop(&self->heavy);
	guest_stop(&self->light);
	ASSERT_EQ(0, pool_delete(fd, self->pool));
	close(fd);
	wait_until_unused();
}

typedef FIXTURE_DATA(plugins) plugins_t;

static void both_run(plugins_t *self)
{
	wait_for_beat(&self->heavy);
	wait_for_beat(&self->light);
}

/*
 * Who has four times the weight comes to have twice the CPU time of the other, and
 * soon; with equal shares it never would. What the host takes from one of them is
 * not made up for, so no more than that is sure.
 */
static void wait_for_shares(plugins_t *self)
{
	u64 heavy = ran(&self->heavy), light = ran(&self->light);
	u64 h = 0, l = 0;

	while (h + l < 1000000000 || h < 2 * l) {
		usleep(100000);
		h = ran(&self->heavy) - heavy;
		l = ran(&self->light) - light;
	}
}

static void switch_to_and_fro(struct __test_metadata *_metadata,
			      plugins_t *self, const char *policy)
{
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, pool_set_policy(fd, self->pool,
					     i % 2 ? policy : "rr"));
		both_run(self);
	}
	EXPECT_STREQ(policy, pool_info(fd, self->pool).policy);
	EXPECT_STREQ("", pool_info(fd, self->pool).fault);
}

/* ---- a module of its own ---- */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

static int load(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC), err;

	err = syscall(SYS_finit_module, file, "", 0) ? -errno : 0;
	close(file);
	return err;
}

TEST_F(plugins, module)
{
	if (access("fair.ko", R_OK))
		SKIP(return, "fair.ko is not here");
	EXPECT_EQ(-ENOENT, pool_set_policy(fd, self->pool, "fair"));
	ASSERT_EQ(0, load("fair.ko"));
	EXPECT_STREQ("fair", module_of("fair"));
	EXPECT_EQ(-EWOULDBLOCK, unload("labvisor"));

	ASSERT_EQ(0, pool_set_policy(fd, self->pool, "fair"));
	wait_for_shares(self);
	switch_to_and_fro(_metadata, self, "fair");
	EXPECT_EQ(-EWOULDBLOCK, unload("fair")) TH_LOG("a pool uses it");

	ASSERT_EQ(0, pool_set_policy(fd, self->pool, "rr"));
	ASSERT_EQ(0, unload("fair"));
	EXPECT_EQ(NULL, module_of("fair"));
	EXPECT_EQ(-ENOENT, pool_set_policy(fd, self->pool, "fair"));
	both_run(self);
	ASSERT_EQ(0, load("fair.ko"));
	ASSERT_EQ(0, unload("fair"));
}

/* ---- BPF ---- */

/* The tool's exit status; what it said is in @said. */
static char said[65536];

static int tool(const char *arguments)
{
	char command[256];
	size_t n;
	FILE *out;
	int status;

	snprintf(command, sizeof(command), "./labvisor sched %s 2>&1",
		 arguments);
	out = popen(command, "r");
	if (!out)
		die("no shell");
	n = fread(said, 1, sizeof(said) - 1, out);
	said[n] = 0;
	status = pclose(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define TOOL(status, arguments)                    \
	ASSERT_EQ(status, tool(arguments))         \
	{                                          \
		TH_LOG("%s: %s", arguments, said); \
	}

static bool kernel_is_old(void)
{
	struct utsname name;
	int major, minor;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	return major * 1000 + minor < 6009;
}

#define NEED_BPF()                                                            \
	do {                                                                  \
		if (access("labvisor", X_OK))                                 \
			SKIP(return, "the program labvisor is not here");     \
		if (kernel_is_old())                                          \
			SKIP(return, "policies in BPF take Linux 6.9");       \
		if (access("/sys/kernel/btf/labvisor", F_OK))                 \
			SKIP(return, "labvisor.ko was built without BTF");    \
		if (access("fair.bpf.o", R_OK))                               \
			SKIP(return, "the BPF programs were not built");      \
		if (tool("load /dev/null") && strstr(said, "without libbpf")) \
			SKIP(return, "labvisor was built without libbpf");    \
	} while (0)

TEST_F(plugins, bpf_on_an_old_kernel)
{
	if (access("labvisor", X_OK))
		SKIP(return, "the program labvisor is not here");
	if (!kernel_is_old())
		SKIP(return, "this kernel is new enough");
	TOOL(1, "load fair.bpf.o");
	EXPECT_NE(NULL, strstr(said, "too old")) TH_LOG("%s", said);
	TOOL(1, "unload fair-bpf");
	EXPECT_NE(NULL, strstr(said, "too old")) TH_LOG("%s", said);
}

TEST_F(plugins, bpf_runs)
{
	NEED_BPF();
	TOOL(0, "load fair.bpf.o lottery.bpf.o");
	EXPECT_STREQ("", module_of("fair-bpf"));
	TOOL(1, "load lottery.bpf.o");
	EXPECT_NE(NULL, strstr(said, "already")) TH_LOG("%s", said);

	ASSERT_EQ(0, pool_set_policy(fd, self->pool, "fair-bpf"));
	wait_for_shares(self);
	switch_to_and_fro(_metadata, self, "fair-bpf");
	switch_to_and_fro(_metadata, self, "lottery");
	TOOL(0, "unload fair-bpf");
	TOOL(0, "unload lottery");
	TOOL(1, "unload lottery");
}

TEST_F(plugins, bpf_unloaded_in_use)
{
	int i;

	NEED_BPF();
	for (i = 0; i < 5; i++) {
		TOOL(0, "load fair.bpf.o");
		ASSERT_EQ(0, pool_set_policy(fd, self->pool, "fair-bpf"));
		both_run(self);
		TOOL(0, "unload fair-bpf");
		EXPECT_STREQ("host", pool_info(fd, self->pool).policy);
		EXPECT_STREQ("", pool_info(fd, self->pool).fault);
		EXPECT_EQ(-ENOENT, pool_set_policy(fd, self->pool, "fair-bpf"));
		both_run(self);
	}
}

/* The verifier's words are there for who wrote the program. */
TEST_F(plugins, bpf_refused)
{
	static const char *const refused[][2] = {
		{ "state", "may not write" },
		{ "home", "may not write" },
		{ "other_pool_field", "may not write" },
		{ "past_priv", "may not write" },
		{ "unchecked_pool", "invalid mem access" },
		{ "untrusted", "may not write" },
		{ "admit_calls", "not allowed" },
		{ "dump", "dump" },
		{ "sleepable", "wake" },
		{ "no_name", "no name" },
	};
	char arguments[64];
	size_t i;

	NEED_BPF();
	for (i = 0; i < ARRAY_LEN(refused); i++) {
		sprintf(arguments, "load refused_%s.bpf.o", refused[i][0]);
		EXPECT_NE(0, tool(arguments)) TH_LOG("%s", arguments);
		EXPECT_NE(NULL, strstr(said, refused[i][1]))
		TH_LOG("%s: %s", arguments, said);
	}
	both_run(self);
}

/* What the verifier cannot see is thrown out, and the guests run on. */
TEST_F(plugins, bpf_thrown_out)
{
	static const char *const faults[][2] = {
		{ "recurses", "calls itself" },
		{ "gives-up", "gave up" },
		{ "short-slice", "shorter" },
		{ "storms", "" },
	};
	size_t i;

	NEED_BPF();
	TOOL(0, "load faulty.bpf.o");
	for (i = 0; i < ARRAY_LEN(faults); i++) {
		ASSERT_EQ(0, pool_set_policy(fd, self->pool, faults[i][0]));
		both_run(self);
		while (*faults[i][1] && !*pool_info(fd, self->pool).fault)
			both_run(self);
		EXPECT_NE(NULL,
			  strstr(pool_info(fd, self->pool).fault, faults[i][1]))
		TH_LOG("%s: %s", faults[i][0], pool_info(fd, self->pool).fault);
	}
	TOOL(0, "unload meddles recurses gives-up short-slice storms");
	both_run(self);
}

/* What it does to a VM that has left is without effect. */
TEST_F(plugins, bpf_meddles_with_who_left)
{
	int i;

	NEED_BPF();
	TOOL(0, "load faulty.bpf.o");
	ASSERT_EQ(0, pool_set_policy(fd, self->pool, "meddles"));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, vm_attach(fd, self->heavy.id,
				       i % 2 ? self->pool : 0));
		both_run(self);
	}
	EXPECT_STREQ("", pool_info(fd, self->pool).fault);
	TOOL(0, "unload meddles recurses gives-up short-slice storms");
	both_run(self);
}

/* The policy alone keeps the module. */
TEST(bpf_pins_the_module)
{
	if (!lab_is_labvisor())
		SKIP(return, "Labvisor's module is not loaded");
	NEED_BPF();
	TOOL(0, "load lottery.bpf.o");
	EXPECT_EQ(-EWOULDBLOCK, unload("labvisor"));
	TOOL(0, "unload lottery");
	wait_until_unused();
	ASSERT_EQ(0, unload("labvisor"));
	ASSERT_EQ(0, load("labvisor.ko"));
	TOOL(0, "load lottery.bpf.o");
	TOOL(0, "unload lottery");
	wait_until_unused();
}

TEST_HARNESS_MAIN
