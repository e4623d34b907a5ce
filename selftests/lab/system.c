// SPDX-License-Identifier: GPL-2.0-only
/* The system file descriptor: versions, capabilities, CPUID and MSR lists. */
#include "guest.h"
#include <kselftest_harness.h>

#define BAD_POINTER ((void *)8)

FIXTURE(system)
{
	int fd;
};

FIXTURE_SETUP(system)
{
	self->fd = lab_open();
}

FIXTURE_TEARDOWN(system)
{
	close(self->fd);
}

TEST_F(system, api_version)
{
	EXPECT_EQ(12, dev_ioctl_value(self->fd, KVM_GET_API_VERSION, 0));
	EXPECT_EQ(-EINVAL, dev_ioctl_value(self->fd, KVM_GET_API_VERSION, 1));
}

TEST_F(system, only_ioctls)
{
	char byte = 0;

	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED,
		  mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(ENODEV, errno);
}

TEST_F(system, vcpu_mmap_size)
{
	int size = dev_ioctl_value(self->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	EXPECT_LE(PAGE_SIZE, size);
	EXPECT_EQ(0, size % PAGE_SIZE);
	EXPECT_EQ(-EINVAL,
		  dev_ioctl_value(self->fd, KVM_GET_VCPU_MMAP_SIZE, 1));
}

TEST_F(system, vm_type)
{
	EXPECT_EQ(-EINVAL, dev_ioctl_value(self->fd, KVM_CREATE_VM, 1));
	EXPECT_EQ(-EINVAL, dev_ioctl_value(self->fd, KVM_CREATE_VM, ~0ul));
}

TEST_F(system, extensions_offered)
{
	static const unsigned int caps[] = {
		KVM_CAP_IRQCHIP,
		KVM_CAP_HLT,
		KVM_CAP_USER_MEMORY,
		KVM_CAP_SET_TSS_ADDR,
		KVM_CAP_EXT_CPUID,
		KVM_CAP_MP_STATE,
		KVM_CAP_COALESCED_MMIO,
		KVM_CAP_SYNC_MMU,
		KVM_CAP_USER_NMI,
		KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
		KVM_CAP_IRQ_ROUTING,
		KVM_CAP_IRQ_INJECT_STATUS,
		KVM_CAP_REINJECT_CONTROL,
		KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
		KVM_CAP_PIT2,
		KVM_CAP_PIT_STATE2,
		KVM_CAP_SET_BOOT_CPU_ID,
		KVM_CAP_IOEVENTFD,
		KVM_CAP_SET_IDENTITY_MAP_ADDR,
		KVM_CAP_ADJUST_CLOCK,
		KVM_CAP_VCPU_EVENTS,
		KVM_CAP_INTR_SHADOW,
		KVM_CAP_IOAPIC_POLARITY_IGNORED,
		KVM_CAP_LAST_CPU,
		KVM_CAP_DEBUGREGS,
		KVM_CAP_XSAVE,
		KVM_CAP_XCRS,
		KVM_CAP_GET_TSC_KHZ,
		KVM_CAP_IRQFD,
		KVM_CAP_IRQFD_RESAMPLE,
		KVM_CAP_READONLY_MEM,
		KVM_CAP_SIGNAL_MSI,
		KVM_CAP_ENABLE_CAP_VM,
		KVM_CAP_SPLIT_IRQCHIP,
		KVM_CAP_IMMEDIATE_EXIT,
		KVM_CAP_SYNC_REGS,
		KVM_CAP_GET_MSR_FEATURES,
		KVM_CAP_CHECK_EXTENSION_VM,
		KVM_CAP_IOEVENTFD_ANY_LENGTH,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(caps); i++)
		EXPECT_LT(0, dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION,
					     caps[i]))
	TH_LOG("capability %u", caps[i]);
}

