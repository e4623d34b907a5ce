# SPDX-License-Identifier: GPL-2.0-only
#
# Draw an experiment: gnuplot -e "name='fairness'; data='FILE'; n=4" sched.gp >SVG.
# The first line of the data has the names of its n columns, the first is the case.
set terminal svg size 760,380 font "sans,12" background "white"
set datafile separator "\t"
set datafile missing "nan"
set key outside right top
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
bars = name ne "deadlines"
if (name eq "fairness") { set ylabel "% of guest time" }
if (name eq "caps") { set ylabel "% of a CPU" }
if (name eq "attack") { set ylabel "% of guest time that the attacker gets" }
if (name eq "locks") { set ylabel "locks per second" }
if (name eq "gang") { set ylabel "% of its time in which the guest ran in part" }
if (bars) {
	set style data histogram
	set style histogram clustered gap 1
	set style fill solid 0.9
	set xtics rotate by -20
	set yrange [0:*]
	if (name eq "latency") {
		set ylabel "microseconds from due to handled"
		set logscale y
		set yrange [0.1:100000]
	}
	plot for [i=2:n] data using i:xtic(1) title columnheader(i)
} else {
	set xlabel "utilisation by the periodic jobs, % of the CPU"
	set ylabel "% of jobs that miss their deadline"
	set yrange [-2:102]
	plot for [i=2:n] data using 1:i title columnheader(i) with linespoints lw 2 pt 7
}
