/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt controllers of a PC as pure state machines.
 *
 *   device --GSI--> routing.c --pin--> pic.c ----INTR----+
 *                       |     --pin--> ioapic.c --msg-+  |
 *                       +----------MSI------msg-------+  |
 *                                                     v  v
 *                                apic_bus.c --> lapic.c of each vCPU
 *
 * None of it knows the kernel. What it needs from its surroundings are the
 * extern functions marked "hook": plain calls resolved at link time, because
 * an indirect call costs a retpoline. The kernel side is in irqchip.c, the
 * unit tests bring their own.
 *
 * Protection:
 *   chip   the irqchip lock: all of PIC, I/O APIC and PIT
 *   own    the thread of the vCPU that owns the local APIC
 *   atomic any CPU, by atomic bit operations
 *   once   written by the owner with WRITE_ONCE(), read by any CPU
 */
#ifndef LABVISOR_IRQ_H
#define LABVISOR_IRQ_H

#include "../pure.h"

#include <linux/kvm.h>

#define LV_MAX_APICS 256
#define LV_VECTORS 256

/** lv_irq_now_ns - hook: monotonic host time, the clock of every timer here */
u64 lv_irq_now_ns(void);

/* ---- interrupt messages: what travels between the APICs ---- */

/** enum lv_delivery - delivery mode, as encoded in ICR, RTE, LVT and MSI */
enum lv_delivery {
	LV_DELIVER_FIXED = 0,
	LV_DELIVER_LOWEST = 1,
	LV_DELIVER_SMI = 2,
	LV_DELIVER_NMI = 4,
	LV_DELIVER_INIT = 5,
	LV_DELIVER_SIPI = 6,
	LV_DELIVER_EXTINT = 7,
};

/** enum lv_shorthand - destination shorthand, as encoded in ICR */
enum lv_shorthand {
	LV_TO_DEST = 0,
	LV_TO_SELF = 1,
	LV_TO_ALL = 2,
	LV_TO_OTHERS = 3,
};

/* enum lv_irq_source - where the last interrupt of a local APIC came from */
enum lv_irq_source {
	LV_FROM_DEVICE,
	LV_FROM_IPI,
	LV_FROM_TIMER,
};

/* struct lv_apic_msg - one interrupt message */
struct lv_apic_msg {
	u32 dest; /* APIC ID or logical destination; all is LV_TO_ALL */
	u8 vector; /* vector, or start-up page for SIPI */
	u8 delivery; /* enum lv_delivery */
	u8 shorthand; /* enum lv_shorthand */
	bool logical; /* @dest is a logical destination */
	u8 source; /* enum lv_irq_source */
	bool level; /* level triggered: the EOI goes back to the I/O APIC */
	bool x2apic; /* @dest has x2APIC format: only such targets match */
};

struct lv_lapic;

/* struct lv_apic_bus - the local APICs of a VM */
struct lv_apic_bus {
	/* by APIC ID; entries appear and never go while the VM lives */
	struct lv_lapic *apic[LV_MAX_APICS];
	unsigned int nr; /* one past the highest APIC ID in use */
	/* edge-triggered vectors whose EOI the I/O APIC wants (chip, once) */
	unsigned long edge_eoi[BITS_TO_LONGS(LV_VECTORS)];
};

void lv_apic_bus_add(struct lv_apic_bus *bus, struct lv_lapic *apic);
int lv_apic_bus_send(struct lv_apic_bus *bus, const struct lv_apic_msg *msg,
		     struct lv_lapic *from);

/* ---- local APIC ---- */

#define LV_APIC_DEFAULT_BASE 0xfee00000ULL
#define LV_APIC_BASE_BSP BIT_ULL(8)
#define LV_APIC_BASE_X2APIC BIT_ULL(10)
#define LV_APIC_BASE_ENABLE BIT_ULL(11)

#define LV_X2APIC_MSR 0x800
#define LV_SPIV_ENABLE BIT(8)

/* clang-format off */

