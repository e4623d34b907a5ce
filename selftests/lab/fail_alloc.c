// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation, and every copy from and to user space, fails once: the call
 * gives a clear errno and has changed nothing, for the same call then works and
 * so does all that follows.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include "guest.h"
#include "pool.h"
#include <kselftest_harness.h>

#define FAIL_NTH "/proc/thread-self/fail-nth"
#define FAULT_DIR "/sys/kernel/debug/"
#define MEMORY (4 * MIB)
#define MAX_POINTS 5000

/* Touches pages here and there, the local APIC, a port and an ioeventfd. */
SNIPPET(32, guest_code,
	"mov $0x100000, %edi\n"
	"1: movl $1, (%edi)\n"
	"add $0x10000, %edi\n"
	"cmp $0x400000, %edi\n"
	"jb 1b\n"
	"mov 0xfee00030, %eax\n"
	"out %eax, $0x90\n"
	"out %eax, $0x80\n"
	"hlt\n");

struct world {
	u8 *mem;
	struct kvm_cpuid2 *cpuid;
	int sys, vm, vcpu, event, line;
	bool has_pools; /* KVM has none */
	u32 pool;
	struct kvm_run *run;
	size_t run_size;
};

/* ---- the steps of a life, each of which gives 0 or -errno ---- */

static int take_fd(int *fd, int ret)
{
	if (ret >= 0)
		*fd = ret;
	return ret < 0 ? ret : 0;
}

static int open_device(struct world *w)
{
	int fd = open(lab_device(), O_RDWR | O_CLOEXEC);

	return take_fd(&w->sys, fd < 0 ? -errno : fd);
}

static int create_vm(struct world *w)
{
	return take_fd(&w->vm, dev_ioctl_value(w->sys, KVM_CREATE_VM, 0));
}

static int set_tss(struct world *w)
{
	return dev_ioctl_value(w->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
}

static int create_irqchip(struct world *w)
{
	return dev_ioctl_value(w->vm, KVM_CREATE_IRQCHIP, 0);
}

static int create_pit(struct world *w)
{
	struct kvm_pit_config config = {};

	return dev_ioctl(w->vm, KVM_CREATE_PIT2, &config);
}

static int set_routing(struct world *w)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = {
			.gsi = 5,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { KVM_IRQCHIP_IOAPIC, 5 },
		},
	};

	return dev_ioctl(w->vm, KVM_SET_GSI_ROUTING, &routing);
}

static int region(struct world *w, u32 slot, u32 flags, u64 gpa, u64 size)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)w->mem,
	};

	return dev_ioctl(w->vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static int add_memory(struct world *w)
{
	return region(w, 0, 0, 0, MEMORY);
}

static int log_memory(struct world *w)
{
	return region(w, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEMORY);
}

static int add_second(struct world *w)
{
	return region(w, 1, 0, 2 * MEMORY, MEMORY);
}

static int move_second(struct world *w)
{
	return region(w, 1, 0, 4 * MEMORY, MEMORY);
}

static int remove_second(struct world *w)
{
	return region(w, 1, 0, 0, 0);
}

static int read_log(struct world *w)
{
	static u64 bitmap[MEMORY / PAGE_SIZE / 64];
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };

	return dev_ioctl(w->vm, KVM_GET_DIRTY_LOG, &log);
}

static int add_event(struct world *w)
{
	struct kvm_ioeventfd event = {
		.addr = 0x90,
		.len = 4,
		.fd = w->event,
		.flags = KVM_IOEVENTFD_FLAG_PIO,
	};

	return dev_ioctl(w->vm, KVM_IOEVENTFD, &event);
}

static int add_line(struct world *w)
{
	struct kvm_irqfd line = { .fd = w->line, .gsi = 5 };

	return dev_ioctl(w->vm, KVM_IRQFD, &line);
}

static int add_coalesced(struct world *w)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO_GPA, .size = 64 };

	return dev_ioctl(w->vm, KVM_REGISTER_COALESCED_MMIO, &zone);
}

static int create_vcpu(struct world *w)
{
	return take_fd(&w->vcpu, dev_ioctl_value(w->vm, KVM_CREATE_VCPU, 0));
}

