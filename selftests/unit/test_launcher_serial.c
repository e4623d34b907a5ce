// SPDX-License-Identifier: GPL-2.0-only
/* The launcher's 16550A, through the bus as a guest drives it. */
#include <linux/serial_reg.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tap.h"
#include "../../userspace/term.h"
#include "../../userspace/vm.h"

#define COM1 0x3f8

/* What stands in for the launcher: a terminal, an interrupt line, a bus. */
static char typed[64], shown[64];
static unsigned int typed_at, shown_len, edges;
static bool line;
static struct bus_range uart;
static void (*input_fn)(void *opaque);
static void *input_opaque;

int term_get(void)
{
	return typed[typed_at] ? typed[typed_at++] : -1;
}

void term_put(struct vm *vm, u8 byte)
{
	(void)vm;
	shown[shown_len++] = byte;
}

void term_on_input(void (*fn)(void *opaque), void *opaque)
{
	input_fn = fn;
	input_opaque = opaque;
}

void vm_set_irq(struct vm *vm, unsigned int irq, bool level)
{
	(void)vm;
	is(irq, 4, "the interrupt is COM1's");
	edges += level && !line;
	line = level;
}

void bus_add(struct bus *bus, const struct bus_range *range)
{
	(void)bus;
	uart = *range;
}

extern const struct device __start_lv_devices[];

static u8 in(unsigned int reg)
{
	return uart.read(uart.opaque, reg, 1);
}

static void out(unsigned int reg, u8 value)
{
	uart.write(uart.opaque, reg, 1, value);
}

static void type(const char *text)
{
	strcpy(typed, text);
	typed_at = 0;
	input_fn(input_opaque);
}

/* As a driver leaves it that uses interrupts. */
static void open_port(u8 ier)
{
	out(UART_FCR,
	    UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_TRIGGER_8);
	out(UART_LCR, UART_LCR_WLEN8);
	out(UART_IER, ier);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
}

static void close_port(void)
{
	out(UART_IER, 0);
	out(UART_MCR, 0);
	out(UART_FCR, 0);
	type("");
	edges = 0;
}

static void test_identification(void)
{
	is(in(UART_LSR), UART_LSR_TEMT | UART_LSR_THRE, "transmitter is empty");
	is(in(UART_IIR), UART_IIR_NO_INT, "nothing is pending after reset");
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	is(in(UART_IIR)&0xc0, 0xc0, "IIR shows the FIFO");
	out(UART_FCR, 0);
	is(in(UART_IIR)&0xc0, 0, "IIR shows no FIFO");
	out(UART_SCR, 0x5a);
	is(in(UART_SCR), 0x5a, "scratch register");
	out(UART_IER, 0xff);
	is(in(UART_IER), 0x0f, "IER has four bits");
	out(UART_IER, 0);
	is(in(UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS,
	   "the far end is there");
}

static void test_divisor_latch(void)
{
	out(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	out(UART_DLL, 0x34);
	out(UART_DLM, 0x12);
	is(in(UART_DLL), 0x34, "divisor low");
	is(in(UART_DLM), 0x12, "divisor high");
	is(shown_len, 0, "the divisor is not sent");
	out(UART_LCR, UART_LCR_WLEN8);
	is(in(UART_IER), 0, "the divisor did not reach IER");
}

static void test_loopback(void)
{
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	is(in(UART_MSR)&0xf0, UART_MSR_DCD | UART_MSR_CTS,
	   "loopback of the modem lines");
	out(UART_TX, 'l');
	is(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR, "loopback of data");
	out(UART_TX, 'm');
	is(in(UART_LSR)&UART_LSR_OE, UART_LSR_OE, "no FIFO: overrun");
	is(in(UART_LSR)&UART_LSR_OE, 0, "reading LSR clears it");
	is(in(UART_RX), 'l', "the first byte is kept");
	is(shown_len, 0, "nothing leaves in loopback");
	out(UART_MCR, 0);
}

static void test_flow_control(void)
{
	type("ab");
	is(in(UART_LSR)&UART_LSR_DR, 0, "without RTS nothing arrives");
	out(UART_MCR, UART_MCR_RTS);
	is(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR, "RTS lets it in");
	is(in(UART_RX), 'a', "first byte");
	is(in(UART_RX), 'b', "second byte");
	is(in(UART_LSR)&UART_LSR_DR, 0, "and no more");
	close_port();
}

static void test_receive_fifo(void)
{
	char got[32] = { 0 };
	unsigned int n = 0;

	open_port(UART_IER_RDI);
	type("0123456789ABCDEFGHIJ");
	is(typed_at, 16, "the FIFO holds 16 bytes");
	is(in(UART_IIR)&0x0f, UART_IIR_RDI, "full: data available");
	while (in(UART_LSR)&UART_LSR_DR)
		got[n++] = in(UART_RX);
	ok(!strcmp(got, "0123456789ABCDEFGHIJ"), "in order: %s", got);
	is(in(UART_LSR)&UART_LSR_OE, 0, "and without loss");
	type("x");
	is(in(UART_IIR)&0x0f, UART_IIR_RX_TIMEOUT,
	   "below the trigger level: time-out");
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	is(in(UART_LSR)&UART_LSR_DR, 0, "FCR clears the FIFO");
	close_port();
}

static void test_receive_interrupt(void)
{
	open_port(UART_IER_RDI);
	is(line, false, "no data, no interrupt");
	type("z");
	is(line, true, "data raises the line");
	in(UART_RX);
	is(line, false, "reading it lowers the line");
	out(UART_MCR, UART_MCR_RTS);
	type("y");
	is(line, false, "without OUT2 the line is off");
	out(UART_MCR, UART_MCR_RTS | UART_MCR_OUT2);
	is(line, true, "OUT2 connects it");
	close_port();
	is(line, false, "off again");
}

static void test_transmit_interrupt(void)
{
	open_port(0);
	shown_len = 0;
	out(UART_IER, UART_IER_THRI);
	is(line, true, "enabling it with the transmitter empty raises it");
	is(in(UART_IIR)&0x0f, UART_IIR_THRI, "it is the transmitter's");
	is(line, false, "reading IIR lowers the line");
	is(in(UART_IIR)&0x0f, UART_IIR_NO_INT, "once told is enough");
	edges = 0;
	out(UART_TX, 'h');
	is(edges, 1, "sending raises it again, with an edge");
	in(UART_IIR);
	out(UART_IER, UART_IER_THRI);
	is(line, false, "enabling what is enabled raises nothing");
	out(UART_TX, 'i');
	is(shown_len, 2, "two bytes were shown");
	ok(!memcmp(shown, "hi", 2), "the right ones");
	type("r");
	out(UART_IER, UART_IER_THRI | UART_IER_RDI);
	is(in(UART_IIR)&0x0f, UART_IIR_RX_TIMEOUT, "receiving goes first");
	in(UART_RX);
	is(in(UART_IIR)&0x0f, UART_IIR_THRI, "then sending");
	close_port();
}

int main(void)
{
	struct vm vm = { 0 };

	__start_lv_devices[0].init(&vm);
	is(uart.base, COM1, "COM1's ports");
	is(uart.len, 8, "all eight");
	is(uart.width, 1, "byte by byte");
	test_identification();
	test_divisor_latch();
	test_loopback();
	test_flow_control();
	test_receive_fifo();
	test_receive_interrupt();
	test_transmit_interrupt();
	return tap_done();
}
