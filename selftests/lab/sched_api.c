// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of uapi/linux/labvisor.h: pools come, change and go, VMs move
 * between them while they run, parameters and statistics; and all that is
 * refused, with what the header says.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "guest.h"
#include "pool.h"
#include <kselftest_harness.h>

#define NOBODY 65534
#define ARG(type, ...) \
	(&(struct type){ .size = sizeof(struct type), ##__VA_ARGS__ })

SNIPPET(16, count_code, "1: lock incl 0xa000\njmp 1b\n");
SNIPPET(16, halt_code, "1: hlt\njmp 1b\n");
SNIPPET(16, port_code, "1: out %al, $0x80\njmp 1b\n");

FIXTURE(sched)
{
	int fd;
	u32 pool; /* "first", of CPU 0 */
};

static int attach(int fd, u32 vm, int pid, u32 pool)
{
	return dev_ioctl(fd, LV_VM_ATTACH,
			 ARG(lv_vm_attach, .vm = vm, .pid = pid, .pool = pool));
}

static bool policy_exists(int fd, const char *name)
{
	struct lv_policy_info info = { .size = sizeof(info) };

	while (!dev_ioctl(fd, LV_POLICY_INFO, &info)) {
		if (!strcmp(info.name, name))
			return true;
		info.index++;
	}
	return false;
}

/* What @fn returns, 0 or -errno, when a user without privileges calls it. */
static int as_nobody(int (*fn)(int fd, u32 id), int fd, u32 id)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(255);
		_exit(-fn(fd, id));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == 255)
		die("the other user's process failed");
	return -WEXITSTATUS(status);
}

FIXTURE_SETUP(sched)
{
	int id;

	if (!lab_is_labvisor())
		SKIP(return, "only Labvisor has pools");
	self->fd = lab_open();
	id = pool_create(self->fd, "first", NULL, 1, 0);
	if (id <= 0)
		die("no pool: %d", id);
	self->pool = id;
}

FIXTURE_TEARDOWN(sched)
{
	if (pool_delete(self->fd, self->pool))
		die("the first pool stays");
	close(self->fd);
}

/* ---- how arguments are passed ---- */

TEST_F(sched, numbers)
{
	struct lv_pool_info info = { .size = sizeof(info) };
	struct vm *vm = vm_new();

	EXPECT_EQ(-ENOTTY,
		  dev_ioctl(self->fd, _IOWR(LV_IOC_TYPE, 10, info), &info));
	EXPECT_EQ(-ENOTTY,
		  dev_ioctl(self->fd, _IOWR(LV_IOC_TYPE, 255, info), &info));
	EXPECT_EQ(-ENOTTY,
		  dev_ioctl(self->fd, _IOW(LV_IOC_TYPE, 1, info), &info));
	EXPECT_EQ(-ENOTTY, dev_ioctl(vm->fd, LV_POOL_INFO, &info));
	EXPECT_EQ(-EFAULT, dev_ioctl(self->fd, LV_POOL_INFO, NULL));
	/* The size in the number does not matter. */
	EXPECT_EQ(0, dev_ioctl(self->fd, _IOWR(LV_IOC_TYPE, 1, u32), &info));
	EXPECT_EQ(0, strcmp("default", info.name));
	vm_free(vm);
}

TEST_F(sched, size_grows)
{
	struct {
		struct lv_pool_info info;
		u64 more[2];
	} big = { .info.size = sizeof(big) };
	u8 *page = map_memory(2 * PAGE_SIZE);

	ASSERT_EQ(0, dev_ioctl(self->fd, LV_POOL_INFO, &big));
	EXPECT_EQ(sizeof(big), big.info.size);
	EXPECT_EQ(0, strcmp("default", big.info.name));
	big.more[1] = 1ull << 63;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->fd, LV_POOL_INFO, &big));
	EXPECT_EQ(1ull << 63, big.more[1]);

	*(u32 *)page = PAGE_SIZE;
	EXPECT_EQ(0, dev_ioctl(self->fd, LV_POOL_INFO, page));
	*(u32 *)page = PAGE_SIZE + 1;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->fd, LV_POOL_INFO, page));
	*(u32 *)page = ~0u;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->fd, LV_POOL_INFO, page));
	/* The tail counts also where there is none. */
	munmap(page + PAGE_SIZE, PAGE_SIZE);
	*(u32 *)(page + PAGE_SIZE - 8) = 16;
	EXPECT_EQ(-EFAULT,
		  dev_ioctl(self->fd, LV_POOL_INFO, page + PAGE_SIZE - 8));
}