static int map_run(struct world *w)
{
	w->run_size = MUST(w->sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	w->run = mmap(NULL, w->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      w->vcpu, 0);
	return w->run == MAP_FAILED ? -errno : 0;
}

static int set_cpuid(struct world *w)
{
	return dev_ioctl(w->vcpu, KVM_SET_CPUID2, w->cpuid);
}

static int set_sregs(struct world *w)
{
	struct kvm_sregs s;
	int ret = dev_ioctl(w->vcpu, KVM_GET_SREGS, &s);

	if (ret)
		return ret;
	s.cr0 |= X86_CR0_PE;
	s.cs.base = 0;
	s.cs.selector = 8;
	s.cs.limit = 0xffffffff;
	s.cs.g = s.cs.db = 1;
	s.ds.limit = 0xffffffff;
	s.ds.selector = 16;
	s.ds.g = s.ds.db = 1;
	s.es = s.ss = s.ds;
	return dev_ioctl(w->vcpu, KVM_SET_SREGS, &s);
}

static int set_regs(struct world *w)
{
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2 };

	return dev_ioctl(w->vcpu, KVM_SET_REGS, &regs);
}

static int set_msr(struct world *w)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = MSR_SYSENTER_CS };
	int ret = dev_ioctl(w->vcpu, KVM_SET_MSRS, &msrs);

	return ret == 1 ? 0 : ret ? ret : -EINVAL;
}

static int move_xsave(struct world *w)
{
	struct kvm_xsave xsave;
	int ret = dev_ioctl(w->vcpu, KVM_GET_XSAVE, &xsave);

	return ret ? ret : dev_ioctl(w->vcpu, KVM_SET_XSAVE, &xsave);
}

static int move_lapic(struct world *w)
{
	struct kvm_lapic_state lapic;
	int ret = dev_ioctl(w->vcpu, KVM_GET_LAPIC, &lapic);

	return ret ? ret : dev_ioctl(w->vcpu, KVM_SET_LAPIC, &lapic);
}

static int filter_msrs(struct world *w)
{
	u8 bits = 0;
	struct kvm_msr_filter filter = {
		.ranges[1] = { .flags = KVM_MSR_FILTER_READ,
			       .nmsrs = 3,
			       .base = MSR_STAR,
			       .bitmap = &bits },
	};

	return dev_ioctl(w->vm, KVM_X86_SET_MSR_FILTER, &filter);
}

static int open_stats(struct world *w)
{
	int fd = dev_ioctl_value(w->vcpu, KVM_GET_STATS_FD, 0);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int run_guest(struct world *w)
{
	int ret = dev_ioctl(w->vcpu, KVM_RUN, NULL);

	if (ret)
		return ret;
	if (w->run->exit_reason != KVM_EXIT_IO || w->run->io.port != 0x80)
		die("exit %u", w->run->exit_reason);
	return 0;
}

static int pool_call(struct world *w, unsigned long cmd, void *arg)
{
	return w->has_pools ? dev_ioctl(w->sys, cmd, arg) : 0;
}

static int create_pool(struct world *w)
{
	struct lv_pool_config config = {
		.size = sizeof(config),
		.flags = LV_POOL_CPUS | LV_POOL_POLICY,
		.name = "first",
		.policy = "rr",
		.cpus[0] = 1,
	};
	int ret = pool_call(w, LV_POOL_CREATE, &config);

	w->pool = ret ? 0 : config.id;
	return ret;
}

static int attach_to(struct world *w, u32 pool)
{
	struct lv_vm_attach attach = {
		.size = sizeof(attach),
		.pid = getpid(),
		.pool = pool,
	};

	return pool_call(w, LV_VM_ATTACH, &attach);
}

static int enter_pool(struct world *w)
{
	return attach_to(w, w->pool);
}

static int leave_pool(struct world *w)
{
	return attach_to(w, 0);
}

static int delete_pool(struct world *w)
{
	struct lv_pool_id id = { .size = sizeof(id), .id = w->pool };
	int ret = pool_call(w, LV_POOL_DELETE, &id);

	if (!ret)
		w->pool = 0;
	return ret;
}

#define STEP(fn)         \
	{                \
#fn, fn, \
	}
static const struct step {
	const char *name;
	int (*fn)(struct world *w);
} steps[] = {
	STEP(open_device),    STEP(create_vm),	 STEP(set_tss),
	STEP(create_irqchip), STEP(create_pit),	 STEP(set_routing),
	STEP(add_memory),     STEP(add_second),	 STEP(move_second),
	STEP(add_event),      STEP(add_line),	 STEP(add_coalesced),
	STEP(create_vcpu),    STEP(map_run),	 STEP(set_cpuid),
	STEP(set_sregs),      STEP(set_regs),	 STEP(set_msr),
	STEP(move_xsave),     STEP(move_lapic),	 STEP(create_pool),
	STEP(enter_pool),     STEP(run_guest),	 STEP(leave_pool),
	STEP(delete_pool),    STEP(set_regs),	 STEP(log_memory),
	STEP(run_guest),      STEP(read_log),	 STEP(remove_second),
	STEP(filter_msrs),    STEP(filter_msrs), STEP(open_stats),
	STEP(set_regs),	      STEP(run_guest),
};

/* ---- failing ---- */

static int fail_nth = -1;

static int write_nth(const char *text)
{
	return pwrite(fail_nth, text, strlen(text), 0) < 0 ? -errno : 0;
}

static void arm(unsigned int n)
{
	char text[16];

	sprintf(text, "%u", n);
	if (write_nth(text))
		die(FAIL_NTH ": %m");
}

/*
 * Disarm; has a point failed? Copies for the file itself are points, too: once
 * one of them fails nothing is armed any more.
 */
static bool has_failed(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) < 0)
		return false;
	write_nth("0");
	return atoi(text) == 0;
}

