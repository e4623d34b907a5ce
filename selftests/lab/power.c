// SPDX-License-Identifier: GPL-2.0-only
/* CPUs go and come back, and the host sleeps, while guests run. */
#include <fcntl.h>
#include <linux/kvm_para.h>
#include <sched.h>
#include <sys/syscall.h>
#include "guest.h"
#include <kselftest_harness.h>

#define NR_GUESTS 3
#define ROUNDS 5

#define CPU_PATH "/sys/devices/system/cpu/cpu%d/online"
#define PM_TEST "/sys/power/pm_test"
#define PM_STATE "/sys/power/state"
#define PM_TEST_DELAY "/sys/module/suspend/parameters/pm_test_delay"
#define WAKE_ALARM "/sys/class/rtc/rtc0/wakealarm"

static volatile u32 stop;
static volatile u64 count;

/* Counts, and looks that its clocks do not go back. */

static struct {
	volatile u32 version, pad;
	volatile u64 tsc_timestamp, system_time;
	volatile u32 mul;
	volatile int8_t shift;
	volatile u8 flags;
} pvclock __attribute__((aligned(32)));

static u64 read_clock(void)
{
	u64 ticks, ns;
	u32 version;

	do {
		version = pvclock.version;
		asm volatile("lfence" ::: "memory");
		ticks = rdtsc() - pvclock.tsc_timestamp;
		ticks = pvclock.shift < 0 ? ticks >> -pvclock.shift
					  : ticks << pvclock.shift;
		ns = pvclock.system_time +
		     (u64)((unsigned __int128)ticks * pvclock.mul >> 32);
		asm volatile("lfence" ::: "memory");
	} while (version & 1 || version != pvclock.version);
	return ns;
}

static void clock_guest(void)
{
	u64 tsc, ns, last_tsc = 0, last_ns = 0;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&pvclock | 1);
	while (!stop) {
		ns = read_clock();
		tsc = rdtsc();
		if (ns < last_ns)
			guest_fail(last_ns, ns, __LINE__);
		if (tsc < last_tsc)
			guest_fail(last_tsc, tsc, __LINE__);
		last_ns = ns;
		last_tsc = tsc;
		count++;
	}
}

static void count_guest(void)
{
	while (!stop)
		count++;
}

/* ---- guests in threads ---- */

struct guest {
	struct vm *vm;
	struct vcpu *vcpu;
	volatile pid_t tid;
};

static void *guest_main(void *data)
{
	struct guest *guest = data;

	guest->tid = syscall(SYS_gettid);
	return (void *)(uintptr_t)vcpu_sync(guest->vcpu);
}

static void guest_start(struct guest *guest, void (*code)(void))
{
	guest->tid = 0;
	guest->vm = vm_new();
	guest->vcpu = vcpu_new(guest->vm, 0);
	vcpu_call(guest->vcpu, code);
	if (pthread_create(&guest->vcpu->thread, NULL, guest_main, guest))
		die("pthread_create");
	while (!guest->tid)
		sched_yield();
}

static int guest_stop(struct guest *guest)
{
	int ret;

	GUEST_VAR(guest->vm, stop) = 1;
	ret = vcpu_join(guest->vcpu);
	vcpu_free(guest->vcpu);
	vm_free(guest->vm);
	return ret;
}

/* Wait until the guest counts. */
static void guest_moves(struct guest *guest)
{
	u64 before = GUEST_VAR(guest->vm, count);

	while (GUEST_VAR(guest->vm, count) - before < 2)
		sched_yield();
}

static int guest_pin(struct guest *guest, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(guest->tid, sizeof(one), &one);
}

/* ---- CPU hotplug ---- */

static int set_online(int cpu, bool on)
{
	char path[64];

	snprintf(path, sizeof(path), CPU_PATH, cpu);
	return write_text(path, on ? "1" : "0");
}

static bool can_go(int cpu)
{
	char path[64];

	snprintf(path, sizeof(path), CPU_PATH, cpu);
	return access(path, W_OK) == 0;
}

/* A whole life of a VM: virtualization is switched for it if it is alone. */
static void try_guest(int cpu)
{
	struct guest guest;

	guest_start(&guest, count_guest);
	if (guest_pin(&guest, cpu))
		die("CPU %d: %m", cpu);
	guest_moves(&guest);
	if (guest_stop(&guest) != GUEST_DONE)
		die("a guest did not finish");
}

