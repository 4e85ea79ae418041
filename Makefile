# Makefile - builds, checks and packages Teal.  GNU make 4.2 or later.
#
#	make				the three programs, in build/
#	make VARIANT=debug		the same in build/debug/ (asan tsan coverage too)
#	make CC=clang BUILD=build/clang	another compiler beside the first
#	make V=1			shows the commands
#
# Sources are found by wildcard: a new src/<floor>/x.c or src/<floor>/<folder>/x.c needs no line here.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
VARIANT ?= release
WERROR ?= -Werror
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 10

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/teal
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
DATADIR ?= $(PREFIX)/share/teal
UNITDIR ?= $(PREFIX)/lib/systemd/system
CONFDIR ?= $(PREFIX)/etc/teal

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V))$(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-5s %s\n' $(1) $(2))

# Where things go.  The release programs are build/teald and so on; every
# other variant has a folder of its own, so that none overwrites another.
OUT := $(BUILD)/$(VARIANT)
BIN := $(if $(filter release,$(VARIANT)),$(BUILD),$(OUT))
OBJ := $(OUT)/obj
LIB := $(OUT)/lib
STAMP := $(OUT)/stamp

# Flags.  The data path spends its time in the kernel: a stack protector and
# checked copies cost it nothing that can be measured.
# A sanitizer's report needs functions and lines; types cost a third of its build (for a debugger there is debug).
WARN := -Wall -Wextra $(WERROR) -Wstrict-prototypes -Wmissing-prototypes -Wvla
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_release := -O2 -g $(HARDEN)
FLAGS_debug := -Og -g3 -DTEAL_DEBUG -fstack-protector-strong
FLAGS_asan := -O1 -g1 -DTEAL_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan := -O1 -g1 -DTEAL_DEBUG -fsanitize=thread
FLAGS_coverage := -O0 -g --coverage -fprofile-update=atomic
FLAGS_fuzz := -O1 -g -DTEAL_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
# gcc's UBSan as a library of its own does not hear log_path.
LINK_asan := $(if $(findstring clang,$(CC)),,-static-libasan -static-libubsan)
# gcc guesses wrong about initialization unless it optimizes fully.
ifeq ($(filter release,$(VARIANT))$(findstring clang,$(CC)),)
WARN += -Wno-maybe-uninitialized
endif
ifndef FLAGS_$(VARIANT)
$(error VARIANT=$(VARIANT): it is one of release debug asan tsan coverage)
endif

ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Iinclude $(WARN) -fPIE -pthread \
	-fno-omit-frame-pointer -fno-strict-aliasing $(FLAGS_$(VARIANT)) $(CFLAGS)
ALL_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed \
	$(filter -fsanitize=% --coverage,$(FLAGS_$(VARIANT))) $(LINK_$(VARIANT)) $(LDFLAGS)
LIBS := -lev -lssl -lcrypto -lconfig -lhiredis -ljansson -lyaml -lnftables -lnetfilter_conntrack -lmnl -lpthread -lm

# The floors, and for each what lies below it: the order of linking.  tools/layers
# holds the same rules for #include.
FLOORS := base proto net model store control data kernel
BELOW_base := base
BELOW_proto := proto base
BELOW_net := net base
BELOW_model := model net proto base
BELOW_store := store $(BELOW_model)
BELOW_control := control $(BELOW_store)
BELOW_data := data $(BELOW_model)
BELOW_kernel := kernel $(BELOW_model)
PROGRAMS := teald tealctl tealbench supervisor
# teald is the supervisor, of libc and base alone; what it starts is teald-serve.
NAME_teald := teald-serve
NAME_supervisor := teald
name_of = $(or $(NAME_$(1)),$(1))
BELOW_teald := teald control data kernel $(BELOW_store)
BELOW_supervisor := supervisor base
BELOW_tealctl := tealctl net proto base
BELOW_tealbench := tealbench net proto base

# A library per floor and per program (main() included: a test that links the
# library brings its own main, so that one stays out).  ar's P: files of one name in two
# folders of a floor are two members.
ROOMS := $(FLOORS) $(PROGRAMS)
$(foreach f,$(FLOORS),$(eval SRC_$(f) := $(sort $(filter-out src/kernel/bpf/%,$(wildcard src/$(f)/*.c src/$(f)/*/*.c)))))
$(foreach p,$(PROGRAMS),$(eval SRC_$(p) := $(sort $(wildcard src/app/$(p)/*.c))))
$(foreach r,$(ROOMS),$(eval OBJ_$(r) := $(SRC_$(r):%.c=$(OBJ)/%.o)))
libs_of = $(foreach r,$(BELOW_$(1)),$(LIB)/$(r).a)

TESTS := $(sort $(wildcard tests/unit/test_*.c))
TEST_HELPERS := $(filter-out $(TESTS),$(sort $(wildcard tests/unit/*.c)))
TEST_BINS := $(TESTS:tests/unit/%.c=$(OUT)/unit/%)
FUZZERS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS := $(FUZZERS:tests/fuzz/%.c=$(OUT)/fuzz/%)
BINS := $(foreach p,$(PROGRAMS),$(if $(wildcard src/app/$(p)/main.c),$(BIN)/$(call name_of,$(p))))

SOURCES := $(foreach r,$(ROOMS),$(SRC_$(r))) $(TESTS) $(TEST_HELPERS) $(FUZZERS)
HEADERS := $(sort $(wildcard include/*/*.h include/*/*/*.h src/app/*/*.h tests/*/*.h))

.PHONY: all run test test-slow unit e2e bench bench-parse bench-state mutation asan tsan fuzz tidy format layers callgraph coverage soak install deb help clean
.PHONY: FORCE unit-bins syntax fuzz-run
.SECONDARY:

## Build

all: $(BINS) $(foreach r,$(ROOMS),$(LIB)/$(r).a)	## build teald, tealctl and tealbench into build/

# A stamp changes only when its text does: what depends on it is made again
# when flags, the version or the list of sources change.
STAMP_flags = $(CC) $(ALL_CFLAGS) $(CPPFLAGS) | $(ALL_LDFLAGS)
STAMP_version = $(or $(if $(wildcard .git),$(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null | sed 's/^v//')),$(VERSION))
$(foreach r,$(ROOMS),$(eval STAMP_$(r) := $(OBJ_$(r))))
STAMP_unit := $(TEST_HELPERS)

$(STAMP)/%: FORCE
	@mkdir -p $(@D); printf '%s\n' '$(STAMP_$*)' | cmp -s - $@ || printf '%s\n' '$(STAMP_$*)' >$@

$(OBJ)/%.o: %.c $(STAMP)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(DEFS) -MMD -MP -c -o $@ $<

# The program of the kernel that is the shortcut of engine = "kernel": made by clang, with the headers of libbpf, and
# put into teald as bytes (.incbin); libbpf itself is looked for when it is used.  SHORTCUT=no, or without them: teald
# does without it and says so.
BPF_CLANG ?= clang
SHORTCUT ?= $(if $(wildcard /usr/include/bpf/bpf_core_read.h),$(if $(shell command -v $(BPF_CLANG)),yes,no),no)
ifeq ($(SHORTCUT),yes)
SHORTCUT_OBJECT := $(OBJ)/src/kernel/bpf/shortcut.o
$(SHORTCUT_OBJECT): src/kernel/bpf/shortcut.c include/kernel/shortcut_shared.h
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(BPF_CLANG) -target bpf -O2 -g -Wall $(WERROR) -Iinclude -idirafter /usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<
$(OBJ)/src/kernel/shortcut.o: $(SHORTCUT_OBJECT)
endif
STAMP_shortcut = $(SHORTCUT)
$(OBJ)/src/kernel/shortcut.o: $(STAMP)/shortcut
$(OBJ)/src/kernel/shortcut.o: DEFS = $(if $(SHORTCUT_OBJECT),-DTEAL_SHORTCUT='"$(SHORTCUT_OBJECT)"')

# The status page is assembled into the program (.incbin).
$(OBJ)/src/app/teald/observe_page.o: $(wildcard src/app/teald/page/*)
$(OBJ)/src/base/version.o: $(STAMP)/version
$(OBJ)/src/base/version.o: DEFS = -DTEAL_VERSION='"$(shell cat $(STAMP)/version)"'

define room_rule
$(LIB)/$(1).a: $$(OBJ_$(1)) $(STAMP)/$(1)
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)ar rcsP $$@ $$(OBJ_$(1))
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

define program_rule
$(BIN)/$(call name_of,$(1)): $$(call libs_of,$(1)) $(STAMP)/flags
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$(OBJ_$(1)) $$(wordlist 2,99,$$(call libs_of,$(1))) $$(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# A unit test links the room of its module and what lies below, no more:
# test_relay.c finds src/net/relay.c.  One that fits no module links all.
room_of = $(or $(word 2,$(subst /, ,$(patsubst include/app/%,include/%,$(patsubst src/app/%,src/%,$(firstword $(wildcard src/*/$(1).c src/*/*/$(1).c include/*/$(1).h include/*/*/$(1).h)))))),teald)
# Those that start no threads: ThreadSanitizer has nothing to look at, nor in pure functions. tools/unit counts them.
UNTHREADED := acceptor access addr admin_token admit backend_account backend_index backends buf certs_load certs_watch \
	chunked cidr claim claim_token clock config config_check config_copy config_http config_key config_keys config_ring \
	config_kube config_plan config_role config_syntax config_text config_tls deadline decimal drain drain_orders \
	drill_verdict endpoint engine engine_check engines err fds fleet flip flip_apply flip_checks flip_reply \
	flows_fact flows_table gate gate_check hash health histogram json judge judge_bakes judged kube_health kube_node line list listening \
	load_thread node_text notify_message observe_access observe_page path_is_roots peer probe_answer probe_grpc probe_steps \
	quality redis_record redis_script relay rights route route_path ruleset service sock state_claims state_file status_set \
	str syslog_line tls tls_certificate tls_site tlv turn watched
