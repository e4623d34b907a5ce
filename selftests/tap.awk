# SPDX-License-Identifier: GPL-2.0-only
#
# Turn the TAP of many programs into one line per test. Each program's output
# stands between "@begin PROGRAM" and "@end PROGRAM STATUS".
#
#	-v where=  the configuration, shown with each result
#	-v only=   words PROGRAM.CASE; others of PROGRAM are not counted
#	-v tally=  file to which one line is added per result: PASS, FAIL or SKIP
#	-v failed= file to which failures are added, with the last that was said
#	-v done=   file to which each program that ended is added
#
# Ends with status 1 when a program did not end.

function report(result, name, why,	line)
{
	if (!wanted(name))
		return
	line = sprintf("%s %-11s %s%s\n", result, where, name,
			why ? " (" why ")" : "")
	printf "%s", line
	print result >> tally
	if (result == "FAIL") {
		printf "%s", said
		printf "%s%s", line, last_lines(said, 12) >> failed
		failures++
	}
	fflush()
}

function last_lines(text, max,	n, i, lines, last)
{
	n = split(text, lines, "\n") - 1
	for (i = n > max ? n - max + 1 : 1; i <= n; i++)
		last = last lines[i] "\n"
	return last
}

function wanted(name,	n, i, words, some)
{
	n = split(only, words, " ")
	for (i = 1; i <= n; i++) {
		if (words[i] == name || words[i] == program)
			return 1
		if (index(words[i], program ".") == 1)
			some = 1
	}
	return !some || name == program
}

# The harness's skipped results carry no name: it was said when the test began.
function test_name(line)
{
	sub(/^(not )?ok *[0-9]* *(- *)?/, "", line)
	sub(/ *# *(SKIP|skip).*/, "", line)
	if (line == "")
		line = running
	sub(/^global\./, "", line)
	return program "." (line != "" ? line : seen)
}

{ sub(/\r$/, "") }

$1 == "@begin" {
	path = program = $2
	sub(/\.sh$/, "", program)
	plan = -1
	seen = failures = 0
	running = said = ""
	next
}

$1 == "@end" {
	if (plan == 0)
		report("SKIP", program, whole_skip)
	else if (seen != plan)
		report("FAIL", program, "ended early: status " $3 ", " seen \
			" of " (plan < 0 ? "?" : plan) " tests")
	else if ($3 != 0 && !failures)
		report("FAIL", program, "status " $3)
	print path >> done
	program = ""
	next
}

program == "" {
	print
	next
}

/^# +RUN +/ {
	running = $3
	said = ""
	next
}

/^1\.\.[0-9]+/ {
	plan = substr($1, 4) + 0
	whole_skip = $0
	sub(/^[^#]*# *(SKIP|skip) */, "", whole_skip)
	next
}

/^Bail out!/ {
	report("FAIL", program, $0)
	next
}

/^(not )?ok/ {
	seen++
	why = ""
	if (match($0, /# *(SKIP|skip) */))
		why = substr($0, RSTART + RLENGTH)
	if (match($0, /# *(SKIP|skip)/))
		report("SKIP", test_name($0), why ? why : "no reason given")
	else
		report($1 == "ok" ? "PASS" : "FAIL", test_name($0), "")
	running = said = ""
	next
}

# What a program says is shown when its test fails.
{ said = said "    " $0 "\n" }

END {
	if (program != "") {
		report("FAIL", program, "the lab host ended" \
			(running ? " in " running : ""))
		print path >> done
		exit 1
	}
}
