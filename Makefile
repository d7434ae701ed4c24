# shoal: `make help` lists what there is.

VERSION := 0.1.0
BUILD   ?= build
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
UNITDIR ?= $(PREFIX)/lib/systemd/system
CC      ?= cc

packages := libhiredis-dev libevent-dev libjansson-dev libssl-dev zlib1g-dev pkg-config gcc redis-server
test_packages := check fish iproute2 jq ngspice python3 systemd
bench_packages := python3 redis-tools
chaos_packages := faketime iproute2 openssl python3 redis-tools
count_packages := python3 valgrind
fuzz_packages := clang libclang-rt-dev
coverage_packages := gcovr python3
deb_packages := debhelper dh-python dpkg-dev git lintian python3
test_deb_packages := debootstrap systemd-container
cgroup2_packages := busybox-static cpio qemu-system-x86
model_packages := gcc spin
lint_packages := clang clang-format clang-tidy cppcheck groff-base lua-check pyflakes3 shellcheck
libraries := hiredis libevent libevent_openssl openssl jansson zlib

warnings := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla -Werror
hardening := -fstack-protector-strong -fPIC
ifdef SANITIZE
  hardening += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
  optimize := -O1 -g
  linking := -fsanitize=$(SANITIZE)
else ifdef COVERAGE
  optimize := -O0 -g --coverage -fprofile-update=prefer-atomic -Wno-format-truncation
  linking := --coverage