ifeq ($(VARIANT),tsan)
TEST_BINS := $(foreach t,$(TESTS:tests/unit/test_%.c=%),$(if $(filter proto,$(call room_of,$(t)))$(filter $(t),$(UNTHREADED)),,$(OUT)/unit/test_$(t)))
endif

define test_rule
$(OUT)/unit/test_$(1): $(OBJ)/tests/unit/test_$(1).o $(TEST_HELPERS:%.c=$(OBJ)/%.o) $(STAMP)/unit \
		$(call libs_of,$(call room_of,$(1)))
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o %.a,$$^) -Wl,--wrap=pthread_create -lcmocka $$(LIBS)
endef
$(foreach t,$(TESTS),$(eval $(call test_rule,$(t:tests/unit/test_%.c=%))))
# Another implementation to compare with.
$(OUT)/unit/test_hpack_table: LIBS += -lnghttp2

define fuzz_rule
$(OUT)/fuzz/fuzz_$(1): $(OBJ)/tests/fuzz/fuzz_$(1).o $(call libs_of,$(call room_of,$(1)))
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -fsanitize=fuzzer,address,undefined -o $$@ $$(filter %.o %.a,$$^) $$(LIBS)
endef
$(foreach t,$(FUZZERS),$(eval $(call fuzz_rule,$(t:tests/fuzz/fuzz_%.c=%))))

