# SPDX-License-Identifier: GPL-2.0-only
#
# make help lists the targets. Everything built or fetched goes to BUILD.

BUILD := $(abspath $(or $(LABVISOR_BUILD),build))
export LABVISOR_BUILD := $(BUILD)

newest_headers = $(lastword $(shell ls -d /usr/src/linux-headers-*-amd64 2>/dev/null | sort -V))
running_headers = $(wildcard /lib/modules/$(shell uname -r)/build)
KDIR ?= $(or $(running_headers),$(newest_headers))

SMP ?= 2
export VMM LAB GUEST SMP CMD ACCEL

all: module launcher	## the module (against KDIR) and the launcher

module:			## labvisor.ko, against the kernel in KDIR
	$(if $(KDIR),,$(error no kernel headers found: run lab/setup, or set KDIR))
	@lab/module $(KDIR)

launcher:		## the program labvisor
	@$(MAKE) --no-print-directory -C userspace OUT=$(BUILD)/userspace

run:			## boot a guest in a lab host, to its shell or for CMD="..."
	@lab/run

test:			## all tests, or T="program program.case"; LABS=, KERNELS=, CPUS=
	@lab/setup test
	@selftests/run.sh $(addprefix --lab ,$(LABS)) \
		$(addprefix --kernel ,$(KERNELS)) \
		$(addprefix --smp ,$(CPUS)) -- $(T)

test-kvm:		## the kernel's KVM selftests, on KVM and on Labvisor; LAB=svm|vmx
	@lab/kvm-selftests/run --lab $(or $(LAB),svm) --doc docs/kvm-selftests.md

bench:			## cost of exits and calls, KVM and Labvisor; LAB=svm|vmx
	@set -e; for lab in $(or $(LAB),svm vmx); do \
		for smp in '' '--smp 2' '--smp 4'; do \
			lab/bench --lab $$lab $$smp --doc docs/performance.md; \
		done; done; \
	$(if $(filter vmx,$(LAB)),,lab/bench --locks --doc docs/performance.md)

experiments:		## what scheduling policies do to guests; T="fairness latency"
	@lab/sched-experiments --doc docs/scheduling.md $(T)

lint:			## clang-format, sparse, warnings, kernel-doc, shellcheck
	@lab/setup test
	@lab/lint

clean:			## remove BUILD; lab kernels stay in ~/.cache/labvisor
	rm -rf $(BUILD)

help:			## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */  \1\t/p' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'make run takes LAB=qemu (SVM) or LAB=bochs (VMX), GUEST=stock|fast, SMP=2,'
	@echo '  CMD="command in the guest", ACCEL=kvm, VMM=qemu (a Debian disk image in QEMU).'
	@echo 'make test takes T=, LABS="svm vmx", KERNELS="stock debug 6.12", CPUS="1 2".'

.PHONY: all module launcher run test test-kvm bench experiments lint clean help