TEST_F(sched, size_shrinks)
{
	struct lv_pool_info info;
	u32 size;

	for (size = 0; size < 4; size++) {
		info.size = size;
		EXPECT_EQ(-EINVAL, dev_ioctl(self->fd, LV_POOL_INFO, &info));
	}
	/* Nothing behind the size is read, or written. */
	for (size = 4; size <= sizeof(info); size++) {
		u8 *at = (u8 *)&info, *end = at + sizeof(info);

		memset(&info, 0xa5, sizeof(info));
		info.size = size;
		memset(&info.id, 0, size < 8 ? size - 4 : 4);
		ASSERT_EQ(0, dev_ioctl(self->fd, LV_POOL_INFO, &info));
		EXPECT_EQ(size, info.size);
		for (at += size; at < end && *at == 0xa5; at++)
			;
		ASSERT_EQ(end, at) TH_LOG("size %u", size);
	}
	EXPECT_EQ(0, strcmp("default", info.name));
}

/* ---- pools ---- */

TEST_F(sched, policies)
{
	struct lv_policy_info info = { .size = sizeof(info) };
	int n;

	EXPECT_TRUE(policy_exists(self->fd, "host"));
	EXPECT_TRUE(policy_exists(self->fd, "rr"));
	EXPECT_FALSE(policy_exists(self->fd, ""));
	for (n = 0; !dev_ioctl(self->fd, LV_POLICY_INFO, &info); n++) {
		EXPECT_LT(0, strlen(info.name));
		info.index++;
	}
	EXPECT_LE(2, n);
	info.index = ~0u;
	EXPECT_EQ(-ENOENT, dev_ioctl(self->fd, LV_POLICY_INFO, &info));
}

TEST_F(sched, pools)
{
	struct lv_pool_info info = pool_info(self->fd, 0);
	u32 id;

	EXPECT_EQ(0, strcmp("default", info.name));
	EXPECT_EQ(0, strcmp("host", info.policy));
	info = pool_info(self->fd, self->pool);
	EXPECT_EQ(0, strcmp("first", info.name));
	EXPECT_EQ(0, strcmp("host", info.policy));
	EXPECT_EQ(0, strcmp("", info.fault));
	EXPECT_EQ(10000000, info.slice_ns);
	EXPECT_EQ(1, info.cpus[0]);
	EXPECT_EQ(0, info.cpus[1]);
	EXPECT_EQ(1, info.nr_cpus);
	EXPECT_EQ(0, info.nr_vms);
	EXPECT_EQ(0, info.nr_vcpus);

	/* From any number on the next one is found. */
	info.id = 1;
	ASSERT_EQ(0, dev_ioctl(self->fd, LV_POOL_INFO, &info));
	EXPECT_EQ(self->pool, info.id);
	info.id = self->pool + 1;
	EXPECT_EQ(-ENOENT, dev_ioctl(self->fd, LV_POOL_INFO, &info));

	/* Numbers are not used twice. */
	EXPECT_EQ(0, pool_delete(self->fd, self->pool));
	EXPECT_EQ(-ENOENT, pool_delete(self->fd, self->pool));
	id = self->pool;
	self->pool = pool_create(self->fd, "first", "rr", 1, 0);
	EXPECT_LT(id, self->pool);
	EXPECT_EQ(0, strcmp("rr", pool_info(self->fd, self->pool).policy));
}

