// SPDX-License-Identifier: GPL-2.0-only
/* GSI routing: global system interrupt to chip pins or to an MSI message. */
#include "irq.h"

#define PIC_CHIP_LINES 8

/*
 * lv_msi_decode - the message that an MSI write of @data to @address sends.
 * With the redirection hint the destination names candidates, as in lowest
 * priority mode.
 */
struct lv_apic_msg lv_msi_decode(u32 address, u32 data)
{
	u8 dest = address >> 12;
	struct lv_apic_msg msg = {
		.dest = dest,
		.vector = data,
		.delivery = data >> 8 & 7,
		.shorthand = dest == 0xff ? LV_TO_ALL : LV_TO_DEST,
		.logical = address & BIT(2),
		.level = data & BIT(15),
	};

	if (address & BIT(3) && msg.delivery == LV_DELIVER_FIXED)
		msg.delivery = LV_DELIVER_LOWEST;
	return msg;
}

/** lv_routing_gsis - GSIs that a table for @entries must hold, or -EINVAL */
int lv_routing_gsis(const struct kvm_irq_routing_entry *entries, u32 nr)
{
	u32 i, gsis = 0;

	for (i = 0; i < nr; i++) {
		if (entries[i].gsi >= LV_MAX_GSIS)
			return -EINVAL;
		gsis = max(gsis, entries[i].gsi + 1);
	}
	return gsis;
}

static bool has_pin(const struct lv_route *route)
{
	unsigned int chip;

	for (chip = 0; chip < KVM_NR_IRQCHIPS; chip++)
		if (route->pin[chip] != LV_NO_PIN)
			return true;
	return false;
}

static int add_pin(struct lv_route *route,
		   const struct kvm_irq_routing_irqchip *to)
{
	u32 pins = to->irqchip == KVM_IRQCHIP_IOAPIC ? KVM_IOAPIC_NUM_PINS
						     : PIC_CHIP_LINES;

	if (to->irqchip >= KVM_NR_IRQCHIPS || to->pin >= pins)
		return -EINVAL;
	if (route->is_msi || route->pin[to->irqchip] != LV_NO_PIN)
		return -EINVAL;
	route->pin[to->irqchip] = to->pin;
	return 0;
}

static int add_msi(struct lv_route *route, const struct kvm_irq_routing_msi *to)
{
	if (route->is_msi || has_pin(route))
		return -EINVAL;
	route->is_msi = true;
	route->msi = lv_msi_decode(to->address_lo, to->data);
	return 0;
}

static int add_entry(struct lv_routing *table,
		     const struct kvm_irq_routing_entry *entry)
{
	struct lv_route *route = &table->route[entry->gsi];

	if (entry->flags)
		return -EINVAL;

	switch (entry->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		return add_pin(route, &entry->u.irqchip);
	case KVM_IRQ_ROUTING_MSI:
		return add_msi(route, &entry->u.msi);
	default:
		return -EINVAL;
	}
}

static void clear(struct lv_routing *table)
{
	u32 gsi;

	for (gsi = 0; gsi < table->nr; gsi++) {
		table->route[gsi].is_msi = false;
		memset(table->route[gsi].pin, LV_NO_PIN,
		       sizeof(table->route[gsi].pin));
	}
}

/*
 * lv_routing_fill - build a table, with @nr as lv_routing_gsis() said; or
 * -EINVAL. A GSI may go to one pin of each chip, or to one message.
 */
int lv_routing_fill(struct lv_routing *table,
		    const struct kvm_irq_routing_entry *entries, u32 nr)
{
	int ret;
	u32 i;

	clear(table);
	for (i = 0; i < nr; i++) {
		ret = add_entry(table, &entries[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * lv_routing_default - KVM's table after KVM_CREATE_IRQCHIP: GSI n goes to pin
 * n of the I/O APIC, and up to 15 to line n of the PIC. That holds for GSI 0,
 * too: who wants the timer on pin 2, where PCs have it, says so.
 */
void lv_routing_default(struct lv_routing *table)
{
	u8 gsi;

	clear(table);
	for (gsi = 0; gsi < LV_DEFAULT_GSIS; gsi++) {
		u8 *pin = table->route[gsi].pin;

		pin[KVM_IRQCHIP_IOAPIC] = gsi;
		if (gsi < PIC_CHIP_LINES)
			pin[KVM_IRQCHIP_PIC_MASTER] = gsi;
		else if (gsi < LV_PIC_LINES)
			pin[KVM_IRQCHIP_PIC_SLAVE] = gsi - PIC_CHIP_LINES;
	}
}
