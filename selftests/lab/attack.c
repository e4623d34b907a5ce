// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests and programs that do anything at all. What they get is their own
 * affair; KVM_RUN has to return when a signal comes, and the host has to be in
 * order afterwards. ATTACK_SECONDS in the environment makes it longer, and
 * ATTACK_SEED repeats a run.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include "guest.h"
#include "pool.h"
#include <kselftest_harness.h>

#define CODE_BYTES 0x4000u

static void on_alarm(int signal)
{
}

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static __thread timer_t ticker;

/* Interrupt whatever this thread is at, every few milliseconds. */
static void start_ticking(void)
{
	const struct itimerspec tick = { { 0, 3000000 }, { 0, 3000000 } };
	struct sigaction action = { .sa_handler = on_alarm };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGALRM,
		._sigev_un._tid = gettid(),
	};

	sigaction(SIGALRM, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &ticker) ||
	    timer_settime(ticker, 0, &tick, NULL))
		die("timer: %m");
}

static void stop_ticking(void)
{
	timer_delete(ticker);
}

static void randomize(void *data, size_t size)
{
	u32 *word = data;

	for (; size >= 4; size -= 4)
		*word++ = (u32)random() << 16 ^ random();
}

static void seed(void)
{
	unsigned int value = lab_param("ATTACK_SEED", 0);

	if (!value)
		value = time(NULL);
	printf("# ATTACK_SEED=%u\n", value);
	srandom(value);
}

static void check_fresh_guest(void)
{
	static const u8 code[] = { 0xe6, 0x80 }; /* OUT */
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);

	vcpu_load(vcpu, MODE_REAL, code, code + sizeof(code));
	if (vcpu_exit(vcpu) != KVM_EXIT_IO)
		die("a new guest does not run: %s", vcpu_describe(vcpu));
	vcpu_free(vcpu);
	vm_free(vm);
}

/* Random bytes as a guest */

FIXTURE(attack){};

FIXTURE_VARIANT(attack)
{
	enum mode mode;
	bool irqchip;
};

#define VARIANT(name, mode_, irqchip_)              \
	FIXTURE_VARIANT_ADD(attack, name)           \
	{                                           \
		.mode = mode_, .irqchip = irqchip_, \
	}
VARIANT(real, MODE_REAL, false);
VARIANT(real_irqchip, MODE_REAL, true);
VARIANT(protected, MODE_PROT, false);
VARIANT(protected_irqchip, MODE_PROT, true);
VARIANT(paged, MODE_PAE, false);
VARIANT(paged_irqchip, MODE_PAE, true);
VARIANT(long, MODE_LONG, false);
VARIANT(long_irqchip, MODE_LONG, true);

FIXTURE_SETUP(attack)
{
	seed();
}

FIXTURE_TEARDOWN(attack)
{
	check_fresh_guest();
}

/* Be a device that answers anything. */
static bool go_on(struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		randomize((u8 *)run + run->io.data_offset, 4);
		return true;
	case KVM_EXIT_MMIO:
		randomize(run->mmio.data, 8);
		return true;
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_HYPERCALL:
	case KVM_EXIT_IOAPIC_EOI:
		return true;
	default:
		return false;
	}
}

static void random_code(struct vcpu *vcpu, enum mode mode)
{
	struct kvm_regs regs;
	u64 rsp;

	randomize(vcpu->vm->mem + CODE_GPA, CODE_BYTES);
	vcpu_mode(vcpu, mode);
	vcpu_get_regs(vcpu, &regs);
	rsp = regs.rsp;
	randomize(&regs, 16 * sizeof(u64));
	/* Half of the time, pointers that lead somewhere */
	if (random() & 1) {
		regs.rbx = HEAP_GPA + (random() & 0xfffff);
		regs.rsi = DATA_GPA + (random() & 0xfff);
		regs.rdi = MMIO_GPA + (random() & 0xfff);
		regs.rsp = rsp;
	}
	regs.rip = CODE_GPA + random() % (CODE_BYTES / 2);
	regs.rflags = (random() & 0x3ffcd5 & ~0x20000) | 2;
	vcpu_set_regs(vcpu, &regs);
}

/* What one vCPU does with one piece of code until it stops or time is up. */
static int run_code(struct vcpu *vcpu)
{
	int exits, ret;

	for (exits = 0; exits < 200; exits++) {
		ret = vcpu_run(vcpu);
		if (ret)
			return ret == -EINTR ? 0 : ret;
		if (!go_on(vcpu->run))
			return 0;
	}
	return 0;
}

TEST_F_TIMEOUT(attack, random_code, 600)
{
	time_t end = seconds() + lab_param("ATTACK_SECONDS", 2);
	unsigned int i, runs = 0;
	struct vcpu *vcpu;
	struct vm *vm;
	int ret;

	while (seconds() < end) {
		vm = variant->irqchip ? vm_new_irqchip() : vm_new();
		vcpu = vcpu_new(vm, 0);
		start_ticking();
		for (i = 0; i < 50 && seconds() < end; i++, runs++) {
			random_code(vcpu, variant->mode);
			ret = run_code(vcpu);
			ASSERT_EQ(0, ret);
		}
		stop_ticking();
		vcpu_free(vcpu);
		vm_free(vm);
	}
	EXPECT_LT(0, runs);
}

