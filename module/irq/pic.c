// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two cascaded 8259A interrupt controllers of a PC, and the ELCR registers
 * that make a line level triggered. The caller holds the irqchip lock
 * throughout.
 */
#include "irq.h"

#define MASTER 0
#define SLAVE 1
#define CASCADE_LINE 2
#define SPURIOUS_LINE 7
#define NO_LINE (-1)

#define PORT_MASTER 0x20
#define PORT_SLAVE 0xa0
#define PORT_ELCR 0x4d0

/* Lines that the system board wires to edge: timer, keyboard, RTC, FPU. */
#define ELCR_MASTER_BITS 0xf8
#define ELCR_SLAVE_BITS 0xde

#define ICW1_INIT BIT(4)
#define ICW1_NEED_ICW4 BIT(0)
#define ICW4_AUTO_EOI BIT(1)
#define ICW4_FULLY_NESTED BIT(4)
#define OCW3_SELECT BIT(3)

/* Initialization sequence: which command word the data port expects. */
enum {
	INIT_DONE,
	INIT_ICW2,
	INIT_ICW3,
	INIT_ICW4
};

/* OCW2 commands, bits 7 to 5. */
enum {
	OCW2_AUTO_ROTATE_CLEAR = 0,
	OCW2_EOI = 1,
	OCW2_SPECIFIC_EOI = 3,
	OCW2_AUTO_ROTATE_SET = 4,
	OCW2_ROTATE_EOI = 5,
	OCW2_SET_PRIORITY = 6,
	OCW2_ROTATE_SPECIFIC_EOI = 7,
};

/* Rank of the most urgent line in @lines: 0 is highest, 8 means none. */
static unsigned int highest_rank(const struct kvm_pic_state *chip, u8 lines)
{
	/* Twice the lines, for those that wrap around, and a mark for none. */
	unsigned int twice = (lines | lines << 8) >> chip->priority_add;

	return __builtin_ctz((twice & 0xff) | 0x100);
}

/* The line that drives the chip's INT pin, or NO_LINE. */
static int requesting_line(const struct lv_pic *pic, unsigned int index)
{
	const struct kvm_pic_state *chip = &pic->chip[index];
	unsigned int rank = highest_rank(chip, chip->irr & ~chip->imr);
	u8 blocking = chip->isr;

	if (chip->special_mask)
		blocking &= ~chip->imr;
	/* Fully nested: a slave's line in service does not block the slave. */
	if (chip->special_fully_nested_mode && index == MASTER)
		blocking &= ~BIT(CASCADE_LINE);

	if (rank >= highest_rank(chip, blocking))
		return NO_LINE;
	return (rank + chip->priority_add) & 7;
}

/* Carry the slave's INT pin to the master, and the master's to the CPU. */
static void update(struct lv_pic *pic)
{
	bool output;

	if (requesting_line(pic, SLAVE) != NO_LINE)
		pic->chip[MASTER].irr |= BIT(CASCADE_LINE);
	else
		pic->chip[MASTER].irr &= ~BIT(CASCADE_LINE);

	output = requesting_line(pic, MASTER) != NO_LINE;
	if (output == pic->output)
		return;
	WRITE_ONCE(pic->output, output);
	if (output)
		lv_pic_raise(pic);
}

/*
 * lv_pic_set_line - @source drives @line to @level
 * @line: line number, 8 to 15 are the slave's
 * Return: as documented at LV_LINE_IGNORED.
 */
int lv_pic_set_line(struct lv_pic *pic, unsigned int line,
		    enum lv_line_source source, bool level)
{
	struct kvm_pic_state *chip;
	u8 bit = BIT(line & 7), was;

	line = array_index_nospec(line, LV_PIC_LINES);
	chip = &pic->chip[line / 8];
	was = chip->irr;
	level = lv_line_drive(&pic->sources[line], source, level);

	if (level && (chip->elcr & bit || !(chip->last_irr & bit)))
		chip->irr |= bit;
	else if (!level && chip->elcr & bit)
		chip->irr &= ~bit;
	chip->last_irr = level ? chip->last_irr | bit : chip->last_irr & ~bit;
	if (chip->irr != was)
		update(pic);

	if (chip->imr & bit)
		return LV_LINE_IGNORED;
	return !(level && was & bit);
}

static void end_of_interrupt(struct lv_pic *pic, unsigned int index,
			     unsigned int line)
{
	pic->chip[index].isr &= ~BIT(line);
	pic->acked |= BIT(index * 8 + line);
}

/* The CPU (or a poll) takes @line. */
static void acknowledge(struct lv_pic *pic, unsigned int index,
			unsigned int line)
{
	struct kvm_pic_state *chip = &pic->chip[index];

	if (!(chip->elcr & BIT(line)))
		chip->irr &= ~BIT(line);
	chip->isr |= BIT(line);
	if (!chip->auto_eoi)
		return;
	end_of_interrupt(pic, index, line);
	if (chip->rotate_on_auto_eoi)
		chip->priority_add = (line + 1) & 7;
}

/* Take one chip's request; if it went away, the line is spurious. */
static unsigned int take_line(struct lv_pic *pic, unsigned int index)
{
	int line = requesting_line(pic, index);

	if (line == NO_LINE)
		return SPURIOUS_LINE;
	acknowledge(pic, index, line);
	return line;
}

/** lv_pic_inta - interrupt acknowledge cycle; returns the vector */
u8 lv_pic_inta(struct lv_pic *pic)
{
	unsigned int line = take_line(pic, MASTER), index = MASTER;

	if (line == CASCADE_LINE) {
		index = SLAVE;
		line = take_line(pic, SLAVE);
	}
	update(pic);
	return pic->chip[index].irq_base + line;
}

