// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest FPU state.
 *
 * It lives in a buffer in XSAVE standard format. On the way into the guest the
 * kernel saves the thread's own state (kernel_fpu_begin_mask()) and we load the
 * guest's; nothing may sleep until it is saved again. While the guest's XCR0 is
 * active, only the guest may execute FPU instructions.
 */
#include <linux/log2.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>

#include "compat.h"
#include "labvisor.h"

#define LV_XFEATURES \
	(XFEATURE_MASK_FPSSE | XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512)
#define LV_NR_XFEATURES (XFEATURE_Hi16_ZMM + 1)
#define LV_XSAVE_HEADER_END 576 /* legacy region and header */
#define LV_FCW_RESET 0x37f
#define LV_MXCSR_RESET 0x1f80

/* All once, by lv_fpu_probe(). */
static u64 lv_host_xcr0; /* 0: the CPU has no XSAVE */
static u64 lv_host_xss;
u64 lv_xfeatures; /* XCR0 bits that guests may have */
static u32 lv_xstate_bytes;
static u32 lv_mxcsr_mask;
static struct {
	u32 bytes;
	u32 offset;
	bool aligned; /* in compacted format */
} lv_component[LV_NR_XFEATURES];

/** lv_xsave_size - bytes of an XSAVE area for these features */
u32 lv_xsave_size(u64 xcr0, bool compacted)
{
	u32 end = LV_XSAVE_HEADER_END;
	unsigned int i;

	for (i = 2; i < LV_NR_XFEATURES; i++) {
		if (!(xcr0 & BIT_ULL(i)))
			continue;
		if (!compacted) {
			end = max(end, lv_component[i].offset +
					       lv_component[i].bytes);
			continue;
		}
		if (lv_component[i].aligned)
			end = ALIGN(end, 64);
		end += lv_component[i].bytes;
	}
	return end;
}

/* MXCSR bits that exist; a CPU that does not tell has all but DAZ. */
static u32 lv_read_mxcsr_mask(void)
{
	static struct fxregs_state fx;

	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "+m"(fx));
	kernel_fpu_end();
	return fx.mxcsr_mask ?: 0xffbf;
}

/** lv_fpu_probe - find out what the host's FPU has; once */
void lv_fpu_probe(void)
{
	u32 ecx, edx;
	unsigned int i;

	lv_xfeatures = XFEATURE_MASK_FPSSE;
	lv_xstate_bytes = LV_XSAVE_HEADER_END;
	lv_mxcsr_mask = lv_read_mxcsr_mask();
	if (!boot_cpu_has(X86_FEATURE_XSAVE))
		return;

	lv_host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	lv_xfeatures = lv_host_xcr0 & LV_XFEATURES;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, lv_host_xss);
	for (i = 2; i < LV_NR_XFEATURES; i++) {
		if (!(lv_xfeatures & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &lv_component[i].bytes,
			    &lv_component[i].offset, &ecx, &edx);
		lv_component[i].aligned = ecx & 2;
	}
	lv_xstate_bytes = lv_xsave_size(lv_xfeatures, false);
}

int lv_fpu_init(struct lv_vcpu *v)
{
	/* A power of two, because then the allocator aligns it by its size. */
	v->xstate = kzalloc(roundup_pow_of_two(lv_xstate_bytes),
			    GFP_KERNEL_ACCOUNT);
	if (!v->xstate)
		return -ENOMEM;
	lv_fpu_reset(v);
	return 0;
}

/** lv_fpu_reset - power-on state; the FPU is not loaded */
void lv_fpu_reset(struct lv_vcpu *v)
{
	memset(v->xstate, 0, lv_xstate_bytes);
	v->xstate->i387.cwd = LV_FCW_RESET;
	v->xstate->i387.mxcsr = LV_MXCSR_RESET;
	v->xcr0 = XFEATURE_MASK_FP;
}

static void lv_xsave(struct lv_vcpu *v)
{
	if (lv_host_xcr0)
		asm volatile("xsave64 %0"
			     : "+m"(*v->xstate)
			     : "a"((u32)lv_xfeatures),
			       "d"((u32)(lv_xfeatures >> 32))
			     : "memory");
	else
		asm volatile("fxsave64 %0" : "+m"(v->xstate->i387));
}

static void lv_xrstor(struct lv_vcpu *v)
{
	/*
	 * Old AMD CPUs leave the x87 pointers alone if no exception is pending:
	 * overwrite the host thread's.
	 */
	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK))
		asm volatile("fnclex; emms; fildl %0" ::"m"(v->cpu));
	if (lv_host_xcr0)
		asm volatile("xrstor64 %0" ::"m"(*v->xstate),
			     "a"((u32)lv_xfeatures),
			     "d"((u32)(lv_xfeatures >> 32))
			     : "memory");
	else
		asm volatile("fxrstor64 %0" ::"m"(v->xstate->i387));
}

/** lv_xcr0 - the guest's XCR0 */
u64 lv_xcr0(struct lv_vcpu *v)
{
	return v->fpu_loaded && lv_host_xcr0 ? xgetbv(XCR_XFEATURE_ENABLED_MASK)
					     : v->xcr0;
}

/** lv_fpu_load - put the guest's state into the registers; preemption is off */
void lv_fpu_load(struct lv_vcpu *v)
{
	kernel_fpu_begin_mask(0);
	/* With the host's XCR0, so that state the guest turned off loads, too. */
	lv_xrstor(v);
	/* XSAVES must not see the host's supervisor state. */
	if (lv_host_xss)
		lv_native_wrmsr(MSR_IA32_XSS, 0);
	if (v->xcr0 != lv_host_xcr0 && lv_host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, v->xcr0);
	v->fpu_loaded = true;
}

