// SPDX-License-Identifier: GPL-2.0-only
/* Several vCPUs: start-up by INIT and SIPI, and interprocessor interrupts. */
#include "guest.h"
#include <kselftest_harness.h>

#define IPI 0x51
#define STORM_IPI 0x60 /* and up: one per CPU */
#define MAX_CPUS 16

static volatile u32 nr_cpus;
static volatile u32 up[MAX_CPUS], ipis[MAX_CPUS], nmis[MAX_CPUS];
static volatile bool x2apic;

static u32 my_id(void)
{
	return x2apic ? (u32)rdmsr(MSR_X2APIC + 2) : apic_read(APIC_ID) >> 24;
}

static void send(u32 dest, u32 command)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + 0x30, (u64)dest << 32 | command);
	else
		apic_icr(dest, command);
}

static void eoi(void)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + 0xb, 0);
	else
		apic_eoi();
}

static void on_ipi(struct trap_frame *frame)
{
	__atomic_fetch_add(&ipis[my_id()], 1, __ATOMIC_SEQ_CST);
	eoi();
}

static void on_nmi(struct trap_frame *frame)
{
	__atomic_fetch_add(&nmis[my_id()], 1, __ATOMIC_SEQ_CST);
}

static volatile u32 handled[MAX_CPUS];

static void on_storm(struct trap_frame *frame)
{
	__atomic_fetch_add(&handled[frame->vector - STORM_IPI], 1,
			   __ATOMIC_SEQ_CST);
	eoi();
}

static void set_up_cpu(void)
{
	if (x2apic) {
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
		wrmsr(MSR_X2APIC + 0xf, 0x1ff);
		return;
	}
	apic_enable();
	apic_write(APIC_DFR, ~0u);
	apic_write(APIC_LDR, 1u << (my_id() & 7) << 24);
}

static void idle_ap(void)
{
	set_up_cpu();
	__atomic_fetch_add(&up[my_id()], 1, __ATOMIC_SEQ_CST);
	for (;;)
		sti_hlt();
}

static void wait_for(volatile u32 *word, u32 value)
{
	while (*word != value)
		pause_cpu();
}

static void start_aps(void (*main)(void))
{
	u32 i;

	trap_handlers[IPI] = on_ipi;
	for (i = 0; i < nr_cpus; i++)
		trap_handlers[STORM_IPI + i] = on_storm;
	trap_handlers[NMI_VECTOR] = on_nmi;
	set_up_cpu();
	ap_main = main;
	send(0, ICR_OTHERS | ICR_INIT | ICR_ASSERT);
	send(0, ICR_OTHERS | ICR_SIPI | SIPI_GPA >> 12);
	for (i = 1; i < nr_cpus; i++)
		wait_for(&up[i], 1);
}

static void make_cpus(u32 n, struct vcpu **vcpus, void (*guest)(void))
{
	struct vm *vm = vm_new_irqchip();
	u32 i;

	for (i = 0; i < n; i++)
		vcpus[i] = vcpu_new(vm, i);
	GUEST_VAR(vm, nr_cpus) = n;
	vcpu_call(vcpus[0], guest);
	for (i = 1; i < n; i++)
		vcpu_start(vcpus[i]);
}

static void run_smp(u32 n, void (*guest)(void))
{
	struct vcpu *vcpus[MAX_CPUS];

	make_cpus(n, vcpus, guest);
	if (vcpu_sync(vcpus[0]) != GUEST_DONE)
		die("the guest did not finish");
}

static void start_guest(void)
{
	start_aps(idle_ap);
}

TEST(start_2)
{
	run_smp(2, start_guest);
}

TEST(start_4)
{
	run_smp(4, start_guest);
}

TEST(start_16)
{
	run_smp(16, start_guest);
}

static int mp_state(struct vcpu *vcpu)
{
	struct kvm_mp_state state;

	MUST(vcpu->fd, KVM_GET_MP_STATE, &state);
	return state.mp_state;
}