#define CREATE(...) \
	dev_ioctl(self->fd, LV_POOL_CREATE, ARG(lv_pool_config, ##__VA_ARGS__))
#define CHANGE(...) \
	dev_ioctl(self->fd, LV_POOL_SET, ARG(lv_pool_config, ##__VA_ARGS__))

TEST_F(sched, create_refused)
{
	struct lv_pool_config long_name = {
		.size = sizeof(long_name),
		.flags = LV_POOL_CPUS,
		.name = "0123456789abcdef",
		.cpus[0] = 1,
	};

	EXPECT_EQ(-EINVAL, CREATE(.name = "x"));
	EXPECT_EQ(-EINVAL, CREATE(.flags = LV_POOL_CPUS, .cpus[0] = 1));
	EXPECT_EQ(-EINVAL, dev_ioctl(self->fd, LV_POOL_CREATE, &long_name));
	EXPECT_EQ(-EINVAL,
		  CREATE(.name = "a b", .flags = LV_POOL_CPUS, .cpus[0] = 1));
	EXPECT_EQ(-EINVAL,
		  CREATE(.name = "\xe9", .flags = LV_POOL_CPUS, .cpus[0] = 1));
	EXPECT_EQ(-EINVAL,
		  CREATE(.name = "x", .flags = LV_POOL_CPUS | 8, .cpus[0] = 1));
	EXPECT_EQ(-EINVAL, CREATE(.name = "x", .flags = LV_POOL_CPUS,
				  .reserved = 1, .cpus[0] = 1));
	EXPECT_EQ(-EINVAL, CREATE(.name = "x", .flags = LV_POOL_CPUS));
	EXPECT_EQ(-EINVAL, CREATE(.name = "x", .flags = LV_POOL_CPUS,
				  .cpus[LV_CPU_WORDS - 1] = 1ull << 63));
	EXPECT_EQ(-EEXIST,
		  CREATE(.name = "first", .flags = LV_POOL_CPUS, .cpus[0] = 1));
	EXPECT_EQ(-EBUSY,
		  CREATE(.name = "x", .flags = LV_POOL_CPUS, .cpus[0] = 1));
	pool_delete(self->fd, self->pool);
	EXPECT_EQ(-ENOENT, pool_create(self->fd, "x", "none", 1, 0));
	EXPECT_EQ(-EINVAL, pool_create(self->fd, "x", "", 1, 0));
	EXPECT_EQ(-EINVAL,
		  pool_create(self->fd, "x", "0123456789abcdef", 1, 0));
	/* None of it has left a pool, or kept the CPU. */
	self->pool = pool_create(self->fd, "x", NULL, 1, 0);
	EXPECT_LT(0, (int)self->pool);
}

/* Who writes to @page waits until fail_write(). */
static int hold_writes(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (uintptr_t)page, PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect protect = {
		.range = range.range,
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &range) ||
	    ioctl(fd, UFFDIO_WRITEPROTECT, &protect))
		die("userfaultfd: %m");
	return fd;
}

/* Who waits finds that the page is not to be written to. */
static void fail_write(int fd, void *page)
{
	struct uffdio_range range = { (uintptr_t)page, PAGE_SIZE };

	if (mprotect(page, PAGE_SIZE, PROT_READ) ||
	    ioctl(fd, UFFDIO_WAKE, &range))
		die("mprotect: %m");
	close(fd);
}

struct creator {
	int fd;
	struct lv_pool_config *config;
	int result;
};

static void *create_it(void *arg)
{
	struct creator *c = arg;

	c->result = dev_ioctl(c->fd, LV_POOL_CREATE, c->config);
	return NULL;
}

/* Who cannot be told the number gets no pool, even if a VM found its way there. */
TEST_F(sched, create_untold)
{
	struct lv_pool_config *config = map_memory(PAGE_SIZE);
	struct creator creator = { .fd = self->fd, .config = config };
	struct vm *vm = vm_new();
	struct uffd_msg message;
	pthread_t thread;
	int fault;
	u32 id;

	*config = (struct lv_pool_config){
		.size = sizeof(*config),
		.flags = LV_POOL_CPUS | LV_POOL_POLICY,
		.name = "untold",
		.policy = "rr",
		.cpus[0] = 1,
	};
	id = self->pool + 1;
	ASSERT_EQ(0, pool_delete(self->fd, self->pool));
	fault = hold_writes(config);
	pthread_create(&thread, NULL, create_it, &creator);
	ASSERT_EQ(sizeof(message), read(fault, &message, sizeof(message)));
	EXPECT_EQ(0, strcmp("untold", pool_info(self->fd, id).name));
	EXPECT_EQ(0, attach(self->fd, vm_newest(self->fd).id, 0, id));
	fail_write(fault, config);
	pthread_join(thread, NULL);
	EXPECT_EQ(-EFAULT, creator.result);
	EXPECT_EQ(0, vm_newest(self->fd).pool);
	self->pool = pool_create(self->fd, "untold", NULL, 1, 0);
	EXPECT_LT(id, self->pool);
	vm_free(vm);
	munmap(config, PAGE_SIZE);
}

TEST_F(sched, set_refused)
{
	struct lv_pool_info before = pool_info(self->fd, self->pool), after;
	u32 id = self->pool;

	EXPECT_EQ(-ENOENT, CHANGE(.id = id + 1));
	EXPECT_EQ(-EINVAL,
		  CHANGE(.id = 0, .flags = LV_POOL_SLICE, .slice_ns = 1000000));
	EXPECT_EQ(-EINVAL,
		  CHANGE(.id = 0, .flags = LV_POOL_CPUS, .cpus[0] = 1));
	EXPECT_EQ(-EINVAL, pool_set_policy(self->fd, 0, "rr"));
	EXPECT_EQ(-EINVAL, CHANGE(.id = id, .flags = 8));
	EXPECT_EQ(-EINVAL, CHANGE(.id = id, .reserved = 1));
	EXPECT_EQ(-EINVAL, CHANGE(.id = id, .flags = LV_POOL_CPUS));
	EXPECT_EQ(-EINVAL, CHANGE(.id = id, .flags = LV_POOL_SLICE));
	EXPECT_EQ(-EINVAL,
		  CHANGE(.id = id, .flags = LV_POOL_SLICE, .slice_ns = 49999));
	EXPECT_EQ(-EINVAL, CHANGE(.id = id, .flags = LV_POOL_SLICE,
				  .slice_ns = 10000000001));
	EXPECT_EQ(-EINVAL, pool_set_policy(self->fd, id, ""));
	EXPECT_EQ(-ENOENT, pool_set_policy(self->fd, id, "none"));
	/* One bad wish spoils the others. */
	EXPECT_EQ(-ENOENT,
		  CHANGE(.id = id, .flags = LV_POOL_SLICE | LV_POOL_POLICY,
			 .slice_ns = 1000000, .policy = "none"));
	EXPECT_EQ(-EINVAL,
		  CHANGE(.id = id, .flags = LV_POOL_CPUS | LV_POOL_POLICY,
			 .policy = "rr"));
	after = pool_info(self->fd, id);
	after.now_ns = before.now_ns;
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(after)));
}

TEST_F(sched, set)
{
	struct lv_pool_info info;
	u64 switches = pool_info(self->fd, self->pool).switches;

	ASSERT_EQ(0, CHANGE(.id = self->pool,
			    .flags = LV_POOL_SLICE | LV_POOL_POLICY,
			    .slice_ns = 50000, .policy = "rr"));
	info = pool_info(self->fd, self->pool);
	EXPECT_EQ(50000, info.slice_ns);
	EXPECT_EQ(0, strcmp("rr", info.policy));
	EXPECT_EQ(switches + 1, info.switches);
	ASSERT_EQ(0, CHANGE(.id = self->pool, .flags = LV_POOL_SLICE,
			    .slice_ns = 10000000000));
	EXPECT_EQ(10000000000, pool_info(self->fd, self->pool).slice_ns);
	EXPECT_EQ(0, CHANGE(.id = self->pool));
	EXPECT_EQ(0, pool_set_policy(self->fd, self->pool, "host"));
}

TEST_F(sched, cpus)
{
	int other;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "the lab host has one CPU");
	other = pool_create(self->fd, "other", "rr", 2, 0);
	ASSERT_LT(0, other);
	EXPECT_EQ(-EBUSY, CHANGE(.id = self->pool, .flags = LV_POOL_CPUS,
				 .cpus[0] = 3));
	EXPECT_EQ(1, pool_info(self->fd, self->pool).cpus[0]);
	ASSERT_EQ(0, pool_delete(self->fd, other));
	ASSERT_EQ(0, CHANGE(.id = self->pool, .flags = LV_POOL_CPUS,
			    .cpus[0] = 3));
	EXPECT_EQ(2, pool_info(self->fd, self->pool).nr_cpus);
	EXPECT_EQ(-EBUSY, pool_create(self->fd, "other", "rr", 2, 0));
	/* A change that fails in its second half is undone. */
	EXPECT_EQ(-ENOENT,
		  CHANGE(.id = self->pool, .cpus[0] = 2, .policy = "none",
			 .flags = LV_POOL_CPUS | LV_POOL_POLICY));
	EXPECT_EQ(3, pool_info(self->fd, self->pool).cpus[0]);
	ASSERT_EQ(0, CHANGE(.id = self->pool, .flags = LV_POOL_CPUS,
			    .cpus[0] = 2));
	EXPECT_EQ(2, pool_info(self->fd, self->pool).cpus[0]);
}

