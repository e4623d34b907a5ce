// SPDX-License-Identifier: GPL-2.0-only
/* GSI routing tables and MSI. */
#include "irq/irq.h"
#include "tap.h"

static struct {
	struct lv_routing table;
	struct lv_route route[LV_MAX_GSIS];
} buf;

static struct kvm_irq_routing_entry pin_entry(u32 gsi, u32 chip, u32 pin)
{
	struct kvm_irq_routing_entry entry = {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};

	return entry;
}

static struct kvm_irq_routing_entry msi_entry(u32 gsi, u32 address, u32 data)
{
	struct kvm_irq_routing_entry entry = {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = address, .data = data },
	};

	return entry;
}

static int fill(const struct kvm_irq_routing_entry *entries, u32 nr)
{
	int gsis = lv_routing_gsis(entries, nr);

	if (gsis < 0)
		return gsis;
	memset(&buf, 0xaa, sizeof(buf));
	buf.table.nr = gsis;
	return lv_routing_fill(&buf.table, entries, nr);
}

static const struct lv_route *find(u32 gsi)
{
	return lv_routing_find(&buf.table, gsi);
}

static void test_default(void)
{
	u32 gsi;

	memset(&buf, 0xaa, sizeof(buf));
	buf.table.nr = LV_DEFAULT_GSIS;
	lv_routing_default(&buf.table);
	for (gsi = 0; gsi < 24; gsi++) {
		const u8 *pin = find(gsi)->pin;

		is(pin[KVM_IRQCHIP_IOAPIC], gsi, "default: GSI %u, I/O APIC",
		   gsi);
		is(pin[KVM_IRQCHIP_PIC_MASTER], gsi < 8 ? gsi : LV_NO_PIN,
		   "default: GSI %u, master", gsi);
		is(pin[KVM_IRQCHIP_PIC_SLAVE],
		   gsi >= 8 && gsi < 16 ? gsi - 8 : LV_NO_PIN,
		   "default: GSI %u, slave", gsi);
		ok(!find(gsi)->is_msi, "default: GSI %u is no MSI", gsi);
	}
	ok(!find(24), "default: 24 GSIs");
	ok(!find(~0u), "default: no wild GSI");
}

static void test_fill(void)
{
	struct kvm_irq_routing_entry entries[] = {
		pin_entry(0, KVM_IRQCHIP_IOAPIC, 2),
		pin_entry(0, KVM_IRQCHIP_PIC_MASTER, 0),
		pin_entry(9, KVM_IRQCHIP_PIC_SLAVE, 7),
		pin_entry(30, KVM_IRQCHIP_IOAPIC, 23),
		msi_entry(25, 0xfee03004, 0x4061),
	};

	is(lv_routing_gsis(entries, 5), 31, "size: one past the highest GSI");
	is(lv_routing_gsis(entries, 0), 0, "size: an empty table");
	is(fill(entries, 5), 0, "fill");
	is(find(0)->pin[KVM_IRQCHIP_IOAPIC], 2, "GSI 0 on pin 2");
	is(find(0)->pin[KVM_IRQCHIP_PIC_MASTER], 0, "and on line 0");
	is(find(0)->pin[KVM_IRQCHIP_PIC_SLAVE], LV_NO_PIN, "and nowhere else");
	is(find(9)->pin[KVM_IRQCHIP_PIC_SLAVE], 7, "GSI 9 on the slave");
	is(find(30)->pin[KVM_IRQCHIP_IOAPIC], 23, "GSI 30 on the last pin");
	ok(find(25)->is_msi, "GSI 25 is an MSI");
	is(find(25)->msi.dest, 3, "its destination");
	is(find(25)->msi.vector, 0x61, "its vector");
	ok(!find(7)->is_msi, "a GSI between: no MSI");
	is(find(7)->pin[KVM_IRQCHIP_IOAPIC], LV_NO_PIN, "and no pin");
	ok(!find(31), "no GSI beyond");
	is(fill(entries, 0), 0, "fill: an empty table");
	ok(!find(0), "it has no GSI");
}

static void test_refusals(void)
{
	struct kvm_irq_routing_entry e[3];

	e[0] = pin_entry(LV_MAX_GSIS, KVM_IRQCHIP_IOAPIC, 0);
	is(fill(e, 1), -EINVAL, "refused: GSI too high");
	e[0] = pin_entry(LV_MAX_GSIS - 1, KVM_IRQCHIP_IOAPIC, 0);
	is(fill(e, 1), 0, "the highest GSI");
	e[0] = pin_entry(0, KVM_IRQCHIP_IOAPIC, 24);
	is(fill(e, 1), -EINVAL, "refused: I/O APIC pin 24");
	e[0] = pin_entry(0, KVM_IRQCHIP_PIC_MASTER, 8);
	is(fill(e, 1), -EINVAL, "refused: master line 8");
	e[0] = pin_entry(0, KVM_IRQCHIP_PIC_SLAVE, 8);
	is(fill(e, 1), -EINVAL, "refused: slave line 8");
	e[0] = pin_entry(0, KVM_NR_IRQCHIPS, 0);
	is(fill(e, 1), -EINVAL, "refused: no such chip");
	e[0] = pin_entry(0, KVM_IRQCHIP_IOAPIC, 0);
	e[0].type = KVM_IRQ_ROUTING_HV_SINT;
	is(fill(e, 1), -EINVAL, "refused: type");
	e[0] = pin_entry(0, KVM_IRQCHIP_IOAPIC, 0);
	e[0].flags = 1;
	is(fill(e, 1), -EINVAL, "refused: flags");

	e[0] = pin_entry(1, KVM_IRQCHIP_IOAPIC, 1);
	e[1] = pin_entry(1, KVM_IRQCHIP_IOAPIC, 2);
	is(fill(e, 2), -EINVAL, "refused: a chip twice for a GSI");
	e[1] = msi_entry(1, 0xfee00000, 0x40);
	is(fill(e, 2), -EINVAL, "refused: pin, then MSI");
	e[2] = e[0];
	is(fill(e + 1, 2), -EINVAL, "refused: MSI, then pin");
	e[2] = e[1];
	is(fill(e + 1, 2), -EINVAL, "refused: two MSIs");
	e[1] = pin_entry(2, KVM_IRQCHIP_IOAPIC, 1);
	is(fill(e, 2), 0, "two GSIs may share a pin");
}

static void test_msi(void)
{
	struct lv_apic_msg msg = lv_msi_decode(0xfee12000, 0x0041);

	is(msg.dest, 0x12, "MSI: destination");
	is(msg.vector, 0x41, "MSI: vector");
	is(msg.delivery, LV_DELIVER_FIXED, "MSI: fixed");
	is(msg.shorthand, LV_TO_DEST, "MSI: to its destination");
	ok(!msg.logical && !msg.level && !msg.x2apic, "MSI: physical, edge");
	msg = lv_msi_decode(0xfee12004, 0xc441);
	ok(msg.logical && msg.level, "MSI: logical, level");
	is(msg.delivery, LV_DELIVER_NMI, "MSI: NMI");
	msg = lv_msi_decode(0xfee12008, 0x41);
	is(msg.delivery, LV_DELIVER_LOWEST, "MSI: redirection hint");
	msg = lv_msi_decode(0xfee12008, 0x441);
	is(msg.delivery, LV_DELIVER_NMI, "MSI: the hint is for vectors only");
	msg = lv_msi_decode(0xfeeff000, 0x41);
	is(msg.shorthand, LV_TO_ALL, "MSI: 0xff is everybody");
}

int main(void)
{
	test_default();
	test_fill();
	test_refusals();
	test_msi();
	return tap_done();
}