TEST(waiting_for_sipi)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *bsp = vcpu_new(vm, 0), *ap = vcpu_new(vm, 1);
	u64 base;

	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, mp_state(bsp));
	EXPECT_EQ(KVM_MP_STATE_UNINITIALIZED, mp_state(ap));
	EXPECT_EQ(0, vcpu_get_msr(bsp, MSR_APIC_BASE, &base));
	EXPECT_EQ(0xfee00900, base);
	EXPECT_EQ(0, vcpu_get_msr(ap, MSR_APIC_BASE, &base));
	EXPECT_EQ(0xfee00800, base);
	/* It does not run before it is started. */
	vcpu_start_run(ap);
	vcpu_kick(ap);
	EXPECT_EQ(-EINTR, vcpu_join(ap));
	EXPECT_EQ(KVM_MP_STATE_UNINITIALIZED, mp_state(ap));
}

TEST(boot_cpu)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *bsp;
	u64 base;

	EXPECT_EQ(0, dev_ioctl_value(vm->fd, KVM_SET_BOOT_CPU_ID, 1));
	bsp = vcpu_new(vm, 1);
	EXPECT_EQ(-EBUSY, dev_ioctl_value(vm->fd, KVM_SET_BOOT_CPU_ID, 0));
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, mp_state(bsp));
	EXPECT_EQ(0, vcpu_get_msr(bsp, MSR_APIC_BASE, &base));
	EXPECT_EQ(0xfee00900, base);
	EXPECT_EQ(KVM_MP_STATE_UNINITIALIZED, mp_state(vcpu_new(vm, 0)));
}

/* Every way to address IPIs; none is lost and none is delivered twice. */
static void all_ipis_guest(void)
{
	u32 i, n, sent = 0;

	start_aps(idle_ap);
	sti();
	for (n = 1; n <= 50; n++) {
		for (i = 1; i < nr_cpus; i++)
			send(i, ICR_FIXED | IPI);
		for (i = 1; i < nr_cpus; i++)
			wait_for(&ipis[i], n);
	}
	sent = 50;
	send(0, ICR_OTHERS | IPI);
	sent++;
	for (i = 1; i < nr_cpus; i++)
		wait_for(&ipis[i], sent);
	GUEST_EQ(0, ipis[0]);
	send(0, ICR_SELF | IPI);
	wait_for(&ipis[0], 1);
	send(0, ICR_ALL | IPI);
	sent++;
	for (i = 1; i < nr_cpus; i++)
		wait_for(&ipis[i], sent);
	wait_for(&ipis[0], 2);
	send(x2apic ? ~0u : 0xff, ICR_FIXED | IPI);
	sent++;
	for (i = 1; i < nr_cpus; i++)
		wait_for(&ipis[i], sent);
	wait_for(&ipis[0], 3);
	/* To nobody */
	send(x2apic ? 77 : 0x77, ICR_FIXED | IPI);
	send(0, ICR_OTHERS | ICR_NMI);
	for (i = 1; i < nr_cpus; i++)
		wait_for(&nmis[i], 1);
	GUEST_EQ(0, nmis[0]);
	for (i = 1; i < nr_cpus; i++)
		GUEST_EQ(sent, ipis[i]);
}

TEST(ipis_xapic)
{
	run_smp(4, all_ipis_guest);
}

static void all_ipis_x2apic_guest(void)
{
	x2apic = true;
	all_ipis_guest();
}

TEST(ipis_x2apic)
{
	run_smp(4, all_ipis_x2apic_guest);
}

/* Logical destinations, flat: one bit per CPU. */
static void logical_guest(void)
{
	u32 mask, i, want[4] = { 0 };

	start_aps(idle_ap);
	sti();
	for (mask = 1; mask < 16; mask++) {
		send(mask, ICR_FIXED | ICR_LOGICAL | IPI);
		for (i = 0; i < 4; i++) {
			want[i] += mask >> i & 1;
			wait_for(&ipis[i], want[i]);
		}
	}
}