TEST_F(system, extensions_counted)
{
	int fd = self->fd;

	EXPECT_LT(0,
		  dev_ioctl_value(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS));
	EXPECT_LE(64,
		  dev_ioctl_value(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS));
	EXPECT_LE(64, dev_ioctl_value(fd, KVM_CHECK_EXTENSION,
				      KVM_CAP_NR_MEMSLOTS));
	EXPECT_LE(64, dev_ioctl_value(fd, KVM_CHECK_EXTENSION,
				      KVM_CAP_MAX_VCPU_ID));
	EXPECT_EQ(KVM_SYNC_X86_VALID_FIELDS,
		  dev_ioctl_value(fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS));
}

TEST_F(system, extensions_unknown)
{
	EXPECT_EQ(0, dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION, 100000));
	EXPECT_EQ(0, dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION, ~0u));
	/* Capabilities of other architectures */
	EXPECT_EQ(0, dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION,
				     KVM_CAP_S390_PSW));
	EXPECT_EQ(0, dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION,
				     KVM_CAP_ARM_PSCI));
}

TEST_F(system, extensions_same_for_vm)
{
	struct vm *vm = vm_new_bare();
	unsigned int cap;

	for (cap = 0; cap < 256; cap++)
		EXPECT_EQ(!dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION, cap),
			  !dev_ioctl_value(vm->fd, KVM_CHECK_EXTENSION, cap))
	TH_LOG("capability %u", cap);
	vm_free(vm);
}

/* KVM answers EINVAL to ioctls it does not know, but on VMs. */
static int unknown(bool vm)
{
	return lab_is_labvisor() || vm ? -ENOTTY : -EINVAL;
}

TEST_F(system, unknown_ioctls)
{
	struct vm *vm = vm_new_bare();
	int vcpu = MUST(vm->fd, KVM_CREATE_VCPU, 0);
	static const unsigned long requests[] = {
		0,
		~0ul,
		_IO(KVMIO, 0xff),
		_IO('l', 0),
		_IOWR(KVMIO, 0xfe, struct kvm_regs),
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(requests); i++) {
		EXPECT_EQ(unknown(false),
			  dev_ioctl(self->fd, requests[i], NULL));
		EXPECT_EQ(unknown(true), dev_ioctl(vm->fd, requests[i], NULL));
		EXPECT_GT(0, dev_ioctl(vcpu, requests[i], NULL));
	}
	close(vcpu);
	vm_free(vm);
}

TEST_F(system, ioctls_of_other_fds)
{
	struct vm *vm = vm_new_bare();
	int vcpu = MUST(vm->fd, KVM_CREATE_VCPU, 0);

	EXPECT_EQ(unknown(false), dev_ioctl(self->fd, KVM_RUN, NULL));
	EXPECT_EQ(unknown(false), dev_ioctl(self->fd, KVM_CREATE_VCPU, NULL));
	EXPECT_EQ(unknown(true), dev_ioctl(vm->fd, KVM_CREATE_VM, NULL));
	EXPECT_EQ(unknown(true), dev_ioctl(vm->fd, KVM_RUN, NULL));
	EXPECT_EQ(unknown(true), dev_ioctl(vm->fd, KVM_GET_API_VERSION, NULL));
	EXPECT_EQ(unknown(false), dev_ioctl(vcpu, KVM_CREATE_VM, NULL));
	EXPECT_EQ(unknown(false), dev_ioctl(vcpu, KVM_CREATE_VCPU, NULL));
	EXPECT_EQ(unknown(false), dev_ioctl(vcpu, KVM_CREATE_IRQCHIP, NULL));
	close(vcpu);
	vm_free(vm);
}

enum fd_kind {
	SYSTEM,
	VM,
	VCPU
};

