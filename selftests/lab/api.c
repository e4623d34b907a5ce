// SPDX-License-Identifier: GPL-2.0-only
/*
 * What docs/api.md says of each ioctl and capability is true, and nothing is
 * left out: api.inc is made of its tables and of <linux/kvm.h>.
 */
#include <sys/eventfd.h>
#include "guest.h"
#include <linux/kvm_para.h>
#include <kselftest_harness.h>

#define BAD_POINTER 8ul
#define NR_CAPS 1024 /* more than there are numbers */

/* In <linux/kvm.h> it has lost its number. */
#undef KVM_DEBUG_GUEST
#define KVM_DEBUG_GUEST _IOW(KVMIO, 0x87, struct kvm_guest_debug)

/* Structs of other architectures are not there: any size will do. */
#define FOREIGN(name)       \
	struct name {       \
		u64 unused; \
	};
FOREIGN(kvm_allocate_rma)
FOREIGN(kvm_arm_copy_mte_tags)
FOREIGN(kvm_create_spapr_tce)
FOREIGN(kvm_create_spapr_tce_64)
FOREIGN(kvm_get_htab_fd)
FOREIGN(kvm_ppc_cpu_char)
FOREIGN(kvm_ppc_mmuv3_cfg)
FOREIGN(kvm_ppc_rmmu_info)
FOREIGN(kvm_rtas_token_args)
FOREIGN(kvm_vcpu_init)

enum {
	ON_SYSTEM = 1,
	ON_VM = 2,
	ON_VCPU = 4,
};

#define IOCTL(...)
#define REFUSAL(...)
#define CAP(...)
#define EXIT(...)
#define NO_ROW(...)
#define TWO_ROWS(...)

#undef IOCTL
#define IOCTL(request, fds, err) { #request, request, fds, err },
static const struct {
	const char *name;
	unsigned long request;
	unsigned int fds;
	int err;
} ioctls[] = {
#include "api.inc"
};
#undef IOCTL
#define IOCTL(...)

#undef REFUSAL
#define REFUSAL(request, err) { #request, err },
static const struct note {
	const char *name;
	int err;
} notes[] = {
#include "api.inc"
};
#undef REFUSAL
#define REFUSAL(...)

