// SPDX-License-Identifier: GPL-2.0-only
/* The pair of 8259As. */
#include "irq/irq.h"
#include "tap.h"

#define MASTER 0x20
#define SLAVE 0xa0
#define EOI 0x20
#define SPECIFIC_EOI(line) (0x60 | (line))
#define ROTATE_EOI 0xa0
#define ROTATE_SPECIFIC_EOI(line) (0xe0 | (line))
#define SET_PRIORITY(line) (0xc0 | (line))
#define READ_IRR 0x0a
#define READ_ISR 0x0b
#define POLL 0x0c

static struct lv_pic pic;
static unsigned int raised;

void lv_pic_raise(struct lv_pic *p)
{
	(void)p;
	raised++;
}

static void init(u16 port, u8 base, u8 icw3, u8 icw4)
{
	lv_pic_write(&pic, port, 0x11);
	lv_pic_write(&pic, port + 1, base);
	lv_pic_write(&pic, port + 1, icw3);
	lv_pic_write(&pic, port + 1, icw4);
}

/* As Linux does, with all lines unmasked. */
static void power_up(void)
{
	lv_pic_init(&pic);
	init(MASTER, 0x30, 4, 1);
	init(SLAVE, 0x38, 2, 1);
	pic.acked = 0;
	raised = 0;
}

static int line(unsigned int nr, bool level)
{
	return lv_pic_set_line(&pic, nr, LV_LINE_USER, level);
}

static void edge(unsigned int nr)
{
	line(nr, true);
	line(nr, false);
}

static void out(u16 port, u8 val)
{
	lv_pic_write(&pic, port, val);
}

static u8 in(u16 port)
{
	return lv_pic_read(&pic, port);
}

static u8 read_isr(u16 port)
{
	out(port, READ_ISR);
	return in(port);
}

static u8 read_irr(u16 port)
{
	out(port, READ_IRR);
	return in(port);
}

static void test_ports(void)
{
	static const u16 ours[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
	static const u16 others[] = { 0x1f, 0x22, 0x9f, 0xa2, 0x4cf, 0x4d2, 0 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ours); i++)
		ok(lv_pic_owns_port(ours[i]), "port %#x is ours", ours[i]);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		ok(!lv_pic_owns_port(others[i]), "port %#x is not", others[i]);
}

static void test_basic(void)
{
	power_up();
	ok(!lv_pic_pending(&pic), "quiet");
	is(line(3, true), 1, "edge: accepted");
	ok(lv_pic_pending(&pic), "INTR is high");
	is(raised, 1, "told once");
	is(line(3, true), 0, "edge: merges while not taken");
	is(read_irr(MASTER), BIT(3), "IRR");
	is(lv_pic_inta(&pic), 0x33, "INTA: base and line");
	ok(!lv_pic_pending(&pic), "INTR is low");
	is(read_isr(MASTER), BIT(3), "ISR");
	is(read_irr(MASTER), 0, "IRR is clear");
	line(3, true);
	is(read_irr(MASTER), 0, "edge: high is no edge");
	line(3, false);
	edge(5);
	ok(!lv_pic_pending(&pic), "a lower line waits");
	edge(1);
	ok(lv_pic_pending(&pic), "a higher one interrupts");
	is(lv_pic_inta(&pic), 0x31, "INTA of the higher");
	out(MASTER, EOI);
	is(pic.acked, BIT(1), "EOI ends the innermost");
	ok(!lv_pic_pending(&pic), "the lower still waits");
	out(MASTER, EOI);
	is(pic.acked, BIT(1) | BIT(3), "EOI of the first");
	is(lv_pic_inta(&pic), 0x35, "then the lower");
	out(MASTER, SPECIFIC_EOI(5));
	is(read_isr(MASTER), 0, "specific EOI");
	out(MASTER, EOI);
	is(pic.acked, BIT(1) | BIT(3) | BIT(5), "EOI of nothing ends nothing");
}

