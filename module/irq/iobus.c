// SPDX-License-Identifier: GPL-2.0-only
/*
 * The in-kernel bus: which guest port and memory accesses need no trip to
 * user space. First the interrupt controllers, then eventfds (KVM_IOEVENTFD),
 * then coalesced zones. Lookups take no lock and do not sleep.
 */
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
	bool used; /* the tables were not always empty (lock, read without) */
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
	WRITE_ONCE(bus->used, true);
	if (new) {
		kvfree_rcu(old, rcu);
	} else {
		synchronize_rcu_expedited();
		kvfree(old);
	}
	return 0;
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
	for_each_at(e, t, space, addr) {
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

	for_each_at(e, t, new->space, new->addr)
		if (collides(e, new))
			return -EEXIST;
	if (t->nr >= MAX_EVENTFDS)
		return -ENOSPC;
	return change_table(bus, &bus->eventfds, e - t->entry, new);
}

static int remove_eventfd(struct lv_iobus *bus, const struct bus_entry *gone)
{
	const struct bus_table *t = locked_table(bus, bus->eventfds);
	const struct bus_entry *e;
	int ret;

	for_each_at(e, t, gone->space, gone->addr) {
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

static bool ioeventfd_valid(const struct kvm_ioeventfd *args)
{
	const u32 flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
			  KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN;

	if (args->flags & ~flags)
		return false;
	if (args->len > 8 || (args->len && !is_power_of_2(args->len)))
		return false;
	if (!args->len && args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH)
		return false;
	return args->addr + args->len >= args->addr;
}

LV_IOCTL(ioeventfd)
{
	const struct kvm_ioeventfd *args = data;
	bool add = !(args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN);
	struct bus_entry e = {
		.addr = args->addr,
		.len = args->len,
		.datamatch = args->datamatch,
		.space = args->flags & KVM_IOEVENTFD_FLAG_PIO ? LV_SPACE_PIO
							      : LV_SPACE_MMIO,
		.match = args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH,
	};
	int ret;

	if (!ioeventfd_valid(args))
		return -EINVAL;
	e.eventfd = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(e.eventfd))
		return PTR_ERR(e.eventfd);
	scoped_guard(mutex, &vm->iobus->lock)
		ret = add ? add_eventfd(vm->iobus, &e)
			  : remove_eventfd(vm->iobus, &e);
	/* One that was added keeps the reference. */
	if (ret || !add)
		eventfd_ctx_put(e.eventfd);
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

static bool coalesce(struct lv_iobus *bus, u8 space, u64 addr, unsigned int len,
		     const void *data)
{
	struct bus_entry write = { .addr = addr, .len = len, .space = space };
	const struct bus_table *t;
	bool queued = false;
	unsigned int i = 0;

	rcu_read_lock();
	t = rcu_dereference(bus->zones);
	while (i < t->nr && !contains(&t->entry[i], &write))
		i++;
	if (i < t->nr) {
		spin_lock(&bus->ring_lock);
		queued = ring_push(bus, &write, data);
		spin_unlock(&bus->ring_lock);
	}
	rcu_read_unlock();
	return queued;
}

static struct bus_entry to_zone(const struct kvm_coalesced_mmio_zone *args)
{
	return (struct bus_entry){
		.addr = args->addr,
		.len = args->size,
		.space = args->pio ? LV_SPACE_PIO : LV_SPACE_MMIO,
	};
}

LV_IOCTL(register_coalesced)
{
	const struct kvm_coalesced_mmio_zone *args = data;
	struct bus_entry zone = to_zone(args);
	struct lv_iobus *bus = vm->iobus;

	if (args->pio > 1)
		return -EINVAL;
	guard(mutex)(&bus->lock);
	if (locked_table(bus, bus->zones)->nr >= MAX_ZONES)
		return -ENOSPC;
	return change_table(bus, &bus->zones, 0, &zone);
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
	guard(mutex)(&bus->lock);
	for (i = locked_table(bus, bus->zones)->nr; i-- && !ret;)
		if (contains(&locked_table(bus, bus->zones)->entry[i], &gone))
			ret = change_table(bus, &bus->zones, i, NULL);
	return ret;
}

/* ---- the bus ---- */

static noinline bool bus_write(struct lv_iobus *bus, u8 space, u64 addr,
			       unsigned int len, const void *data)
{
	return signal_eventfd(bus, space, addr, len, data) ||
	       coalesce(bus, space, addr, len, data);
}

/** lv_iobus_write - write by the guest; as lv_iobus_read() */
bool lv_iobus_write(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
		    unsigned int len, void *data)
{
	struct lv_iobus *bus = v->vm->iobus;

	if (v->vm->irqchip &&
	    (space == LV_SPACE_PIO ? lv_irqchip_ports(v, addr, len, data, true)
				   : lv_irqchip_mmio(v, addr, len, data, true)))
		return true;
	return READ_ONCE(bus->used) && bus_write(bus, space, addr, len, data);
}

/** lv_iobus_init - create the bus of a new VM; if it fails, free it */
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
	    !rcu_access_pointer(bus->zones) || !bus->ring)
		return -ENOMEM;
	vm->coalesced = virt_to_page(bus->ring);
	return 0;
}

/** lv_iobus_free - free the bus of a VM that nobody runs any more */
void lv_iobus_free(struct lv_vm *vm)
{
	struct lv_iobus *bus = vm->iobus;
	struct bus_table *t;
	unsigned int i;

	if (!bus)
		return;
	t = rcu_dereference_protected(bus->eventfds, true);
	for (i = 0; t && i < t->nr; i++)
		eventfd_ctx_put(t->entry[i].eventfd);
	kvfree(t);
	kvfree(rcu_dereference_protected(bus->zones, true));
	free_page((unsigned long)bus->ring);
	kfree(bus);
}
