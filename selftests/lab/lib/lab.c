// SPDX-License-Identifier: GPL-2.0-only
/* The device node, ioctls, virtual machines and their memory. */
#include <fcntl.h>
#include <stdarg.h>
#include "guest.h"

extern char __executable_start[], _end[];

void lab_die(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fflush(stdout);
	fprintf(stderr, "# %s:%d: ", file, line);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

int dev_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int dev_ioctl_value(int fd, unsigned long request, unsigned long value)
{
	return dev_ioctl(fd, request, (void *)value);
}

int must_ioctl(int fd, unsigned long request, unsigned long arg,
	       const char *name, const char *file, int line)
{
	int ret = dev_ioctl_value(fd, request, arg);

	if (ret < 0)
		lab_die(file, line, "%s: %s", name, strerror(-ret));
	return ret;
}

const char *lab_device(void)
{
	const char *path = getenv("LABVISOR_DEV");

	return path ? path : "/dev/labvisor";
}

int lab_open(void)
{
	int fd = open(lab_device(), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("%s: %m", lab_device());
	return fd;
}

/* Whether the node is Labvisor's; the reference to compare with is KVM. */
bool lab_is_labvisor(void)
{
	return access("/sys/module/labvisor", F_OK) == 0;
}

/* Whether QEMU emulates the lab host's processor, whose limits tests respect. */
bool lab_is_tcg(void)
{
	return cpuid(0x40000000, 0).ebx == 0x54474354;
}

/* Whether the lab host's processor has VMX; otherwise it has SVM. */
bool lab_is_vmx(void)
{
	return cpuid(1, 0).ecx & 1 << 5;
}

static bool parameter_is_on(const char *name)
{
	char path[80], on = 0;
	FILE *f;

	sprintf(path, "/sys/module/labvisor/parameters/%s", name);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (fread(&on, 1, 1, f) != 1)
		die("no value of a parameter");
	fclose(f);
	return on == 'Y';
}

/* Does the CPU deliver interrupts to guests by itself? */
bool lab_has_apicv(void)
{
	return parameter_is_on("apicv");
}

/* And takes those that come while a guest runs? */
bool lab_posts_interrupts(void)
{
	return parameter_is_on("posted");
}

/* A number from the environment, for the tests that take one. */
long lab_param(const char *name, long fallback)
{
	const char *text = getenv(name);

	return text ? strtol(text, NULL, 0) : fallback;
}

int read_number(const char *path, long *value)
{
	FILE *file = fopen(path, "re");
	int ret = -EINVAL;

	if (!file)
		return -errno;
	if (fscanf(file, "%ld", value) == 1)
		ret = 0;
	fclose(file);
	return ret;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

void *map_memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		die("mmap of %zu bytes: %m", size);
	return mem;
}

int vm_slot(struct vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *mem)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)mem,
	};

	return dev_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int vm_cap(struct vm *vm, unsigned int cap)
{
	return dev_ioctl_value(vm->fd, KVM_CHECK_EXTENSION, cap);
}

static void put64(struct vm *vm, u64 gpa, u64 value)
{
	memcpy(vm->mem + gpa, &value, sizeof(value));
}

/*
 * Page tables that map the first 4 GiB one to one, in each of the three
 * formats: PML4, PDPT and four page directories, which PAE shares; its own
 * PDPT; and a directory of 4 MiB pages.
 */
static void build_page_tables(struct vm *vm)
{
	const u64 pml4 = TABLES_GPA, pdpt = pml4 + 0x1000, pd = pml4 + 0x2000;
	const u64 pae = pml4 + 0x6000, pse = pml4 + 0x7000;
	u32 entry;
	u64 i;

	put64(vm, pml4, pdpt | 7);
	for (i = 0; i < 4; i++) {
		put64(vm, pdpt + i * 8, (pd + i * 0x1000) | 7);
		put64(vm, pae + i * 8, (pd + i * 0x1000) | 1);
	}
	for (i = 0; i < 4 * 512; i++)
		put64(vm, pd + i * 8, i << 21 | 0x87);
	for (i = 0; i < 1024; i++) {
		entry = i << 22 | 0x87;
		memcpy(vm->mem + pse + i * 4, &entry, 4);
	}
}