-include $(SOURCES:%.c=$(OBJ)/%.d)

## Try

run:	## install what is missing, build, and show Teal at work on live traffic
	$(Q)tools/install-deps build
	$(Q)tools/demo

## Test

SUITE := layers gcc unit install demo e2e asan tsan clang

test:	## everything that must pass: layers, gcc, clang, unit, e2e, asan, tsan
	$(Q)tools/install-deps build test
	$(Q)tools/suite $(SUITE)

# What a slow machine would show: built at full speed, run with half a CPU.
test-slow:	## make test with half a CPU (or beside busy loops); SHARE=percent
	$(Q)tools/install-deps build test
	$(Q)$(MAKE) -j$(JOBS) all unit-bins
	$(Q)$(MAKE) -j$(JOBS) VARIANT=asan all unit-bins
	$(Q)$(MAKE) -j$(JOBS) VARIANT=tsan all unit-bins
	$(Q)tools/slow --share=$(or $(SHARE),50) tools/suite $(SUITE)

unit-bins: $(TEST_BINS)

# Warnings need no objects: a second compiler reads every source and writes nothing.
syntax:
	$(Q)printf '%s\n' $(SOURCES) | xargs -r -P $(JOBS) -n 12 \
		$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -DTEAL_VERSION='"syntax"' -fsyntax-only