static void test_mask(void)
{
	power_up();
	out(MASTER + 1, 0xff);
	is(in(MASTER + 1), 0xff, "IMR reads back");
	is(line(4, true), LV_LINE_IGNORED, "masked: ignored");
	ok(!lv_pic_pending(&pic), "masked: no INTR");
	out(MASTER + 1, 0xef);
	ok(lv_pic_pending(&pic), "unmasked: the edge was latched");
	is(lv_pic_inta(&pic), 0x34, "and is taken");
}

static void test_cascade(void)
{
	power_up();
	is(line(10, true), 1, "slave: accepted");
	is(read_irr(MASTER), BIT(2), "slave: shows at the master");
	is(lv_pic_inta(&pic), 0x3a, "slave: base and line");
	is(read_isr(MASTER), BIT(2), "slave: master's ISR");
	is(read_isr(SLAVE), BIT(2), "slave: its own ISR");
	edge(8);
	ok(!lv_pic_pending(&pic), "slave: master's ISR blocks even a higher");
	out(SLAVE, EOI);
	is(pic.acked, BIT(10), "slave: its EOI ends line 10");
	ok(!lv_pic_pending(&pic), "slave: the master waits for its own");
	out(MASTER, EOI);
	is(lv_pic_inta(&pic), 0x38, "slave: then line 8");
	out(SLAVE, EOI);
	out(MASTER, EOI);

	out(MASTER + 1, BIT(2));
	edge(9);
	ok(!lv_pic_pending(&pic), "slave: master masks the cascade");
	out(MASTER + 1, 0);
	ok(lv_pic_pending(&pic), "slave: and unmasks it");
	edge(1);
	is(lv_pic_inta(&pic), 0x31, "slave ranks below line 1");
	out(MASTER, EOI);
	edge(3);
	is(lv_pic_inta(&pic), 0x39, "and above line 3");
}

static void test_fully_nested(void)
{
	power_up();
	init(MASTER, 0x30, 4, 0x11);
	edge(12);
	is(lv_pic_inta(&pic), 0x3c, "SFNM: a slave line");
	edge(13);
	ok(!lv_pic_pending(&pic), "SFNM: a lower one of the slave waits");
	edge(9);
	ok(lv_pic_pending(&pic), "SFNM: a higher one of the slave interrupts");
	is(lv_pic_inta(&pic), 0x39, "SFNM: and is taken");
}

static void test_level(void)
{
	power_up();
	out(0x4d0, 0xff);
	out(0x4d1, 0xff);
	is(in(0x4d0), 0xf8, "ELCR: lines 0 to 2 are edge for good");
	is(in(0x4d1), 0xde, "ELCR: 8 and 13 are");
	line(5, true);
	is(lv_pic_inta(&pic), 0x35, "level: taken");
	is(read_irr(MASTER), BIT(5), "level: IRR stays while it is high");
	out(MASTER, EOI);
	ok(lv_pic_pending(&pic), "level: again after EOI");
	line(5, false);
	ok(!lv_pic_pending(&pic), "level: gone with the line");
	is(read_irr(MASTER), 0, "level: IRR follows");

	line(11, true);
	is(lv_pic_inta(&pic), 0x3b, "level on the slave");
	line(11, false);
	out(SLAVE, EOI);
	out(MASTER, EOI);
	ok(!lv_pic_pending(&pic), "level on the slave: gone with the line");

	line(6, true);
	lv_pic_set_line(&pic, 6, LV_LINE_RESAMPLE, true);
	line(6, false);
	ok(lv_pic_pending(&pic), "a line is high while one source is");
	lv_pic_set_line(&pic, 6, LV_LINE_RESAMPLE, false);
	ok(!lv_pic_pending(&pic), "and low when none is");
}

static void test_spurious(void)
{
	power_up();
	is(lv_pic_inta(&pic), 0x37, "spurious: line 7 of the master");
	is(read_isr(MASTER), 0, "spurious: not in service");
	out(0x4d1, BIT(3));
	line(11, true);
	pic.chip[1].irr = 0; /* the slave's request goes away during INTA */
	is(lv_pic_inta(&pic), 0x3f, "spurious: line 7 of the slave");
	is(read_isr(MASTER), BIT(2), "spurious: the master does not know");
}

