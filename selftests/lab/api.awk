# SPDX-License-Identifier: GPL-2.0-only
#
# Turn the macros of <linux/kvm.h>, as the preprocessor lists them, and the
# tables of docs/api.md into lines that api.c includes:
#
#	IOCTL(request, file descriptors, errno or 0)
#	REFUSAL(request, errno)		an errno in the notes
#	CAP(capability, value, other value, where it can be enabled)
#	EXIT(reason)
#	NO_ROW(name), TWO_ROWS(name)	what is wrong with the tables

BEGIN { FS = " *[|] *" }

FNR == NR {
	split($0, word, " ")
	if (word[2] ~ /^KVM_CAP_/)
		header[word[2]] = "## Capabilities"
	else if (word[2] ~ /^KVM_EXIT_/)
		header[word[2]] = "## Exit reasons"
	else if (word[2] ~ /^KVM_/ && word[3] ~ /^_IO[RW]*\(/)
		header[word[2]] = "## ioctls"
	next
}

/^## / { table = $0 }

# A "|" inside of a cell is escaped: it splits no field.
{ gsub(/\\\|/, "\001") }

$2 !~ /^`KVM_[A-Z0-9_*]*`/ { next }

{
	n = split($2, cell, "[`, ]+")
	for (i = 2; i < n; i++)
		if (cell[i] ~ /\*$/)
			matching(substr(cell[i], 1, length(cell[i]) - 1))
		else
			row(cell[i])
}

END {
	for (name in header)
		if (!(name in seen))
			printf "NO_ROW(%s)\n", name
}

# Those of the table's kind that begin like this, and have no row of their own.
function matching(start,	name)
{
	for (name in header)
		if (header[name] == table && index(name, start) == 1 &&
		    !(name in seen))
			row(name)
}

function row(name)
{
	if (seen[name]++)
		printf "TWO_ROWS(%s)\n", name
	else if (table == "## ioctls")
		ioctl(name)
	else if (table == "## Capabilities")
		capability(name)
	else
		printf "EXIT(%s)\n", name
}

function ioctl(name,	notes)
{
	printf "IOCTL(%s, %s, %s)\n", name, places($3), answer($4)
	for (notes = $5; match(notes, /`E[A-Z0-9]+`/);
	     notes = substr(notes, RSTART + RLENGTH))
		printf "REFUSAL(%s, %s)\n", name,
			substr(notes, RSTART + 1, RLENGTH - 2)
}

function capability(name,	value, either, n)
{
	value = $3
	gsub("\001", "|", value)
	n = split(value, either, " or ")
	printf "CAP(%s, %s, %s, %s)\n", name, either[1], either[n],
		$4 == "" ? 0 : places($4)
}

function places(words,	n, i, word, set)
{
	n = split(words, word, ", ")
	for (i = 1; i <= n; i++)
		set = set (i > 1 ? " | " : "") "ON_" toupper(word[i])
	return set
}

# What is not understood does not compile.
function answer(word)
{
	gsub("`", "", word)
	return word == "yes" || word == "differs" ? 0 : word
}
