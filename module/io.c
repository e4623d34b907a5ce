// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port I/O and MMIO: between the emulator, the devices in the kernel, and
 * user space.
 *
 * An instruction that needs data from user space is emulated twice. The first
 * time a device read stops it (LV_EMUL_AGAIN, nothing committed); when user
 * space has answered it starts over, and the log below replays what it has
 * read from devices so far. Writes to devices are queued and go out once the
 * instruction is complete, so no device sees one twice.
 */
#include "labvisor.h"
#include "trace.h"

/* One 16-byte operand, unaligned over a page: three reads of 8 bytes or less */
#define LV_IO_LOG 6

/** struct lv_frag - part of an access that lies in one page, up to 8 bytes */
struct lv_frag {
	gpa_t gpa;
	u8 len;
	union {
		u8 data[8];
		u64 val; /* the same, zero-extended */
	};
};

/* struct lv_io - an instruction that accesses a device (own) */
struct lv_io {
	struct lv_emul emul; /* the instruction, while it is emulated */
	struct lv_frag reads[LV_IO_LOG]; /* answered ones, and one that waits */
	struct lv_frag writes[LV_IO_LOG]; /* wait for it to complete */
	u8 nr_reads; /* answered ones */
	u8 cursor; /* reads replayed so far in this emulation */
	u8 nr_writes;
	u8 sent; /* writes that went out */
	u64 rip; /* where the instruction is */
	gpa_t known_gpa; /* where the faulting access goes, without a walk */
	u32 known_access; /* what the CPU has found to be allowed there */
	bool sleepable; /* the emulation stopped: it must not sleep */
	u8 port_size; /* what it reads */
	u32 port_val; /* what an IN or OUT transfers */
	struct lv_string_io string; /* what an INS or OUTS transfers */
	void *port_page; /* page LV_VCPU_PIO_PAGE of the vCPU's mmap */
};

int lv_io_init(struct lv_vcpu *v)
{
	v->io = kzalloc(sizeof(*v->io), GFP_KERNEL_ACCOUNT);
	if (!v->io)
		return -ENOMEM;
	v->io->port_page = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	return v->io->port_page ? 0 : -ENOMEM;
}

void lv_io_free(struct lv_vcpu *v)
{
	if (v->io)
		free_page((unsigned long)v->io->port_page);
	kfree(v->io);
}

/** lv_io_rip - where the instruction is that was emulated last */
u64 lv_io_rip(const struct lv_vcpu *v)
{
	return v->io->rip;
}

/** lv_vcpu_page - page @offset of the vCPU's mmap, or NULL */
struct page *lv_vcpu_page(struct lv_vcpu *v, pgoff_t offset)
{
	switch (offset) {
	case 0:
		return virt_to_page(v->run);
	case LV_VCPU_PIO_PAGE:
		return virt_to_page(v->io->port_page);
	case LV_VCPU_COALESCED_PAGE:
		return v->vm->coalesced;
	default:
		return NULL;
	}
}

/* ---- guest memory and devices, for the emulator ---- */

static enum lv_emul_result lv_io_sleep(struct lv_io *io)
{
	io->sleepable = true;
	return LV_EMUL_AGAIN;
}

/*
 * Where an access at @linear goes. The nested fault told it for the operand
 * that caused it, which spares a walk.
 */
static enum lv_emul_result lv_io_translate(struct lv_vcpu *v, gva_t linear,
					   u32 access, gpa_t *gpa)
{
	struct lv_io *io = v->io;
	int err;

	if (io->known_gpa != LV_INVALID_GPA && !(access & ~io->known_access) &&
	    offset_in_page(io->known_gpa) == offset_in_page(linear)) {
		*gpa = io->known_gpa;
		return LV_EMUL_DONE;
	}
	err = lv_gva_to_gpa(v, linear, access, gpa, &io->emul.fault);
	if (!err)
		return LV_EMUL_DONE;
	if (err == -EAGAIN)
		return lv_io_sleep(io);
	return err < 0 ? LV_EMUL_UNHANDLED : LV_EMUL_FAULT;
}

