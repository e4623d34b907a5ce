/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM labvisor

#if !defined(LABVISOR_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LABVISOR_TRACE_H

#include <linux/tracepoint.h>

#include "labvisor.h"

#define LV_EXIT_NAMES                                                         \
	{ LV_EXIT_HOST, "host" }, { LV_EXIT_ENTRY_FAILED, "entry_failed" },   \
		{ LV_EXIT_EXCEPTION, "exception" },                           \
		{ LV_EXIT_IRQ_WINDOW, "irq_window" },                         \
		{ LV_EXIT_NMI_WINDOW, "nmi_window" },                         \
		{ LV_EXIT_CPUID, "cpuid" }, { LV_EXIT_RDMSR, "rdmsr" },       \
		{ LV_EXIT_WRMSR, "wrmsr" }, { LV_EXIT_CR, "cr" },             \
		{ LV_EXIT_DR, "dr" }, { LV_EXIT_TPR, "tpr" },                 \
		{ LV_EXIT_EOI, "eoi" }, { LV_EXIT_APIC_WRITE, "apic_write" }, \
		{ LV_EXIT_APIC_ACCESS, "apic_access" },                       \
		{ LV_EXIT_TIMER, "timer" }, { LV_EXIT_IO, "io" },             \
		{ LV_EXIT_FAULT, "fault" }, { LV_EXIT_HLT, "hlt" },           \
		{ LV_EXIT_PAUSE, "pause" }, { LV_EXIT_MONITOR, "monitor" },   \
		{ LV_EXIT_MWAIT, "mwait" }, { LV_EXIT_INVD, "invd" },         \
		{ LV_EXIT_WBINVD, "wbinvd" }, { LV_EXIT_XSETBV, "xsetbv" },   \
		{ LV_EXIT_RDTSC, "rdtsc" }, { LV_EXIT_RDTSCP, "rdtscp" },     \
		{ LV_EXIT_RDPMC, "rdpmc" },                                   \
		{ LV_EXIT_HYPERCALL, "hypercall" },                           \
		{ LV_EXIT_TASK_SWITCH, "task_switch" },                       \
		{ LV_EXIT_SHUTDOWN, "shutdown" },                             \
		{ LV_EXIT_UNDEFINED, "undefined" },                           \
	{                                                                     \
		LV_EXIT_UNKNOWN, "unknown"                                    \
	}

TRACE_EVENT(lv_entry, TP_PROTO(struct lv_vcpu *v), TP_ARGS(v),
	    TP_STRUCT__entry(__field(int, vcpu) __field(u64, rip)),
	    TP_fast_assign(__entry->vcpu = v->id; __entry->rip = lv_rip(v);),
	    TP_printk("vcpu %d rip %llx", __entry->vcpu, __entry->rip));

TRACE_EVENT(lv_exit, TP_PROTO(struct lv_vcpu *v, const struct lv_exit *exit),
	    TP_ARGS(v, exit),
	    TP_STRUCT__entry(__field(int, vcpu) __field(u32, reason)
				     __field(u64, rip) __field(u64, hw_code)
					     __field(u64, info0)
						     __field(u64, info1)),
	    TP_fast_assign(__entry->vcpu = v->id;
			   __entry->reason = exit->reason;
			   __entry->rip = lv_rip(v);
			   __entry->hw_code = exit->hw_code;
			   __entry->info0 = exit->hw_info[0];
			   __entry->info1 = exit->hw_info[1];),
	    TP_printk("vcpu %d %s rip %llx hw %llx info %llx %llx",
		      __entry->vcpu,
		      __print_symbolic(__entry->reason, LV_EXIT_NAMES),
		      __entry->rip, __entry->hw_code, __entry->info0,
		      __entry->info1));

TRACE_EVENT(lv_inject,
	    TP_PROTO(struct lv_vcpu *v, const struct lv_event *event),
	    TP_ARGS(v, event),
	    TP_STRUCT__entry(__field(int, vcpu) __field(u8, type)
				     __field(u8, vector) __field(u32, error)),
	    TP_fast_assign(__entry->vcpu = v->id; __entry->type = event->type;
			   __entry->vector = event->vector;
			   __entry->error = event->has_error ? event->error
							     : 0;),
	    TP_printk("vcpu %d %s vector %u error %x", __entry->vcpu,
		      __print_symbolic(__entry->type,
				       { LV_EVENT_EXCEPTION, "exception" },
				       { LV_EVENT_NMI, "nmi" },
				       { LV_EVENT_IRQ, "irq" }),
		      __entry->vector, __entry->error));