/* Register numbers: MMIO offset >> 4, MSR index - 0x800. */
enum lv_lapic_reg {
	LAPIC_ID = 0x02, LAPIC_VERSION, LAPIC_TPR = 0x08, LAPIC_APR,
	LAPIC_PPR, LAPIC_EOI, LAPIC_LDR = 0x0d, LAPIC_DFR, LAPIC_SPIV,
	LAPIC_ISR = 0x10, LAPIC_TMR = 0x18, LAPIC_IRR = 0x20, LAPIC_ESR = 0x28,
	LAPIC_ICR = 0x30, LAPIC_ICR2, LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL,
	LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,
	LAPIC_TIMER_INIT, LAPIC_TIMER_COUNT, LAPIC_TIMER_DIV = 0x3e,
	LAPIC_SELF_IPI, LAPIC_NR_REGS,
};

/* clang-format on */

/*
 * struct lv_posted - vectors that the CPU takes by itself while it runs the guest
 * (SDM vol. 3, "Posted-Interrupt Processing"; atomic)
 */
struct lv_posted {
	unsigned long pir[BITS_TO_LONGS(LV_VECTORS)];
	unsigned long notified; /* bit 0: it was told, and has not come yet */
	unsigned long reserved[3];
} __attribute__((aligned(64)));

/* struct lv_lapic - one local APIC */
struct lv_lapic {
	union {
		struct {
			unsigned long isr[BITS_TO_LONGS(LV_VECTORS)]; /* own */
			unsigned long tmr[BITS_TO_LONGS(LV_VECTORS)]; /* atomic */
			unsigned long irr[BITS_TO_LONGS(LV_VECTORS)]; /* atomic */
		};
		u32 bitmap[3 * LV_VECTORS / 32]; /* registers from LAPIC_ISR on */
	};
	struct lv_posted posted; /* empty, but while lv_lapic_takes_posted() */
	unsigned long errors; /* error bits not yet latched into ESR (atomic) */
	bool irr_pending; /* false only if @irr is empty (once, by any CPU) */
	u8 source; /* enum lv_irq_source of the last message (once, by any CPU) */
	bool posts; /* in the guest it takes vectors from @posted (own, once) */

	int isr_highest; /* highest vector in @isr, -1 if none (own) */

	struct lv_apic_bus *bus; /* where messages go */
	u32 id; /* APIC ID, fixed */
	bool has_x2apic; /* the guest may enter x2APIC mode (own) */
	bool has_tsc_deadline; /* it may select TSC-deadline mode (own) */
	u64 base; /* IA32_APIC_BASE (own, once) */
	u32 regs[LAPIC_NR_REGS]; /* those that are plain storage (own, once) */
	unsigned long changed; /* a bit each, for lv_lapic_to_page() (own) */
	u32 *page; /* where a CPU may have written ICR and ICR2, or NULL (own) */
	u64 tsc_deadline; /* IA32_TSC_DEADLINE (own, and timer expiry) */
	/*
	 * Host time of the next timer expiry, 0 if stopped (own, and timer
	 * expiry). The owner cancels the timer before it changes anything
	 * that expiry reads or writes.
	 */
	u64 expiry;
};

/** enum lv_lapic_event - messages besides vectors, as in enum lv_delivery */
enum lv_lapic_event {
	LV_LAPIC_NMI,
	LV_LAPIC_INIT,
	LV_LAPIC_SIPI,
};

/*
 * lv_lapic_notify - hook: look at lv_lapic_pending() again. Called on any CPU
 * for a new vector, by the owner when one may have become deliverable.
 */
void lv_lapic_notify(struct lv_lapic *apic);
/** lv_lapic_takes_posted - hook: is it in a stay in the guest, and takes vectors? */
bool lv_lapic_takes_posted(struct lv_lapic *apic);
/** lv_lapic_notify_cpu - hook: have the CPU that it runs on take them */
void lv_lapic_notify_cpu(struct lv_lapic *apic);
/** lv_lapic_event - hook: NMI, INIT or SIPI arrived; called on any CPU */
void lv_lapic_event(struct lv_lapic *apic, enum lv_lapic_event event,
		    u8 vector);