#undef CAP
#define CAP(cap, value, or_value, enabled) \
	{ #cap, cap, value, or_value, enabled },
static const struct {
	const char *name;
	unsigned int cap;
	int value, or_value;
	unsigned int enabled;
} caps[] = {
#include "api.inc"
};
#undef CAP
#define CAP(...)

#undef NO_ROW
#undef TWO_ROWS
#define NO_ROW(name) #name " has no row",
#define TWO_ROWS(name) #name " has two rows",
static const char *const faults[] = {
#include "api.inc"
	"",
};

TEST(a_row_for_each)
{
	unsigned int i;

	for (i = 0; faults[i][0]; i++) {
		EXPECT_TRUE(false) TH_LOG("%s", faults[i]);
	}
}

FIXTURE(api)
{
	struct vm *vm;
};

FIXTURE_SETUP(api)
{
	if (!lab_is_labvisor())
		SKIP(return, "the tables are about Labvisor");
	self->vm = vm_new_bare();
}

FIXTURE_TEARDOWN(api)
{
	if (self->vm)
		vm_free(self->vm);
}

/* A VM and a vCPU of their own, as some ioctls cannot be undone. */
static int try_ioctl(unsigned int on, unsigned long request, unsigned long arg)
{
	struct vm *vm = vm_new_bare();
	int vcpu = -1, ret;

	if (on == ON_VCPU)
		vcpu = MUST(vm->fd, KVM_CREATE_VCPU, 0);
	ret = dev_ioctl_value(on == ON_SYSTEM ? vm->sys
			      : on == ON_VM   ? vm->fd
					      : vcpu,
			      request, arg);
	if (vcpu >= 0)
		close(vcpu);
	if (request == KVM_CREATE_VCPU && ret >= 0)
		close(ret);
	vm_free(vm);
	return ret;
}

TEST_F(api, ioctls)
{
	unsigned int i, on;
	int ret, want;

	for (i = 0; i < ARRAY_LEN(ioctls); i++)
		for (on = ON_SYSTEM; on <= ON_VCPU; on <<= 1) {
			want = ioctls[i].fds & on ? -ioctls[i].err : -ENOTTY;
			ret = try_ioctl(on, ioctls[i].request, BAD_POINTER);
			EXPECT_TRUE(want ? ret == want : ret != -ENOTTY)
			TH_LOG("%s on %s: %d, not %d", ioctls[i].name,
			       on == ON_SYSTEM ? "the system"
			       : on == ON_VM   ? "a VM"
					       : "a vCPU",
			       ret, want);
		}
}

/* ---- errnos ---- */

/* Where an ioctl is tried. */
enum place {
	SYSTEM,
	VM, /* with nothing in it */
	VM_VCPU, /* with a vCPU */
	VM_SPLIT, /* with a split irqchip */
	VM_FULL, /* with memory, irqchip, PIT and a vCPU */
	VCPU, /* with memory, without irqchip */
	VCPU_FULL, /* of VM_FULL */
	VCPU_RAN,
	VCPU_UNKNOWN_REGS, /* with a bit in kvm_valid_regs */
	VCPU_IMMEDIATE_EXIT,
};

#define LIST(type, entry, n)      \
	struct {                  \
		struct type head; \
		entry entries[n]; \
	}

static struct kvm_irqfd irqfd = { .gsi = 1 },
			resample = { .flags = KVM_IRQFD_FLAG_RESAMPLE };
static struct kvm_ioeventfd ioeventfd = { .addr = 0x1000, .len = 4 };
static struct kvm_ioeventfd no_ioeventfd = {
	.addr = 0x1000, .len = 4, .flags = KVM_IOEVENTFD_FLAG_DEASSIGN
};
static LIST(kvm_cpuid2, struct kvm_cpuid_entry2, 1) linear57 = {
	{ .nent = 1 }, { { .function = 0x80000008, .eax = 57 << 8 | 40 } }
};
static LIST(kvm_irq_routing, struct kvm_irq_routing_entry,
	    1) bad_route = { { .nr = 1 }, { { .type = 77 } } };
static LIST(kvm_signal_mask, u8, 8) mask4 = { { .len = 4 } };
static u8 memory[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

#define DATA(type, ...)     \
	.data = &(type)     \
	{                   \
		__VA_ARGS__ \
	}
#define REGION(...)                                                        \
	DATA(struct kvm_userspace_memory_region, .memory_size = PAGE_SIZE, \
	     .userspace_addr = (uintptr_t)memory, __VA_ARGS__)

#define R(err, request, place, ...)                        \
	{                                                  \
#request, request, err, place, __VA_ARGS__ \
	}
static const struct refusal {
	const char *name;
	unsigned long request;
	int err;
	enum place place;
	void *data;
	unsigned long value; /* instead of data */
	int times; /* it is the last one that is refused */
} refusals[] = {
	R(EINVAL, KVM_GET_API_VERSION, SYSTEM, .value = 1),
	R(EINVAL, KVM_CREATE_VM, SYSTEM, .value = 1),
	R(E2BIG, KVM_GET_MSR_INDEX_LIST, SYSTEM, DATA(struct kvm_msr_list)),
	R(E2BIG, KVM_GET_MSR_FEATURE_INDEX_LIST, SYSTEM,
	  DATA(struct kvm_msr_list)),
	R(EINVAL, KVM_GET_VCPU_MMAP_SIZE, SYSTEM, .value = 1),
	R(E2BIG, KVM_GET_MSRS, SYSTEM, DATA(struct kvm_msrs, .nmsrs = 256)),
	R(E2BIG, KVM_GET_MSRS, VCPU, DATA(struct kvm_msrs, .nmsrs = 256)),
	R(E2BIG, KVM_SET_MSRS, VCPU, DATA(struct kvm_msrs, .nmsrs = 256)),
	R(E2BIG, KVM_GET_SUPPORTED_CPUID, SYSTEM, DATA(struct kvm_cpuid2)),
	R(ENXIO, KVM_GET_DEVICE_ATTR, SYSTEM,
	  DATA(struct kvm_device_attr, .attr = 1)),
	R(ENXIO, KVM_HAS_DEVICE_ATTR, SYSTEM,
	  DATA(struct kvm_device_attr, .group = 1)),

	R(EINVAL, KVM_CREATE_VCPU, VM, .value = 255),
	R(EEXIST, KVM_CREATE_VCPU, VM, .value = 7, .times = 2),
	R(ENOENT, KVM_GET_DIRTY_LOG, VM_FULL, DATA(struct kvm_dirty_log)),
	R(ENOENT, KVM_CLEAR_DIRTY_LOG, VM_FULL,
	  DATA(struct kvm_clear_dirty_log)),
	R(EINVAL, KVM_CLEAR_DIRTY_LOG, VM_FULL,
	  DATA(struct kvm_clear_dirty_log, .first_page = 1)),
	R(EEXIST, KVM_CREATE_IRQCHIP, VM, .times = 2),
	R(EINVAL, KVM_CREATE_IRQCHIP, VM_VCPU),
	R(ENXIO, KVM_IRQ_LINE, VM, DATA(struct kvm_irq_level)),
	R(ENXIO, KVM_IRQ_LINE_STATUS, VM, DATA(struct kvm_irq_level)),
	R(ENXIO, KVM_GET_IRQCHIP, VM, DATA(struct kvm_irqchip)),
	R(ENXIO, KVM_GET_IRQCHIP, VM_SPLIT, DATA(struct kvm_irqchip)),
	R(EINVAL, KVM_GET_IRQCHIP, VM_FULL,
	  DATA(struct kvm_irqchip, .chip_id = 3)),
	R(ENXIO, KVM_SET_IRQCHIP, VM, DATA(struct kvm_irqchip)),
	R(ENXIO, KVM_SET_IRQCHIP, VM_SPLIT, DATA(struct kvm_irqchip)),
	R(EINVAL, KVM_SET_IRQCHIP, VM_FULL,
	  DATA(struct kvm_irqchip, .chip_id = 3)),
	R(EINVAL, KVM_SET_CLOCK, VM, DATA(struct kvm_clock_data, .flags = 1)),
	R(EEXIST, KVM_SET_USER_MEMORY_REGION, VM_FULL, REGION(.slot = 1)),
	R(EINVAL, KVM_SET_USER_MEMORY_REGION, VM, REGION(.flags = 4)),
	R(EINVAL, KVM_SET_TSS_ADDR, VM, .value = -PAGE_SIZE),
	R(EINVAL, KVM_ENABLE_CAP, VM,
	  DATA(struct kvm_enable_cap, .cap = KVM_CAP_HLT)),
	R(EINVAL, KVM_SET_IDENTITY_MAP_ADDR, VM_VCPU, DATA(u64, 0)),
	R(EBUSY, KVM_SET_BOOT_CPU_ID, VM_VCPU),
	R(EINVAL, KVM_SET_BOOT_CPU_ID, VM, .value = 255),
	R(EINVAL, KVM_SET_GSI_ROUTING, VM, DATA(struct kvm_irq_routing)),
	R(EINVAL, KVM_SET_GSI_ROUTING, VM_FULL, &bad_route),
	R(EINVAL, KVM_IOEVENTFD, VM,
	  DATA(struct kvm_ioeventfd, .flags = 1 << 8, .len = 4)),
	R(EINVAL, KVM_IOEVENTFD, VM, DATA(struct kvm_ioeventfd, .len = 3)),
	R(EEXIST, KVM_IOEVENTFD, VM, &ioeventfd, .times = 2),
	R(ENOENT, KVM_IOEVENTFD, VM, &no_ioeventfd),
	R(EINVAL, KVM_SIGNAL_MSI, VM, DATA(struct kvm_msi)),
	R(EINVAL, KVM_SIGNAL_MSI, VM_FULL, DATA(struct kvm_msi, .flags = 2)),
	R(ENOENT, KVM_CREATE_PIT2, VM, DATA(struct kvm_pit_config)),
	R(EEXIST, KVM_CREATE_PIT2, VM_FULL, DATA(struct kvm_pit_config)),
	R(EINVAL, KVM_CREATE_PIT2, VM_FULL,
	  DATA(struct kvm_pit_config, .flags = 2)),
	R(ENXIO, KVM_GET_PIT2, VM_SPLIT, DATA(struct kvm_pit_state2)),
	R(ENXIO, KVM_SET_PIT2, VM_SPLIT, DATA(struct kvm_pit_state2)),
	R(EINVAL, KVM_SET_PIT2, VM_FULL,
	  DATA(struct kvm_pit_state2, .channels = { { .count = 65537 } })),
	R(ENXIO, KVM_REINJECT_CONTROL, VM, DATA(struct kvm_reinject_control)),
	R(EINVAL, KVM_IRQFD, VM, &irqfd),
	R(EINVAL, KVM_IRQFD, VM_FULL, DATA(struct kvm_irqfd, .flags = 4)),
	R(EINVAL, KVM_IRQFD, VM_FULL, DATA(struct kvm_irqfd, .gsi = 4096)),
	R(EINVAL, KVM_IRQFD, VM_SPLIT, &resample),
	R(EBADF, KVM_IRQFD, VM_FULL, DATA(struct kvm_irqfd, .fd = -1)),
	R(EBUSY, KVM_IRQFD, VM_FULL, &irqfd, .times = 2),
	R(EINVAL, KVM_X86_SET_MSR_FILTER, VM,
	  DATA(struct kvm_msr_filter, .flags = 2)),
	R(EINVAL, KVM_X86_SET_MSR_FILTER, VM,
	  DATA(struct kvm_msr_filter, .ranges = { { .nmsrs = 0x10000 } })),
	R(EINVAL, KVM_X86_SET_MSR_FILTER, VM,
	  DATA(struct kvm_msr_filter, .flags = KVM_MSR_FILTER_DEFAULT_DENY)),
	R(EINVAL, KVM_REGISTER_COALESCED_MMIO, VM,
	  DATA(struct kvm_coalesced_mmio_zone, .pio = 2)),
	R(ENOSPC, KVM_REGISTER_COALESCED_MMIO, VM,
	  DATA(struct kvm_coalesced_mmio_zone, .size = 4), .times = 101),
	R(EINVAL, KVM_UNREGISTER_COALESCED_MMIO, VM,
	  DATA(struct kvm_coalesced_mmio_zone, .pio = 2)),
	R(EINVAL, KVM_SET_NR_MMU_PAGES, VM, .value = 63),

	R(EINVAL, KVM_RUN, VCPU_UNKNOWN_REGS),
	R(EINTR, KVM_RUN, VCPU_IMMEDIATE_EXIT),
	R(EINVAL, KVM_SET_SREGS, VCPU,
	  DATA(struct kvm_sregs, .cr0 = X86_CR0_PG)),
	R(EINVAL, KVM_SET_SREGS2, VCPU,
	  DATA(struct kvm_sregs2, .cr0 = X86_CR0_PG)),
	R(EINVAL, KVM_SET_SREGS2, VCPU, DATA(struct kvm_sregs2, .flags = 2)),
	R(EINVAL, KVM_SET_SREGS2, VCPU,
	  DATA(struct kvm_sregs2, .flags = KVM_SREGS2_FLAGS_PDPTRS_VALID)),
	R(ENXIO, KVM_INTERRUPT, VCPU_FULL, DATA(struct kvm_interrupt, 50)),
	R(EINVAL, KVM_INTERRUPT, VCPU, DATA(struct kvm_interrupt, 256)),
	R(EEXIST, KVM_INTERRUPT, VCPU, DATA(struct kvm_interrupt, 50),
	  .times = 2),
	R(E2BIG, KVM_SET_CPUID, VCPU, DATA(struct kvm_cpuid, .nent = 129)),
	R(E2BIG, KVM_SET_CPUID2, VCPU, DATA(struct kvm_cpuid2, .nent = 129)),
	R(EINVAL, KVM_SET_CPUID2, VCPU, &linear57),
	R(EINVAL, KVM_SET_CPUID2, VCPU_RAN, DATA(struct kvm_cpuid2)),
	R(E2BIG, KVM_GET_CPUID2, VCPU, DATA(struct kvm_cpuid2)),
	R(EINVAL, KVM_SET_SIGNAL_MASK, VCPU, &mask4),
	R(EINVAL, KVM_SET_FPU, VCPU, DATA(struct kvm_fpu, .mxcsr = 1u << 31)),
	R(EINVAL, KVM_SET_XSAVE, VCPU,
	  DATA(struct kvm_xsave, .region = { [6] = 1u << 31 })),
	R(EINVAL, KVM_SET_XSAVE, VCPU,
	  DATA(struct kvm_xsave, .region = { [130] = 1 })),
	R(EINVAL, KVM_SET_XCRS, VCPU, DATA(struct kvm_xcrs, .nr_xcrs = 1)),
	R(EINVAL, KVM_SET_VCPU_EVENTS, VCPU,
	  DATA(struct kvm_vcpu_events, .exception = { 1, NMI_VECTOR })),
	R(EINVAL, KVM_SET_VCPU_EVENTS, VCPU,
	  DATA(struct kvm_vcpu_events, .flags = KVM_VCPUEVENT_VALID_SMM)),
	R(EINVAL, KVM_SET_VCPU_EVENTS, VCPU,
	  DATA(struct kvm_vcpu_events, .flags = KVM_VCPUEVENT_VALID_PAYLOAD)),
	R(EINVAL, KVM_SET_DEBUGREGS, VCPU,
	  DATA(struct kvm_debugregs, .dr6 = 1ull << 32)),
	R(EINVAL, KVM_SET_DEBUGREGS, VCPU,
	  DATA(struct kvm_debugregs, .dr7 = 1ull << 32)),
	R(EINVAL, KVM_ENABLE_CAP, VCPU, DATA(struct kvm_enable_cap)),
	R(EINVAL, KVM_SET_MP_STATE, VCPU,
	  DATA(struct kvm_mp_state, KVM_MP_STATE_HALTED)),
	R(EINVAL, KVM_SET_TSC_KHZ, VCPU, .value = 1),
	R(EINVAL, KVM_GET_LAPIC, VCPU, DATA(struct kvm_lapic_state)),
	R(EINVAL, KVM_SET_LAPIC, VCPU, DATA(struct kvm_lapic_state)),
	R(EINVAL, KVM_SET_LAPIC, VCPU_FULL,
	  DATA(struct kvm_lapic_state, { [APIC_ID + 3] = 9 })),
	R(EINVAL, KVM_KVMCLOCK_CTRL, VCPU),
	R(ENXIO, KVM_SET_DEVICE_ATTR, VCPU,
	  DATA(struct kvm_device_attr, .attr = 1)),
	R(ENXIO, KVM_GET_DEVICE_ATTR, VCPU,
	  DATA(struct kvm_device_attr, .attr = 1)),
	R(ENXIO, KVM_HAS_DEVICE_ATTR, VCPU,
	  DATA(struct kvm_device_attr, .group = 1)),
	R(EINVAL, KVM_SET_GUEST_DEBUG, VCPU,
	  DATA(struct kvm_guest_debug, .control = 1 << 30)),
	R(EBUSY, KVM_SET_GUEST_DEBUG, VCPU,
	  DATA(struct kvm_guest_debug, .control = KVM_GUESTDBG_INJECT_DB),
	  .times = 2),
	R(EINVAL, KVM_X86_SETUP_MCE, VCPU, DATA(u64, 33)),
	R(EINVAL, KVM_X86_SET_MCE, VCPU,
	  DATA(struct kvm_x86_mce, .status = 1ull << 63)),
	R(EINVAL, KVM_TPR_ACCESS_REPORTING, VCPU,
	  DATA(struct kvm_tpr_access_ctl, .flags = 1)),
	R(EINVAL, KVM_SET_VAPIC_ADDR, VCPU_FULL,
	  DATA(struct kvm_vapic_addr, PAGE_SIZE)),
};

SNIPPET(64, hlt_code, "hlt\n");

static struct vm *vm_at(enum place place)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP };
	struct kvm_pit_config pit = {};
	struct vm *vm;

	if (place < VM_FULL) {
		vm = vm_new_bare();
		if (place == VM_SPLIT)
			MUST(vm->fd, KVM_ENABLE_CAP, &split);
	} else if (place == VM_FULL || place == VCPU_FULL) {
		vm = vm_new_irqchip();
		MUST(vm->fd, KVM_CREATE_PIT2, &pit);
	} else {
		vm = vm_new();
	}
	return vm;
}