static unsigned int lv_frag_len(gva_t linear, unsigned int bytes)
{
	unsigned int room = PAGE_SIZE - offset_in_page(linear);

	return min3(bytes, room, 8U);
}

static int lv_ask_mmio(struct lv_vcpu *v, const struct lv_frag *frag,
		       bool write)
{
	struct kvm_run *run = v->run;

	run->mmio.phys_addr = frag->gpa;
	run->mmio.len = frag->len;
	run->mmio.is_write = write;
	memcpy(run->mmio.data, frag->data, sizeof(run->mmio.data));
	return lv_exit_to_user(v, KVM_EXIT_MMIO);
}

static enum lv_emul_result lv_device_read(struct lv_vcpu *v, gpa_t gpa,
					  void *buf, unsigned int len)
{
	struct lv_io *io = v->io;
	struct lv_frag *frag = &io->reads[io->cursor];

	if (io->cursor == LV_IO_LOG)
		return LV_EMUL_UNHANDLED;
	if (io->cursor < io->nr_reads) {
		memcpy(buf, frag->data, len);
		io->cursor++;
		return LV_EMUL_DONE;
	}
	*frag = (struct lv_frag){ .gpa = gpa, .len = len };
	if (!lv_iobus_read(v, LV_SPACE_MMIO, gpa, len, frag->data)) {
		trace_lv_mmio(v, false, gpa, len, 0);
		lv_ask_mmio(v, frag, false);
		v->io_state = LV_IO_MMIO_READ;
		return LV_EMUL_AGAIN;
	}
	trace_lv_mmio(v, false, gpa, len, frag->val);
	memcpy(buf, frag->data, len);
	io->nr_reads++;
	io->cursor++;
	return LV_EMUL_DONE;
}

static enum lv_emul_result lv_queue_write(struct lv_io *io, gpa_t gpa,
					  const void *buf, unsigned int len)
{
	struct lv_frag *frag = &io->writes[io->nr_writes];

	if (io->nr_writes == LV_IO_LOG)
		return LV_EMUL_UNHANDLED;
	*frag = (struct lv_frag){ .gpa = gpa, .len = len };
	memcpy(frag->data, buf, len);
	io->nr_writes++;
	return LV_EMUL_DONE;
}

enum lv_emul_result lv_emul_read(struct lv_emul *e, gva_t linear, void *buf,
				 unsigned int bytes)
{
	struct lv_vcpu *v = e->owner;
	u32 access = e->write_intent ? LV_ACCESS_READ | LV_ACCESS_WRITE
				     : LV_ACCESS_READ;
	enum lv_emul_result r;
	unsigned int len;
	gpa_t gpa;
	int err;

	for (; bytes; bytes -= len, linear += len, buf += len) {
		len = lv_frag_len(linear, bytes);
		r = lv_io_translate(v, linear, access, &gpa);
		if (r != LV_EMUL_DONE)
			return r;
		err = lv_gpa_read(v->vm, gpa, buf, len, v->atomic);
		if (err == -EAGAIN)
			return lv_io_sleep(v->io);
		if (err) {
			r = lv_device_read(v, gpa, buf, len);
			if (r != LV_EMUL_DONE)
				return r;
		}
	}
	return LV_EMUL_DONE;
}

/* Both pages of a write are checked before either is written. */
enum lv_emul_result lv_emul_write(struct lv_emul *e, gva_t linear,
				  const void *buf, unsigned int bytes)
{
	struct lv_vcpu *v = e->owner;
	gpa_t gpa[3];
	enum lv_emul_result r;
	unsigned int i, len, done;
	int err;

	/* What stops half-way could not start over. */
	if (v->atomic && lv_frag_len(linear, bytes) != bytes)
		return lv_io_sleep(v->io);
	for (i = 0, done = 0; done < bytes; i++, done += len) {
		len = lv_frag_len(linear + done, bytes - done);
		r = lv_io_translate(v, linear + done, LV_ACCESS_WRITE, &gpa[i]);
		if (r != LV_EMUL_DONE)
			return r;
	}
	for (i = 0, done = 0; done < bytes; i++, done += len) {
		len = lv_frag_len(linear + done, bytes - done);
		err = lv_gpa_write(v->vm, gpa[i], buf + done, len, v->atomic);
		if (err == -EAGAIN)
			return lv_io_sleep(v->io);
		if (err) {
			r = lv_queue_write(v->io, gpa[i], buf + done, len);
			if (r != LV_EMUL_DONE)
				return r;
		}
	}
	return LV_EMUL_DONE;
}