static void write_icw1(struct kvm_pic_state *chip, u8 val)
{
	chip->irr &= chip->elcr;
	chip->last_irr = 0;
	chip->imr = 0;
	chip->isr = 0;
	chip->priority_add = 0;
	chip->special_mask = 0;
	chip->read_reg_select = 0;
	chip->poll = 0;
	chip->init4 = val & ICW1_NEED_ICW4;
	if (!chip->init4) {
		chip->special_fully_nested_mode = 0;
		chip->auto_eoi = 0;
	}
	chip->init_state = INIT_ICW2;
}

static void write_ocw2(struct lv_pic *pic, unsigned int index, u8 val)
{
	struct kvm_pic_state *chip = &pic->chip[index];
	unsigned int command = val >> 5, line = val & 7, rank;

	switch (command) {
	case OCW2_AUTO_ROTATE_CLEAR:
	case OCW2_AUTO_ROTATE_SET:
		chip->rotate_on_auto_eoi = command == OCW2_AUTO_ROTATE_SET;
		break;
	case OCW2_SET_PRIORITY:
		chip->priority_add = (line + 1) & 7;
		break;
	case OCW2_EOI:
	case OCW2_ROTATE_EOI:
		rank = highest_rank(chip, chip->isr);
		if (rank == 8)
			break;
		line = (rank + chip->priority_add) & 7;
		fallthrough;
	case OCW2_SPECIFIC_EOI:
	case OCW2_ROTATE_SPECIFIC_EOI:
		end_of_interrupt(pic, index, line);
		if (command >= OCW2_ROTATE_EOI)
			chip->priority_add = (line + 1) & 7;
		break;
	}
}

static void write_ocw3(struct kvm_pic_state *chip, u8 val)
{
	if (val & BIT(2))
		chip->poll = 1;
	if (val & BIT(1))
		chip->read_reg_select = val & 1;
	if (val & BIT(6))
		chip->special_mask = val >> 5 & 1;
}

static void write_data(struct kvm_pic_state *chip, u8 val)
{
	switch (chip->init_state) {
	case INIT_DONE:
		chip->imr = val;
		break;
	case INIT_ICW2:
		chip->irq_base = val & 0xf8;
		chip->init_state = INIT_ICW3;
		break;
	case INIT_ICW3:
		/* How the chips are cascaded is wired, not programmed. */
		chip->init_state = chip->init4 ? INIT_ICW4 : INIT_DONE;
		break;
	case INIT_ICW4:
		chip->special_fully_nested_mode = !!(val & ICW4_FULLY_NESTED);
		chip->auto_eoi = !!(val & ICW4_AUTO_EOI);
		chip->init_state = INIT_DONE;
		break;
	}
}

static unsigned int port_chip(u16 port)
{
	if ((port & ~1) == PORT_ELCR)
		return port & 1;
	return (port & ~1) == PORT_SLAVE ? SLAVE : MASTER;
}

/** lv_pic_owns_port - is @port one of the PICs'? */
bool lv_pic_owns_port(u16 port)
{
	port &= ~1;
	return port == PORT_MASTER || port == PORT_SLAVE || port == PORT_ELCR;
}

/** lv_pic_write - write to one of the PICs' ports */
void lv_pic_write(struct lv_pic *pic, u16 port, u8 val)
{
	unsigned int index = port_chip(port);
	struct kvm_pic_state *chip = &pic->chip[index];

	if ((port & ~1) == PORT_ELCR)
		chip->elcr = val & chip->elcr_mask;
	else if (port & 1)
		write_data(chip, val);
	else if (val & ICW1_INIT)
		write_icw1(chip, val);
	else if (val & OCW3_SELECT)
		write_ocw3(chip, val);
	else
		write_ocw2(pic, index, val);
	update(pic);
}

/* A poll is an interrupt acknowledge by an ordinary read. */
static u8 poll(struct lv_pic *pic, unsigned int index)
{
	int line = requesting_line(pic, index);

	pic->chip[index].poll = 0;
	if (line == NO_LINE)
		return 0;
	acknowledge(pic, index, line);
	update(pic);
	return 0x80 | line;
}

/** lv_pic_read - read one of the PICs' ports */
u8 lv_pic_read(struct lv_pic *pic, u16 port)
{
	unsigned int index = port_chip(port);
	struct kvm_pic_state *chip = &pic->chip[index];

	if ((port & ~1) == PORT_ELCR)
		return chip->elcr;
	if (chip->poll)
		return poll(pic, index);
	if (port & 1)
		return chip->imr;
	return chip->read_reg_select ? chip->isr : chip->irr;
}

/** lv_pic_set_state - KVM_SET_IRQCHIP; the other way is a copy of chip[] */
void lv_pic_set_state(struct lv_pic *pic, unsigned int index,
		      const struct kvm_pic_state *state)
{
	struct kvm_pic_state *chip;
	unsigned int line;

	index = array_index_nospec(index, 2);
	chip = &pic->chip[index];
	*chip = *state;
	chip->elcr_mask = index == SLAVE ? ELCR_SLAVE_BITS : ELCR_MASTER_BITS;
	chip->elcr &= chip->elcr_mask;
	chip->priority_add &= 7;
	chip->irq_base &= 0xf8;
	chip->init_state &= 3;
	/* Lines that are high belong to user space from now on. */
	for (line = 0; line < 8; line++)
		pic->sources[index * 8 + line] =
			chip->last_irr & BIT(line) ? BIT(LV_LINE_USER) : 0;
	update(pic);
}

/** lv_pic_init - power up */
void lv_pic_init(struct lv_pic *pic)
{
	memset(pic, 0, sizeof(*pic));
	pic->chip[MASTER].elcr_mask = ELCR_MASTER_BITS;
	pic->chip[SLAVE].elcr_mask = ELCR_SLAVE_BITS;
}