TEST_F(sched, delete_refused)
{
	struct vm *vm = vm_new();
	u32 id = vm_newest(self->fd).id;

	EXPECT_EQ(-EINVAL, pool_delete(self->fd, 0));
	EXPECT_EQ(-ENOENT, pool_delete(self->fd, self->pool + 1));
	ASSERT_EQ(0, attach(self->fd, id, 0, self->pool));
	EXPECT_EQ(-EBUSY, pool_delete(self->fd, self->pool));
	vm_free(vm);
	EXPECT_EQ(0, pool_info(self->fd, self->pool).nr_vms);
}

static int many_pools(int fd, u32 unused)
{
	return pool_create(fd, "many", NULL, 1, 0);
}

static int change_pool(int fd, u32 id)
{
	return pool_set_policy(fd, id, "rr");
}

static int delete_pool(int fd, u32 id)
{
	return pool_delete(fd, id);
}

static int list_all(int fd, u32 id)
{
	return dev_ioctl(fd, LV_POOL_INFO, ARG(lv_pool_info)) ?:
	       dev_ioctl(fd, LV_POLICY_INFO, ARG(lv_policy_info)) ?:
	       dev_ioctl(fd, LV_VM_INFO, ARG(lv_vm_info)) ?:
	       dev_ioctl(fd, LV_VCPU_INFO, ARG(lv_vcpu_info, .vm = id)) ?:
	       dev_ioctl(fd, LV_EXIT_INFO, ARG(lv_exit_info));
}

TEST_F(sched, pools_of_others)
{
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);

	EXPECT_EQ(-EPERM, as_nobody(many_pools, self->fd, 0));
	EXPECT_EQ(-EPERM, as_nobody(change_pool, self->fd, self->pool));
	EXPECT_EQ(-EPERM, as_nobody(delete_pool, self->fd, self->pool));
	EXPECT_EQ(0, as_nobody(list_all, self->fd, vm_newest(self->fd).id));
	vcpu_free(vcpu);
	vm_free(vm);
}