static struct vcpu *vcpu_at(struct vm *vm, enum place place)
{
	struct vcpu *vcpu;

	if (place < VM_VCPU || place == VM_SPLIT)
		return NULL;
	vcpu = vcpu_new(vm, 0);
	if (place == VCPU_RAN) {
		VCPU_SNIPPET(vcpu, MODE_LONG, hlt_code);
		vcpu_exit(vcpu);
	}
	vcpu->run->immediate_exit = place == VCPU_IMMEDIATE_EXIT;
	if (place == VCPU_UNKNOWN_REGS)
		vcpu->run->kvm_valid_regs = 1 << 30;
	return vcpu;
}

/* The last of several times; -1 if one before was refused. */
static int refuse(const struct refusal *r)
{
	struct vm *vm = vm_at(r->place);
	struct vcpu *vcpu = vcpu_at(vm, r->place);
	int fd = r->place == SYSTEM ? vm->sys
		 : r->place < VCPU  ? vm->fd
				    : vcpu->fd;
	unsigned long arg = r->data ? (uintptr_t)r->data : r->value;
	int ret = 0, i = 0;

	do {
		ret = dev_ioctl_value(fd, r->request, arg);
	} while (++i < r->times && ret >= 0);
	if (vcpu)
		vcpu_free(vcpu);
	vm_free(vm);
	return i < r->times ? -1 : ret;
}