/* Every ioctl that takes a pointer, and the capability that announces it. */
static const struct {
	const char *name;
	unsigned long request;
	unsigned int cap;
	enum fd_kind kind;
} pointer_ioctls[] = {
#define PTR(request, cap, kind)              \
	{                                    \
#request, request, cap, kind \
	}
	PTR(KVM_GET_SUPPORTED_CPUID, KVM_CAP_EXT_CPUID, SYSTEM),
	PTR(KVM_GET_EMULATED_CPUID, KVM_CAP_EXT_EMUL_CPUID, SYSTEM),
	PTR(KVM_GET_MSR_INDEX_LIST, 0, SYSTEM),
	PTR(KVM_GET_MSR_FEATURE_INDEX_LIST, KVM_CAP_GET_MSR_FEATURES, SYSTEM),
	PTR(KVM_GET_MSRS, KVM_CAP_GET_MSR_FEATURES, SYSTEM),
	PTR(KVM_SET_USER_MEMORY_REGION, KVM_CAP_USER_MEMORY, VM),
	PTR(KVM_GET_DIRTY_LOG, 0, VM),
	PTR(KVM_CLEAR_DIRTY_LOG, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, VM),
	PTR(KVM_SET_IDENTITY_MAP_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR, VM),
	PTR(KVM_GET_IRQCHIP, KVM_CAP_IRQCHIP, VM),
	PTR(KVM_SET_IRQCHIP, KVM_CAP_IRQCHIP, VM),
	PTR(KVM_CREATE_PIT2, KVM_CAP_PIT2, VM),
	PTR(KVM_SET_PIT2, KVM_CAP_PIT_STATE2, VM),
	PTR(KVM_IRQ_LINE, KVM_CAP_IRQCHIP, VM),
	PTR(KVM_IRQ_LINE_STATUS, KVM_CAP_IRQ_INJECT_STATUS, VM),
	PTR(KVM_SET_GSI_ROUTING, KVM_CAP_IRQ_ROUTING, VM),
	PTR(KVM_SIGNAL_MSI, KVM_CAP_SIGNAL_MSI, VM),
	PTR(KVM_IRQFD, KVM_CAP_IRQFD, VM),
	PTR(KVM_IOEVENTFD, KVM_CAP_IOEVENTFD, VM),
	PTR(KVM_REGISTER_COALESCED_MMIO, KVM_CAP_COALESCED_MMIO, VM),
	PTR(KVM_UNREGISTER_COALESCED_MMIO, KVM_CAP_COALESCED_MMIO, VM),
	PTR(KVM_ENABLE_CAP, KVM_CAP_ENABLE_CAP_VM, VM),
	PTR(KVM_GET_CLOCK, KVM_CAP_ADJUST_CLOCK, VM),
	PTR(KVM_SET_CLOCK, KVM_CAP_ADJUST_CLOCK, VM),
	PTR(KVM_GET_REGS, 0, VCPU),
	PTR(KVM_SET_REGS, 0, VCPU),
	PTR(KVM_GET_SREGS, 0, VCPU),
	PTR(KVM_SET_SREGS, 0, VCPU),
	PTR(KVM_GET_SREGS2, KVM_CAP_SREGS2, VCPU),
	PTR(KVM_SET_SREGS2, KVM_CAP_SREGS2, VCPU),
	PTR(KVM_GET_FPU, 0, VCPU),
	PTR(KVM_SET_FPU, 0, VCPU),
	PTR(KVM_GET_XSAVE, KVM_CAP_XSAVE, VCPU),
	PTR(KVM_SET_XSAVE, KVM_CAP_XSAVE, VCPU),
	PTR(KVM_GET_XSAVE2, KVM_CAP_XSAVE2, VCPU),
	PTR(KVM_GET_XCRS, KVM_CAP_XCRS, VCPU),
	PTR(KVM_SET_XCRS, KVM_CAP_XCRS, VCPU),
	PTR(KVM_GET_MP_STATE, KVM_CAP_MP_STATE, VCPU),
	PTR(KVM_SET_MP_STATE, KVM_CAP_MP_STATE, VCPU),
	PTR(KVM_GET_VCPU_EVENTS, KVM_CAP_VCPU_EVENTS, VCPU),
	PTR(KVM_SET_VCPU_EVENTS, KVM_CAP_VCPU_EVENTS, VCPU),
	PTR(KVM_GET_DEBUGREGS, KVM_CAP_DEBUGREGS, VCPU),
	PTR(KVM_SET_DEBUGREGS, KVM_CAP_DEBUGREGS, VCPU),
	PTR(KVM_SET_CPUID, 0, VCPU),
	PTR(KVM_SET_CPUID2, KVM_CAP_EXT_CPUID, VCPU),
	PTR(KVM_GET_CPUID2, KVM_CAP_EXT_CPUID, VCPU),
	PTR(KVM_GET_MSRS, 0, VCPU),
	PTR(KVM_SET_MSRS, 0, VCPU),
	PTR(KVM_INTERRUPT, 0, VCPU),
	PTR(KVM_SET_SIGNAL_MASK, 0, VCPU),
	PTR(KVM_TPR_ACCESS_REPORTING, 0, VCPU),
	PTR(KVM_X86_SETUP_MCE, KVM_CAP_MCE, VCPU),
	PTR(KVM_GET_NESTED_STATE, KVM_CAP_NESTED_STATE, VCPU),
	PTR(KVM_SET_GUEST_DEBUG, KVM_CAP_SET_GUEST_DEBUG, VCPU),
	PTR(KVM_TRANSLATE, 0, VCPU),
#undef PTR
};