static void test_rotation(void)
{
	power_up();
	edge(3);
	lv_pic_inta(&pic);
	out(MASTER, ROTATE_EOI);
	is(pic.acked, BIT(3), "rotate on EOI: ends it");
	edge(3);
	edge(4);
	edge(0);
	is(lv_pic_inta(&pic), 0x34, "rotate on EOI: line 4 is highest now");
	out(MASTER, EOI);
	is(lv_pic_inta(&pic), 0x30, "rotate on EOI: then line 0");
	out(MASTER, EOI);
	is(lv_pic_inta(&pic), 0x33, "rotate on EOI: line 3 is lowest");
	out(MASTER, ROTATE_SPECIFIC_EOI(3));
	is(read_isr(MASTER), 0, "rotate on specific EOI: ends it");

	out(MASTER, SET_PRIORITY(5));
	edge(5);
	edge(6);
	is(lv_pic_inta(&pic), 0x36, "set priority: line 6 is highest");
	out(MASTER, EOI);
	is(lv_pic_inta(&pic), 0x35, "set priority: line 5 is lowest");
	out(MASTER, SPECIFIC_EOI(5));
	out(MASTER, SET_PRIORITY(7));
	edge(6);
	edge(5);
	is(lv_pic_inta(&pic), 0x35, "set priority: back to normal");
}

static void test_auto_eoi(void)
{
	power_up();
	init(MASTER, 0x30, 4, 3);
	pic.acked = 0;
	edge(4);
	is(lv_pic_inta(&pic), 0x34, "auto EOI: taken");
	is(read_isr(MASTER), 0, "auto EOI: not in service");
	is(pic.acked, BIT(4), "auto EOI: ended");
	out(MASTER, 0x80);
	edge(4);
	lv_pic_inta(&pic);
	edge(4);
	edge(5);
	is(lv_pic_inta(&pic), 0x35, "auto EOI with rotation: 5 comes first");
	out(MASTER, 0x00);
	lv_pic_inta(&pic);
	edge(4);
	edge(5);
	is(lv_pic_inta(&pic), 0x34, "auto EOI without rotation: order stays");
}

static void test_special_mask(void)
{
	power_up();
	edge(3);
	lv_pic_inta(&pic);
	out(MASTER + 1, BIT(3));
	edge(6);
	ok(!lv_pic_pending(&pic), "line 3 in service blocks line 6");
	out(MASTER, 0x68);
	ok(lv_pic_pending(&pic), "special mask: a masked one does not");
	out(MASTER, 0x48);
	ok(!lv_pic_pending(&pic), "special mask off");
}

static void test_poll(void)
{
	power_up();
	out(MASTER, POLL);
	is(in(MASTER), 0, "poll: nothing");
	edge(6);
	out(MASTER, POLL);
	is(in(MASTER), 0x86, "poll: line 6");
	is(read_isr(MASTER), BIT(6), "poll: acknowledges");
	ok(!lv_pic_pending(&pic), "poll: INTR is low");
	is(in(MASTER), BIT(6), "poll: once");
	out(MASTER, EOI);
	edge(9);
	out(SLAVE, POLL);
	is(in(SLAVE), 0x81, "poll: the slave");
	ok(!lv_pic_pending(&pic), "poll: the master is told");
	out(SLAVE, EOI);

	out(MASTER, READ_ISR);
	edge(4);
	lv_pic_inta(&pic);
	out(MASTER, 0x08);
	is(in(MASTER), BIT(4), "OCW3 without command: ISR is still selected");
	out(MASTER, 0x68);
	out(MASTER, 0x08);
	is(pic.chip[0].special_mask, 1,
	   "OCW3 without command: special mask stays");
}

