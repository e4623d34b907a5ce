// SPDX-License-Identifier: GPL-2.0-only
/*
 * The in-kernel bus: which guest port and memory accesses need no trip to
 * user space. First the interrupt controllers, then eventfds, then coalesced
 * zones. Lookups take no lock and do not sleep.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "../labvisor.h"
#include "../compat.h"
#include "irqchip.h"

#define MAX_EVENTFDS 4096
#define MAX_ZONES 100
#define RING_SIZE KVM_COALESCED_MMIO_MAX

/**
 * struct ioeventfd - a write that signals an eventfd
 * @addr: exact address
 * @datamatch: value written, if @match
 * @space: enum lv_space
 * @len: length of the write, 0 for any
 * @match: only writes of @datamatch
 * @eventfd: what to signal
 */
struct ioeventfd {
	u64 addr;
	u64 datamatch;
	u8 space;
	u8 len;
	bool match;
	struct eventfd_ctx *eventfd;
};

/* Immutable once published; sorted by space and address. */
struct ioeventfds {
	struct rcu_head rcu;
	unsigned int nr;
	struct ioeventfd fd[];
};

/* Writes into a zone are queued for user space. */
struct coalesced {
	u64 addr;
	u64 size;
	u8 space;
};

struct coalesced_zones {
	struct rcu_head rcu;
	unsigned int nr;
	struct coalesced zone[];
};

/**
 * struct lv_iobus - the in-kernel bus of a VM
 * @lock: serialises changes of the tables
 * @eventfds: NULL for none (lock, read under RCU)
 * @zones: NULL for none (lock, read under RCU)
 * @ring_lock: protects our end of @ring
 * @ring: coalesced writes, shared with user space, which owns the other end
 *	and may write anything anywhere in it
 */
struct lv_iobus {
	struct mutex lock;
	struct ioeventfds __rcu *eventfds;
	struct coalesced_zones __rcu *zones;
	spinlock_t ring_lock;
	struct kvm_coalesced_mmio_ring *ring;
};

/* ---- interrupt controllers ---- */

/* Ports are bytes: a wider access is one of each byte's port. */
static bool chip_pio(struct lv_vcpu *v, u16 port, unsigned int len, u8 *data,
		     bool write)
{
	struct lv_irqchip *chip = v->vm->irqchip;
	unsigned int i;

	if (!chip || !lv_irqchip_pio(chip, port, data, write))
		return false;
	for (i = 1; i < len; i++)
		if (!lv_irqchip_pio(chip, port + i, &data[i], write) && !write)
			data[i] = 0xff;
	return true;
}

/*
 * APIC registers are 32 bits wide, 16 bytes apart. Reads may take a part of
 * one; a write that is not the whole register is dropped.
 */
static bool chip_mmio(struct lv_vcpu *v, gpa_t gpa, unsigned int len, u8 *data,
		      bool write)
{
	bool whole = !(gpa & 0xf) && len >= sizeof(u32);
	struct lv_irqchip *chip = v->vm->irqchip;
	unsigned int byte = gpa & 3;
	u32 val = 0;

	if (!chip)
		return false;
	if (write && whole)
		memcpy(&val, data, sizeof(val));
	gpa -= byte;
	if (!lv_vcpu_apic_mmio(v, gpa, &val, write && whole) &&
	    !lv_irqchip_mmio(chip, gpa, &val, write && whole))
		return false;
	if (!write) {
		memset(data, 0, len);
		memcpy(data, (u8 *)&val + byte,
		       min_t(unsigned int, len, sizeof(val) - byte));
	}
	return true;
}

static bool chip_access(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
			unsigned int len, u8 *data, bool write)
{
	if (space == LV_SPACE_PIO)
		return chip_pio(v, addr, len, data, write);
	return chip_mmio(v, addr, len, data, write);
}

/* ---- eventfds ---- */