/*
 * Announced means there: the kernel looks at the argument. Not announced means
 * not there, whatever the argument is.
 */
TEST_F(system, extensions_are_true)
{
	struct vm *vm = vm_new_bare(), *populated = vm_new_bare();
	int fds[] = {
		[SYSTEM] = self->fd,
		[VM] = vm->fd,
		[VCPU] = MUST(populated->fd, KVM_CREATE_VCPU, 0),
	};
	unsigned int i;
	bool offered;
	int ret;

	MUST(vm->fd, KVM_CREATE_IRQCHIP, 0);
	for (i = 0; i < ARRAY_LEN(pointer_ioctls); i++) {
		offered = !pointer_ioctls[i].cap ||
			  dev_ioctl_value(self->fd, KVM_CHECK_EXTENSION,
					  pointer_ioctls[i].cap);
		ret = dev_ioctl(fds[pointer_ioctls[i].kind],
				pointer_ioctls[i].request, BAD_POINTER);
		EXPECT_EQ(offered ? -EFAULT
				  : unknown(pointer_ioctls[i].kind == VM),
			  ret)
		TH_LOG("%s", pointer_ioctls[i].name);
	}
	close(fds[VCPU]);
	vm_free(populated);
	vm_free(vm);
}

TEST_F(system, cpuid_too_small)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[2];
	} cpuid = { .head.nent = 0 };

	EXPECT_EQ(-E2BIG, dev_ioctl(self->fd, KVM_GET_SUPPORTED_CPUID, &cpuid));
	cpuid.head.nent = 1;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->fd, KVM_GET_SUPPORTED_CPUID, &cpuid));
	EXPECT_EQ(0, cpuid.entries[1].function);
	EXPECT_EQ(0, cpuid.entries[1].eax);
}

TEST_F(system, cpuid_exact_size)
{
	struct kvm_cpuid2 *offered = supported_cpuid(self->fd);
	unsigned int nent = offered->nent;

	ASSERT_LT(1, nent);
	EXPECT_GT(256, nent);
	EXPECT_EQ(0, dev_ioctl(self->fd, KVM_GET_SUPPORTED_CPUID, offered));
	EXPECT_EQ(nent, offered->nent);
	offered->nent = nent - 1;
	EXPECT_EQ(-E2BIG,
		  dev_ioctl(self->fd, KVM_GET_SUPPORTED_CPUID, offered));
	free(offered);
}