/* ---- VMs ---- */

TEST_F(sched, vms)
{
	struct vm *a = vm_new(), *b;
	struct lv_vm_info info = vm_newest(self->fd);
	struct vcpu *vcpu;
	u32 id = info.id;

	EXPECT_EQ(0, info.pool);
	EXPECT_EQ(getpid(), info.pid);
	EXPECT_EQ(getuid(), info.uid);
	EXPECT_EQ(0, info.nr_vcpus);
	EXPECT_EQ(0, strcmp("sched_api", info.comm));
	EXPECT_EQ(256, info.params.weight);
	EXPECT_EQ(0, info.params.cap);
	EXPECT_EQ(0, info.params.period_ns);
	b = vm_new();
	EXPECT_EQ(id + 1, vm_newest(self->fd).id);
	vcpu = vcpu_new(b, 3);
	EXPECT_EQ(1, vm_info(self->fd, id + 1).nr_vcpus);
	EXPECT_EQ(3, vcpu_info(self->fd, id + 1, 0).vcpu);
	vcpu_free(vcpu);
	vm_free(b);
	info.id = id + 1;
	EXPECT_EQ(-ENOENT, dev_ioctl(self->fd, LV_VM_INFO, &info));
	vm_free(a);
}

TEST_F(sched, attach_refused)
{
	struct vm *vm = vm_new();
	u32 id = vm_newest(self->fd).id;

	EXPECT_EQ(-EINVAL, attach(self->fd, 0, 0, self->pool));
	EXPECT_EQ(-EINVAL, attach(self->fd, id, getpid(), self->pool));
	EXPECT_EQ(-EINVAL, attach(self->fd, 0, -1, self->pool));
	EXPECT_EQ(-ENOENT, attach(self->fd, id, 0, self->pool + 1));
	EXPECT_EQ(-ENOENT, attach(self->fd, id + 1, 0, self->pool));
	EXPECT_EQ(-ESRCH, attach(self->fd, 0, 1, self->pool));
	EXPECT_EQ(0, vm_info(self->fd, id).pool);
	vm_free(vm);
}

TEST_F(sched, attach_by_process)
{
	struct vm *a = vm_new(), *b = vm_new();
	u32 id = vm_newest(self->fd).id;

	ASSERT_EQ(0, attach(self->fd, 0, getpid(), self->pool));
	EXPECT_EQ(self->pool, vm_info(self->fd, id).pool);
	EXPECT_EQ(self->pool, vm_info(self->fd, id - 1).pool);
	EXPECT_EQ(2, pool_info(self->fd, self->pool).nr_vms);
	ASSERT_EQ(0, attach(self->fd, id, 0, 0));
	EXPECT_EQ(1, pool_info(self->fd, self->pool).nr_vms);
	vm_free(a);
	vm_free(b);
}

static int attach_home(int fd, u32 id)
{
	return attach(fd, id, 0, 0);
}

static int lower_weight(int fd, u32 id)
{
	return VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_WEIGHT, .weight = 1);
}

/* A user's own VM, in the pool @pool: what is allowed and what is not. */
static int own_vm(int fd, u32 pool)
{
	int vm = ioctl(fd, KVM_CREATE_VM, 0);
	u32 id;

	if (vm < 0)
		return -errno;
	id = vm_newest(fd).id;
	if (vm_info(fd, id).uid != NOBODY)
		return -EIO;
	if (attach(fd, id, 0, pool) || vm_info(fd, id).pool != pool)
		return -EXDEV;
	if (VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_WEIGHT | LV_PARAM_CAP,
		   .weight = 200, .cap = 50))
		return -ERANGE;
	if (VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_GROUP | LV_PARAM_CAP,
		   .group = 1, .cap = 40))
		return -EDOM;
	if (VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_WEIGHT, .weight = 201) !=
		    -EPERM ||
	    VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_CAP, .cap = 41) != -EPERM ||
	    VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_CAP, .cap = 0) != -EPERM)
		return -EACCES;
	if (VM_SET(fd, id, LV_ALL_VCPUS, LV_PARAM_DEADLINE,
		   .period_ns = 1000000, .budget_ns = 100000) != -EPERM)
		return -ETIME;
	return vm_info(fd, id).params.weight == 200 ? 0 : -EILSEQ;
}

TEST_F(sched, vms_of_others)
{
	struct vm *vm = vm_new();
	u32 id = vm_newest(self->fd).id;

	EXPECT_EQ(-EPERM, as_nobody(attach_home, self->fd, id));
	EXPECT_EQ(-EPERM, as_nobody(lower_weight, self->fd, id));
	EXPECT_EQ(256, vm_info(self->fd, id).params.weight);
	EXPECT_EQ(0, as_nobody(own_vm, self->fd, self->pool));
	vm_free(vm);
}