enum lv_emul_result lv_emul_cmpxchg(struct lv_emul *e, gva_t linear,
				    const void *old, const void *new,
				    unsigned int bytes)
{
	struct lv_vcpu *v = e->owner;
	u8 expected[16];
	gpa_t gpa;
	enum lv_emul_result r;
	int err;

	/*
	 * Devices know no atomic access, and memory comes here only if its
	 * slot is new, or if a page of devices follows: let that be split.
	 */
	if (bytes > 8 || linear & (bytes - 1))
		return lv_emul_write(e, linear, new, bytes);
	r = lv_io_translate(v, linear, LV_ACCESS_WRITE, &gpa);
	if (r != LV_EMUL_DONE)
		return r;
	memcpy(expected, old, bytes);
	err = lv_gpa_cmpxchg(v->vm, gpa, expected, new, bytes, v->atomic);
	if (err >= 0)
		return err ? LV_EMUL_AGAIN : LV_EMUL_DONE;
	if (err == -EAGAIN)
		return lv_io_sleep(v->io);
	return lv_queue_write(v->io, gpa, new, bytes);
}

/* ---- running the emulator ---- */

static void lv_fill_seg(struct lv_vcpu *v, struct lv_emul *e, unsigned int nr)
{
	lv_call(get_segment)(v, nr, &e->seg[nr]);
	e->seg[nr].present &= !e->seg[nr].unusable;
}

/* In 64-bit mode only FS and GS matter, if they are used, or a selector. */
static void lv_fill_segs(struct lv_vcpu *v, struct lv_emul *e)
{
	unsigned int nr;

	if (e->mode == LV_MODE_64 && e->insn.enc != LV_ENC_MS) {
		if (e->insn.seg == LV_SEG_FS || e->insn.seg == LV_SEG_GS)
			lv_fill_seg(v, e, e->insn.seg);
		return;
	}
	for (nr = LV_SEG_ES; nr <= LV_SEG_GS; nr++)
		lv_fill_seg(v, e, nr);
}

static void lv_emul_begin(struct lv_vcpu *v, struct lv_emul *e)
{
	lv_rip(v);
	lv_rflags(v);
	lv_reg(v, LV_RSP);
	e->owner = v;
	v->io->rip = v->rip;
	memcpy(e->regs, v->regs, sizeof(e->regs));
	e->rip = v->rip;
	e->rflags = v->rflags;
	e->mode = lv_cpu_mode(v);
	e->protected_mode = v->cr0 & X86_CR0_PE;
	e->va_bits = v->cr4 & X86_CR4_LA57 ? 57 : 48;
	e->write_intent = false;
	lv_fill_segs(v, e);
}

static void lv_emul_commit(struct lv_vcpu *v, const struct lv_emul *e)
{
	bool step = v->rflags & X86_EFLAGS_TF;

	v->io->nr_reads = 0;
	memcpy(v->regs, e->regs, sizeof(v->regs));
	lv_mark_dirty(v, LV_R_RSP);
	lv_set_rip(v, e->rip);
	lv_set_rflags(v, e->rflags);
	lv_call(set_shadow)(v, 0);
	if (step)
		lv_stepped(v);
}

/* Tell user space which instruction it was. */
static int lv_emul_failed(struct lv_vcpu *v)
{
	struct kvm_run *run = v->run;
	u8 bytes[15];
	int n;

	if (v->atomic)
		return LV_SLEEPABLE;
	n = lv_fetch_insn(v, bytes, sizeof(bytes));
	memset(&run->emulation_failure, 0, sizeof(run->emulation_failure));
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	if (n > 0) {
		run->emulation_failure.ndata = 3;
		run->emulation_failure.flags =
			KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
		run->emulation_failure.insn_size = n;
		memcpy(run->emulation_failure.insn_bytes, bytes, n);
	}
	return lv_exit_to_user(v, KVM_EXIT_INTERNAL_ERROR);
}