else
  optimize := -O2 -g
  # Fortified functions need optimization, and hide what the sanitizers look for.
  hardening += $(if $(filter -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  linking :=
  complete := -Wl,-z,defs
endif

CFLAGS_ALL := -std=c17 -D_GNU_SOURCE -DSHOAL_VERSION='"$(VERSION)"' -I. -I$(BUILD) $(optimize) $(warnings) \
              $(hardening) -fvisibility=hidden -pthread $(shell pkg-config --cflags $(libraries) 2>/dev/null) $(CFLAGS)
LDFLAGS_ALL := -Wl,-z,relro,-z,now $(linking) $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(libraries) 2>/dev/null) -lm

common_objects := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard common/*.c)))
broker_objects := $(patsubst %.c,$(BUILD)/%.o,$(filter-out broker/main.c,$(sort $(wildcard broker/*.c))))
# The runner that stays is a program of its own and shares only its protocol with the worker.
host_objects   := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard worker/host_*.c))) $(BUILD)/worker/frame.o
worker_objects := $(patsubst %.c,$(BUILD)/%.o,$(filter-out worker/main.c worker/host_%.c,$(sort $(wildcard worker/*.c))))
# What programs link against; the rest of client/ is the command line.
library_sources := client/client.c client/mailbox.c client/pack.c client/results.c
public_headers := client/shoal.h broker/job.h common/error.h common/limits.h worker/shoal_task.h
library_headers := $(filter-out worker/%,$(public_headers))
library_objects := $(common_objects) $(broker_objects) $(patsubst %.c,$(BUILD)/%.o,$(library_sources))
client_objects := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(library_sources) client/main.c,$(sort $(wildcard client/*.c))))
support_objects := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %_plugin.c,$(sort $(wildcard tests/support/*.c))))

programs := $(addprefix $(BUILD)/,shoal shoal-worker shoal-broker shoal-host)
python   := $(BUILD)/python
shared   := $(BUILD)/libshoal.so.0
archive  := $(BUILD)/libshoal.a
plugins  := $(patsubst client/examples/%_plugin.c,$(BUILD)/examples/lib%.so,$(wildcard client/examples/*_plugin.c))
# Those of the tests, and of the measurements.
odd_ones := $(patsubst %_plugin.c,$(BUILD)/%.so,$(wildcard tests/support/*_plugin.c))
measured := $(patsubst %_plugin.c,$(BUILD)/%.so,$(wildcard tests/bench/*_plugin.c))
stormed  := $(addprefix $(BUILD)/tests/chaos/,fault_proxy note note.so)
examples := $(patsubst client/examples/%.c,$(BUILD)/examples/%,$(filter-out %_plugin.c,$(wildcard client/examples/*.c)))
floors   := $(patsubst %.c,$(BUILD)/%,$(filter-out %_plugin.c,$(sort $(wildcard tests/bench/*.c))))
# In the order in which they are run: what takes long begins first, which is about what is long to read.
tests    := $(patsubst %.c,$(BUILD)/%,$(shell ls -S tests/system/*.c; ls -S tests/integration/*.c tests/unit/*.c))
# Targets of the fuzzer, which libFuzzer drives, or (in 'make test') replay.c with what is in tests/fuzz/corpus.
targets  := $(patsubst %.c,%,$(filter-out tests/fuzz/replay.c,$(sort $(wildcard tests/fuzz/*.c))))
replays  := $(addprefix $(BUILD)/,$(targets))
fuzzers  := $(addsuffix .fuzzer,$(replays))

.PHONY: all
all: $(programs) $(shared) $(archive) $(examples) $(plugins) $(python) ## build everything (BUILD=folder, CC=clang, SANITIZE=address,undefined)

# Recursive calls use all processors unless told otherwise by -j.
parallel = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

# ---- building

# Changes when the compiler or its flags do; everything is compiled again then.
$(BUILD)/flags: always
	@mkdir -p $(@D)
	@pkg-config --exists $(libraries) || { echo "Libraries are missing; 'make packages' installs them." >&2; exit 1; }
	@echo '$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)' > $@

.PHONY: always
always: ;

.SECONDARY: # keeps objects that only lint asks for

# Tells of a command in two words, or whole with V=1.
say = $(if $(V),,@printf '%-5s %s\n' $(1) $@;)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# While coverage is measured, a copy that tells what runs.
embedded := $(if $(COVERAGE),$(BUILD)/instrumented,broker)
scripts := $(filter-out broker/scripts/lib.lua,$(sort $(wildcard broker/scripts/*.lua)))
$(BUILD)/broker/scripts.o: $(BUILD)/broker/scripts.inc
$(BUILD)/broker/scripts.inc: broker/embed.sh broker/keys.def broker/keys.h broker/scripts/lib.lua $(scripts) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,EMBED)$(if $(COVERAGE),tests/coverage/scripts.py instrument broker $(embedded) && )\
	    RELEASE=$(VERSION) sh $(embedded)/embed.sh $(scripts:broker/%=$(embedded)/%) > $@.new && mv $@.new $@

$(BUILD)/shoal: $(BUILD)/client/main.o $(client_objects) $(library_objects)
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/shoal-worker: $(BUILD)/worker/main.o $(worker_objects) $(broker_objects) $(common_objects)
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/shoal-broker: $(BUILD)/broker/main.o $(broker_objects) $(common_objects)
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL) $(LIBS)

# Plug-ins call back into it.
$(BUILD)/shoal-host: $(host_objects) $(broker_objects) $(common_objects)
	$(call say,LINK)$(CC) -pie -rdynamic -o $@ $^ $(LDFLAGS_ALL) $(LIBS) -ldl

define make_plugin
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CFLAGS_ALL) -MMD -MP -shared -o $@ $< $(LDFLAGS_ALL) -lm
endef
$(BUILD)/examples/lib%.so: client/examples/%_plugin.c $(BUILD)/flags
	$(make_plugin)
$(BUILD)/tests/%.so: tests/%_plugin.c $(BUILD)/flags
	$(make_plugin)

# The modules as they are: a change is there at once.
$(python):
	@mkdir -p $(@D)
	@ln -sfn $(abspath client/python) $@

$(shared): $(library_objects)
	$(call say,LINK)$(CC) -shared -Wl,-soname,libshoal.so.0 $(complete) -o $@ $^ $(LDFLAGS_ALL) $(LIBS)
	@ln -sf libshoal.so.0 $(BUILD)/libshoal.so

$(archive): $(library_objects)
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/examples/%: client/examples/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CFLAGS_ALL) -MMD -MP -pie -o $@ $< $(LDFLAGS_ALL) -lm

# The loops of shoal-host are counted without its main().
$(BUILD)/tests/bench/hot_loops: $(filter-out %/host_main.o,$(host_objects))
$(floors): $(BUILD)/%: $(BUILD)/%.o $(archive)
	$(call say,LINK)$(CC) -pie -o $@ $(filter %.o,$^) $(archive) $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/tests/chaos/fault_proxy: $(patsubst %,$(BUILD)/tests/chaos/%.o,fault_proxy faults frame)
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL) $(LIBS)

$(BUILD)/tests/chaos/note: $(BUILD)/tests/chaos/note.o
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL)

$(tests): $(BUILD)/%: $(BUILD)/%.o $(support_objects) $(worker_objects) $(client_objects) $(library_objects)
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL) $(LIBS) $$(pkg-config --libs check)

# Which it runs.
$(BUILD)/tests/system/worker_link: | $(BUILD)/tests/chaos/fault_proxy

# The archive gives what a target does not bring along itself.
$(BUILD)/all.a: $(support_objects) $(worker_objects) $(host_objects) $(client_objects) $(library_objects)
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $(sort $^)

$(replays): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/all.a
	$(call say,LINK)$(CC) -pie -o $@ $^ $(LDFLAGS_ALL) $(LIBS) $$(pkg-config --libs check)

$(fuzzers): $(BUILD)/%.fuzzer: $(BUILD)/%.o $(BUILD)/all.a
	$(call say,LINK)$(CC) -fsanitize=fuzzer -o $@ $^ $(LDFLAGS_ALL) $(LIBS) $$(pkg-config --libs check)

-include $(shell find $(BUILD) -path '$(BUILD)/deb*' -prune -o -name '*.d' -print 2>/dev/null)

# ---- running

.PHONY: packages
packages: ## install the Debian packages that building and running need, if they are missing
	@tests/packages $(packages)

.PHONY: test run-tests
test: ## build and run all tests, after installing what is missing
	@tests/packages $(packages) $(test_packages)
	@$(MAKE) --no-print-directory $(parallel) run-tests

run-tests: all $(tests) $(replays) $(odd_ones)
	@SHOAL_BUILD=$(abspath $(BUILD)) tests/run $(tests) $(replays)

.PHONY: coverage run-coverage
coverage: ## build for coverage, run all tests, and tell which lines, branches and statements of scripts they reach
	@tests/packages $(packages) $(test_packages) $(coverage_packages)
	@$(MAKE) --no-print-directory $(parallel) BUILD=build-coverage COVERAGE=1 run-coverage

run-coverage: all $(tests) $(replays) $(odd_ones)
	@tests/coverage/run $(BUILD) $(tests) $(replays)

.PHONY: demo run-demo
demo: packages ## build, and sweep a simulation on a local cluster
	@$(MAKE) --silent $(parallel) run-demo

run-demo: all
	@PATH="$(abspath $(BUILD)):$$PATH" SHOAL_BUILD=$(abspath $(BUILD)) client/examples/demo.sh

.PHONY: bench run-bench
bench: ## measure, beside a floor for each figure (LONG=1: more work and rounds; FIGURES="NAME...")
	@tests/packages $(packages) $(bench_packages)
	@$(MAKE) --silent $(parallel) run-bench

run-bench: all $(floors) $(measured)
	@tests/bench/bench.py $(BUILD) $(if $(LONG),--long) $(FIGURES)

# Ends a recipe before anything is built for a variable that is given and no number.
check_number = @case '$($1)' in *[!0-9]*) echo "make $@: $1 is a number, not '$($1)'" >&2; exit 2;; esac

.PHONY: chaos run-chaos
chaos: ## storms, after which nothing may be lost or doubled (LONG=1: in full, 0.1: a tenth; STORMS="NAME..." SEED=n JOBS=n)
	$(call check_number,SEED)
	@tests/packages $(packages) $(chaos_packages)
	@$(MAKE) --silent $(parallel) run-chaos

run-chaos: all $(stormed) $(odd_ones)
	@tests/chaos/chaos.py $(BUILD) $(if $(LONG),--long $(LONG)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(STORMS)

.PHONY: instructions run-instructions
instructions: ## count the instructions of hot loops and compare them with the last (ACCEPT=1: with these from now on)
	@tests/packages $(packages) $(count_packages)
	@$(MAKE) --silent $(parallel) run-instructions

run-instructions: $(BUILD)/tests/bench/hot_loops
	@tests/bench/instructions.py $(BUILD) '$(CC)' '$(strip $(optimize) $(CFLAGS))' $(if $(ACCEPT),--accept)

.PHONY: fuzz run-fuzz
fuzz_unknown := $(filter-out $(notdir $(targets)),$(FUZZ))
fuzz: ## feed made-up bytes to all that reads some from outside (SECONDS=10 each; FUZZ="TARGET..."; SEED=1)
	$(if $(fuzz_unknown),@echo "make fuzz: there is no target '$(fuzz_unknown)'; FUZZ takes some of: $(notdir $(targets))" >&2; exit 2)
	$(call check_number,SECONDS)
	$(if $(filter 0,$(SECONDS)),@echo "make fuzz: SECONDS is 1 at least" >&2; exit 2)
	$(call check_number,SEED)
	@tests/packages $(packages) check $(fuzz_packages)
	@$(MAKE) --no-print-directory $(parallel) CC=clang BUILD=build-fuzz SANITIZE=fuzzer-no-link,address,undefined run-fuzz

run-fuzz: $(if $(FUZZ),$(FUZZ:%=$(BUILD)/tests/fuzz/%.fuzzer),$(fuzzers))
	@SECONDS_EACH=$(or $(SECONDS),10) SEED=$(or $(SEED),1) tests/fuzz/run.sh $^

.PHONY: model
model: ## check a model of the queue for every order of events, with Spin (LONG=1: more at once)
	@tests/packages $(model_packages)
	@tests/model/check $(if $(LONG),long)

.PHONY: histories run-histories
histories: ## play random moves against a model of the queue and compare after each (MOVES=100000 SEED=n)
	$(call check_number,MOVES)
	$(call check_number,SEED)
	@tests/packages $(packages) check
	@$(MAKE) --silent $(parallel) run-histories

run-histories: $(BUILD)/tests/integration/histories
	@SHOAL_MOVES=$(or $(MOVES),100000) $(if $(SEED),SHOAL_SEED=$(SEED)) $<

# ---- checking

folders := common broker worker client tests
headers := $(sort $(wildcard $(addsuffix /*.h,$(folders)) tests/*/*.h))
sources := $(sort $(wildcard $(addsuffix /*.c,$(folders)) client/examples/*.c tests/*/*.c))
python_files := $(sort $(wildcard client/python/*/*.py tests/*/*.py))
shell_files := .ci/run broker/embed.sh tests/cgroup2/init tests/coverage/redis-server tests/coverage/run tests/model/check \
               tests/packages tests/run $(sort $(wildcard $(addsuffix /*.sh,$(folders)) client/*/*.sh tests/*/*.sh docker/*.sh docker/*/*.sh))

.PHONY: lint run-lint lint-format lint-tidy lint-cppcheck lint-shell lint-lua lint-python lint-headers lint-man lint-promises lint-access lint-symbols lint-install
lint: ## check the sources with everything that looks at them, after installing what is missing
	@tests/packages $(packages) $(test_packages) $(lint_packages)
	@$(MAKE) --no-print-directory --keep-going $(parallel) run-lint

run-lint: lint-format lint-tidy lint-cppcheck lint-shell lint-lua lint-python lint-headers lint-man lint-promises lint-access lint-symbols lint-install

lint-format:
	$(call say,RUN)clang-format --dry-run -Werror $(headers) $(sources)
	@! LC_ALL=C.UTF-8 grep -nE '.{91}' $(headers) $(sources) # comments and texts, which it leaves alone

# A source is looked at again when it or a header of it has changed, as its object says.
lint-tidy: $(sources:%.c=$(BUILD)/lint/%.tidy)
$(BUILD)/lint/%.tidy: %.c $(BUILD)/%.o .clang-tidy tests/.clang-tidy
	@mkdir -p $(@D)
	$(call say,TIDY)clang-tidy --quiet $< -- $(CFLAGS_ALL) > $@.log 2>&1 || { cat $@.log; exit 1; }
	@touch $@

# It does not look into system headers by itself, and queue.h is all macros.
queue_header = $(filter %/queue.h,$(shell $(CC) -M -xc /dev/null -include sys/queue.h))
lint-cppcheck:
	$(call say,RUN)cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
	    --suppress=arrayIndexThenCheck --suppress=ctuPointerArith --std=c11 -D_GNU_SOURCE -I. \
	    --include=$(queue_header) $(filter-out tests/%,$(sources))

lint-shell:
	$(call say,RUN)shellcheck $(shell_files)

lint-python:
	$(call say,RUN)pyflakes3 $(python_files)
	@! LC_ALL=C.UTF-8 grep -nE '.{121}' $(python_files)

lint-lua:
	$(call say,RUN)luacheck -qq --no-color $(sort $(wildcard broker/scripts/*.lua)) .luacheckrc

# Every header compiles alone.
lint-headers: $(headers:%=$(BUILD)/lint/%.alone)
$(BUILD)/lint/%.h.alone: %.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)echo '#include "$<"' | $(CC) $(CFLAGS_ALL) -MMD -MP -MT $@ -MF $@.d -fsyntax-only -x c -
	@touch $@

# Every option that a program tells of is in its man page, and the pages have no errors.
lint-man: man
	$(call say,RUN)tests/lint/man-pages.sh $(BUILD)

# Every promise of the README and of SECURITY.md is held by a test.
lint-promises:
	$(call say,RUN)tests/lint/promises.sh README.md
	@tests/lint/promises.sh SECURITY.md

# Users of Redis may do what the Lua of their moves does, and write nothing else.
lint-access: $(BUILD)/shoal
	$(call say,RUN)tests/lint/access.py $(BUILD)

# A program that uses libshoal sees the functions of its headers and nothing else.
lint-symbols: $(shared) $(archive)
	$(call say,RUN)tests/lint/symbols.sh $(shared) $(archive) $(library_headers)

lint-install: all man $(completions)
	+$(call say,RUN)tests/lint/install.sh $(BUILD)

.PHONY: format
format: ## lay the C sources out
	$(call say,RUN)clang-format -i $(headers) $(sources)

# ---- installing

pages := $(patsubst $(BUILD)/%,$(BUILD)/man/%.1,$(programs))
completions := $(addprefix $(BUILD)/completions/,shoal shoal.fish _shoal)

.PHONY: man
man: $(pages) ## build the man pages

# The prose, with the program's own account of its options in place of the line @OPTIONS@.
define write_page
	@mkdir -p $(@D)
	$(call say,GEN)$(1) --man-options > $@.options
	@sed -e '/^@OPTIONS@$$/{' -e 'r $@.options' -e 'd' -e '}' -e 's/@VERSION@/$(VERSION)/' $< > $@.new
	@rm $@.options && mv $@.new $@
endef

$(BUILD)/man/shoal.1: client/shoal.1.in $(BUILD)/shoal
	$(call write_page,$(BUILD)/shoal help)

$(BUILD)/man/shoal-worker.1: worker/shoal-worker.1.in $(BUILD)/shoal-worker
	$(call write_page,$(BUILD)/shoal-worker)

$(BUILD)/man/shoal-host.1: worker/shoal-host.1.in $(BUILD)/shoal-host
	$(call write_page,$(BUILD)/shoal-host)

$(BUILD)/man/shoal-broker.1: broker/shoal-broker.1.in $(BUILD)/shoal-broker
	$(call write_page,$(BUILD)/shoal-broker)

$(BUILD)/completions/shoal: $(BUILD)/shoal
	@mkdir -p $(@D)
	$(call say,GEN)$(BUILD)/shoal completion bash > $@.new && mv $@.new $@

$(BUILD)/completions/shoal.fish: $(BUILD)/shoal
	@mkdir -p $(@D)
	$(call say,GEN)$(BUILD)/shoal completion fish > $@.new && mv $@.new $@

$(BUILD)/completions/_shoal: $(BUILD)/shoal
	@mkdir -p $(@D)
	$(call say,GEN)$(BUILD)/shoal completion zsh > $@.new && mv $@.new $@

binaries   := $(PREFIX)/bin
includes   := $(PREFIX)/include/shoal
manuals    := $(PREFIX)/share/man/man1
bash_words := $(PREFIX)/share/bash-completion/completions
fish_words := $(PREFIX)/share/fish/vendor_completions.d
zsh_words  := $(PREFIX)/share/zsh/site-functions
modules    := $(PREFIX)/share/shoal/python/shoal
units      := worker/systemd/shoal-worker.service broker/systemd/shoal-broker.service

.PHONY: install
install: all man $(completions) ## install below PREFIX (/usr/local), itself below DESTDIR
	install -D -t $(DESTDIR)$(binaries) $(programs)
	install -D -m 644 -t $(DESTDIR)$(LIBDIR) $(shared) $(archive)
	ln -sf libshoal.so.0 $(DESTDIR)$(LIBDIR)/libshoal.so
	install -d $(DESTDIR)$(includes)
	for header in $(public_headers); do \
	    sed -E 's|^#include "[a-z]+/|#include "|' $$header > $(DESTDIR)$(includes)/$${header##*/} || exit 1; done
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@LIBRARIES@|$(libraries)|' \
	    client/shoal.pc.in > $(BUILD)/shoal.pc
	install -D -m 644 -t $(DESTDIR)$(LIBDIR)/pkgconfig $(BUILD)/shoal.pc
	install -D -m 644 -t $(DESTDIR)$(manuals) $(pages)
	install -D -m 644 -t $(DESTDIR)$(modules) $(wildcard client/python/shoal/*.py)
	install -D -m 644 -t $(DESTDIR)$(bash_words) $(BUILD)/completions/shoal
	install -D -m 644 -t $(DESTDIR)$(fish_words) $(BUILD)/completions/shoal.fish
	install -D -m 644 -t $(DESTDIR)$(zsh_words) $(BUILD)/completions/_shoal
	install -d $(DESTDIR)$(UNITDIR)
	for unit in $(units); do \
	    sed 's|@BINDIR@|$(binaries)|' $$unit.in > $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; done
	install -D -m 644 worker/systemd/shoal-worker.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/shoal-worker.conf
	install -D -m 644 worker/systemd/shoal-worker.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/shoal-worker.conf

.PHONY: uninstall
uninstall: ## take away what install brought
	rm -f $(addprefix $(DESTDIR)$(binaries)/,$(notdir $(programs)))
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,libshoal.so libshoal.so.0 libshoal.a pkgconfig/shoal.pc)
	rm -f $(addprefix $(DESTDIR)$(includes)/,$(notdir $(public_headers)))
	rm -f $(addprefix $(DESTDIR)$(manuals)/,$(notdir $(pages)))
	rm -f $(addprefix $(DESTDIR)$(modules)/,$(notdir $(wildcard client/python/shoal/*.py)))
	rm -rf $(DESTDIR)$(modules)/__pycache__
	rm -f $(DESTDIR)$(bash_words)/shoal $(DESTDIR)$(fish_words)/shoal.fish $(DESTDIR)$(zsh_words)/_shoal
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(units)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/,sysusers.d/shoal-worker.conf tmpfiles.d/shoal-worker.conf)
	for folder in $(addprefix $(DESTDIR),$(includes) $(modules) $(PREFIX)/share/shoal/python $(PREFIX)/share/shoal); do \
	    test ! -d $$folder || rmdir --ignore-fail-on-non-empty $$folder || exit 1; done

.PHONY: deb
deb: ## build Debian packages of what git tracks, into build/deb
	@tests/packages $(packages) $(deb_packages)
	@docker/debian/build.sh $(BUILD) $(VERSION) $(filter lib% zlib%,$(packages))

.PHONY: test-deb
test-deb: deb ## install, use, upgrade and remove these packages in a container, as root
	@tests/packages $(test_deb_packages)
	@tests/deb/run.sh $(BUILD)

.PHONY: test-docker
test-docker: ## build the image, start the cluster of docker/compose.yaml, and do to it what happens to clusters
	@tests/docker/run.sh

.PHONY: test-cgroup2 run-test-cgroup2
in_machine = $(or $(TESTS),system/processes)
test-cgroup2: ## test limits in a virtual machine that has control groups of version 2 alone (TESTS="system/upgrade...")
	@tests/packages $(packages) $(test_packages) $(cgroup2_packages)
	@$(MAKE) --no-print-directory $(parallel) run-test-cgroup2

run-test-cgroup2: all $(in_machine:%=$(BUILD)/tests/%) $(odd_ones)
	@$(if $(TESTS),,CK_RUN_CASE=groups) tests/cgroup2/run.sh $(BUILD) $(in_machine)

# ---- the rest

.PHONY: clean
clean: ## remove the build folder
	test ! -e $(BUILD)/flags || rm -rf $(BUILD)

.PHONY: help
help: ## print this list (V=1: show whole commands as they run)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile
