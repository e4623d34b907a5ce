# SPDX-License-Identifier: GPL-2.0-only
#
# Is this a trace in the Trace Event Format, which Perfetto's UI and Chrome's open?
# Each event is a slice, in microseconds, or a name; each process and thread that
# has slices has one. $report is what 'labvisor sched report --json' says of the same
# recording, and tells if the slices are as long.
def number: type == "number" and . >= 0;
def name: type == "string" and . != "";

def event:
	(.pid | number) and (.tid | number) and (.name | name) and (
		(.ph == "X" and (.ts | number) and (.dur | number)) or
		(.ph == "M" and (.args.name | name) and
			(.name == "process_name" or .name == "thread_name")));

# key FILTER: what has slices, and what has a name, once.
def named($what; key):
	[.[] | select(.name == $what) | key] as $names |
	($names | length) == ($names | unique | length) and
	([.[] | select(.ph == "X") | key] | unique) - $names == [];

def about($ns): . * 1000 | . > $ns - 1000 and . < $ns + 1000;

(keys - ["displayTimeUnit", "traceEvents"] == []) and (.traceEvents |
	all(.[]; event) and
	named("process_name"; .pid) and
	named("thread_name"; [.pid, .tid]) and
	([.[] | select(.name == "run").dur] | add |
		about([$report[0].vcpus[].run] | add)) and
	([.[] | select(.ph == "X") | .ts + .dur] | max * 1000 <=
		$report[0].length_ns + 1))