/* Send queued writes to their devices until user space has to take one. */
static int lv_send_writes(struct lv_vcpu *v)
{
	struct lv_io *io = v->io;

	while (io->sent < io->nr_writes) {
		struct lv_frag *frag = &io->writes[io->sent++];

		trace_lv_mmio(v, true, frag->gpa, frag->len, frag->val);
		if (!lv_iobus_write(v, LV_SPACE_MMIO, frag->gpa, frag->len,
				    frag->data)) {
			v->io_state = LV_IO_MMIO_WRITE;
			return lv_ask_mmio(v, frag, true);
		}
	}
	v->io_state = LV_IO_IDLE;
	io->nr_writes = 0;
	io->sent = 0;
	return LV_RESUME;
}

/*
 * Emulate the instruction in io->emul, once or again. True: that succeeded, but
 * the vCPU has not seen it yet; false: @out is the outcome.
 */
static bool lv_try_insn(struct lv_vcpu *v, int *out)
{
	struct lv_io *io = v->io;
	struct lv_emul *e = &io->emul;

	*out = LV_SLEEPABLE;
	if (v->atomic &&
	    (e->insn.op == LV_OP_SSE_LOAD || e->insn.op == LV_OP_SSE_STORE))
		return false;
	v->io_state = LV_IO_IDLE;
	io->cursor = 0;
	io->nr_writes = 0;
	io->sent = 0;
	io->sleepable = false;
	lv_emul_begin(v, e);

	switch (lv_emulate(e)) {
	case LV_EMUL_DONE:
	case LV_EMUL_REP:
		return true;
	case LV_EMUL_AGAIN:
		if (v->io_state == LV_IO_MMIO_READ)
			*out = LV_TO_USER;
		else if (!io->sleepable)
			*out = LV_RESUME;
		return false;
	case LV_EMUL_FAULT:
		*out = lv_inject_fault(v, &e->fault);
		return false;
	default:
		*out = lv_emul_failed(v);
		return false;
	}
}

static int lv_emulate_insn(struct lv_vcpu *v)
{
	int out;

	if (!lv_try_insn(v, &out))
		return out;
	lv_emul_commit(v, &v->io->emul);
	return lv_send_writes(v);
}

/* Emulate MOV of 16 bits with the memory operand of another instruction. */
static void lv_pose_as_mov(struct lv_vcpu *v, const struct lv_insn *insn,
			   u8 enc)
{
	struct lv_insn *mov = &v->io->emul.insn;

	*mov = *insn;
	mov->op = LV_OP_MOV;
	mov->enc = enc;
	mov->op_bytes = 2;
	mov->src_bytes = 2;
	v->io->known_gpa = LV_INVALID_GPA;
	v->io->nr_reads = 0;
}

/*
 * lv_load_operand - read 16 bits from an instruction's memory operand
 * @out: if this fails, what the exit handler shall return
 */
bool lv_load_operand(struct lv_vcpu *v, const struct lv_insn *insn, u16 *val,
		     int *out)
{
	lv_pose_as_mov(v, insn, LV_ENC_RM);
	v->io->emul.insn.reg = LV_RAX;
	if (lv_try_insn(v, out)) {
		*val = v->io->emul.regs[LV_RAX];
		return true;
	}
	if (v->io_state != LV_IO_IDLE) {
		/* Not offered: devices of user space. */
		v->io_state = LV_IO_IDLE;
		*out = lv_emul_failed(v);
	}
	return false;
}

/** lv_store_operand - complete an instruction that only stores 16 bits */
int lv_store_operand(struct lv_vcpu *v, const struct lv_insn *insn, u16 val)
{
	lv_pose_as_mov(v, insn, LV_ENC_MI);
	v->io->emul.insn.imm = val;
	return lv_emulate_insn(v);
}

/* ---- MOV, which is what accesses most devices ---- */

/*
 * In 64-bit mode a MOV whose operand is where the fault was, and in one page,
 * has passed all checks: nothing is left to be translated.
 */