/** lv_lapic_eoi_broadcast - hook: EOI of a vector the I/O APIC cares about */
void lv_lapic_eoi_broadcast(struct lv_lapic *apic, u8 vector);
/** lv_lapic_timer_arm - hook: call lv_lapic_timer_expired() at @deadline */
void lv_lapic_timer_arm(struct lv_lapic *apic, u64 deadline);
/** lv_lapic_timer_arm_tsc - hook: ... when the guest's TSC is @tsc; false: it cannot */
bool lv_lapic_timer_arm_tsc(struct lv_lapic *apic, u64 tsc);
/** lv_lapic_timer_cancel - hook: disarm, wait for a running expiry to end */
void lv_lapic_timer_cancel(struct lv_lapic *apic);
/** lv_lapic_ns_until - hook: nanoseconds until the guest's TSC is @tsc */
s64 lv_lapic_ns_until(struct lv_lapic *apic, u64 tsc);

void lv_lapic_init(struct lv_lapic *apic, struct lv_apic_bus *bus, u32 id,
		   bool bsp);
void lv_lapic_reset(struct lv_lapic *apic);
int lv_lapic_set_base(struct lv_lapic *apic, u64 base, bool host);

u32 lv_lapic_mmio_read(struct lv_lapic *apic, u32 offset);
void lv_lapic_mmio_write(struct lv_lapic *apic, u32 offset, u32 val);
int lv_lapic_rdmsr(struct lv_lapic *apic, u32 msr, u64 *val);
int lv_lapic_wrmsr(struct lv_lapic *apic, u32 msr, u64 val);
void lv_lapic_set_tsc_deadline(struct lv_lapic *apic, u64 tsc);

int lv_lapic_deliverable(struct lv_lapic *apic);
void lv_lapic_ack(struct lv_lapic *apic, u8 vector);
void lv_lapic_eoi(struct lv_lapic *apic);
void lv_lapic_set_tpr(struct lv_lapic *apic, u8 tpr);
u8 lv_lapic_tpr_threshold(const struct lv_lapic *apic);
int lv_lapic_accept(struct lv_lapic *apic, const struct lv_apic_msg *msg);
void lv_lapic_timer_expired(struct lv_lapic *apic);
bool lv_lapic_accepts_pic(const struct lv_lapic *apic);

u16 lv_lapic_move_to_page(struct lv_lapic *apic, u32 *page);
void lv_lapic_move_from_page(struct lv_lapic *apic, u32 *page, u16 status);
void lv_lapic_collect(struct lv_lapic *apic);
void lv_lapic_set_page(struct lv_lapic *apic, u32 *page);
void lv_lapic_written(struct lv_lapic *apic, u32 offset, u32 val);

void lv_lapic_get_state(struct lv_lapic *apic, struct kvm_lapic_state *state);
int lv_lapic_set_state(struct lv_lapic *apic,
		       const struct kvm_lapic_state *state);

static inline bool lv_lapic_enabled(const struct lv_lapic *apic)
{
	return READ_ONCE(apic->base) & LV_APIC_BASE_ENABLE;
}

static inline bool lv_lapic_x2apic(const struct lv_lapic *apic)
{
	return READ_ONCE(apic->base) & LV_APIC_BASE_X2APIC;
}

/* Off by software, it takes no vectors but still NMI, INIT and SIPI. */
static inline bool lv_lapic_software_enabled(const struct lv_lapic *apic)
{
	return READ_ONCE(apic->regs[LAPIC_SPIV]) & LV_SPIV_ENABLE;
}

/** lv_lapic_pending - vector to inject now, or -1; one load if there is none */
static inline int lv_lapic_pending(struct lv_lapic *apic)
{
	return READ_ONCE(apic->irr_pending) ? lv_lapic_deliverable(apic) : -1;
}

/** lv_lapic_tpr - task priority register; CR8 is its upper half */
static inline u8 lv_lapic_tpr(const struct lv_lapic *apic)
{
	return apic->regs[LAPIC_TPR];
}

/*
 * lv_lapic_pv_eoi_safe - may the guest end its interrupt without an exit? Only
 * if nobody waits for that EOI: neither the I/O APIC nor another vector.
 */
