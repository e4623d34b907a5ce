// SPDX-License-Identifier: GPL-2.0-only
/*
 * The instruction at the guest's RIP: read, decoded, remembered. All callers
 * hold vm->mem.srcu, with the vCPU loaded.
 */
#include "labvisor.h"

enum lv_cpu_mode lv_cpu_mode(struct lv_vcpu *v)
{
	u8 flags;

	if (!(v->cr0 & X86_CR0_PE) || lv_rflags(v) & X86_EFLAGS_VM)
		return LV_MODE_16;
	flags = lv_call(code_flags)(v);
	if (flags & LV_CODE_L && v->efer & EFER_LMA)
		return LV_MODE_64;
	return flags & LV_CODE_D ? LV_MODE_32 : LV_MODE_16;
}

bool lv_is_64bit(struct lv_vcpu *v)
{
	return v->efer & EFER_LMA && lv_call(code_flags)(v) & LV_CODE_L;
}

/** lv_linear_rip - the linear address of the next instruction */
gva_t lv_linear_rip(struct lv_vcpu *v)
{
	struct kvm_segment cs;

	if (lv_is_64bit(v))
		return lv_rip(v);
	lv_call(get_segment)(v, LV_SREG_CS, &cs);
	return (u32)(cs.base + lv_rip(v));
}

/* Remember where RIP's page is, for lv_insn_is(). */
static void remember_page(struct lv_vcpu *v, gva_t gva, gpa_t gpa)
{
	struct lv_slots *slots = lv_slots(v->vm);
	const struct lv_slot *slot = lv_slot_find(slots, gpa >> PAGE_SHIFT);

	if (!slot || offset_in_page(gva) != offset_in_page(lv_rip(v)))
		return;
	v->insn.slots_generation = slots->generation;
	v->insn.page = lv_rip(v) >> PAGE_SHIFT;
	v->insn.hva = lv_slot_hva(slot, gpa >> PAGE_SHIFT);
}

/*
 * lv_insn_is - does the instruction at RIP begin with these bytes, at most 4?
 *
 * A cheap question that may be answered by "no" or "do not know" alike: it
 * reads the bytes where lv_fetch_insn() found RIP's page last. The guest may
 * have remapped the page since; that it then still finds these bytes there,
 * while the CPU executed another encoding of the same instruction, is left to
 * guests that want to confuse themselves.
 */
bool lv_insn_is(struct lv_vcpu *v, u32 bytes, unsigned int len)
{
	u64 rip = lv_rip(v);
	u32 seen;
	int err;

	if (unlikely(v->insn.page != rip >> PAGE_SHIFT ||
		     v->insn.slots_generation != lv_slots(v->vm)->generation ||
		     offset_in_page(rip) > PAGE_SIZE - sizeof(seen)))
		return false;
	pagefault_disable();
	err = __get_user(seen,
			 (u32 __user *)(v->insn.hva + offset_in_page(rip)));
	pagefault_enable();
	return !err && !((seen ^ bytes) << (32 - 8 * len));
}

/* As lv_fetch_insn(), and note the @way to the page where it begins. */
static int fetch(struct lv_vcpu *v, u8 *buf, unsigned int max,
		 struct lv_way *way)
{
	gva_t gva = lv_linear_rip(v);
	struct lv_emul_fault fault;
	unsigned int done, n;
	int ret = 0;
	gpa_t gpa;

	for (done = 0; done < max; done += n) {
		n = min_t(unsigned int, max - done,
			  PAGE_SIZE - offset_in_page(gva + done));
		ret = lv_gva_walk(v, gva + done, LV_ACCESS_FETCH, &gpa, &fault,
				  done ? NULL : way);
		if (!ret)
			ret = lv_gpa_read(v->vm, gpa, buf + done, n, v->atomic);
		if (ret)
			break;
		if (!done)
			remember_page(v, gva, gpa);
	}
	if (done)
		return done;
	return ret == -EAGAIN ? -EAGAIN : -EFAULT;
}

