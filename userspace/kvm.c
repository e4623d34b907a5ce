// SPDX-License-Identifier: GPL-2.0-only
/* The system file descriptor: open it, and say plainly why not. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

static const struct {
	unsigned int cap;
	const char *name;
	bool irqchip;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", false },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", false },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", false },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", false },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", true },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", true },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2", true },
};

/* Name the group that owns the node, without NSS: the binary may be static. */
static const char *group_name(gid_t gid)
{
	struct group *gr = NULL;
	FILE *f = fopen("/etc/group", "re");

	while (f && (gr = fgetgrent(f)) && gr->gr_gid != gid)
		;
	if (f)
		fclose(f);
	return gr ? gr->gr_name : NULL;
}

static void __attribute__((noreturn)) die_no_permission(const char *path)
{
	const char *group = NULL;
	struct stat st;

	if (!stat(path, &st) && st.st_gid && (st.st_mode & 0060) == 0060)
		group = group_name(st.st_gid);
	if (group)
		die(EXIT_HOST,
		    "%s: permission denied: join its group with 'usermod -aG %s USER' and log in again",
		    path, group);
	die(EXIT_HOST,
	    "%s: permission denied: run as root, or give the node to a group with a udev rule (KERNEL==\"labvisor\", GROUP=\"kvm\", MODE=\"0660\")",
	    path);
}

static void __attribute__((noreturn)) die_open(const char *path)
{
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		die(EXIT_HOST,
		    "%s: no such device: load the module with 'insmod labvisor.ko', or name another device with --device",
		    path);
	case EACCES:
	case EPERM:
		die_no_permission(path);
	case EBUSY:
		die(EXIT_HOST,
		    "%s: virtualization is in use by another hypervisor: unload it (rmmod kvm_amd kvm_intel)",
		    path);
	default:
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	}
}

static void __attribute__((noreturn)) die_create_vm(const char *path)
{
	switch (errno) {
	case EBUSY:
		die(EXIT_HOST,
		    "%s: the CPUs' virtualization is in use by another hypervisor: stop its guests or unload it (rmmod kvm_amd kvm_intel); 'dmesg' says more",
		    path);
	case EOPNOTSUPP:
	case ENODEV:
		die(EXIT_HOST,
		    "%s: virtualization is absent or locked off by the firmware: 'dmesg' says which",
		    path);
	default:
		die(EXIT_HOST, "%s: cannot create a VM: %s", path,
		    strerror(errno));
	}
}

/** kvm_extension() - ask for a capability; 0 if it is absent. */
int kvm_extension(struct vm *vm, unsigned int cap)
{
	int ret = ioctl(vm->sys_fd, KVM_CHECK_EXTENSION, (unsigned long)cap);

	return ret < 0 ? 0 : ret;
}

/** kvm_enable() - issue an ioctl that must work, or die naming it. */
void kvm_enable(struct vm *vm, int fd, unsigned long req, void *arg,
		const char *what)
{
	if (ioctl(fd, req, arg) >= 0)
		return;
	if (errno == ENOTTY)
		die(EXIT_HOST, "%s does not support %s", vm->cfg.device, what);
	die(EXIT_HOST, "%s: %s failed: %s", vm->cfg.device, what,
	    strerror(errno));
}

static void check_extensions(struct vm *vm)
{
	unsigned int max = kvm_extension(vm, KVM_CAP_MAX_VCPUS);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if ((vm->cfg.irqchip || !needed[i].irqchip) &&
		    !kvm_extension(vm, needed[i].cap))
			die(EXIT_HOST, "%s lacks the capability %s",
			    vm->cfg.device, needed[i].name);
	if (!max)
		max = 4; /* the API's word for an unknown maximum */
	if (vm->cfg.cpus > max)
		die(EXIT_USAGE, "%s runs at most %u vCPUs in a VM, not %u",
		    vm->cfg.device, max, vm->cfg.cpus);
}

/** kvm_open() - open the device and create the VM on it. */
void kvm_open(struct vm *vm)
{
	const char *path = vm->cfg.device;
	int version;

	vm->sys_fd = open(path, O_RDWR | O_CLOEXEC);
	if (vm->sys_fd < 0)
		die_open(path);
	version = ioctl(vm->sys_fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		die(EXIT_HOST, "%s: not a device with the KVM API", path);
	if (version != KVM_API_VERSION)
		die(EXIT_HOST, "%s: KVM API version %d, but %d is needed", path,
		    version, KVM_API_VERSION);
	check_extensions(vm);
	do
		vm->fd = ioctl(vm->sys_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		die_create_vm(path);
}
