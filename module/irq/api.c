// SPDX-License-Identifier: GPL-2.0-only
/* The KVM ioctls of the interrupt controllers. */
#include "../compat.h"
#include "irqchip.h"

/* The VM's irqchip, or NULL. */
static struct lv_irqchip *any_chip(struct lv_vm *vm)
{
	return smp_load_acquire(&vm->irqchip);
}

/* The VM's irqchip if PIC and I/O APIC are in it, or NULL. */
static struct lv_irqchip *full_chip(struct lv_vm *vm)
{
	struct lv_irqchip *chip = any_chip(vm);

	return chip && chip->in_kernel ? chip : NULL;
}

static struct lv_irqchip *chip_with_pit(struct lv_vm *vm)
{
	struct lv_irqchip *chip = any_chip(vm);

	return chip && smp_load_acquire(&chip->has_pit) ? chip : NULL;
}

static void lv_apic_page_free(struct lv_vm *vm)
{
	if (vm->apic_page)
		__free_page(vm->apic_page);
	vm->apic_page = NULL;
}

static int create(struct lv_vm *vm, enum lv_irqchip_mode mode)
{
	bool in_kernel = mode == LV_IRQCHIP_KERNEL;
	u32 gsis = in_kernel ? LV_DEFAULT_GSIS : 0;
	struct lv_irqchip *chip;
	struct lv_routing *table;

	chip = kzalloc(sizeof(*chip), GFP_KERNEL_ACCOUNT);
	table = kvzalloc(struct_size(table, route, gsis), GFP_KERNEL_ACCOUNT);
	if (lv_backend->has_apic_page)
		vm->apic_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!chip || !table || (lv_backend->has_apic_page && !vm->apic_page)) {
		lv_apic_page_free(vm);
		kvfree(table);
		kfree(chip);
		return -ENOMEM;
	}
	table->nr = gsis;
	if (in_kernel)
		lv_routing_default(table);
	RCU_INIT_POINTER(chip->routing, table);

	chip->vm = vm;
	chip->in_kernel = in_kernel;
	raw_spin_lock_init(&chip->lock);
	lv_ioapic_init(&chip->ioapic, &chip->bus);
	lv_pic_init(&chip->pic);
	lv_hrtimer_setup(&chip->pit_timer, lv_pit_timer_fn, CLOCK_MONOTONIC,
			 HRTIMER_MODE_ABS_PINNED_HARD);
	lv_irqfd_init(chip);
	vm->apic_page_on = vm->apic_page;
	WRITE_ONCE(vm->irqchip_mode, mode);
	smp_store_release(&vm->irqchip, chip);
	return 0;
}

/** lv_irqchip_free - of a VM that nobody runs any more; before its vCPUs */
void lv_irqchip_free(struct lv_vm *vm)
{
	struct lv_irqchip *chip = vm->irqchip;

	if (!chip)
		return;
	lv_irqfd_shutdown(chip);
	hrtimer_cancel(&chip->pit_timer);
	kvfree(rcu_dereference_protected(chip->routing, true));
	kfree(chip);
	vm->irqchip = NULL;
	lv_apic_page_free(vm);
}

LV_IOCTL(create_irqchip)
{
	if (vm->irqchip)
		return -EEXIST;
	if (vm->nr_vcpus)
		return -EINVAL;
	return create(vm, LV_IRQCHIP_KERNEL);
}

/*
 * lv_split_irqchip - KVM_CAP_SPLIT_IRQCHIP: local APICs in the kernel, PIC
 * and I/O APIC in user space; vm->lock is held. Every vector that was sent as
 * level triggered is reported on its EOI, so the routes need not be searched
 * for the first @pins GSIs.
 */
int lv_split_irqchip(struct lv_vm *vm, u64 pins)
{
	if (pins > LV_MAX_GSIS)
		return -EINVAL;
	if (vm->irqchip || vm->nr_vcpus)
		return -EEXIST;
	return create(vm, LV_IRQCHIP_SPLIT);
}

