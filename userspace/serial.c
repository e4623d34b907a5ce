// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 16550A UART on COM1, its far end on the launcher's terminal. Bytes take
 * no time to send; a received byte below the FIFO's trigger level times out at
 * once. The far end honours RTS, as hardware flow control does: what is typed
 * before the guest listens is not lost to its driver's resetting the FIFO.
 */
#include <linux/serial_reg.h>

#include "layout.h"
#include "term.h"
#include "vm.h"

#define FIFO_SIZE 16
#define IIR_FIFO_ENABLED 0xc0

/**
 * struct serial - registers and receive FIFO
 * @vm: the VM whose interrupt line it drives
 * @lock: protects all below
 * @thri: the transmitter became empty and nobody has been told
 * @overrun: bytes were lost in loopback since the last look at LSR
 * @line: level of the interrupt line
 */
struct serial {
	struct vm *vm;
	pthread_mutex_t lock;
	u8 ier, fcr, lcr, mcr, scr, dll, dlm;
	u8 fifo[FIFO_SIZE];
	unsigned int head, count;
	bool thri, overrun, line;
};

static struct serial com1 = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned int fifo_size(const struct serial *s)
{
	return s->fcr & UART_FCR_ENABLE_FIFO ? FIFO_SIZE : 1;
}

static unsigned int fifo_trigger(const struct serial *s)
{
	static const u8 levels[] = { 1, 4, 8, 14 };

	return s->fcr & UART_FCR_ENABLE_FIFO ? levels[s->fcr >> 6] : 1;
}

static void fifo_push(struct serial *s, u8 byte)
{
	if (s->count == fifo_size(s))
		s->overrun = true;
	else
		s->fifo[(s->head + s->count++) % FIFO_SIZE] = byte;
}

static u8 fifo_pop(struct serial *s)
{
	u8 byte = s->fifo[s->head];

	if (!s->count)
		return 0;
	s->head = (s->head + 1) % FIFO_SIZE;
	s->count--;
	return byte;
}

/* The interrupt with the highest priority that is pending and enabled. */
static u8 pending_iir(const struct serial *s)
{
	if ((s->ier & UART_IER_RLSI) && s->overrun)
		return UART_IIR_RLSI;
	if ((s->ier & UART_IER_RDI) && s->count)
		return s->count < fifo_trigger(s) ? UART_IIR_RX_TIMEOUT
						  : UART_IIR_RDI;
	if ((s->ier & UART_IER_THRI) && s->thri)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

/* Let in what the far end has sent, then set the interrupt line. */
static void serial_update(struct serial *s)
{
	bool line;
	int byte;

	while ((s->mcr & UART_MCR_RTS) && !(s->mcr & UART_MCR_LOOP) &&
	       s->count < fifo_size(s) && (byte = term_get()) >= 0)
		fifo_push(s, byte);
	/* On a PC, OUT2 connects the UART to its interrupt line. */
	line = (s->mcr & UART_MCR_OUT2) && !(s->mcr & UART_MCR_LOOP) &&
	       pending_iir(s) != UART_IIR_NO_INT;
	if (line == s->line)
		return;
	s->line = line;
	vm_set_irq(s->vm, IRQ_SERIAL, line);
}

static void serial_input(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	serial_update(s);
	pthread_mutex_unlock(&s->lock);
}

static u8 read_iir(struct serial *s)
{
	u8 iir = pending_iir(s);

	if (iir == UART_IIR_THRI)
		s->thri = false;
	if (s->fcr & UART_FCR_ENABLE_FIFO)
		iir |= IIR_FIFO_ENABLED;
	return iir;
}

static u8 read_lsr(struct serial *s)
{
	u8 lsr = UART_LSR_TEMT | UART_LSR_THRE;

	if (s->count)
		lsr |= UART_LSR_DR;
	if (s->overrun)
		lsr |= UART_LSR_OE;
	s->overrun = false;
	return lsr;
}

/* Modem lines: the far end is always there, or it is our own in loopback. */
static u8 read_msr(const struct serial *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	return (s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
	       (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static u8 read_register(struct serial *s, u64 reg)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RX:
		return dlab ? s->dll : fifo_pop(s);
	case UART_IER:
		return dlab ? s->dlm : s->ier;
	case UART_IIR:
		return read_iir(s);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		return read_lsr(s);
	case UART_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static u64 serial_read(void *opaque, u64 reg, unsigned int size)
{
	struct serial *s = opaque;
	u8 value;

	(void)size;
	pthread_mutex_lock(&s->lock);
	value = read_register(s, reg);
	serial_update(s);
	pthread_mutex_unlock(&s->lock);
	return value;
}

static void write_ier(struct serial *s, u8 value)
{
	/* Enabling the interrupt with the transmitter empty raises it. */
	if (value & ~s->ier & UART_IER_THRI)
		s->thri = true;
	s->ier = value & 0x0f;
}

static void write_fcr(struct serial *s, u8 value)
{
	if ((value ^ s->fcr) & UART_FCR_ENABLE_FIFO ||
	    value & UART_FCR_CLEAR_RCVR)
		s->count = 0;
	s->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
}

/* Returns true if the byte is to be sent, which needs the lock dropped. */
static bool write_register(struct serial *s, u64 reg, u8 value)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_TX:
		if (dlab) {
			s->dll = value;
			break;
		}
		s->thri = true;
		if (!(s->mcr & UART_MCR_LOOP))
			return true;
		fifo_push(s, value);
		break;
	case UART_IER:
		if (dlab)
			s->dlm = value;
		else
			write_ier(s, value);
		break;
	case UART_FCR:
		write_fcr(s, value);
		break;
	case UART_LCR:
		s->lcr = value;
		break;
	case UART_MCR:
		s->mcr = value & 0x1f;
		break;
	case UART_SCR:
		s->scr = value;
		break;
	}
	return false;
}

static void serial_write(void *opaque, u64 reg, unsigned int size, u64 value)
{
	struct serial *s = opaque;
	bool send;

	(void)size;
	pthread_mutex_lock(&s->lock);
	send = write_register(s, reg, value);
	serial_update(s);
	pthread_mutex_unlock(&s->lock);
	if (send)
		term_put(s->vm, value);
}

static void serial_init(struct vm *vm)
{
	com1.vm = vm;
	bus_add(&vm->pio, &(struct bus_range){ .name = "COM1",
					       .base = PORT_SERIAL,
					       .len = 8,
					       .width = 1,
					       .read = serial_read,
					       .write = serial_write,
					       .opaque = &com1 });
	term_on_input(serial_input, &com1);
}

DEVICE(serial, serial_init);
