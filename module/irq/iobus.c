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

/* struct bus_entry - an eventfd that a write signals, or a coalesced zone */
struct bus_entry {
	u64 addr; /* address of the write, or of the zone */
	u64 len; /* length of the write, 0 for any, or size of the zone */
	u64 datamatch; /* value written, if @match */
	u8 space; /* enum lv_space */
	bool match; /* only writes of @datamatch */
	struct eventfd_ctx *eventfd; /* what to signal */
};

/* Immutable once published. */
struct bus_table {
	struct rcu_head rcu;
	unsigned int nr;
	struct bus_entry entry[];
};

/* struct lv_iobus - the in-kernel bus of a VM */
struct lv_iobus {
	struct mutex lock; /* serialises changes of the tables */
	/* sorted by space and address (lock, read under RCU) */
	struct bus_table __rcu *eventfds;
	/* writes into them are queued for user space (lock, read under RCU) */
	struct bus_table __rcu *zones;
	spinlock_t ring_lock; /* protects our end of @ring */
	/* shared with user space, which may write anything anywhere in it */
	struct kvm_coalesced_mmio_ring *ring;
};

/* ---- tables ---- */

static struct bus_table *locked_table(struct lv_iobus *bus,
				      struct bus_table __rcu *table)
{
	return rcu_dereference_protected(table, lockdep_is_held(&bus->lock));
}

/*
 * Insert @new before index @at of a table; or with no @new remove what is
 * there, which nobody uses any more on return.
 */