static const char *const knobs[][2] = {
	{ "failslab/ignore-gfp-wait", "N" },
	{ "failslab/verbose", "0" },
	{ "fail_page_alloc/ignore-gfp-wait", "N" },
	{ "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ "fail_page_alloc/min-order", "0" },
	{ "fail_page_alloc/verbose", "0" },
	{ "fail_usercopy/verbose", "0" },
};

static bool set_up_faults(void)
{
	char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(knobs); i++) {
		sprintf(path, FAULT_DIR "%s", knobs[i][0]);
		if (!access(path, F_OK) && write_text(path, knobs[i][1]))
			die("%s: cannot set it", path);
	}
	fail_nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	return fail_nth >= 0;
}

static bool is_clear(int err)
{
	return err == -ENOMEM || err == -EFAULT || err == -ENFILE;
}

static void end_world(struct world *w)
{
	if (w->run && w->run != MAP_FAILED)
		munmap(w->run, w->run_size);
	if (w->pool) {
		leave_pool(w);
		delete_pool(w);
	}
	if (w->vcpu > 0)
		close(w->vcpu);
	if (w->vm > 0)
		close(w->vm);
	if (w->sys > 0)
		close(w->sys);
	close(w->event);
	close(w->line);
}

/* One life with its @n-th point failing. Was there one? */
static bool live(struct __test_metadata *_metadata, struct world *w,
		 unsigned int n)
{
	const struct step *step;
	bool failed = false;
	int ret;

	w->sys = w->vm = w->vcpu = 0;
	w->pool = 0;
	w->run = NULL;
	w->event = eventfd(0, EFD_CLOEXEC);
	w->line = eventfd(0, EFD_CLOEXEC);
	arm(n);
	for (step = steps; step < steps + ARRAY_LEN(steps); step++) {
		ret = step->fn(w);
		if (!ret)
			continue;
		EXPECT_FALSE(failed);
		failed = has_failed();
		EXPECT_TRUE(failed)
		TH_LOG("point %u, %s: %d although nothing failed", n,
		       step->name, ret);
		EXPECT_TRUE(is_clear(ret))
		TH_LOG("point %u, %s: errno %d", n, step->name, -ret);
		ret = step->fn(w);
		ASSERT_EQ(0, ret)
		TH_LOG("point %u, %s: not even the second time", n, step->name);
	}
	/* What ends a world must not need memory, or do without. */
	end_world(w);
	return failed || has_failed();
}

FIXTURE(fail_alloc)
{
	struct world world;
};

FIXTURE_SETUP(fail_alloc)
{
	int sys = lab_open();

	self->world.mem = map_memory(MEMORY);
	self->world.cpuid = supported_cpuid(sys);
	self->world.has_pools = lab_is_labvisor();
	memcpy(self->world.mem + CODE_GPA, guest_code,
	       guest_code_end - guest_code);
	close(sys);
}

FIXTURE_TEARDOWN(fail_alloc)
{
	munmap(self->world.mem, MEMORY);
}

TEST_F_TIMEOUT(fail_alloc, each_point_once, 280)
{
	unsigned int n;

	if (!set_up_faults())
		SKIP(return, "this kernel fails nothing on purpose "
			     "(CONFIG_FAULT_INJECTION)");
	for (n = 1; n < MAX_POINTS; n++)
		if (!live(_metadata, &self->world, n))
			break;
	printf("# %u points\n", n - 1);
	EXPECT_LT(20, n);
	EXPECT_GT(MAX_POINTS, n);
}

TEST_HARNESS_MAIN