static inline bool lv_lapic_pv_eoi_safe(const struct lv_lapic *apic)
{
	int vector = apic->isr_highest;

	return vector >= 0 && !READ_ONCE(apic->irr_pending) &&
	       !test_bit(vector, apic->tmr) &&
	       !test_bit(vector, apic->bus->edge_eoi);
}

/* Registers in the page that stands for the APIC in the guest. */
static inline u32 *lv_lapic_page_reg(u32 *page, unsigned int reg)
{
	return page + 4 * reg;
}

/*
 * lv_lapic_to_page - give the APIC to a CPU that works on @page (SDM vol. 3,
 * "APIC Virtualization and Virtual Interrupts"), until lv_lapic_from_page().
 * What is pending or in service moves there; what others make pending meanwhile
 * stays here.
 * Return: highest vector that is pending, and that in service above it.
 */
static inline u16 lv_lapic_to_page(struct lv_lapic *apic, u32 *page)
{
	if (likely(!apic->changed && !READ_ONCE(apic->irr_pending) &&
		   apic->isr_highest < 0))
		return 0;
	return lv_lapic_move_to_page(apic, page);
}

/** lv_lapic_from_page - take it back; @status is as the CPU left it */
static inline void lv_lapic_from_page(struct lv_lapic *apic, u32 *page,
				      u16 status)
{
	apic->regs[LAPIC_TPR] = *lv_lapic_page_reg(page, LAPIC_TPR);
	if (status || apic->isr_highest >= 0)
		lv_lapic_move_from_page(apic, page, status);
}

/* ---- interrupt lines ---- */

/** enum lv_line_source - who drives a line; a line is high while one does */
enum lv_line_source {
	LV_LINE_USER,
	LV_LINE_PIT,
	LV_LINE_RESAMPLE,
};

/*
 * Setting a line returns what KVM_IRQ_LINE_STATUS reports: negative if it was
 * ignored (masked), 0 if it merged with an earlier one, else how many CPUs
 * got it.
 */
#define LV_LINE_IGNORED (-1)

static inline int lv_line_merge(int a, int b)
{
	return a < 0 ? b : b < 0 ? a : a + b;
}

static inline bool lv_line_drive(u8 *sources, enum lv_line_source source,
				 bool level)
{
	if (level)
		*sources |= BIT(source);
	else
		*sources &= ~BIT(source);
	return *sources;
}

/* ---- I/O APIC ---- */

#define LV_IOAPIC_BASE 0xfec00000ULL
#define LV_IOAPIC_SIZE 0x100

/* struct lv_ioapic - one I/O APIC (chip) */
struct lv_ioapic {
	struct lv_apic_bus *bus; /* where messages go */
	u32 id; /* identification register */
	u32 select; /* register that the window shows */
	u32 lines; /* level of each pin */
	u32 watched; /* pins whose EOI is wanted even if edge triggered */
	u8 sources[KVM_IOAPIC_NUM_PINS]; /* bits of enum lv_line_source */
	u64 redir[KVM_IOAPIC_NUM_PINS]; /* redirection table entries */
};

void lv_ioapic_init(struct lv_ioapic *io, struct lv_apic_bus *bus);
u32 lv_ioapic_read(struct lv_ioapic *io, u32 offset);
void lv_ioapic_write(struct lv_ioapic *io, u32 offset, u32 val);
int lv_ioapic_set_line(struct lv_ioapic *io, unsigned int pin,
		       enum lv_line_source source, bool level);
u32 lv_ioapic_eoi(struct lv_ioapic *io, u8 vector);
void lv_ioapic_service(struct lv_ioapic *io, u32 pins);
void lv_ioapic_watch(struct lv_ioapic *io, u32 pins);
void lv_ioapic_get_state(const struct lv_ioapic *io,
			 struct kvm_ioapic_state *state);
void lv_ioapic_set_state(struct lv_ioapic *io,
			 const struct kvm_ioapic_state *state);

/* ---- 8259 PICs ---- */

#define LV_PIC_LINES 16