static bool lv_is_plain_mov(struct lv_vcpu *v, const struct lv_exit *exit)
{
	const struct lv_insn *insn = &v->io->emul.insn;
	bool write = exit->fault.access & LV_ACCESS_WRITE;
	u64 at = insn->disp;

	if (insn->op != LV_OP_MOV || insn->addr_bytes != LV_MODE_64 ||
	    insn->seg >= LV_SEG_FS || insn->enc == LV_ENC_MS ||
	    (insn->enc != LV_ENC_RM) != write)
		return false;
	/* AH, CH, DH, BH */
	if (insn->op_bytes == 1 && !insn->rex && insn->reg >= 4 &&
	    insn->enc != LV_ENC_MI)
		return false;
	if (insn->base == LV_REG_RIP)
		at += v->rip + insn->length;
	else if (insn->base != LV_REG_NONE)
		at += lv_reg(v, insn->base);
	if (insn->index != LV_REG_NONE)
		at += lv_reg(v, insn->index) << insn->scale;
	return !offset_in_page(at ^ exit->fault.gpa) &&
	       offset_in_page(at) <= PAGE_SIZE - insn->op_bytes;
}

static int lv_mov_to_device(struct lv_vcpu *v, const struct lv_exit *exit)
{
	const struct lv_insn *insn = &v->io->emul.insn;
	u64 val = insn->enc == LV_ENC_MI ? insn->imm : lv_reg(v, insn->reg);
	struct lv_io *io = v->io;
	struct lv_frag frag = {
		.gpa = exit->fault.gpa,
		.len = insn->op_bytes,
		.val = val & ~0ULL >> (64 - 8 * insn->op_bytes),
	};

	trace_lv_mmio(v, true, frag.gpa, frag.len, frag.val);
	io->rip = lv_rip(v);
	lv_skip_insn(v, exit);
	if (lv_iobus_write(v, LV_SPACE_MMIO, frag.gpa, frag.len, frag.data))
		return LV_RESUME;
	v->io_state = LV_IO_MMIO_WRITE;
	io->nr_writes = 0;
	io->sent = 0;
	return lv_ask_mmio(v, &frag, true);
}

/* What a MOV read goes to (part of) a register. */
static void lv_load_reg(struct lv_vcpu *v, unsigned int nr, u64 val, u8 bytes)
{
	u64 keep = bytes < 4 ? ~0ULL << 8 * bytes : 0;

	lv_set_reg(v, nr, (lv_reg(v, nr) & keep) | val);
}

static int lv_mov_done(struct lv_vcpu *v, u64 val)
{
	const struct lv_insn *insn = &v->io->emul.insn;

	lv_load_reg(v, insn->reg, val, insn->op_bytes);
	return lv_skip_insn(v, &v->exit);
}

static u64 lv_answer(struct lv_vcpu *v)
{
	u64 val = *(u64 *)v->run->mmio.data;

	return val & ~0ULL >> (64 - 8 * v->io->emul.insn.op_bytes);
}

static int lv_mov_from_device(struct lv_vcpu *v, const struct lv_exit *exit)
{
	const struct lv_insn *insn = &v->io->emul.insn;
	struct lv_frag frag = { .gpa = exit->fault.gpa, .len = insn->op_bytes };
	struct lv_io *io = v->io;
	bool done;

	io->rip = lv_rip(v);
	done = lv_iobus_read(v, LV_SPACE_MMIO, frag.gpa, frag.len, frag.data);
	trace_lv_mmio(v, false, frag.gpa, frag.len, frag.val);
	if (done)
		return lv_mov_done(v, frag.val);
	v->io_state = LV_IO_MOV;
	return lv_ask_mmio(v, &frag, false);
}

/* Only one operand can be the one that faulted, unless there are two. */
static bool lv_has_one_operand(const struct lv_insn *insn)
{
	return insn->op != LV_OP_MOVS && insn->op != LV_OP_CMPS &&
	       (insn->op < LV_OP_PUSH || insn->op > LV_OP_JMP);
}