static bool is_noted(const struct refusal *r)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(notes); i++)
		if (!strcmp(notes[i].name, r->name) && notes[i].err == r->err)
			return true;
	return false;
}

static bool is_tried(const struct note *note)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(refusals); i++)
		if (!strcmp(note->name, refusals[i].name) &&
		    note->err == refusals[i].err)
			return true;
	return false;
}

TEST_F(api, errnos)
{
	unsigned int i;

	irqfd.fd = resample.fd = eventfd(0, EFD_CLOEXEC);
	resample.resamplefd = ioeventfd.fd = no_ioeventfd.fd =
		eventfd(0, EFD_CLOEXEC);
	for (i = 0; i < ARRAY_LEN(refusals); i++) {
		EXPECT_EQ(-refusals[i].err, refuse(&refusals[i]))
		TH_LOG("%s, place %u, number %u", refusals[i].name,
		       refusals[i].place, i);
		EXPECT_TRUE(is_noted(&refusals[i]))
		TH_LOG("%s: %s is not in the notes", refusals[i].name,
		       strerror(refusals[i].err));
	}
	for (i = 0; i < ARRAY_LEN(notes); i++) {
		EXPECT_TRUE(is_tried(&notes[i]))
		TH_LOG("%s: nothing gives %s", notes[i].name,
		       strerror(notes[i].err));
	}
}