TRACE_EVENT(lv_fault,
	    TP_PROTO(struct lv_vcpu *v, gpa_t gpa, u32 access, int result),
	    TP_ARGS(v, gpa, access, result),
	    TP_STRUCT__entry(__field(int, vcpu) __field(u64, gpa)
				     __field(u32, access) __field(int, result)),
	    TP_fast_assign(__entry->vcpu = v->id; __entry->gpa = gpa;
			   __entry->access = access; __entry->result = result;),
	    TP_printk("vcpu %d gpa %llx %s result %d", __entry->vcpu,
		      __entry->gpa,
		      __print_flags(__entry->access, "|",
				    { LV_ACCESS_READ, "r" },
				    { LV_ACCESS_WRITE, "w" },
				    { LV_ACCESS_FETCH, "x" },
				    { LV_ACCESS_WALK, "walk" }),
		      __entry->result));

TRACE_EVENT(
	lv_sched, TP_PROTO(const struct lv_sched_vcpu *v, u32 event, u64 arg),
	TP_ARGS(v, event, arg),
	TP_STRUCT__entry(__field(u32, pool) __field(u32, vm) __field(u32, vcpu)
				 __field(int, cpu) __field(u32, event)
					 __field(u64, arg)),
	TP_fast_assign(__entry->pool = v->pool->id; __entry->vm = v->vm->id;
		       __entry->vcpu = v->id;
		       __entry->cpu = v->cpu ? v->cpu->id : -1;
		       __entry->event = event; __entry->arg = arg;),
	TP_printk("pool %u vm %u vcpu %u cpu %d %s arg %llu", __entry->pool,
		  __entry->vm, __entry->vcpu, __entry->cpu,
		  __print_symbolic(__entry->event, { 0, "wake" }, { 1, "run" },
				   { 2, "stop" }, { 3, "park" }),
		  __entry->arg));

DECLARE_EVENT_CLASS(lv_bus,
		    TP_PROTO(struct lv_vcpu *v, bool write, u64 addr,
			     unsigned int len, u64 val),
		    TP_ARGS(v, write, addr, len, val),
		    TP_STRUCT__entry(__field(int, vcpu) __field(bool, write)
					     __field(u64, addr)
						     __field(unsigned int, len)
							     __field(u64, val)),
		    TP_fast_assign(__entry->vcpu = v->id;
				   __entry->write = write; __entry->addr = addr;
				   __entry->len = len; __entry->val = val;),
		    TP_printk("vcpu %d %s %llx len %u val %llx", __entry->vcpu,
			      __entry->write ? "write" : "read", __entry->addr,
			      __entry->len, __entry->val));

/* A read that user space answers is traced when it is asked, with val 0. */
DEFINE_EVENT(lv_bus, lv_mmio,
	     TP_PROTO(struct lv_vcpu *v, bool write, u64 addr, unsigned int len,
		      u64 val),
	     TP_ARGS(v, write, addr, len, val));

DEFINE_EVENT(lv_bus, lv_pio,
	     TP_PROTO(struct lv_vcpu *v, bool write, u64 addr, unsigned int len,
		      u64 val),
	     TP_ARGS(v, write, addr, len, val));

TRACE_EVENT(lv_msr,
	    TP_PROTO(struct lv_vcpu *v, bool write, u32 msr, u64 val,
		     int result),
	    TP_ARGS(v, write, msr, val, result),
	    TP_STRUCT__entry(__field(int, vcpu) __field(bool, write)
				     __field(u32, msr) __field(u64, val)
					     __field(int, result)),
	    TP_fast_assign(__entry->vcpu = v->id; __entry->write = write;
			   __entry->msr = msr; __entry->val = val;
			   __entry->result = result;),
	    TP_printk("vcpu %d %s %x val %llx result %d", __entry->vcpu,
		      __entry->write ? "wrmsr" : "rdmsr", __entry->msr,
		      __entry->val, __entry->result));

TRACE_EVENT(lv_cpuid,
	    TP_PROTO(struct lv_vcpu *v, const struct kvm_cpuid_entry2 *e,
		     u32 ebx),
	    TP_ARGS(v, e, ebx),
	    TP_STRUCT__entry(__field(int, vcpu) __field(u32, function)
				     __field(u32, index) __field(u32, eax)
					     __field(u32, ebx) __field(u32, ecx)
						     __field(u32, edx)),
	    TP_fast_assign(__entry->vcpu = v->id;
			   __entry->function = v->regs[LV_RAX];
			   __entry->index = v->regs[LV_RCX];
			   __entry->eax = e->eax; __entry->ebx = ebx;
			   __entry->ecx = e->ecx; __entry->edx = e->edx;),
	    TP_printk("vcpu %d func %x idx %x rax %x rbx %x rcx %x rdx %x",
		      __entry->vcpu, __entry->function, __entry->index,
		      __entry->eax, __entry->ebx, __entry->ecx, __entry->edx));

#endif /* LABVISOR_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