static int change_table(struct lv_iobus *bus, struct bus_table __rcu **table,
			unsigned int at, const struct bus_entry *new)
{
	struct bus_table *old = locked_table(bus, *table), *t;
	unsigned int tail = at + !new;

	t = kvmalloc(struct_size(t, entry, old->nr + 1), GFP_KERNEL_ACCOUNT);
	if (!t)
		return -ENOMEM;
	t->nr = at;
	memcpy(t->entry, old->entry, at * sizeof(*t->entry));
	if (new)
		t->entry[t->nr++] = *new;
	memcpy(&t->entry[t->nr], &old->entry[tail],
	       (old->nr - tail) * sizeof(*t->entry));
	t->nr += old->nr - tail;

	rcu_assign_pointer(*table, t);
	if (new) {
		kvfree_rcu(old, rcu);
	} else {
		synchronize_rcu_expedited();
		kvfree(old);
	}
	return 0;
}

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
static unsigned int lower_bound(const struct bus_table *t, u8 space, u64 addr)
{
	unsigned int low = 0, high = t->nr;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		const struct bus_entry *e = &t->entry[mid];

		if (e->space < space || (e->space == space && e->addr < addr))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#define for_each_at(e, t, space_, addr_)                             \
	for ((e) = &(t)->entry[lower_bound(t, space_, addr_)];       \
	     (e) < &(t)->entry[(t)->nr] && (e)->space == (space_) && \
	     (e)->addr == (addr_);                                   \
	     (e)++)

static bool signal_eventfd(struct lv_iobus *bus, u8 space, u64 addr,
			   unsigned int len, const void *data)
{
	const struct bus_table *t;
	const struct bus_entry *e;
	bool signalled = false;
	u64 val = 0;

	memcpy(&val, data, min_t(unsigned int, len, sizeof(val)));
	rcu_read_lock();
	t = rcu_dereference(bus->eventfds);
	for_each_at(e, t, space, addr)
	{
		if ((e->len && e->len != len) ||
		    (e->match && e->datamatch != val))
			continue;
		lv_eventfd_signal(e->eventfd);
		signalled = true;
		break;
	}
	rcu_read_unlock();
	return signalled;
}

static struct bus_entry to_entry(const struct kvm_ioeventfd *args,
				 struct eventfd_ctx *eventfd)
{
	struct bus_entry e = {
		.addr = args->addr,
		.len = args->len,
		.datamatch = args->datamatch,
		.space = args->flags & KVM_IOEVENTFD_FLAG_PIO ? LV_SPACE_PIO
							      : LV_SPACE_MMIO,
		.match = args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH,
		.eventfd = eventfd,
	};

	return e;
}

/* Could one write mean both? */
static bool collides(const struct bus_entry *a, const struct bus_entry *b)
{
	if (a->len && b->len && a->len != b->len)
		return false;
	return !a->match || !b->match || a->datamatch == b->datamatch;
}

static int add_eventfd(struct lv_iobus *bus, const struct bus_entry *new)
{
	const struct bus_table *t = locked_table(bus, bus->eventfds);
	const struct bus_entry *e;

	for_each_at(e, t, new->space,
		    new->addr) if (collides(e, new)) return -EEXIST;
	if (t->nr >= MAX_EVENTFDS)
		return -ENOSPC;
	return change_table(bus, &bus->eventfds, e - t->entry, new);
}

/*
 * lv_iobus_add_eventfd - have a guest write signal an eventfd
 * @eventfd: taken over on success
 * Return: 0, -EEXIST, -ENOSPC or -ENOMEM.
 */
int lv_iobus_add_eventfd(struct lv_iobus *bus, const struct kvm_ioeventfd *args,
			 struct eventfd_ctx *eventfd)
{
	struct bus_entry new = to_entry(args, eventfd);
	int ret;

	mutex_lock(&bus->lock);
	ret = add_eventfd(bus, &new);
	mutex_unlock(&bus->lock);
	return ret;
}

static int remove_eventfd(struct lv_iobus *bus, const struct bus_entry *gone)
{
	const struct bus_table *t = locked_table(bus, bus->eventfds);
	const struct bus_entry *e;
	int ret;

	for_each_at(e, t, gone->space, gone->addr)
	{
		if (e->eventfd != gone->eventfd || e->len != gone->len ||
		    e->match != gone->match ||
		    (e->match && e->datamatch != gone->datamatch))
			continue;
		ret = change_table(bus, &bus->eventfds, e - t->entry, NULL);
		if (!ret)
			eventfd_ctx_put(gone->eventfd);
		return ret;
	}
	return -ENOENT;
}

/*
 * lv_iobus_remove_eventfd - undo lv_iobus_add_eventfd()
 * Return: 0, -ENOENT or -ENOMEM.
 */
int lv_iobus_remove_eventfd(struct lv_iobus *bus,
			    const struct kvm_ioeventfd *args,
			    struct eventfd_ctx *eventfd)
{
	struct bus_entry gone = to_entry(args, eventfd);
	int ret;

	mutex_lock(&bus->lock);
	ret = remove_eventfd(bus, &gone);
	mutex_unlock(&bus->lock);
	return ret;
}

/* ---- coalesced zones ---- */

static bool contains(const struct bus_entry *zone, const struct bus_entry *part)
{
	return zone->space == part->space && part->addr >= zone->addr &&
	       part->addr - zone->addr <= zone->len &&
	       part->len <= zone->len - (part->addr - zone->addr);
}

/* User space owns @first, and may have scribbled over @last. */
static bool ring_push(struct lv_iobus *bus, const struct bus_entry *write,
		      const void *data)
{
	struct kvm_coalesced_mmio_ring *ring = bus->ring;
	u32 last = READ_ONCE(ring->last), next = (last + 1) % RING_SIZE;
	struct kvm_coalesced_mmio *slot;

	if (last >= RING_SIZE || next == READ_ONCE(ring->first))
		return false;
	slot = &ring->coalesced_mmio[array_index_nospec(last, RING_SIZE)];
	slot->phys_addr = write->addr;
	slot->len = write->len;
	slot->pio = write->space == LV_SPACE_PIO;
	memcpy(slot->data, data, write->len);
	smp_wmb(); /* the entry before the index that announces it */
	WRITE_ONCE(ring->last, next);
	return true;
}

static bool coalesce(struct lv_iobus *bus, const struct bus_entry *write,
		     const void *data)
{
	const struct bus_table *t;
	bool queued = false;
	unsigned int i;

	rcu_read_lock();
	t = rcu_dereference(bus->zones);
	for (i = 0; i < t->nr; i++)
		if (contains(&t->entry[i], write))
			break;
	if (i < t->nr) {
		spin_lock(&bus->ring_lock);
		queued = ring_push(bus, write, data);
		spin_unlock(&bus->ring_lock);
	}
	rcu_read_unlock();
	return queued;
}

static struct bus_entry to_zone(const struct kvm_coalesced_mmio_zone *args)
{
	struct bus_entry zone = {
		.addr = args->addr,
		.len = args->size,
		.space = args->pio ? LV_SPACE_PIO : LV_SPACE_MMIO,
	};

	return zone;
}

LV_IOCTL(register_coalesced)
{
	const struct kvm_coalesced_mmio_zone *args = data;
	struct bus_entry zone = to_zone(args);
	struct lv_iobus *bus = vm->iobus;
	int ret = -ENOSPC;

	if (args->pio > 1)
		return -EINVAL;
	mutex_lock(&bus->lock);
	if (locked_table(bus, bus->zones)->nr < MAX_ZONES)
		ret = change_table(bus, &bus->zones, 0, &zone);
	mutex_unlock(&bus->lock);
	return ret;
}

/* Remove the zones that contain the given one. */
LV_IOCTL(unregister_coalesced)
{
	const struct kvm_coalesced_mmio_zone *args = data;
	struct bus_entry gone = to_zone(args);
	struct lv_iobus *bus = vm->iobus;
	unsigned int i;
	int ret = 0;

	if (args->pio > 1)
		return -EINVAL;
	mutex_lock(&bus->lock);
	for (i = locked_table(bus, bus->zones)->nr; i-- && !ret;)
		if (contains(&locked_table(bus, bus->zones)->entry[i], &gone))
			ret = change_table(bus, &bus->zones, i, NULL);
	mutex_unlock(&bus->lock);
	return ret;
}

/* ---- the bus ---- */

/*
 * lv_iobus_read - guest read from an in-kernel device
 * Return: 0, or -EOPNOTSUPP if there is no such device.
 */
int lv_iobus_read(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
		  unsigned int len, void *data)
{
	return chip_access(v, space, addr, len, data, false) ? 0 : -EOPNOTSUPP;
}

/*
 * lv_iobus_write - guest write to an in-kernel device
 * Return: 0, or -EOPNOTSUPP if there is no such device.
 */
int lv_iobus_write(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
		   unsigned int len, const void *data)
{
	struct bus_entry write = { .addr = addr, .len = len, .space = space };
	struct lv_iobus *bus = v->vm->iobus;

	if (chip_access(v, space, addr, len, (u8 *)data, true) ||
	    signal_eventfd(bus, space, addr, len, data) ||
	    coalesce(bus, &write, data))
		return 0;
	return -EOPNOTSUPP;
}

/*
 * lv_iobus_init - create the bus of a new VM
 * Return: 0 or -ENOMEM.
 */
int lv_iobus_init(struct lv_vm *vm)
{
	struct lv_iobus *bus = kzalloc(sizeof(*bus), GFP_KERNEL_ACCOUNT);
	const size_t empty = sizeof(struct bus_table);

	if (!bus)
		return -ENOMEM;
	mutex_init(&bus->lock);
	spin_lock_init(&bus->ring_lock);
	vm->iobus = bus;

	RCU_INIT_POINTER(bus->eventfds, kvzalloc(empty, GFP_KERNEL_ACCOUNT));
	RCU_INIT_POINTER(bus->zones, kvzalloc(empty, GFP_KERNEL_ACCOUNT));
	bus->ring = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!rcu_access_pointer(bus->eventfds) ||
	    !rcu_access_pointer(bus->zones) || !bus->ring) {
		lv_iobus_free(vm);
		return -ENOMEM;
	}
	vm->coalesced = virt_to_page(bus->ring);
	return 0;
}

/** lv_iobus_free - free the bus of a VM that nobody runs any more */
void lv_iobus_free(struct lv_vm *vm)
{
	struct lv_iobus *bus = vm->iobus;
	struct bus_table *t = rcu_dereference_protected(bus->eventfds, true);
	unsigned int i;

	for (i = 0; t && i < t->nr; i++)
		eventfd_ctx_put(t->entry[i].eventfd);
	kvfree(t);
	kvfree(rcu_dereference_protected(bus->zones, true));
	free_page((unsigned long)bus->ring);
	kfree(bus);
}