/* ---- capabilities ---- */

static int find_cap(unsigned int cap)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(caps); i++)
		if (caps[i].cap == cap)
			return i;
	return -1;
}

TEST_F(api, capabilities)
{
	const int fds[] = { self->vm->sys, self->vm->fd };
	unsigned int cap, on;
	int row, value;

	for (cap = 0; cap < NR_CAPS; cap++)
		for (on = 0; on < ARRAY_LEN(fds); on++) {
			row = find_cap(cap);
			value = dev_ioctl_value(fds[on], KVM_CHECK_EXTENSION,
						cap);
			EXPECT_TRUE(
				row < 0 ? !value
					: value == caps[row].value ||
						  value == caps[row].or_value)
			TH_LOG("%u, %s: %d", cap,
			       row < 0 ? "no row" : caps[row].name, value);
		}
}

/* What is refused changes nothing: a new VM only after what was not. */
static int enable(unsigned int on, unsigned int number, u32 flags, u64 arg)
{
	static struct vm *vm;
	static int vcpu;
	struct kvm_enable_cap cap = { .cap = number,
				      .flags = flags,
				      .args[0] = arg };
	int ret;

	if (!vm) {
		vm = vm_new_bare();
		vcpu = -1;
	}
	if (on == ON_VCPU && vcpu < 0)
		vcpu = MUST(vm->fd, KVM_CREATE_VCPU, 0);
	ret = dev_ioctl_value(on == ON_VM ? vm->fd : vcpu, KVM_ENABLE_CAP,
			      (uintptr_t)&cap);
	if (ret >= 0) {
		if (vcpu >= 0)
			close(vcpu);
		vm_free(vm);
		vm = NULL;
	}
	return ret;
}