/* lv_handle_mmio - a nested fault outside of memory: emulate the instruction */
int lv_handle_mmio(struct lv_vcpu *v, struct lv_exit *exit)
{
	struct lv_io *io = v->io;
	int err;

	/* No instruction did this: the IDT, the TSS or a stack is no memory. */
	if (exit->interrupted.type != LV_EVENT_NONE)
		return lv_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV,
					 exit);
	/* An instruction that had to stop continues with what it has read. */
	if (v->atomic || lv_rip(v) != io->rip)
		io->nr_reads = 0;
	err = lv_decode_at_rip(v, &io->emul.insn);
	if (err == -EAGAIN)
		return LV_SLEEPABLE;
	if (err == -EINVAL || exit->fault.access & LV_ACCESS_FETCH)
		return lv_emul_failed(v);
	if (err)
		return LV_RESUME; /* the guest changed its tables: look again */

	v->stat.mmio++;
	if (lv_is_plain_mov(v, exit)) {
		exit->insn_len = io->emul.insn.length;
		return exit->fault.access & LV_ACCESS_WRITE
			       ? lv_mov_to_device(v, exit)
			       : lv_mov_from_device(v, exit);
	}
	io->known_access = exit->fault.access | LV_ACCESS_READ;
	io->known_gpa = lv_has_one_operand(&io->emul.insn) ? exit->fault.gpa
							   : LV_INVALID_GPA;
	v->stat.emulations++;
	return lv_emulate_insn(v);
}

/* ---- ports ---- */

static int lv_ask_port(struct lv_vcpu *v, u16 port, u8 size, u32 count, bool in)
{
	struct kvm_run *run = v->run;

	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = LV_VCPU_PIO_PAGE * PAGE_SIZE;
	return lv_exit_to_user(v, KVM_EXIT_IO);
}

static int lv_port_out(struct lv_vcpu *v, const struct lv_exit *exit)
{
	u32 *val = &v->io->port_val;

	*val = v->regs[LV_RAX];
	trace_lv_pio(v, true, exit->io.port, exit->io.size, *val);
	lv_skip_insn(v, exit);
	if (lv_iobus_write(v, LV_SPACE_PIO, exit->io.port, exit->io.size, val))
		return LV_RESUME;
	*(u32 *)v->io->port_page = *val;
	return lv_ask_port(v, exit->io.port, exit->io.size, 1, false);
}

/* AL, AX, or EAX, whose upper half becomes 0. */
static void lv_port_result(struct lv_vcpu *v, u32 val, u8 size)
{
	u64 mask = size == 4 ? ~0ULL : BIT_ULL(8 * size) - 1;
	u64 *rax = &v->regs[LV_RAX];

	*rax = (*rax & ~mask) | (val & mask);
}

/* The instruction is complete when user space has answered. */
static void lv_io_wait(struct lv_vcpu *v, enum lv_io_state state)
{
	v->io_state = state;
	v->io->rip = lv_rip(v);
}

static int lv_port_in(struct lv_vcpu *v, const struct lv_exit *exit)
{
	u32 *val = &v->io->port_val;

	*val = 0;
	if (lv_iobus_read(v, LV_SPACE_PIO, exit->io.port, exit->io.size, val)) {
		trace_lv_pio(v, false, exit->io.port, exit->io.size, *val);
		lv_port_result(v, *val, exit->io.size);
		return lv_skip_insn(v, exit);
	}
	trace_lv_pio(v, false, exit->io.port, exit->io.size, 0);
	lv_io_wait(v, LV_IO_PORT_IN);
	v->io->port_size = exit->io.size;
	return lv_ask_port(v, exit->io.port, exit->io.size, 1, true);
}

static enum lv_emul_result lv_string_memory(struct lv_vcpu *v, void *buf,
					    bool write)
{
	struct lv_io *io = v->io;
	unsigned int len, bytes = io->string.count * io->string.bytes;
	gva_t linear = io->string.linear;
	enum lv_emul_result r = LV_EMUL_DONE;

	/* The emulator's own accesses take 16 bytes at most. */
	for (; bytes && r == LV_EMUL_DONE;
	     bytes -= len, linear += len, buf += len) {
		len = min(bytes, 8U);
		r = write ? lv_emul_write(&io->emul, linear, buf, len)
			  : lv_emul_read(&io->emul, linear, buf, len);
	}
	return r;
}