LV_IOCTL(get_irqchip)
{
	struct lv_irqchip *chip = full_chip(vm);
	struct kvm_irqchip *state = data;
	unsigned long flags;

	if (!chip)
		return -ENXIO;
	if (state->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;

	memset(&state->chip, 0, sizeof(state->chip));
	raw_spin_lock_irqsave(&chip->lock, flags);
	if (state->chip_id == KVM_IRQCHIP_IOAPIC)
		lv_ioapic_get_state(&chip->ioapic, &state->chip.ioapic);
	else
		state->chip.pic = chip->pic.chip[array_index_nospec(
			state->chip_id, ARRAY_SIZE(chip->pic.chip))];
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	return 0;
}

LV_IOCTL(set_irqchip)
{
	struct lv_irqchip *chip = full_chip(vm);
	const struct kvm_irqchip *state = data;
	unsigned long flags;

	if (!chip)
		return -ENXIO;
	if (state->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;
	raw_spin_lock_irqsave(&chip->lock, flags);
	if (state->chip_id == KVM_IRQCHIP_IOAPIC)
		lv_ioapic_set_state(&chip->ioapic, &state->chip.ioapic);
	else
		lv_pic_set_state(&chip->pic, state->chip_id, &state->chip.pic);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	return 0;
}

LV_IOCTL(irq_line)
{
	struct lv_irqchip *chip = any_chip(vm);
	struct kvm_irq_level *line = data;

	if (!chip)
		return -ENXIO;
	line->status = lv_irqchip_set_gsi(chip, line->irq, LV_LINE_USER,
					  line->level ? LV_HIGH : LV_LOW);
	return 0;
}

LV_IOCTL(signal_msi)
{
	struct lv_irqchip *chip = any_chip(vm);
	const struct kvm_msi *msi = data;
	struct lv_apic_msg msg;

	if (!chip || msi->flags)
		return -EINVAL;
	msg = lv_msi_decode(msi->address_lo, msi->data);
	return lv_apic_bus_send(&chip->bus, &msg, NULL);
}

/*
 * Have the I/O APIC report EOIs of the PIT's pin: it is edge triggered, but
 * ticks that merged are paid on its EOI.
 */
static void update_watch(struct lv_irqchip *chip)
{
	const struct lv_route *route;
	unsigned long flags;
	u32 pins = 0;

	raw_spin_lock_irqsave(&chip->lock, flags);
	rcu_read_lock();
	route = lv_irqchip_route(chip, LV_PIT_GSI);
	if (chip->has_pit && chip->pit.reinject && route &&
	    route->pin[KVM_IRQCHIP_IOAPIC] != LV_NO_PIN)
		pins = BIT(route->pin[KVM_IRQCHIP_IOAPIC]);
	rcu_read_unlock();
	lv_ioapic_watch(&chip->ioapic, pins);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
}

static struct lv_routing *
build_routing(const struct kvm_irq_routing_entry *entries, u32 nr)
{
	int gsis = lv_routing_gsis(entries, nr), ret;
	struct lv_routing *table;

	if (gsis < 0)
		return ERR_PTR(gsis);
	table = kvzalloc(struct_size(table, route, gsis), GFP_KERNEL_ACCOUNT);
	if (!table)
		return ERR_PTR(-ENOMEM);
	table->nr = gsis;
	ret = lv_routing_fill(table, entries, nr);
	if (!ret)
		return table;
	kvfree(table);
	return ERR_PTR(ret);
}

static bool has_chip_entry(const struct kvm_irq_routing_entry *entries, u32 nr)
{
	while (nr--)
		if (entries[nr].type == KVM_IRQ_ROUTING_IRQCHIP)
			return true;
	return false;
}

LV_IOCTL(set_gsi_routing)
{
	struct kvm_irq_routing __user *user = (void __user *)arg;
	struct lv_irqchip *chip = any_chip(vm);
	struct kvm_irq_routing_entry *entries;
	struct kvm_irq_routing head;
	struct lv_routing *table;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (!chip || head.nr > LV_MAX_GSIS || head.flags)
		return -EINVAL;
	entries = vmemdup_user(user->entries,
			       array_size(head.nr, sizeof(*entries)));
	if (IS_ERR(entries))
		return PTR_ERR(entries);

	if (!chip->in_kernel && has_chip_entry(entries, head.nr))
		table = ERR_PTR(-EINVAL);
	else
		table = build_routing(entries, head.nr);
	kvfree(entries);
	if (IS_ERR(table))
		return PTR_ERR(table);

	table = rcu_replace_pointer(chip->routing, table,
				    lockdep_is_held(&vm->lock));
	update_watch(chip);
	synchronize_rcu_expedited();
	kvfree(table);
	return 0;
}

LV_IOCTL(create_pit2)
{
	const struct kvm_pit_config *config = data;
	struct lv_irqchip *chip = full_chip(vm);

	if (config->flags & ~KVM_PIT_SPEAKER_DUMMY)
		return -EINVAL;
	if (!chip)
		return -ENOENT;
	if (chip->has_pit)
		return -EEXIST;
	lv_pit_init(&chip->pit);
	chip->has_speaker = config->flags;
	smp_store_release(&chip->has_pit, true);
	update_watch(chip);
	return 0;
}

LV_IOCTL(get_pit2)
{
	struct lv_irqchip *chip = chip_with_pit(vm);
	unsigned long flags;

	if (!chip)
		return -ENXIO;
	raw_spin_lock_irqsave(&chip->lock, flags);
	memcpy(data, &chip->pit.state, sizeof(chip->pit.state));
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	return 0;
}

LV_IOCTL(set_pit2)
{
	struct lv_irqchip *chip = chip_with_pit(vm);
	unsigned long flags;
	int ret;

	if (!chip)
		return -ENXIO;
	raw_spin_lock_irqsave(&chip->lock, flags);
	ret = lv_pit_set_state(&chip->pit, data);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	return ret;
}

LV_IOCTL(reinject_control)
{
	struct lv_irqchip *chip = chip_with_pit(vm);
	struct kvm_reinject_control control;
	unsigned long flags;

	if (copy_from_user(&control, (void __user *)arg, sizeof(control)))
		return -EFAULT;
	if (!chip)
		return -ENXIO;

	raw_spin_lock_irqsave(&chip->lock, flags);
	chip->pit.reinject = control.pit_reinject;
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	update_watch(chip);
	return 0;
}

LV_IOCTL(get_lapic)
{
	if (!v->apic)
		return -EINVAL;
	lv_lapic_get_state(v->apic, data);
	return 0;
}

LV_IOCTL(set_lapic)
{
	int ret;

	if (!v->apic)
		return -EINVAL;
	ret = lv_lapic_set_state(v->apic, data);
	lv_request(v, LV_REQ_EVENT);
	return ret;
}