/*
 * lv_fetch_insn - read the bytes at CS:RIP, at most 15
 * Return: number of bytes, at least 1. It is less than @max if the next page
 * cannot be read, with v->atomic maybe only because it is not resident.
 * -EAGAIN: v->atomic, and nothing is resident; -EFAULT: nothing can be read.
 */
int lv_fetch_insn(struct lv_vcpu *v, u8 *buf, unsigned int max)
{
	return fetch(v, buf, max, NULL);
}

/* ---- what was decoded before ---- */

/* Two instructions share a place: guests have few, but those take turns. */
static struct lv_code *code_at(struct lv_vcpu *v, u64 rip)
{
	return v->code[(rip ^ rip >> 3) % LV_NR_CODE];
}

/*
 * Reads that may fault. The addresses were checked when their slots were made.
 */
static bool same_code(const struct lv_code *code)
{
	const struct lv_way_entry *e = code->way.entry;
	unsigned int left = 8 * (16 - code->insn.length);
	u64 seen, low;
	bool same;

	if (!user_access_begin(code->at, sizeof(code->bytes)))
		return false;
	for (; e < code->way.entry + code->way.nr; e++) {
		unsafe_get_user(seen, e->at, fault);
		if (seen != e->pte)
			goto fault;
	}
	unsafe_get_user(low, code->at, fault);
	unsafe_get_user(seen, code->at + 1, fault);
	user_access_end();
	low ^= code->bytes[0];
	seen ^= code->bytes[1];
	same = left < 64 ? !low && !(seen << left) : !(low << (left - 64));
	return same;
fault:
	user_access_end();
	return false;
}

/*
 * Is this the instruction at RIP? The CPU has just fetched it, so it may be
 * executed; what it is depends on where the tables lead, and what is there.
 * Flushes of the guest's TLB are not seen here, so both are looked at.
 */
static bool code_is_current(struct lv_vcpu *v, const struct lv_code *code)
{
	bool same;

	if (code->rip != lv_rip(v) || code->cr3 != lv_cr3(v) ||
	    (code->cr4 ^ v->cr4) & X86_CR4_LA57 || !code->way.nr ||
	    code->slots_generation != lv_slots(v->vm)->generation ||
	    !lv_is_64bit(v))
		return false;
	pagefault_disable();
	same = same_code(code);
	pagefault_enable();
	return same;
}

/* Keep what was decoded, if it is 64-bit code and does not end a page. */
static void keep_code(struct lv_vcpu *v, struct lv_code *code,
		      const struct lv_insn *insn, const u8 *bytes)
{
	u64 rip = lv_rip(v);

	if (!lv_is_64bit(v) || offset_in_page(rip) > PAGE_SIZE - 16 ||
	    v->insn.page != rip >> PAGE_SHIFT)
		code->way.nr = 0;
	code->rip = rip;
	code->cr3 = lv_cr3(v);
	code->cr4 = v->cr4;
	code->slots_generation = v->insn.slots_generation;
	code->at = (u64 __user *)(v->insn.hva + offset_in_page(rip));
	memcpy(code->bytes, bytes, sizeof(code->bytes));
	code->insn = *insn;
}

/*
 * lv_decode_at_rip - decode the instruction at the guest's RIP
 * Return: 0; -EAGAIN if it is not resident and the vCPU is atomic; -EFAULT if
 * the guest unmapped it meanwhile; -EINVAL if it is no instruction.
 */
int lv_decode_at_rip(struct lv_vcpu *v, struct lv_insn *insn)
{
	u64 rip = lv_rip(v);
	struct lv_code *code = code_at(v, rip);
	bool second = code[0].rip != rip;
	u8 bytes[16] = {};
	int err, n;

	if (likely(code_is_current(v, code + second))) {
		*insn = code[second].insn;
		return 0;
	}
	if (second) /* the older one goes */
		code[1] = code[0];
	code->way.nr = 0;
	n = fetch(v, bytes, 15, &code->way);
	if (n < 0)
		err = n;
	else
		err = lv_decode(insn, bytes, n, lv_cpu_mode(v));
	if (err) {
		code->way.nr = 0;
		return err == -ENODATA ? -EFAULT : err;
	}
	keep_code(v, code, insn, bytes);
	return 0;
}