TEST(logical_flat)
{
	run_smp(4, logical_guest);
}

/* x2APIC logical IDs derive from the ID: cluster and bit. */
static void logical_x2apic_guest(void)
{
	u32 i, ldr;

	x2apic = true;
	start_aps(idle_ap);
	sti();
	ldr = rdmsr(MSR_X2APIC + 0xd);
	GUEST_EQ(1, ldr);
	send(0x6, ICR_FIXED | ICR_LOGICAL | IPI);
	for (i = 0; i < 4; i++)
		wait_for(&ipis[i], i == 1 || i == 2);
}

TEST(logical_x2apic)
{
	run_smp(4, logical_x2apic_guest);
}

/* Lowest priority: one of them takes it, and not one that is busier. */
static void lowest_guest(void)
{
	u32 n, i, sum;

	start_aps(idle_ap);
	for (n = 1; n <= 20; n++) {
		send(0xe, ICR_LOWEST | ICR_LOGICAL | IPI);
		do {
			for (i = 0, sum = 0; i < 4; i++)
				sum += ipis[i];
			pause_cpu();
		} while (sum < n);
		GUEST_EQ(n, sum);
	}
	GUEST_EQ(0, ipis[0]);
}

TEST(lowest_priority)
{
	run_smp(4, lowest_guest);
}

/* INIT takes a CPU back to waiting, and SIPI says where it goes on. */
static volatile u32 second_life;

static void other_ap(void)
{
	set_up_cpu();
	__atomic_fetch_add(&second_life, 1, __ATOMIC_SEQ_CST);
	cli();
	for (;;)
		asm volatile("hlt");
}

static void restart_guest(void)
{
	u32 i;

	start_aps(idle_ap);
	/* A second SIPI is ignored by CPUs that run. */
	ap_main = other_ap;
	send(0, ICR_OTHERS | ICR_SIPI | SIPI_GPA >> 12);
	send(0, ICR_OTHERS | IPI);
	for (i = 1; i < nr_cpus; i++)
		wait_for(&ipis[i], 1);
	GUEST_EQ(0, second_life);
	for (i = 1; i < 20; i++) {
		send(1, ICR_INIT | ICR_ASSERT);
		send(1, ICR_SIPI | SIPI_GPA >> 12);
		wait_for(&second_life, i);
	}
	/* Halted with interrupts off: only an NMI gets through. */
	send(1, IPI);
	send(1, ICR_NMI);
	wait_for(&nmis[1], 1);
	GUEST_EQ(1, ipis[1]);
}

TEST(restart)
{
	run_smp(2, restart_guest);
}

/*
 * All CPUs send to all others at once. Each sends a vector of its own, and the
 * next one only when the last was handled everywhere, so that none may merge.
 */
#define STORM 100

static volatile u32 finished;

static void storm(void)
{
	u32 n, i, me = my_id();

	for (i = 1; i < nr_cpus; i++)
		wait_for(&up[i], 1);
	sti();
	for (n = 1; n <= STORM; n++) {
		send(0, ICR_OTHERS | (STORM_IPI + me));
		wait_for(&handled[me], n * (nr_cpus - 1));
	}
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

static void storm_ap(void)
{
	set_up_cpu();
	up[my_id()] = 1;
	storm();
	for (;;)
		sti_hlt();
}

static void storm_guest(void)
{
	u32 i;

	start_aps(storm_ap);
	storm();
	wait_for(&finished, nr_cpus);
	for (i = 0; i < nr_cpus; i++)
		GUEST_EQ(STORM * (nr_cpus - 1), handled[i]);
}

TEST(all_to_all)
{
	run_smp(4, storm_guest);
}

TEST_HARNESS_MAIN