/* Index of the first entry that is not before @space, @addr. */
static unsigned int lower_bound(const struct ioeventfds *t, u8 space, u64 addr)
{
	unsigned int low = 0, high = t->nr;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		const struct ioeventfd *fd = &t->fd[mid];

		if (fd->space < space ||
		    (fd->space == space && fd->addr < addr))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#define for_each_at(fd, t, space_, addr_)                           \
	for ((fd) = &(t)->fd[lower_bound(t, space_, addr_)];        \
	     (fd) < &(t)->fd[(t)->nr] && (fd)->space == (space_) && \
	     (fd)->addr == (addr_);                                 \
	     (fd)++)

static bool signal_eventfd(struct lv_iobus *bus, u8 space, u64 addr,
			   unsigned int len, const void *data)
{
	const struct ioeventfds *t;
	const struct ioeventfd *fd;
	bool signalled = false;
	u64 val = 0;

	rcu_read_lock();
	t = rcu_dereference(bus->eventfds);
	if (!t)
		goto out;
	memcpy(&val, data, min_t(unsigned int, len, sizeof(val)));
	for_each_at(fd, t, space, addr)
	{
		if ((fd->len && fd->len != len) ||
		    (fd->match && fd->datamatch != val))
			continue;
		lv_eventfd_signal(fd->eventfd);
		signalled = true;
		break;
	}
out:
	rcu_read_unlock();
	return signalled;
}

static struct ioeventfd to_ioeventfd(const struct kvm_ioeventfd *args,
				     struct eventfd_ctx *eventfd)
{
	struct ioeventfd fd = {
		.addr = args->addr,
		.datamatch = args->datamatch,
		.space = args->flags & KVM_IOEVENTFD_FLAG_PIO ? LV_SPACE_PIO
							      : LV_SPACE_MMIO,
		.len = args->len,
		.match = args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH,
		.eventfd = eventfd,
	};

	return fd;
}

/* Could one write mean both? */
static bool collides(const struct ioeventfd *a, const struct ioeventfd *b)
{
	if (a->len && b->len && a->len != b->len)
		return false;
	return !a->match || !b->match || a->datamatch == b->datamatch;
}

static struct ioeventfds *eventfds_of(struct lv_iobus *bus)
{
	return rcu_dereference_protected(bus->eventfds,
					 lockdep_is_held(&bus->lock));
}

static int add_eventfd(struct lv_iobus *bus, const struct ioeventfd *new)
{
	struct ioeventfds *old = eventfds_of(bus), *t;
	unsigned int nr = old ? old->nr : 0, at = 0;
	const struct ioeventfd *fd;

	if (nr >= MAX_EVENTFDS)
		return -ENOSPC;
	if (old) {
		for_each_at(fd, old, new->space,
			    new->addr) if (collides(fd, new)) return -EEXIST;
		at = lower_bound(old, new->space, new->addr);
	}

	t = kvmalloc(struct_size(t, fd, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!t)
		return -ENOMEM;
	t->nr = nr + 1;
	if (old) {
		memcpy(t->fd, old->fd, at * sizeof(*t->fd));
		memcpy(&t->fd[at + 1], &old->fd[at],
		       (nr - at) * sizeof(*t->fd));
	}
	t->fd[at] = *new;
	rcu_assign_pointer(bus->eventfds, t);
	kvfree_rcu(old, rcu);
	return 0;
}

/**
 * lv_iobus_add_eventfd - have a guest write signal an eventfd
 * @bus: the VM's bus
 * @args: which write
 * @eventfd: taken over on success
 *
 * Return: 0, -EEXIST, -ENOSPC or -ENOMEM.
 */
int lv_iobus_add_eventfd(struct lv_iobus *bus, const struct kvm_ioeventfd *args,
			 struct eventfd_ctx *eventfd)
{
	struct ioeventfd new = to_ioeventfd(args, eventfd);
	int ret;

	mutex_lock(&bus->lock);
	ret = add_eventfd(bus, &new);
	mutex_unlock(&bus->lock);
	return ret;
}

static bool same_eventfd(const struct ioeventfd *a, const struct ioeventfd *b)
{
	return a->eventfd == b->eventfd && a->len == b->len &&
	       a->match == b->match &&
	       (!a->match || a->datamatch == b->datamatch);
}

static int remove_eventfd(struct lv_iobus *bus, const struct ioeventfd *gone)
{
	struct ioeventfds *old = eventfds_of(bus), *t;
	const struct ioeventfd *fd;
	unsigned int at;

	if (!old)
		return -ENOENT;
	for_each_at(fd, old, gone->space,
		    gone->addr) if (same_eventfd(fd, gone)) goto found;
	return -ENOENT;

found:
	at = fd - old->fd;
	t = kvmalloc(struct_size(t, fd, old->nr - 1), GFP_KERNEL_ACCOUNT);
	if (!t)
		return -ENOMEM;
	t->nr = old->nr - 1;
	memcpy(t->fd, old->fd, at * sizeof(*t->fd));
	memcpy(&t->fd[at], &old->fd[at + 1], (t->nr - at) * sizeof(*t->fd));
	rcu_assign_pointer(bus->eventfds, t);
	synchronize_rcu_expedited();
	eventfd_ctx_put(fd->eventfd);
	kvfree(old);
	return 0;
}

/**
 * lv_iobus_remove_eventfd - undo lv_iobus_add_eventfd()
 * @bus: the VM's bus
 * @args: which write
 * @eventfd: which eventfd
 *
 * Return: 0, -ENOENT or -ENOMEM.
 */
int lv_iobus_remove_eventfd(struct lv_iobus *bus,
			    const struct kvm_ioeventfd *args,
			    struct eventfd_ctx *eventfd)
{
	struct ioeventfd gone = to_ioeventfd(args, eventfd);
	int ret;

	mutex_lock(&bus->lock);
	ret = remove_eventfd(bus, &gone);
	mutex_unlock(&bus->lock);
	return ret;
}

/* ---- coalesced zones ---- */

static bool contains(const struct coalesced *zone, const struct coalesced *part)
{
	return zone->space == part->space && part->addr >= zone->addr &&
	       part->addr - zone->addr <= zone->size &&
	       part->size <= zone->size - (part->addr - zone->addr);
}

/* User space owns @first, and may have scribbled over @last. */
static bool ring_push(struct lv_iobus *bus, const struct coalesced *write,
		      const void *data)
{
	struct kvm_coalesced_mmio_ring *ring = bus->ring;
	u32 last = READ_ONCE(ring->last), next = (last + 1) % RING_SIZE;
	struct kvm_coalesced_mmio *slot;

	if (last >= RING_SIZE || next == READ_ONCE(ring->first))
		return false;
	slot = &ring->coalesced_mmio[array_index_nospec(last, RING_SIZE)];
	slot->phys_addr = write->addr;
	slot->len = write->size;
	slot->pio = write->space == LV_SPACE_PIO;
	memcpy(slot->data, data, write->size);
	smp_wmb(); /* the entry before the index that announces it */
	WRITE_ONCE(ring->last, next);
	return true;
}

static bool coalesce(struct lv_iobus *bus, const struct coalesced *write,
		     const void *data)
{
	const struct coalesced_zones *t;
	bool queued = false;
	unsigned int i;

	rcu_read_lock();
	t = rcu_dereference(bus->zones);
	for (i = 0; t && i < t->nr; i++)
		if (contains(&t->zone[i], write))
			break;
	if (t && i < t->nr) {
		spin_lock(&bus->ring_lock);
		queued = ring_push(bus, write, data);
		spin_unlock(&bus->ring_lock);
	}
	rcu_read_unlock();
	return queued;
}

static int to_zone(const struct kvm_coalesced_mmio_zone *args,
		   struct coalesced *zone)
{
	if (args->pio > 1)
		return -EINVAL;
	zone->addr = args->addr;
	zone->size = args->size;
	zone->space = args->pio ? LV_SPACE_PIO : LV_SPACE_MMIO;
	return 0;
}

/* Copy the table without the zones that contain @gone, and with @new. */
static int change_zones(struct lv_iobus *bus, const struct coalesced *gone,
			const struct coalesced *new)
{
	struct coalesced_zones *old = rcu_dereference_protected(
		bus->zones, lockdep_is_held(&bus->lock));
	unsigned int nr = old ? old->nr : 0, i;
	struct coalesced_zones *t;

	if (new &&nr >= MAX_ZONES)
		return -ENOSPC;
	t = kmalloc(struct_size(t, zone, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!t)
		return -ENOMEM;
	t->nr = 0;
	for (i = 0; i < nr; i++)
		if (!gone || !contains(&old->zone[i], gone))
			t->zone[t->nr++] = old->zone[i];
	if (new)
		t->zone[t->nr++] = *new;
	rcu_assign_pointer(bus->zones, t);
	kfree_rcu(old, rcu);
	return 0;
}

LV_VM_IOCTL(ioctl_register_coalesced)
{
	struct lv_iobus *bus = vm->iobus;
	struct coalesced zone;
	int ret;

	ret = to_zone(data, &zone);
	if (ret)
		return ret;
	mutex_lock(&bus->lock);
	ret = change_zones(bus, NULL, &zone);
	mutex_unlock(&bus->lock);
	return ret;
}

LV_VM_IOCTL(ioctl_unregister_coalesced)
{
	struct lv_iobus *bus = vm->iobus;
	struct coalesced zone;
	int ret;

	ret = to_zone(data, &zone);
	if (ret)
		return ret;
	mutex_lock(&bus->lock);
	ret = change_zones(bus, &zone, NULL);
	mutex_unlock(&bus->lock);
	return ret;
}

/* ---- the bus ---- */

/**
 * lv_iobus_read - guest read from an in-kernel device
 * @v: the vCPU, by its own thread
 * @space: ports or memory
 * @addr: port or guest physical address
 * @len: 1 to 8 bytes
 * @data: filled in
 *
 * Return: 0, or -EOPNOTSUPP if there is no such device.
 */
int lv_iobus_read(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
		  unsigned int len, void *data)
{
	return chip_access(v, space, addr, len, data, false) ? 0 : -EOPNOTSUPP;
}

/**
 * lv_iobus_write - guest write to an in-kernel device
 * @v: the vCPU, by its own thread
 * @space: ports or memory
 * @addr: port or guest physical address
 * @len: 1 to 8 bytes
 * @data: what is written
 *
 * Return: 0, or -EOPNOTSUPP if there is no such device.
 */
int lv_iobus_write(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
		   unsigned int len, const void *data)
{
	struct coalesced write = { .addr = addr, .size = len, .space = space };
	struct lv_iobus *bus = v->vm->iobus;

	if (chip_access(v, space, addr, len, (u8 *)data, true) ||
	    signal_eventfd(bus, space, addr, len, data) ||
	    coalesce(bus, &write, data))
		return 0;
	return -EOPNOTSUPP;
}

/**
 * lv_iobus_init - create the bus of a new VM
 * @vm: the VM
 *
 * Return: 0 or -ENOMEM.
 */
int lv_iobus_init(struct lv_vm *vm)
{
	struct lv_iobus *bus = kzalloc(sizeof(*bus), GFP_KERNEL_ACCOUNT);

	if (!bus)
		return -ENOMEM;
	bus->ring = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!bus->ring) {
		kfree(bus);
		return -ENOMEM;
	}
	mutex_init(&bus->lock);
	spin_lock_init(&bus->ring_lock);
	vm->coalesced = virt_to_page(bus->ring);
	vm->iobus = bus;
	return 0;
}

/**
 * lv_iobus_free - free the bus of a VM that nobody runs any more
 * @vm: the VM
 */
void lv_iobus_free(struct lv_vm *vm)
{
	struct lv_iobus *bus = vm->iobus;
	struct ioeventfds *t = rcu_dereference_protected(bus->eventfds, true);
	unsigned int i;

	for (i = 0; t && i < t->nr; i++)
		eventfd_ctx_put(t->fd[i].eventfd);
	kvfree(t);
	kfree(rcu_dereference_protected(bus->zones, true));
	free_page((unsigned long)bus->ring);
	kfree(bus);
}