static int lv_string_done(struct lv_vcpu *v)
{
	struct lv_emul *e = &v->io->emul;

	lv_emul_string_done(e, v->io->string.count);
	lv_emul_commit(v, e);
	return LV_RESUME;
}

static int lv_string_failed(struct lv_vcpu *v, enum lv_emul_result r)
{
	if (r == LV_EMUL_FAULT)
		return lv_inject_fault(v, &v->io->emul.fault);
	if (v->io_state == LV_IO_MMIO_READ)
		v->io_state = LV_IO_IDLE; /* OUTS from a device: not offered */
	return lv_emul_failed(v);
}

/*
 * Transfer the elements to or from devices in the kernel. False: there is none;
 * if it goes away half-way, the elements so far are all that is transferred.
 */
static bool lv_string_devices(struct lv_vcpu *v, u16 port)
{
	struct lv_string_io *s = &v->io->string;
	void *data = v->io->port_page;
	u32 i;

	for (i = 0; i < s->count; i++, data += s->bytes) {
		if (s->in ? lv_iobus_read(v, LV_SPACE_PIO, port, s->bytes, data)
			  : lv_iobus_write(v, LV_SPACE_PIO, port, s->bytes,
					   data))
			continue;
		if (!i)
			return false;
		s->count = i;
	}
	return true;
}

static int lv_port_outs(struct lv_vcpu *v, u16 port)
{
	const struct lv_string_io *s = &v->io->string;
	enum lv_emul_result r = lv_string_memory(v, v->io->port_page, false);
	bool done;

	if (r != LV_EMUL_DONE)
		return lv_string_failed(v, r);
	trace_lv_pio(v, true, port, s->bytes, s->count);
	done = lv_string_devices(v, port);
	lv_string_done(v);
	return done ? LV_RESUME
		    : lv_ask_port(v, port, s->bytes, s->count, false);
}

/* Store what an INS read. */
static int lv_port_ins_done(struct lv_vcpu *v)
{
	struct lv_io *io = v->io;
	enum lv_emul_result r;

	io->nr_writes = 0;
	io->sent = 0;
	r = lv_string_memory(v, io->port_page, true);
	if (r != LV_EMUL_DONE)
		return lv_string_failed(v, r);
	lv_string_done(v);
	return lv_send_writes(v);
}

static int lv_port_ins(struct lv_vcpu *v, u16 port)
{
	const struct lv_string_io *s = &v->io->string;
	gva_t last = s->linear + s->count * s->bytes - 1;
	enum lv_emul_result r;
	gpa_t gpa;

	/* Fault before the device is read, not after. */
	r = lv_io_translate(v, s->linear, LV_ACCESS_WRITE, &gpa);
	if (r == LV_EMUL_DONE)
		r = lv_io_translate(v, last, LV_ACCESS_WRITE, &gpa);
	if (r != LV_EMUL_DONE)
		return lv_string_failed(v, r);
	trace_lv_pio(v, false, port, s->bytes, s->count);
	if (lv_string_devices(v, port))
		return lv_port_ins_done(v);
	v->io_state = LV_IO_PORT_INS;
	return lv_ask_port(v, port, s->bytes, s->count, true);
}

static noinline int lv_port_string(struct lv_vcpu *v,
				   const struct lv_exit *exit)
{
	struct lv_io *io = v->io;
	enum lv_emul_result r;

	if (lv_decode_at_rip(v, &io->emul.insn))
		return LV_RESUME;
	if (io->emul.insn.op != LV_OP_INS && io->emul.insn.op != LV_OP_OUTS)
		return LV_RESUME; /* rewritten meanwhile */
	io->known_gpa = LV_INVALID_GPA;
	io->nr_reads = 0;
	io->cursor = 0;
	lv_emul_begin(v, &io->emul);
	r = lv_emul_string_io(&io->emul, &io->string);
	if (r != LV_EMUL_DONE)
		return lv_string_failed(v, r);
	if (!io->string.count)
		return lv_string_done(v);
	return io->string.in ? lv_port_ins(v, exit->io.port)
			     : lv_port_outs(v, exit->io.port);
}