/* GDT selectors; SYSRET wants the user ones in this order. */
#define SEL_CODE32 0x08
#define SEL_DATA 0x10
#define SEL_CODE64 0x18
#define SEL_TSS 0x40 /* 16 bytes per vCPU */

static const u64 gdt[] = {
	0,
	0x00cf9b000000ffff,
	0x00cf93000000ffff,
	0x00af9b000000ffff,
	0x00cff3000000ffff,
	0x00affb000000ffff,
	0x00009b000000ffff,
	0x000093000000ffff,
};

static u64 tss_gpa(unsigned int id)
{
	return TABLES_GPA + 0xa000 + id * 128;
}

static u64 stack_top(unsigned int id)
{
	return STACKS_GPA + (id + 1) * STACK_SIZE;
}

static void build_descriptors(struct vm *vm)
{
	const u64 gdt_gpa = TABLES_GPA + 0x8000, idt_gpa = TABLES_GPA + 0x9000;
	u64 stub, tss;
	unsigned int i;

	memcpy(vm->mem + gdt_gpa, gdt, sizeof(gdt));
	for (i = 0; i < MAX_VCPUS; i++) {
		tss = tss_gpa(i);
		put64(vm, gdt_gpa + SEL_TSS + i * 16,
		      0x67 | (tss & 0xffffff) << 16 | 0x89ull << 40 |
			      (tss >> 24 & 0xff) << 56);
		put64(vm, tss + 4, stack_top(i));
	}
	for (i = 0; i < 256; i++) {
		stub = (uintptr_t)trap_stubs + i * TRAP_STUB_SIZE;
		put64(vm, idt_gpa + i * 16,
		      (stub & 0xffff) | SEL_CODE64 << 16 | 0x8eull << 40 |
			      (stub >> 16 & 0xffff) << 48);
		put64(vm, idt_gpa + i * 16 + 8, stub >> 32);
	}
}

/* Real-mode exceptions end at a HLT of their own. */
static void build_ivt(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < 256; i++)
		memcpy(vm->mem + i * 4, "\x00\x05\x00\x00", 4);
	vm->mem[0x500] = 0xf4;
}

struct vm *vm_new_bare(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		die("out of memory");
	vm->sys = lab_open();
	vm->fd = MUST(vm->sys, KVM_CREATE_VM, 0);
	return vm;
}

struct vm *vm_new(void)
{
	struct vm *vm = vm_new_bare();
	u64 image = (uintptr_t)__executable_start;
	int ret;

	vm->mem = map_memory(VM_MEMORY);
	ret = vm_slot(vm, 0, 0, 0, VM_MEMORY, vm->mem);
	if (ret)
		die("memory slot 0: %s", strerror(-ret));
	MUST(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000);

	build_ivt(vm);
	build_page_tables(vm);
	build_descriptors(vm);
	memcpy(vm->mem + SIPI_GPA, sipi_code, sipi_code_end - sipi_code);
	if (image < STACKS_GPA + MAX_VCPUS * STACK_SIZE ||
	    (uintptr_t)_end > HEAP_GPA)
		die("the program is linked outside of guest memory");
	memcpy(vm->mem + image, __executable_start, _end - __executable_start);
	return vm;
}

struct vm *vm_new_irqchip(void)
{
	struct vm *vm = vm_new();

	MUST(vm->fd, KVM_CREATE_IRQCHIP, 0);
	return vm;
}

