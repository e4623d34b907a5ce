# SPDX-License-Identifier: GPL-2.0-only
#
# Turn the output of in-host.sh into a line for each test, of fields that tabs
# separate: name, result, seconds, why.

# The reason of a skip, or what a failed assertion says about itself.
function reason(line)
{
	gsub(/\t/, " ", line)
	sub(/^ +/, "", line)
	why = line
}

function result(status)
{
	if (status == 0)
		return "pass"
	if (status == 4)
		return "skip"
	return status == 137 ? "time" : "fail"
}

BEGIN { OFS = "\t" }

{ sub(/\r$/, "") }

$1 == "@begin" {
	name = $2
	why = ""
	failed = 0
	next
}

$1 == "@end" {
	if ($3 == 0)
		why = ""
	else if (why == "")
		why = "status " $3
	print name, result($3), $4, why
	fflush()
	name = ""
	next
}

/# SKIP/ { reason(substr($0, index($0, "# SKIP") + 9)) }

# The place of the assertion comes in the first line, what it says in the last.
/Test Assertion Failure/ { failed = NR }
failed && NR == failed + 1 {
	sub(/^ +/, "")
	place = $0
}
failed && NR > failed + 2 && /^  / && !/^  *[0-9]+\t/ && !/stack trace/ {
	if (why == "")
		reason(place ": " substr($0, 3))
}

END {
	if (name != "")
		print name, "crash", 0, "the lab host ended"
}