/* Endless exceptions must not keep a CPU in the guest (CVE-2015-5307). */
static void endless_fault(struct trap_frame *frame)
{
}

static void endless_guest(void)
{
	trap_handlers[UD_VECTOR] = endless_fault;
	guest_sync(0);
	asm volatile("ud2"); /* whose handler goes back to it */
}

TEST(endless_exceptions)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);
	int i;

	vcpu_call(vcpu, endless_guest);
	EXPECT_EQ(0, vcpu_sync(vcpu));
	start_ticking();
	for (i = 0; i < 20; i++)
		EXPECT_EQ(-EINTR, vcpu_run(vcpu));
	stop_ticking();
	check_fresh_guest();
}

/* Random ioctls */

static const unsigned long requests[] = {
	KVM_CHECK_EXTENSION,
	KVM_CREATE_VCPU,
	KVM_SET_USER_MEMORY_REGION,
	KVM_GET_DIRTY_LOG,
	KVM_CLEAR_DIRTY_LOG,
	KVM_SET_TSS_ADDR,
	KVM_SET_IDENTITY_MAP_ADDR,
	KVM_CREATE_IRQCHIP,
	KVM_GET_IRQCHIP,
	KVM_SET_IRQCHIP,
	KVM_CREATE_PIT2,
	KVM_GET_PIT2,
	KVM_SET_PIT2,
	KVM_REINJECT_CONTROL,
	KVM_IRQ_LINE,
	KVM_IRQ_LINE_STATUS,
	KVM_SET_GSI_ROUTING,
	KVM_SIGNAL_MSI,
	KVM_IRQFD,
	KVM_IOEVENTFD,
	KVM_REGISTER_COALESCED_MMIO,
	KVM_UNREGISTER_COALESCED_MMIO,
	KVM_SET_BOOT_CPU_ID,
	KVM_ENABLE_CAP,
	KVM_GET_CLOCK,
	KVM_SET_CLOCK,
	KVM_RUN,
	KVM_GET_REGS,
	KVM_SET_REGS,
	KVM_GET_SREGS,
	KVM_SET_SREGS,
	KVM_GET_SREGS2,
	KVM_SET_SREGS2,
	KVM_GET_FPU,
	KVM_SET_FPU,
	KVM_GET_XSAVE,
	KVM_SET_XSAVE,
	KVM_GET_XCRS,
	KVM_SET_XCRS,
	KVM_GET_LAPIC,
	KVM_SET_LAPIC,
	KVM_GET_MP_STATE,
	KVM_SET_MP_STATE,
	KVM_GET_VCPU_EVENTS,
	KVM_SET_VCPU_EVENTS,
	KVM_GET_DEBUGREGS,
	KVM_SET_DEBUGREGS,
	KVM_GET_CPUID2,
	KVM_SET_CPUID2,
	KVM_GET_TSC_KHZ,
	KVM_SET_TSC_KHZ,
	KVM_INTERRUPT,
	KVM_NMI,
	KVM_TPR_ACCESS_REPORTING,
	KVM_KVMCLOCK_CTRL,
	KVM_SET_GUEST_DEBUG,
	KVM_TRANSLATE,
	KVM_GET_MSRS,
	KVM_SET_MSRS,
	KVM_GET_SUPPORTED_CPUID,
	KVM_GET_MSR_INDEX_LIST,
	KVM_X86_SET_MSR_FILTER,
	KVM_GET_STATS_FD,
	KVM_SET_NR_MMU_PAGES,
	KVM_HAS_DEVICE_ATTR,
	KVM_GET_DEVICE_ATTR,
	KVM_SET_DEVICE_ATTR,
	KVM_X86_SETUP_MCE,
	KVM_X86_SET_MCE,
	KVM_SET_VAPIC_ADDR,
};

/* Small numbers are where the interesting cases are. */
static void random_argument(u8 *arg, size_t size)
{
	u32 *word = (u32 *)arg;
	size_t i;

	for (i = 0; i < size / 4; i++) {
		switch (random() % 4) {
		case 0:
			word[i] = 0;
			break;
		case 1:
			word[i] = random() % 40;
			break;
		case 2:
			word[i] = 1u << random() % 32;
			break;
		default:
			word[i] = random() ^ random() << 16;
		}
	}
}

static const unsigned long pool_requests[] = {
	LV_POLICY_INFO, LV_POOL_INFO, LV_POOL_CREATE, LV_POOL_SET,
	LV_POOL_DELETE, LV_VM_INFO,   LV_VM_ATTACH,   LV_VM_SET,
	LV_VCPU_INFO,	LV_EXIT_INFO,
};

/* What all threads of an attack have to themselves: a VM and its vCPUs. */
struct target {
	int fds[6], n;
	u32 vm; /* its number, if it can be in a pool */
	time_t end;
};