/** lv_fpu_put - save it again and give the registers back to the kernel */
void lv_fpu_put(struct lv_vcpu *v)
{
	/* Changed without an exit: QEMU 7.2's SVM does not intercept XSETBV. */
	v->xcr0 = lv_xcr0(v);
	v->fpu_loaded = false;
	if (v->xcr0 != lv_host_xcr0 && lv_host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, lv_host_xcr0);
	if (lv_host_xss)
		lv_native_wrmsr(MSR_IA32_XSS, lv_host_xss);
	lv_xsave(v);
	kernel_fpu_end();
}

/*
 * XMM registers for the emulator. The FPU is not loaded: instructions that need
 * them are emulated outside of the atomic section, see lv_try_insn().
 */
void lv_emul_read_xmm(struct lv_emul *e, unsigned int nr, u64 val[2])
{
	struct lv_vcpu *v = e->owner;

	memcpy(val, &v->xstate->i387.xmm_space[nr * 4], 16);
}

void lv_emul_write_xmm(struct lv_emul *e, unsigned int nr, const u64 val[2])
{
	struct lv_vcpu *v = e->owner;

	memcpy(&v->xstate->i387.xmm_space[nr * 4], val, 16);
	v->xstate->header.xfeatures |= XFEATURE_MASK_SSE;
}

/* FCW to DP: struct kvm_fpu and FXSAVE's area have them alike. */
#define LV_FPU_HEAD offsetof(struct fxregs_state, mxcsr)
static_assert(LV_FPU_HEAD ==
	      offsetof(struct kvm_fpu, xmm) - offsetof(struct kvm_fpu, fcw));

LV_IOCTL(get_fpu)
{
	const struct fxregs_state *fx = &v->xstate->i387;
	struct kvm_fpu *fpu = data;

	memset(fpu, 0, sizeof(*fpu));
	memcpy(data + offsetof(struct kvm_fpu, fcw), fx, LV_FPU_HEAD);
	fpu->mxcsr = fx->mxcsr;
	memcpy(fpu->fpr, fx->st_space, sizeof(fpu->fpr));
	memcpy(fpu->xmm, fx->xmm_space, sizeof(fpu->xmm));
	return 0;
}

LV_IOCTL(set_fpu)
{
	struct fxregs_state *fx = &v->xstate->i387;
	const struct kvm_fpu *fpu = data;

	if (fpu->mxcsr & ~lv_mxcsr_mask)
		return -EINVAL;
	memcpy(fx, data + offsetof(struct kvm_fpu, fcw), LV_FPU_HEAD);
	fx->twd = fpu->ftwx; /* without the padding */
	fx->mxcsr = fpu->mxcsr;
	memcpy(fx->st_space, fpu->fpr, sizeof(fpu->fpr));
	memcpy(fx->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	v->xstate->header.xfeatures |= XFEATURE_MASK_FPSSE;
	return 0;
}

LV_IOCTL(get_xsave)
{
	struct xregs_state *out = data;

	memset(data, 0, sizeof(struct kvm_xsave));
	memcpy(out, v->xstate, lv_xstate_bytes);
	if (!lv_host_xcr0)
		out->header.xfeatures = XFEATURE_MASK_FPSSE;
	return 0;
}

/* XRSTOR faults on anything else, and that would be in the host. */
static bool lv_valid_xsave(const struct xregs_state *x)
{
	return !(x->header.xfeatures & ~lv_xfeatures) && !x->header.xcomp_bv &&
	       !memchr_inv(x->header.reserved, 0, sizeof(x->header.reserved)) &&
	       !(x->i387.mxcsr & ~lv_mxcsr_mask);
}

/*
 * Components that the header leaves out get their initial value. Write it into
 * the buffer as well, so that it reads back without a trip through the CPU.
 */
LV_IOCTL(set_xsave)
{
	const struct xregs_state *in = data;
	struct xregs_state *x = v->xstate;
	u64 xcr0 = v->xcr0;
	unsigned int i;

	if (!lv_valid_xsave(in))
		return -EINVAL;
	lv_fpu_reset(v);
	v->xcr0 = xcr0;
	x->header.xfeatures = in->header.xfeatures;
	x->i387.mxcsr = in->i387.mxcsr;
	if (in->header.xfeatures & XFEATURE_MASK_FP) {
		memcpy(x, in, offsetof(struct fxregs_state, mxcsr));
		memcpy(x->i387.st_space, in->i387.st_space,
		       sizeof(x->i387.st_space));
	}
	if (in->header.xfeatures & XFEATURE_MASK_SSE)
		memcpy(x->i387.xmm_space, in->i387.xmm_space,
		       sizeof(x->i387.xmm_space));
	for (i = 2; i < LV_NR_XFEATURES; i++)
		if (in->header.xfeatures & BIT_ULL(i))
			memcpy((void *)x + lv_component[i].offset,
			       data + lv_component[i].offset,
			       lv_component[i].bytes);
	return 0;
}

LV_IOCTL(get_xcrs)
{
	struct kvm_xcrs *xcrs = data;

	if (!lv_host_xcr0)
		return -EINVAL;
	memset(xcrs, 0, sizeof(*xcrs));
	xcrs->nr_xcrs = 1;
	xcrs->xcrs[0].value = v->xcr0; /* number 0, too */
	return 0;
}

LV_IOCTL(set_xcrs)
{
	const struct kvm_xcrs *xcrs = data;
	unsigned int i;

	if (!lv_host_xcr0 || xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
		return -EINVAL;
	for (i = 0; i < xcrs->nr_xcrs; i++)
		if (xcrs->xcrs[i].xcr == XCR_XFEATURE_ENABLED_MASK)
			return lv_set_xcr0(v, xcrs->xcrs[i].value);
	return 0;
}
