// SPDX-License-Identifier: GPL-2.0-only
/*
 * A recording in the JSON that the Perfetto UI (https://ui.perfetto.dev) and
 * chrome://tracing open: a track for each CPU, and two for each vCPU: what state
 * it is in, and why it is out of the guest.
 */
#include <errno.h>
#include <string.h>

#include "trace.h"

/* Tracks belong to a "process": the CPUs to one, each VM's vCPUs to another. */
#define PID_CPUS 1
#define PID_VM(id) (1000 + (id))
#define TID_EXITS(vcpu) (2 * (vcpu) + 1)
#define TID_STATE(vcpu) (2 * (vcpu))

static FILE *out;
static u64 zero;

static const char *comma(void)
{
	static bool more;
	const char *text = more ? ",\n" : "\n";

	more = true;
	return text;
}

static double us(u64 ns)
{
	return ns / 1e3;
}

/* A key, and a text that may have come with the recording. */
static void put_text(const char *key, const char *text)
{
	struct json_object *object = json_object_new_string(text);

	fprintf(out, "\"%s\":%s", key, json_object_to_json_string(object));
	json_object_put(object);
}

static void put_event(char ph, u64 pid, u64 tid, const char *name)
{
	fprintf(out, "%s{\"ph\":\"%c\",\"pid\":%llu,\"tid\":%llu,", comma(), ph,
		(unsigned long long)pid, (unsigned long long)tid);
	put_text("name", name);
}

static void put_name(const char *what, u64 pid, u64 tid, const char *name)
{
	put_event('M', pid, tid, what);
	fputs(",\"args\":{", out);
	put_text("name", name);
	fputs("}}", out);
}

static void put_slice(u64 pid, u64 tid, const char *name, u64 start, u64 end)
{
	put_event('X', pid, tid, name);
	fprintf(out, ",\"ts\":%.3f,\"dur\":%.3f}", us(start - zero),
		us(end - start));
}

static void put_names(const struct trace *trace)
{
	struct traced_vcpu *v;
	struct traced_vm *vm;
	char name[64];
	u32 cpu;

	put_name("process_name", PID_CPUS, 0, "CPUs");
	for (cpu = 0; cpu < trace->nr_cpus; cpu++) {
		snprintf(name, sizeof(name), "CPU %u", cpu);
		put_name("thread_name", PID_CPUS, cpu, name);
	}
	for_each_item(vm, &trace->vms)
	{
		snprintf(name, sizeof(name), "VM %u %s", vm->id, vm->command);
		put_name("process_name", PID_VM(vm->id), 0, name);
	}
	for_each_item(v, &trace->vcpus)
	{
		snprintf(name, sizeof(name), "vCPU %u", v->id);
		put_name("thread_name", PID_VM(v->vm), TID_STATE(v->id), name);
		snprintf(name, sizeof(name), "vCPU %u exits", v->id);
		put_name("thread_name", PID_VM(v->vm), TID_EXITS(v->id), name);
	}
}

static void put_spans(const struct trace *trace)
{
	const struct traced_vcpu *vcpus = trace->vcpus.items, *v;
	struct span *span;
	char name[32];

	for_each_item(span, &trace->spans)
	{
		v = &vcpus[span->vcpu];
		put_slice(PID_VM(v->vm), TID_STATE(v->id),
			  span_names[span->state], span->start, span->end);
		if (span->state != SPAN_RUN)
			continue;
		snprintf(name, sizeof(name), "VM %u vCPU %u", v->vm, v->id);
		put_slice(PID_CPUS, span->cpu, name, span->start, span->end);
	}
}

static void put_gaps(const struct trace *trace)
{
	const struct traced_vcpu *vcpus = trace->vcpus.items, *v;
	struct gap *gap;

	for_each_item(gap, &trace->gaps)
	{
		v = &vcpus[gap->vcpu];
		put_slice(PID_VM(v->vm), TID_EXITS(v->id),
			  trace->exits[gap->reason], gap->start, gap->end);
	}
}

/** perfetto_write() - the whole recording. */
void perfetto_write(const struct trace *trace, const char *path)
{
	out = fopen(path, "we");
	if (!out)
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	zero = trace->start;
	fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", out);
	put_names(trace);
	put_spans(trace);
	put_gaps(trace);
	fputs("\n]}\n", out);
	if (fclose(out))
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
}