TEST_F(sched, params)
{
	struct vm *vm = vm_new();
	struct vcpu *a = vcpu_new(vm, 0), *b = vcpu_new(vm, 5), *c;
	u32 id = vm_newest(self->fd).id, all = LV_ALL_VCPUS;
	struct lv_vm_params p;

	ASSERT_EQ(0, VM_SET(self->fd, id, all, LV_PARAM_WEIGHT | LV_PARAM_CAP,
			    .weight = 65535, .cap = 25500, .group = 9));
	ASSERT_EQ(0,
		  VM_SET(self->fd, id, all, LV_PARAM_DEADLINE,
			 .period_ns = 10000000000, .budget_ns = 10000000000));
	ASSERT_EQ(0, VM_SET(self->fd, id, 5, LV_PARAM_DEADLINE,
			    .period_ns = 500000, .budget_ns = 50000));
	ASSERT_EQ(0, VM_SET(self->fd, id, all, LV_PARAM_WEIGHT, .weight = 1));
	p = vm_info(self->fd, id).params;
	EXPECT_EQ(1, p.weight);
	EXPECT_EQ(25500, p.cap);
	EXPECT_EQ(0, p.group);
	EXPECT_EQ(10000000000, p.period_ns);
	EXPECT_EQ(10000000000, p.budget_ns);
	/* What only one vCPU has survives what all get. */
	EXPECT_EQ(10000000000, vcpu_info(self->fd, id, 0).period_ns);
	EXPECT_EQ(500000, vcpu_info(self->fd, id, 1).period_ns);
	EXPECT_EQ(50000, vcpu_info(self->fd, id, 1).budget_ns);
	c = vcpu_new(vm, 1);
	EXPECT_EQ(10000000000, vcpu_info(self->fd, id, 2).period_ns);
	ASSERT_EQ(0, VM_SET(self->fd, id, all, LV_PARAM_DEADLINE));
	EXPECT_EQ(0, vcpu_info(self->fd, id, 1).period_ns);
	EXPECT_EQ(0, VM_SET(self->fd, id, all, 0));
	vcpu_free(a);
	vcpu_free(b);
	vcpu_free(c);
	vm_free(vm);
}

TEST_F(sched, params_refused)
{
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 2);
	struct lv_vm_info before, after;
	u32 id = vm_newest(self->fd).id, all = LV_ALL_VCPUS;
	int fd = self->fd;

	before = vm_info(fd, id);
	EXPECT_EQ(-ENOENT, VM_SET(fd, id + 1, all, 0));
	EXPECT_EQ(-ENOENT, VM_SET(fd, 0, all, 0));
	EXPECT_EQ(-ENOENT, VM_SET(fd, id, 0, 0));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, 16));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, 0, .reserved = 1));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, 2, LV_PARAM_WEIGHT, .weight = 1));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, 2, LV_PARAM_CAP, .cap = 1));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, LV_PARAM_WEIGHT));
	EXPECT_EQ(-EINVAL,
		  VM_SET(fd, id, all, LV_PARAM_WEIGHT, .weight = 65536));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, LV_PARAM_CAP, .cap = 25501));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, LV_PARAM_DEADLINE,
				  .period_ns = 499999, .budget_ns = 100000));
	EXPECT_EQ(-EINVAL,
		  VM_SET(fd, id, all, LV_PARAM_DEADLINE,
			 .period_ns = 10000000001, .budget_ns = 100000));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, LV_PARAM_DEADLINE,
				  .period_ns = 1000000, .budget_ns = 49999));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, LV_PARAM_DEADLINE,
				  .period_ns = 1000000, .budget_ns = 1000001));
	EXPECT_EQ(-EINVAL,
		  VM_SET(fd, id, all, LV_PARAM_DEADLINE, .budget_ns = 100000));
	EXPECT_EQ(-EINVAL, VM_SET(fd, id, all, LV_PARAM_WEIGHT | LV_PARAM_CAP,
				  .weight = 7, .cap = 25501));
	after = vm_info(fd, id);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(after)));
	vcpu_free(vcpu);
	vm_free(vm);
}