/* Each that can be enabled is content with an argument of 0 or 1. */
TEST_F_TIMEOUT(api, capabilities_enabled, 300)
{
	unsigned int cap, on;
	bool can, did;
	int row;

	for (on = ON_VM; on <= ON_VCPU; on <<= 1)
		for (cap = 0; cap < NR_CAPS; cap++) {
			row = find_cap(cap);
			can = row >= 0 && caps[row].enabled & on;
			did = !enable(on, cap, 0, 0) || !enable(on, cap, 0, 1);
			EXPECT_EQ(can, did)
			TH_LOG("%u, %s, on %s", cap,
			       row < 0 ? "no row" : caps[row].name,
			       on == ON_VM ? "a VM" : "a vCPU");
			if (can) {
				EXPECT_EQ(-EINVAL, enable(on, cap, 1, 1))
				TH_LOG("flags, %s", caps[row].name);
			}
		}
}

/* NEEDS - a program does not work without these */
#define NEEDS(program, ...)                                          \
	TEST_F(api, program)                                         \
	{                                                            \
		static const unsigned int needs[] = { __VA_ARGS__ }; \
		unsigned int i;                                      \
                                                                     \
		for (i = 0; i < ARRAY_LEN(needs); i++) {             \
			EXPECT_LT(0, vm_cap(self->vm, needs[i]))     \
			TH_LOG("capability %u", needs[i]);           \
		}                                                    \
	}

NEEDS(kvmtool, KVM_CAP_COALESCED_MMIO, KVM_CAP_SET_TSS_ADDR, KVM_CAP_PIT2,
      KVM_CAP_USER_MEMORY, KVM_CAP_IRQ_ROUTING, KVM_CAP_IRQCHIP, KVM_CAP_HLT,
      KVM_CAP_IRQ_INJECT_STATUS, KVM_CAP_EXT_CPUID)

NEEDS(firecracker, KVM_CAP_IRQCHIP, KVM_CAP_IOEVENTFD, KVM_CAP_IRQFD,
      KVM_CAP_USER_MEMORY, KVM_CAP_SET_TSS_ADDR, KVM_CAP_PIT2,
      KVM_CAP_PIT_STATE2, KVM_CAP_ADJUST_CLOCK, KVM_CAP_DEBUGREGS,
      KVM_CAP_MP_STATE, KVM_CAP_VCPU_EVENTS, KVM_CAP_XCRS, KVM_CAP_XSAVE,
      KVM_CAP_EXT_CPUID)

TEST_HARNESS_MAIN