static void test_init_drops(void)
{
	power_up();
	out(0x4d0, BIT(5));
	edge(1);
	edge(3);
	line(5, true);
	lv_pic_inta(&pic);
	init(MASTER, 0x40, 4, 1);
	is(pic.acked, 0, "ICW1: ends nothing");
	is(read_isr(MASTER), 0, "ICW1: nothing in service");
	is(read_irr(MASTER), BIT(5), "ICW1: a level stays");
	is(in(MASTER + 1), 0, "ICW1: clears IMR");
	is(lv_pic_inta(&pic), 0x45, "ICW2: the new base");
	out(MASTER, 0x10);
	out(MASTER + 1, 0x50);
	out(MASTER + 1, 4);
	out(MASTER + 1, 0xaa);
	is(in(MASTER + 1), 0xaa, "ICW1 without ICW4: the next is IMR");
}

static void test_init_clears(void)
{
	power_up();
	init(MASTER, 0x30, 4, 0x13);
	out(MASTER + 1, 0x55);
	out(MASTER, SET_PRIORITY(3));
	out(MASTER, 0x68);
	out(MASTER, READ_ISR);
	line(4, true);
	out(MASTER, POLL);
	out(MASTER, 0x11);
	is(in(MASTER), 0, "ICW1: ends poll, and IRR is selected");
	is(in(MASTER + 1), 0, "ICW1: clears IMR");
	is(pic.chip[0].priority_add, 0, "ICW1: line 0 is highest");
	is(pic.chip[0].special_mask, 0, "ICW1: ends special mask");
	is(pic.chip[0].auto_eoi, 1, "ICW1 with ICW4: keeps the mode till then");
	out(MASTER, 0x10);
	is(pic.chip[0].auto_eoi, 0, "ICW1 without ICW4: no auto EOI");
	is(pic.chip[0].special_fully_nested_mode, 0,
	   "ICW1 without ICW4: no SFNM");
	out(MASTER + 1, 0x30);
	out(MASTER + 1, 4);
	is(line(4, true), 1, "ICW1: a line that stayed high is a new edge");
}

static void test_state(void)
{
	struct kvm_pic_state state[2];

	power_up();
	out(0x4d0, BIT(5));
	line(5, true);
	edge(9);
	out(SLAVE + 1, 0x80);
	memcpy(state, pic.chip, sizeof(state));
	lv_pic_init(&pic);
	raised = 0;
	lv_pic_set_state(&pic, 1, &state[1]);
	lv_pic_set_state(&pic, 0, &state[0]);
	ok(raised, "state: restored requests are told");
	ok(!memcmp(state, pic.chip, sizeof(state)), "state: the same again");
	is(lv_pic_inta(&pic), 0x39, "state: the slave's edge");
	out(SLAVE, EOI);
	out(MASTER, EOI);
	is(lv_pic_inta(&pic), 0x35, "state: the level");
	out(MASTER, EOI);
	line(5, false);
	ok(!lv_pic_pending(&pic), "state: user space owns the line");
	out(0x4d0, BIT(5) | BIT(6));
	lv_pic_set_line(&pic, 6, LV_LINE_RESAMPLE, true);
	lv_pic_set_line(&pic, 6, LV_LINE_RESAMPLE, false);
	ok(!lv_pic_pending(&pic), "state: and not one that was low");

	memset(state, 0xff, sizeof(state));
	lv_pic_set_state(&pic, 0, &state[0]);
	lv_pic_set_state(&pic, 1, &state[1]);
	is(in(0x4d1), 0xde, "state: ELCR is masked");
	is(pic.chip[0].priority_add, 7, "state: priority is bounded");
	is(pic.chip[0].irq_base, 0xf8, "state: the base has 5 bits");
	is(pic.chip[0].init_state, 3, "state: initialization is bounded");
	lv_pic_inta(&pic);
	out(MASTER, EOI);
	ok(1, "state: garbage is survived");
}

int main(void)
{
	test_ports();
	test_basic();
	test_mask();
	test_cascade();
	test_fully_nested();
	test_level();
	test_spurious();
	test_rotation();
	test_auto_eoi();
	test_special_mask();
	test_poll();
	test_init_drops();
	test_init_clears();
	test_state();
	return tap_done();
}