/* A policy that promises deadlines refuses to promise more than it can keep. */
TEST_F(sched, promises)
{
	struct vm *a = vm_new(), *b = vm_new();
	struct vcpu *va = vcpu_new(a, 0), *vb = vcpu_new(b, 0);
	u32 id = vm_newest(self->fd).id, all = LV_ALL_VCPUS;
	int fd = self->fd;

	if (!policy_exists(fd, "edf"))
		SKIP(goto out, "there is no policy edf");
	ASSERT_EQ(0, VM_SET(fd, id - 1, all, LV_PARAM_DEADLINE,
			    .period_ns = 10000000, .budget_ns = 6000000));
	ASSERT_EQ(0, VM_SET(fd, id, all, LV_PARAM_DEADLINE,
			    .period_ns = 10000000, .budget_ns = 6000000));
	ASSERT_EQ(0, attach(fd, id - 1, 0, self->pool));
	ASSERT_EQ(0, attach(fd, id, 0, self->pool));
	EXPECT_EQ(-ENOSPC, pool_set_policy(fd, self->pool, "edf"));
	EXPECT_EQ(0, strcmp("host", pool_info(fd, self->pool).policy));
	ASSERT_EQ(0, attach(fd, id, 0, 0));
	ASSERT_EQ(0, pool_set_policy(fd, self->pool, "edf"));
	EXPECT_EQ(-ENOSPC, attach(fd, id, 0, self->pool));
	EXPECT_EQ(0, vm_info(fd, id).pool);
	ASSERT_EQ(0, VM_SET(fd, id, all, LV_PARAM_DEADLINE,
			    .period_ns = 10000000, .budget_ns = 3000000));
	ASSERT_EQ(0, attach(fd, id, 0, self->pool));
	EXPECT_EQ(-ENOSPC, VM_SET(fd, id, all, LV_PARAM_DEADLINE,
				  .period_ns = 10000000, .budget_ns = 6000000));
	EXPECT_EQ(3000000, vm_info(fd, id).params.budget_ns);
	EXPECT_EQ(3000000, vcpu_info(fd, id, 0).budget_ns);
out:
	vcpu_free(va);
	vcpu_free(vb);
	vm_free(a);
	vm_free(b);
}

/* ---- guests that run ---- */

static volatile u32 *counter(struct vm *vm)
{
	return (volatile u32 *)(vm->mem + DATA_GPA);
}

static void wait_for_progress(struct vm *vm)
{
	u32 seen = *counter(vm);

	while (*counter(vm) == seen)
		sched_yield();
}

#define NR_VMS 3

static void start_counting(struct vm **vms, struct vcpu **vcpus)
{
	int i;

	for (i = 0; i < NR_VMS; i++) {
		vms[i] = vm_new();
		vcpus[i] = vcpu_new(vms[i], 0);
		VCPU_SNIPPET(vcpus[i], MODE_REAL, count_code);
		vcpu_start_run(vcpus[i]);
	}
}

static void stop_counting(struct vm **vms, struct vcpu **vcpus)
{
	int i;

	for (i = 0; i < NR_VMS; i++) {
		vcpu_kick(vcpus[i]);
		vcpu_join(vcpus[i]);
		vcpu_free(vcpus[i]);
		vm_free(vms[i]);
	}
}

/* Whatever is done to pools, all guests go on. */
TEST_F(sched, moved_while_running)
{
	struct vcpu *vcpus[NR_VMS];
	struct vm *vms[NR_VMS];
	u32 pools[3] = { 0, self->pool, 0 }, first;
	int i, other = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		other = pool_create(self->fd, "other", "rr", 2, 0);
	ASSERT_LE(0, other);
	pools[2] = other;
	ASSERT_EQ(0, pool_set_policy(self->fd, self->pool, "rr"));
	start_counting(vms, vcpus);
	first = vm_newest(self->fd).id - NR_VMS + 1;
	for (i = 0; i < 60; i++) {
		u32 vm = first + i % NR_VMS, pool = pools[(i / NR_VMS) % 3];

		ASSERT_EQ(0, attach(self->fd, vm, 0, pool));
		ASSERT_EQ(pool, vm_info(self->fd, vm).pool);
		wait_for_progress(vms[i % NR_VMS]);
	}
	stop_counting(vms, vcpus);
	if (other)
		EXPECT_EQ(0, pool_delete(self->fd, other));
}

/* Each policy there is, one after the other, under guests that never stop. */
TEST_F(sched, switched_while_running)
{
	struct lv_policy_info policy = { .size = sizeof(policy) };
	struct vcpu *vcpus[NR_VMS];
	struct vm *vms[NR_VMS];
	int i, round, err;

	start_counting(vms, vcpus);
	ASSERT_EQ(0, attach(self->fd, 0, getpid(), self->pool));
	for (round = 0; round < 20; round++) {
		if (dev_ioctl(self->fd, LV_POLICY_INFO, &policy)) {
			policy.index = 0;
			continue;
		}
		policy.index++;
		err = pool_set_policy(self->fd, self->pool, policy.name);
		/* It may not like so many vCPUs on one CPU. */
		if (err != -ENOSPC)
			ASSERT_EQ(0, err) TH_LOG("%s", policy.name);
		for (i = 0; i < NR_VMS; i++)
			wait_for_progress(vms[i]);
		EXPECT_EQ(0, strcmp("", pool_info(self->fd, self->pool).fault))
		TH_LOG("%s", policy.name);
	}
	stop_counting(vms, vcpus);
}