TEST_F(system, cpuid_contents)
{
	struct kvm_cpuid2 *offered = supported_cpuid(self->fd);
	const struct kvm_cpuid_entry2 *e;
	struct cpuid_regs host = cpuid(0, 0);
	unsigned int i, j;

	e = find_cpuid(offered, 0, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(host.ebx, e->ebx);
	EXPECT_LE(1, e->eax);
	e = find_cpuid(offered, 1, 0);
	ASSERT_NE(NULL, e);
	/* What every 64-bit guest needs: FPU, TSC, MSR, PAE, CX8, APIC, SSE2 */
	EXPECT_EQ(0x07000371, e->edx & 0x07000371);
	/* The TSC-deadline timer has a capability: it needs a local APIC. */
	EXPECT_EQ(0, e->ecx & 1u << 24);
	e = find_cpuid(offered, 0x80000001, 0);
	ASSERT_NE(NULL, e);
	EXPECT_NE(0, e->edx & 1u << 29) TH_LOG("long mode");
	e = find_cpuid(offered, 0x80000008, 0);
	ASSERT_NE(NULL, e);
	EXPECT_LE(36, e->eax & 0xff);
	e = find_cpuid(offered, 0x40000000, 0);
	ASSERT_NE(NULL, e);
	EXPECT_EQ(0, memcmp(&e->ebx, "KVMKVMKVM\0\0\0", 12));
	EXPECT_LE(0x40000001, e->eax);

	for (i = 0; i < offered->nent; i++)
		for (j = 0; j < i; j++)
			EXPECT_FALSE(offered->entries[i].function ==
					     offered->entries[j].function &&
				     offered->entries[i].index ==
					     offered->entries[j].index);
	free(offered);
}

TEST_F(system, cpuid_emulated)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[16];
	} cpuid = { .head.nent = 16 };

	EXPECT_EQ(0, dev_ioctl(self->fd, KVM_GET_EMULATED_CPUID, &cpuid));
	EXPECT_GE(16, cpuid.head.nent);
}

static struct kvm_msr_list *msr_list(int fd, unsigned long request)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 1024 * 4);

	list->nmsrs = 1024;
	if (dev_ioctl(fd, request, list))
		die("MSR list: %m");
	return list;
}

TEST_F(system, msr_list_size)
{
	static const unsigned long requests[] = {
		KVM_GET_MSR_INDEX_LIST,
		KVM_GET_MSR_FEATURE_INDEX_LIST,
	};
	struct kvm_msr_list empty, *list;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(requests); i++) {
		list = msr_list(self->fd, requests[i]);
		empty.nmsrs = 0;
		EXPECT_EQ(list->nmsrs ? -E2BIG : 0,
			  dev_ioctl(self->fd, requests[i], &empty));
		EXPECT_EQ(list->nmsrs, empty.nmsrs);
		free(list);
	}
}

TEST_F(system, msr_list_readable)
{
	struct kvm_msr_list *list = msr_list(self->fd, KVM_GET_MSR_INDEX_LIST);
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	u64 value;
	unsigned int i, readable = 0;

	for (i = 0; i < list->nmsrs; i++)
		readable += !vcpu_get_msr(vcpu, list->indices[i], &value);
	/* KVM lists a few that depend on the vCPU's CPUID. */
	EXPECT_LE(lab_is_labvisor() ? list->nmsrs : list->nmsrs / 2, readable);
	free(list);
	vcpu_free(vcpu);
	vm_free(vm);
}

TEST_F(system, msr_list_contents)
{
	struct kvm_msr_list *list = msr_list(self->fd, KVM_GET_MSR_INDEX_LIST);
	static const u32 wanted[] = {
		MSR_TSC,    MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
		MSR_PAT,    MSR_STAR,	     MSR_LSTAR,	       MSR_CSTAR,
		MSR_SFMASK, MSR_KERNEL_GS,
	};
	unsigned int i, j;

	for (i = 0; i < ARRAY_LEN(wanted); i++) {
		for (j = 0; j < list->nmsrs; j++)
			if (list->indices[j] == wanted[i])
				break;
		EXPECT_LT(j, list->nmsrs) TH_LOG("MSR %#x", wanted[i]);
	}
	free(list);
}

TEST_F(system, feature_msrs)
{
	struct kvm_msr_list *list =
		msr_list(self->fd, KVM_GET_MSR_FEATURE_INDEX_LIST);
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { .head.nmsrs = 1 };
	unsigned int i;

	for (i = 0; i < list->nmsrs; i++) {
		msr.entry.index = list->indices[i];
		EXPECT_EQ(1, dev_ioctl(self->fd, KVM_GET_MSRS, &msr))
		TH_LOG("MSR %#x", msr.entry.index);
	}
	msr.entry.index = 0xdeadbeef;
	EXPECT_EQ(0, dev_ioctl(self->fd, KVM_GET_MSRS, &msr));
	free(list);
}

TEST_HARNESS_MAIN