/* Put the VM's memory into a file, so that unmapping it loses nothing. */
void vm_share_memory(struct vm *vm)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, vm->mem, VM_MEMORY, 0) != VM_MEMORY)
		die("guest memory file: %m");
	if (mmap(vm->mem, VM_MEMORY, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		die("mmap of guest memory: %m");
	close(fd);
}

/* Unmap shared memory: whatever the guest touches next is a nested fault. */
void vm_zap(struct vm *vm)
{
	if (madvise(vm->mem, VM_MEMORY, MADV_DONTNEED))
		die("madvise: %m");
}

void vm_free(struct vm *vm)
{
	close(vm->fd);
	close(vm->sys);
	if (vm->mem)
		munmap(vm->mem, VM_MEMORY);
	free(vm);
}

static void segment(struct kvm_segment *s, u16 selector, u8 type, u8 bits)
{
	*s = (struct kvm_segment){
		.selector = selector,
		.limit = 0xffffffff,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = bits == 32,
		.l = bits == 64,
	};
}

static void segments(struct kvm_sregs *s, u16 code, u8 bits)
{
	segment(&s->cs, code, 11, bits);
	segment(&s->ds, SEL_DATA, 3, 32);
	s->es = s->ss = s->fs = s->gs = s->ds;
}

static void real_segments(struct kvm_sregs *s)
{
	segment(&s->cs, 0, 11, 16);
	s->cs.limit = 0xffff;
	s->cs.g = 0;
	s->ds = s->cs;
	s->ds.type = 3;
	s->es = s->ss = s->fs = s->gs = s->ds;
	s->idt.base = 0;
	s->idt.limit = 0x3ff;
}

static void long_tables(struct vcpu *vcpu, struct kvm_sregs *s)
{
	s->idt.base = TABLES_GPA + 0x9000;
	s->idt.limit = 0xfff;
	s->tr = (struct kvm_segment){
		.base = tss_gpa(vcpu->id),
		.limit = 0x67,
		.selector = SEL_TSS + vcpu->id * 16,
		.type = 11,
		.present = 1,
	};
}

/* Put the vCPU into @mode with a stack, its paging and no interrupts. */
void vcpu_mode(struct vcpu *vcpu, enum mode mode)
{
	static const struct {
		u64 cr0, cr3, cr4, efer;
	} control[NR_MODES] = {
		[MODE_REAL] = { X86_CR0_ET },
		[MODE_PROT] = { X86_CR0_PE },
		[MODE_PSE] = { X86_CR0_PG, 0x7000, X86_CR4_PSE },
		[MODE_PAE] = { X86_CR0_PG, 0x6000, X86_CR4_PAE },
		[MODE_LONG] = { X86_CR0_PG, 0, X86_CR4_PAE,
				EFER_LME | EFER_LMA | EFER_NX | EFER_SCE },
	};
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs s;
	int ret;

	vcpu_get_sregs(vcpu, &s);
	s.cr0 = control[mode].cr0;
	s.cr3 = TABLES_GPA + control[mode].cr3;
	s.cr4 = control[mode].cr4;
	s.efer = control[mode].efer;
	if (mode == MODE_REAL) {
		real_segments(&s);
	} else {
		s.cr0 |= X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_MP;
		s.cr4 |= X86_CR4_OSFXSR;
		s.gdt.base = TABLES_GPA + 0x8000;
		s.gdt.limit = 0xfff;
		s.idt.limit = 0;
		segments(&s, mode == MODE_LONG ? SEL_CODE64 : SEL_CODE32,
			 mode == MODE_LONG ? 64 : 32);
	}
	if (mode == MODE_LONG) {
		s.cr0 |= X86_CR0_WP;
		long_tables(vcpu, &s);
	}
	ret = vcpu_set_sregs(vcpu, &s);
	if (ret)
		die("%s mode: %s", mode_names[mode], strerror(-ret));

	regs.rip = CODE_GPA;
	regs.rsp = mode == MODE_REAL ? REAL_STACK : stack_top(vcpu->id);
	vcpu_set_regs(vcpu, &regs);
}

void vcpu_load(struct vcpu *vcpu, enum mode mode, const u8 *code, const u8 *end)
{
	memcpy(vcpu->vm->mem + CODE_GPA, code, end - code);
	vcpu_mode(vcpu, mode);
}

/* Let the vCPU call @guest in long mode; a return is reported as GUEST_DONE. */
void vcpu_call(struct vcpu *vcpu, void (*guest)(void))
{
	struct kvm_regs regs = { .rflags = 2 };

	vcpu_mode(vcpu, MODE_LONG);
	regs.rip = (uintptr_t)guest;
	regs.rsp = stack_top(vcpu->id) - 8;
	put64(vcpu->vm, regs.rsp, (uintptr_t)guest_done);
	vcpu_set_regs(vcpu, &regs);
}