TEST_F(sched, counts)
{
	struct vcpu *vcpus[NR_VMS];
	struct vm *vms[NR_VMS];
	struct lv_vcpu_info before, after;
	u64 gone, spent = 0;
	u32 first;
	int i;

	ASSERT_EQ(0,
		  CHANGE(.id = self->pool, .policy = "rr", .slice_ns = 1000000,
			 .flags = LV_POOL_POLICY | LV_POOL_SLICE));
	start_counting(vms, vcpus);
	first = vm_newest(self->fd).id - NR_VMS + 1;
	ASSERT_EQ(0, attach(self->fd, 0, getpid(), self->pool));
	for (i = 0; i < NR_VMS; i++)
		wait_for_progress(vms[i]);
	before = vcpu_info(self->fd, first, 0);
	for (i = 0; i < NR_VMS; i++)
		wait_for_progress(vms[i]);
	/* Until it lost its CPU at the end of a slice, waited, and got it back. */
	do {
		after = vcpu_info(self->fd, first, 0);
	} while (after.stops[1] == before.stops[1] ||
		 after.time_ns[3] == before.time_ns[3] ||
		 after.dispatches == before.dispatches);
	EXPECT_LE(1, after.state);
	EXPECT_GE(3, after.state);
	EXPECT_EQ(0, after.cpu);
	EXPECT_LT(0, after.tid);
	EXPECT_NE(getpid(), after.tid);
	EXPECT_EQ(0, after.migrations);
	EXPECT_LT(before.ran_ns, after.ran_ns);
	EXPECT_LT(before.time_ns[0], after.time_ns[0]);
	EXPECT_LT(before.exits, after.exits);
	/* All of the time between the two goes somewhere. */
	gone = after.now_ns - before.now_ns;
	for (i = 0; i < LV_INFO_TIMES; i++)
		spent += after.time_ns[i] - before.time_ns[i];
	EXPECT_EQ(gone, spent);
	EXPECT_LT(0, pool_info(self->fd, self->pool).busy_ns);
	stop_counting(vms, vcpus);
	EXPECT_EQ(-ENOENT, dev_ioctl(self->fd, LV_VCPU_INFO,
				     ARG(lv_vcpu_info, .vm = first)));
}

/* A signal ends its halt, and an interrupt comes when no thread is there to run it. */
TEST_F(sched, not_halted_in_user_space)
{
	struct kvm_msi nmi = { .address_lo = APIC_GPA, .data = 4 << 8 };
	struct lv_vcpu_info info;
	struct vcpu *vcpu;
	struct vm *vm;
	u32 id;

	ASSERT_EQ(0, pool_set_policy(self->fd, self->pool, "rr"));
	vm = vm_new_irqchip();
	vcpu = vcpu_new(vm, 0);
	VCPU_SNIPPET(vcpu, MODE_REAL, halt_code);
	id = vm_newest(self->fd).id;
	ASSERT_EQ(0, attach(self->fd, id, 0, self->pool));
	vcpu_start_run(vcpu);
	do {
		info = vcpu_info(self->fd, id, 0);
	} while (!info.stops[4]);
	EXPECT_EQ(1, info.state);
	vcpu_kick(vcpu);
	EXPECT_EQ(-EINTR, vcpu_join(vcpu));
	MUST(vm->fd, KVM_SIGNAL_MSI, &nmi);
	EXPECT_EQ(1, vcpu_info(self->fd, id, 0).state);
	vcpu_free(vcpu);
	vm_free(vm);
}

TEST_F(sched, exits)
{
	struct lv_exit_info name = { .size = sizeof(name) };
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	u32 id = vm_newest(self->fd).id, io = ~0u;

	for (; !dev_ioctl(self->fd, LV_EXIT_INFO, &name); name.index++) {
		ASSERT_GT(LV_INFO_EXITS, name.index);
		if (!strcmp(name.name, "io"))
			io = name.index;
	}
	ASSERT_NE(~0u, io);
	EXPECT_EQ(0, vcpu_info(self->fd, id, 0).exit_reason[io]);
	VCPU_SNIPPET(vcpu, MODE_REAL, port_code);
	ASSERT_EXIT(KVM_EXIT_IO, vcpu);
	ASSERT_EXIT(KVM_EXIT_IO, vcpu);
	EXPECT_EQ(2, vcpu_info(self->fd, id, 0).exit_reason[io]);
	EXPECT_LE(2, vcpu_info(self->fd, id, 0).exits);
	EXPECT_EQ(-ENOENT, dev_ioctl(self->fd, LV_VCPU_INFO,
				     ARG(lv_vcpu_info, .vm = id, .index = 1)));
	EXPECT_EQ(-ENOENT, dev_ioctl(self->fd, LV_VCPU_INFO,
				     ARG(lv_vcpu_info, .vm = 0)));
	vcpu_free(vcpu);
	vm_free(vm);
}

TEST_HARNESS_MAIN