unit: $(TEST_BINS)	## unit tests (cmocka) of this VARIANT
	$(Q)UNTHREADED='$(UNTHREADED)' tools/unit $(TEST_BINS)

e2e: all	## end-to-end tests (pytest) with this VARIANT's programs; T=expr picks some
	$(Q)TEAL_BUILD=$(BIN) tools/e2e $(if $(T),-k '$(T)')

asan:	## unit and e2e tests under AddressSanitizer and UBSan
	$(Q)tools/suite asan

tsan:	## the threaded part under ThreadSanitizer
	$(Q)tools/suite tsan

soak: all	## the long e2e tests, counts scaled up; then make test-slow
	$(Q)TEAL_SOAK=1 TEAL_BUILD=$(BIN) tools/e2e -m soak
	$(Q)$(MAKE) test-slow

mutation:	## puts faults into copies of Teal; the tests must find each
	$(Q)tools/install-deps build test
	$(Q)tests/mutation/run

coverage:	## line coverage of src by unit and e2e tests
	$(Q)tools/install-deps build test
	$(Q)tools/suite coverage

fuzz:	## fuzz every parser for FUZZ_SECONDS (10) each; clang
	$(Q)tools/install-deps build test
	$(Q)$(MAKE) CC=clang VARIANT=fuzz fuzz-run

fuzz-run: $(FUZZ_BINS)
	$(Q)tools/fuzz $(FUZZ_SECONDS) $(OUT)/corpus $(FUZZ_BINS)

bench: all	## Teal beside HAProxy, nginx and a bare relay: CPU, latency, memory, flips; QUICK=1
	$(Q)tools/install-deps build bench
	$(Q)bench/run

bench-parse: $(call libs_of,proto)	## HTTP/1 heads: nanoseconds beside Debian's http-parser
	$(Q)tools/install-deps build bench
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $(OUT)/parse bench/parse.c $(call libs_of,proto) -lhttp_parser -lm
	$(Q)$(OUT)/parse

bench-state: $(call libs_of,store)	## the largest state file: milliseconds to encode it
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $(OUT)/state bench/state.c $(call libs_of,store) $(LIBS)
	$(Q)$(OUT)/state

## Check

layers:	## includes point downward, tests judge no speed, names and comments are plain, mutation has its texts
	$(Q)tools/layers
	$(Q)tools/stopwatch
	$(Q)tools/words
	$(Q)tests/mutation/run --texts

callgraph: all	## files that call each other in a circle, by their objects
	$(Q)tools/callgraph $(OBJ)