static int cpus_that_can_go(void)
{
	int cpu, n = 0;

	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++)
		n += can_go(cpu);
	return n;
}

TEST(cpus_go_under_running_guests)
{
	struct guest guests[NR_GUESTS];
	int round, cpu, i, cpus = sysconf(_SC_NPROCESSORS_CONF);

	if (!cpus_that_can_go())
		SKIP(return, "no CPU of this lab host can go offline");
	for (i = 0; i < NR_GUESTS; i++)
		guest_start(&guests[i], count_guest);
	for (round = 0; round < ROUNDS; round++) {
		for (cpu = 0; cpu < cpus; cpu++) {
			if (!can_go(cpu))
				continue;
			/* All of them are there when it goes. */
			for (i = 0; i < NR_GUESTS; i++)
				ASSERT_EQ(0, guest_pin(&guests[i], cpu));
			for (i = 0; i < NR_GUESTS; i++)
				guest_moves(&guests[i]);
			ASSERT_EQ(0, set_online(cpu, false));
			for (i = 0; i < NR_GUESTS; i++)
				guest_moves(&guests[i]);
			ASSERT_EQ(0, set_online(cpu, true));
			try_guest(cpu);
		}
	}
	for (i = 0; i < NR_GUESTS; i++)
		EXPECT_EQ(GUEST_DONE, guest_stop(&guests[i]));
}

/* Virtualization was turned on, or off, while a CPU was away. */
TEST(vm_comes_or_goes_while_a_cpu_is_away)
{
	int cpu, cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct guest guest;

	if (!cpus_that_can_go())
		SKIP(return, "no CPU of this lab host can go offline");
	for (cpu = 0; cpu < cpus; cpu++) {
		if (!can_go(cpu))
			continue;
		ASSERT_EQ(0, set_online(cpu, false));
		guest_start(&guest, count_guest);
		ASSERT_EQ(0, set_online(cpu, true));
		ASSERT_EQ(0, guest_pin(&guest, cpu));
		guest_moves(&guest);
		ASSERT_EQ(0, set_online(cpu, false));
		EXPECT_EQ(GUEST_DONE, guest_stop(&guest));
		ASSERT_EQ(0, set_online(cpu, true));
		try_guest(cpu);
	}
}

/* ---- suspend ---- */

static bool has_word(const char *path, const char *word)
{
	char text[256] = "";
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	if (!fgets(text, sizeof(text), file))
		text[0] = 0;
	fclose(file);
	return strstr(text, word);
}

/* Suspend with a running guest, whose time goes on, and with one that waits. */
static void suspend_with_guests(struct __test_metadata *_metadata)
{
	struct guest guest, other;
	struct vcpu *idle;
	struct vm *vm;

	guest_start(&guest, clock_guest);
	guest_start(&other, clock_guest);
	vm = vm_new();
	idle = vcpu_new(vm, 0);
	vcpu_call(idle, clock_guest);
	guest_moves(&guest);
	guest_moves(&other);

	EXPECT_EQ(0, write_text(PM_STATE, "mem"));
	guest_moves(&guest);
	guest_moves(&other);
	GUEST_VAR(vm, stop) = 1;
	EXPECT_EQ(GUEST_DONE, vcpu_sync(idle));
	EXPECT_EQ(GUEST_DONE, guest_stop(&guest));
	EXPECT_EQ(GUEST_DONE, guest_stop(&other));
	vcpu_free(idle);
	vm_free(vm);
	try_guest(0);
}

static void pretend_to_suspend(struct __test_metadata *_metadata,
			       const char *level)
{
	if (!has_word(PM_TEST, level))
		SKIP(return, "this kernel's " PM_TEST " lacks the level");
	write_text(PM_TEST_DELAY, "1");
	ASSERT_EQ(0, write_text(PM_TEST, level));
	suspend_with_guests(_metadata);
	EXPECT_EQ(0, write_text(PM_TEST, "none"));
}

TEST(suspend_up_to_processors)
{
	pretend_to_suspend(_metadata, "processors");
}

TEST(suspend_up_to_core)
{
	pretend_to_suspend(_metadata, "core");
}