/* struct lv_pic - master and slave 8259 (chip) */
struct lv_pic {
	struct kvm_pic_state chip[2]; /* KVM's state is all there is */
	u8 sources[LV_PIC_LINES]; /* bits of enum lv_line_source */
	u16 acked; /* lines whose service ended since this was cleared */
	bool output; /* level of the master's INTR pin (once) */
};

/** lv_pic_raise - hook: INTR went high; a vCPU that accepts it may run */
void lv_pic_raise(struct lv_pic *pic);

void lv_pic_init(struct lv_pic *pic);
bool lv_pic_owns_port(u16 port);
u8 lv_pic_read(struct lv_pic *pic, u16 port);
void lv_pic_write(struct lv_pic *pic, u16 port, u8 val);
int lv_pic_set_line(struct lv_pic *pic, unsigned int line,
		    enum lv_line_source source, bool level);
u8 lv_pic_inta(struct lv_pic *pic);
void lv_pic_set_state(struct lv_pic *pic, unsigned int index,
		      const struct kvm_pic_state *state);

/** lv_pic_pending - is INTR high? a hint that needs no lock */
static inline bool lv_pic_pending(const struct lv_pic *pic)
{
	return READ_ONCE(pic->output);
}

/* ---- 8254 PIT ---- */

#define LV_PIT_PORT 0x40
#define LV_SPEAKER_PORT 0x61

/* struct lv_pit - 8254 and the speaker port (chip) */
struct lv_pit {
	struct kvm_pit_state2 state; /* KVM's state of the three channels */
	u64 expiry; /* host time of channel 0's next rising edge, or 0 */
	u32 owed; /* ticks that merged with one still in flight */
	bool reinject; /* pay owed ticks when the guest acknowledges one */
};

/** lv_pit_pulse - hook: one edge on the timer's line; as lv_pic_set_line() */
int lv_pit_pulse(struct lv_pit *pit);
/** lv_pit_timer_arm - hook: call lv_pit_timer_expired() at @deadline */
void lv_pit_timer_arm(struct lv_pit *pit, u64 deadline);
/** lv_pit_timer_cancel - hook: disarm; a late expiry call does no harm */
void lv_pit_timer_cancel(struct lv_pit *pit);

void lv_pit_init(struct lv_pit *pit);
u8 lv_pit_read(struct lv_pit *pit, u16 port);
void lv_pit_write(struct lv_pit *pit, u16 port, u8 val);
void lv_pit_timer_expired(struct lv_pit *pit);
void lv_pit_ack(struct lv_pit *pit);
int lv_pit_set_state(struct lv_pit *pit, const struct kvm_pit_state2 *state);

/* ---- GSI routing ---- */

#define LV_MAX_GSIS 4096
#define LV_DEFAULT_GSIS KVM_IOAPIC_NUM_PINS
#define LV_NO_PIN 0xff

/* struct lv_route - where one GSI goes: chip pins, or a message, or nowhere */
struct lv_route {
	u8 pin[KVM_NR_IRQCHIPS]; /* by KVM_IRQCHIP_*, or LV_NO_PIN */
	bool is_msi; /* @msi is what the GSI sends */
	struct lv_apic_msg msi; /* decoded message */
};

/* struct lv_routing - the routes of a VM, immutable once published */
struct lv_routing {
	u32 nr; /* number of GSIs */
	struct lv_route route[]; /* by GSI */
};

struct lv_apic_msg lv_msi_decode(u32 address, u32 data);
int lv_routing_gsis(const struct kvm_irq_routing_entry *entries, u32 nr);
int lv_routing_fill(struct lv_routing *table,
		    const struct kvm_irq_routing_entry *entries, u32 nr);
void lv_routing_default(struct lv_routing *table);

/** lv_routing_find - the route of @gsi, or NULL */
static inline const struct lv_route *
lv_routing_find(const struct lv_routing *table, u32 gsi)
{
	if (gsi >= table->nr)
		return NULL;
	return &table->route[array_index_nospec(gsi, table->nr)];
}

#endif /* LABVISOR_IRQ_H */