tidy:	## clang-tidy over the sources; FILES="…" for some
	$(Q)tools/install-deps style
	$(Q)printf '%s\n' $(or $(FILES),$(foreach r,$(ROOMS),$(SRC_$(r)))) | xargs -r -P $(JOBS) -I FILE \
		clang-tidy --quiet --warnings-as-errors='*' FILE -- -std=gnu11 -D_GNU_SOURCE -Iinclude \
		-Wall -Wextra -DTEAL_DEBUG -DTEAL_VERSION='"tidy"' 2>/dev/null

format:	## the house style, in place; FILES="…" for some
	$(Q)tools/install-deps style
	$(Q)tools/format $(or $(FILES),$(SOURCES) $(HEADERS))

## Ship

# What watches Teal: samples for the programs around it.
STACK := $(wildcard conf/*.yml conf/*.json conf/fluentd.conf conf/Containerfile conf/keepalived.conf conf/routing/*.conf)

install: all	## into PREFIX (/usr/local), below DESTDIR
	$(Q)install -d $(addprefix $(DESTDIR),$(SBINDIR) $(LIBEXECDIR) $(BINDIR) $(COMPLETIONDIR) $(DATADIR) $(UNITDIR) $(CONFDIR) \
		$(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man8)
	$(Q)install -m 755 $(BIN)/teald $(DESTDIR)$(SBINDIR)/teald
	$(Q)install -m 755 $(BIN)/teald-serve $(DESTDIR)$(LIBEXECDIR)/teald-serve
	$(Q)install -m 755 $(BIN)/tealctl $(BIN)/tealbench conf/ci/teal-deploy $(DESTDIR)$(BINDIR)/
	$(Q)for page in conf/man/*.[158]; do install -m 644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}/" || exit; done
	$(Q)install -m 644 conf/completion/tealctl $(DESTDIR)$(COMPLETIONDIR)/tealctl
	$(Q)sed 's|@SBINDIR@|$(SBINDIR)|g; s|@BINDIR@|$(BINDIR)|g; s|@CONFDIR@|$(CONFDIR)|g' conf/teald.service >$(DESTDIR)$(UNITDIR)/teald.service
	$(Q)for script in ssh/teal-forced-command ssh/make-ci-user routing/teal-announce rolling-restart kubernetes/teal-drain-node; do to=$(DESTDIR)$(DATADIR)/$${script##*/}; \
		sed 's|@BINDIR@|$(BINDIR)|g; s|@DATADIR@|$(DATADIR)|g' conf/$$script >$$to && chmod 755 $$to || exit; done
	$(Q)install -d $(DESTDIR)$(DATADIR)/examples/ci
	$(Q)install -m 644 conf/teal.conf conf/teal-redis.conf conf/teal-kernel.conf conf/teal-sni.conf conf/teal-syslog-dns.conf conf/redis-acl.conf conf/sentinel.conf conf/ssh/ssh_config conf/examples/*.conf $(DESTDIR)$(DATADIR)/examples/
	$(Q)install -m 644 $(STACK) $(DESTDIR)$(DATADIR)/examples/
	$(Q)install -m 644 conf/ci/*.yml conf/ci/Jenkinsfile $(DESTDIR)$(DATADIR)/examples/ci/
	$(Q)[ -e $(DESTDIR)$(CONFDIR)/teal.conf ] || install -m 644 conf/teal.conf $(DESTDIR)$(CONFDIR)/teal.conf

deb: all	## a binary package in build/
	$(Q)tools/install-deps package
	$(Q)tools/deb $(STAMP)/version

clean:	## remove build/
	$(Q)rm -rf $(BUILD)

help:	## this list
	@awk -F '[:\t]+' '/^## /{ printf "%s%s\n", n++ ? "\n" : "", substr($$0, 4) } \
		/^[a-z0-9-]+:.*\t## /{ t = $$1; sub(/.*\t## /, ""); printf "  make %-11s %s\n", t, $$0 }' Makefile
	@printf '\nVariables: V=1 CC=clang BUILD=dir VARIANT=release|debug|asan|tsan|coverage PREFIX DESTDIR\n'