/* Read or write EFER of CPU 0: O_RDONLY or O_WRONLY. Return: 0 or -errno. */
static int access_efer(int how, u64 *efer)
{
	int fd = open("/dev/cpu/0/msr", how | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = how == O_WRONLY ? pwrite(fd, efer, sizeof(*efer), MSR_EFER)
			    : pread(fd, efer, sizeof(*efer), MSR_EFER);
	close(fd);
	return n == sizeof(*efer) ? 0 : -EIO;
}

/* Whether SVM is on on CPU 0, or -errno: VMX does not show in an MSR. */
static int svm_is_on(void)
{
	u64 efer;
	int err = access_efer(O_RDONLY, &efer);

	return err ? err : !!(efer & EFER_SVME);
}

static int set_svm(bool on)
{
	u64 efer;
	int err = access_efer(O_RDONLY, &efer);

	if (err)
		return err;
	efer = on ? efer | EFER_SVME : efer & ~EFER_SVME;
	return access_efer(O_WRONLY, &efer);
}

/* A reboot interrupts CPUs to turn it off, where a vCPU may just be loaded. */
TEST(loaded_where_virtualization_went_off)
{
	cpu_set_t cpu0 = { { 1 } };
	struct kvm_regs regs;
	struct vcpu *vcpu;
	struct vm *vm;

	if (!lab_is_labvisor())
		SKIP(return, "KVM takes it for a bug of its own");
	if (system("modprobe -q msr allow_writes=on") || svm_is_on() < 0)
		SKIP(return, "the CPU's registers cannot be written");
	vm = vm_new();
	vcpu = vcpu_new(vm, 0);
	if (!svm_is_on())
		SKIP(return, "no SVM here, and VMX does not show in an MSR");
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu0), &cpu0));
	ASSERT_EQ(0, set_svm(false));
	EXPECT_EQ(0, ioctl(vcpu->fd, KVM_GET_REGS, &regs));
	ASSERT_EQ(0, set_svm(true));
	GUEST_VAR(vm, stop) = 1;
	vcpu_call(vcpu, count_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
	vcpu_free(vcpu);
	vm_free(vm);
}

/* As the firmware sees it: nobody turns it on again before a guest runs. */
TEST(suspend_finds_virtualization_off)
{
	struct guest guest;
	struct vm *vm;

	if (!lab_is_labvisor())
		SKIP(return, "KVM may have virtualization on all the time");
	if (system("modprobe -q msr") || svm_is_on() < 0)
		SKIP(return, "the CPU's registers cannot be read");
	vm = vm_new();
	if (!svm_is_on())
		SKIP(return, "no SVM here, and VMX does not show in an MSR");
	/* Not as far as to wait for an event that wakes the CPU up. */
	write_text(PM_TEST_DELAY, "1");
	ASSERT_EQ(0,
		  write_text(PM_TEST, has_word("/sys/power/mem_sleep", "[deep]")
					      ? "core"
					      : "platform"));
	EXPECT_EQ(0, write_text(PM_STATE, "mem"));
	write_text(PM_TEST, "none");
	EXPECT_EQ(0, svm_is_on());
	guest_start(&guest, count_guest);
	ASSERT_EQ(0, guest_pin(&guest, 0));
	guest_moves(&guest);
	EXPECT_EQ(1, svm_is_on());
	EXPECT_EQ(GUEST_DONE, guest_stop(&guest));
	vm_free(vm);
}

/* The real thing: all CPUs but one are reset, and that one's state is lost. */
TEST(suspend_to_memory)
{
	if (!has_word("/sys/power/mem_sleep", "deep"))
		SKIP(return,
			   "the lab host's firmware does not suspend to memory");
	if (lab_is_tcg())
		SKIP(return, "QEMU 7.2 reboots when it should wake up");
	if (access(WAKE_ALARM, W_OK))
		SKIP(return, "the lab host has no clock that wakes it up");
	write_text(WAKE_ALARM, "0");
	ASSERT_EQ(0, write_text("/sys/power/mem_sleep", "deep"));
	ASSERT_EQ(0, write_text(WAKE_ALARM, "+3"));
	suspend_with_guests(_metadata);
}

TEST_HARNESS_MAIN