static void random_pool(struct lv_pool_config *config, int dev)
{
	char names[MAX_POLICIES][LV_NAME_LEN];
	u32 n = policy_names(dev, names);

	config->flags &= 0xf;
	config->reserved = 0;
	sprintf(config->name, "pool-%u", config->id);
	strcpy(config->policy, names[random() % n]);
	if (random() % 4)
		config->slice_ns = MS;
	memset(config->cpus, 0, sizeof(config->cpus));
	config->cpus[0] = random() % 4;
}

static void random_pool_ioctl(const struct target *t, u8 *arg)
{
	unsigned long request =
		pool_requests[random() % ARRAY_LEN(pool_requests)];
	struct lv_vm_attach *attach = (void *)arg;
	struct lv_vm_set *set = (void *)arg;
	u32 *words = (u32 *)arg;

	words[0] = _IOC_SIZE(request);
	words[1] = random() % 8;
	if (request == LV_POOL_CREATE || request == LV_POOL_SET)
		random_pool((void *)arg, t->fds[0]);
	if (request == LV_VM_ATTACH) {
		attach->vm = random() % 2 ? t->vm : 0;
		attach->pid = attach->vm ? 0 : getpid();
		attach->pool = random() % 8;
	}
	if (request == LV_VM_SET) {
		set->vm = t->vm;
		set->vcpu = random() % 2 ? LV_ALL_VCPUS : random() % 8;
		set->flags &= 0xf;
	}
	dev_ioctl(t->fds[0], request, arg);
}

static void random_ioctl(const struct target *t, u8 *arg)
{
	unsigned long request = requests[random() % ARRAY_LEN(requests)];
	struct kvm_userspace_memory_region *region = (void *)arg;
	int fd = t->fds[random() % t->n];

	random_argument(arg, 2 * PAGE_SIZE);
	if (t->vm && random() % 8 == 0) {
		random_pool_ioctl(t, arg);
		return;
	}
	if (request == KVM_SET_USER_MEMORY_REGION) {
		/* Memory that may be written to, and not all that there is */
		region->slot %= 8;
		region->guest_phys_addr &= 0xfffff000;
		region->memory_size &= 0x3ff000;
		region->userspace_addr = (uintptr_t)arg + 4 * PAGE_SIZE;
	}
	if (request == KVM_GET_DIRTY_LOG || request == KVM_CLEAR_DIRTY_LOG)
		memcpy(arg + 8, &(u8 *){ arg + PAGE_SIZE }, sizeof(arg));
	if (random() % 16 == 0)
		dev_ioctl_value(fd, request, random() % 5000);
	else
		dev_ioctl(fd, request, arg);
}

static void *attack_target(void *target)
{
	u8 *arg = map_memory(16 * MIB);
	int i;

	start_ticking();
	for (i = 0; i < 300; i++)
		random_ioctl(target, arg);
	stop_ticking();
	munmap(arg, 16 * MIB);
	return NULL;
}

static void make_target(struct target *t)
{
	t->fds[0] = lab_open();
	t->fds[1] = MUST(t->fds[0], KVM_CREATE_VM, 0);
	if (random() & 1)
		MUST(t->fds[1], KVM_CREATE_IRQCHIP, 0);
	t->fds[2] = eventfd(0, 0);
	for (t->n = 3; t->n < 6; t->n++)
		t->fds[t->n] = MUST(t->fds[1], KVM_CREATE_VCPU, t->n);
	t->vm = lab_is_labvisor() ? vm_of_process(t->fds[0], getpid()) : 0;
}

#define MAX_THREADS 4

static void random_ioctls(time_t end, int nr_threads)
{
	pthread_t threads[MAX_THREADS];
	struct target target;
	int i;

	while (seconds() < end) {
		make_target(&target);
		for (i = 0; i < nr_threads; i++)
			if (pthread_create(&threads[i], NULL, attack_target,
					   &target))
				die("thread: %m");
		for (i = 0; i < nr_threads; i++)
			pthread_join(threads[i], NULL);
		closefrom(3);
	}
}

/* Whoever had VMs in them is gone. */
static bool pools_go(void)
{
	struct lv_pool_info info = { .size = sizeof(info), .id = 1 };
	int dev = lab_open(), err = 0;

	while (!err && !dev_ioctl(dev, LV_POOL_INFO, &info))
		err = pool_delete(dev, info.id++);
	close(dev);
	return !err;
}

FIXTURE(ioctls){};

FIXTURE_VARIANT(ioctls)
{
	int nr_threads;
};

FIXTURE_VARIANT_ADD(ioctls, one_thread){
	.nr_threads = 1,
};

FIXTURE_VARIANT_ADD(ioctls, threads){
	.nr_threads = MAX_THREADS,
};

FIXTURE_SETUP(ioctls)
{
	seed();
}

FIXTURE_TEARDOWN(ioctls)
{
	check_fresh_guest();
}

/* In a child, whose memory and descriptors may come to grief. */
TEST_F_TIMEOUT(ioctls, random, 600)
{
	time_t end = seconds() + lab_param("ATTACK_SECONDS", 2);
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		random_ioctls(end, variant->nr_threads);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(pools_go());
}

TEST_HARNESS_MAIN