/** lv_handle_pio - IN, OUT, INS, OUTS; the guest has the right to the port */
int lv_handle_pio(struct lv_vcpu *v, const struct lv_exit *exit)
{
	int idx, out;

	v->stat.pio++;
	if (unlikely(exit->io.string)) {
		if (v->atomic)
			return LV_SLEEPABLE;
		idx = srcu_read_lock(&v->vm->mem.srcu);
		out = lv_port_string(v, exit);
		srcu_read_unlock(&v->vm->mem.srcu, idx);
		return out;
	}
	return exit->io.in ? lv_port_in(v, exit) : lv_port_out(v, exit);
}

/* ---- MSRs that user space answers for ---- */

/* Why an access failed, in the API's terms. */
static u32 lv_msr_exit_reason(int err)
{
	switch (err) {
	case -EPERM:
		return KVM_MSR_EXIT_REASON_FILTER;
	case -ENOENT:
		return KVM_MSR_EXIT_REASON_UNKNOWN;
	default:
		return KVM_MSR_EXIT_REASON_INVAL;
	}
}

/*
 * lv_msr_failed - RDMSR or WRMSR of a guest fails: by a filter (-EPERM), because
 * there is no such MSR (-ENOENT), or because of its value (-EINVAL).
 * User space may want to answer it; else it is #GP.
 */
int lv_msr_failed(struct lv_vcpu *v, bool write, int err)
{
	u32 reason = lv_msr_exit_reason(err);
	struct kvm_run *run = v->run;

	if (!(READ_ONCE(v->vm->user_msrs) & reason))
		return lv_inject_gp(v);
	lv_io_wait(v, write ? LV_IO_WRMSR : LV_IO_RDMSR);
	run->msr.error = 0;
	run->msr.reason = reason;
	run->msr.index = v->regs[LV_RCX];
	run->msr.data = write ? lv_edx_eax(v) : 0;
	return lv_exit_to_user(v,
			       write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR);
}

/** lv_ask_hypercall - run->hypercall is filled in: user space has the result */
int lv_ask_hypercall(struct lv_vcpu *v)
{
	lv_io_wait(v, LV_IO_HYPERCALL);
	return lv_exit_to_user(v, KVM_EXIT_HYPERCALL);
}

/** lv_complete_io - continue what the last KVM_RUN left to user space */
int lv_complete_io(struct lv_vcpu *v)
{
	struct lv_io *io = v->io;
	struct lv_frag *frag = &io->reads[io->nr_reads];
	enum lv_io_state state = v->io_state;

	v->io_state = LV_IO_IDLE;
	/* User space may have moved the vCPU, by a reset for example. */
	if (state != LV_IO_MMIO_WRITE && lv_rip(v) != io->rip)
		return LV_RESUME;
	switch (state) {
	case LV_IO_PORT_IN:
		lv_port_result(v, *(u32 *)io->port_page, io->port_size);
		return lv_skip_insn(v, &v->exit);
	case LV_IO_PORT_INS:
		lv_emul_begin(v, &io->emul);
		/* User space may have changed the count. */
		io->string.count =
			lv_emul_string_limit(&io->emul, io->string.count);
		return lv_port_ins_done(v);
	case LV_IO_MMIO_WRITE:
		return lv_send_writes(v);
	case LV_IO_MMIO_READ:
		memcpy(frag->data, v->run->mmio.data, frag->len);
		io->nr_reads++;
		return lv_emulate_insn(v);
	case LV_IO_MOV:
		return lv_mov_done(v, lv_answer(v));
	case LV_IO_RDMSR:
	case LV_IO_WRMSR:
		if (v->run->msr.error)
			return lv_inject_gp(v);
		if (state == LV_IO_RDMSR)
			lv_set_edx_eax(v, v->run->msr.data);
		return lv_skip_insn(v, &v->exit);
	case LV_IO_HYPERCALL:
		lv_set_hypercall_result(v, v->run->hypercall.ret);
		return lv_skip_insn(v, &v->exit);
	default:
		return LV_RESUME;
	}
}
