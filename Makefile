# Hansard — every command a person types. `make help` lists them.
#
# Everything that is made lands under build/. Switches:
#   SAN=address,undefined   into build/asan     SAN=thread   into build/tsan
#   FAILPOINTS=1            into build/failpoints (crash at a named step; also on in sanitizer builds)
#   WERROR=1 or CI=true     warnings are errors
#   V=1                     shows the compiler's command lines
# CFLAGS, CPPFLAGS, LDFLAGS and LDLIBS given by the caller are appended.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
Q := $(if $(V),,@)
# A make of its own for a second step: of another variant, or after `deps` has installed the compiler.
BUILD = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

SAN ?=
FAILPOINTS ?=
WERROR ?= $(if $(filter true 1,$(CI)),1)
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
PYTEST ?= $(PYTHON) -m pytest
FUZZ_SECONDS ?= 30
AR ?= ar

# ---- where a build goes and what it is made with -------------------------------------------------

ifneq ($(findstring thread,$(SAN)),)
B := build/tsan
else ifneq ($(SAN),)
B := build/asan
else ifneq ($(FAILPOINTS),)
B := build/failpoints
else
B := build
endif

PACKAGES := libpq libmicrohttpd libcurl jansson libcrypto
# Asked at the first use, not when this file is read: `make deps` may just have installed them.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wundef \
	$(if $(WERROR),-Werror)
ARCH := $(shell uname -m)
CF_PROTECTION := $(if $(filter x86_64 i686,$(ARCH)),-fcf-protection)

ifneq ($(SAN),)
MODE_CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
MODE_LDFLAGS := -fsanitize=$(SAN)
else
MODE_CFLAGS := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
	-fstack-clash-protection $(CF_PROTECTION)
MODE_LDFLAGS :=
endif
MODE_CFLAGS += $(if $(SAN)$(FAILPOINTS),-DHANSARD_FAILPOINTS)

ALL_CPPFLAGS = -D_GNU_SOURCE -Isrc $(PKG_CFLAGS) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 -fPIE -pthread $(WARNINGS) $(MODE_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(MODE_LDFLAGS) $(LDFLAGS)
ALL_LIBS = $(PKG_LIBS) -lpthread $(LDLIBS)

# ---- what there is -------------------------------------------------------------------------------

MAIN_SRC := $(wildcard src/*.c)
ROOM_SRC := $(sort $(wildcard $(foreach room,base core db llm http web,src/$(room)/*.c)))
DEMO_SRC := $(sort $(wildcard src/demo/*.c))
SQL := $(sort $(wildcard sql/migrations/*.sql sql/functions/*.sql))
UNIT_TESTS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_SUPPORT := $(sort $(filter-out $(UNIT_TESTS),$(wildcard tests/unit/*.c)))
FUZZ_TESTS := $(sort $(wildcard tests/fuzz/*.c))
C_FILES := $(sort $(wildcard src/*.[ch] src/*/*.[ch] tests/*/*.[ch]))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
EMBEDDED := $(B)/gen/embedded_sql.c
EMBEDDED_OBJ := $(B)/obj/gen/embedded_sql.o
ROOM_OBJ := $(call obj,$(ROOM_SRC)) $(EMBEDDED_OBJ)
# Files beside main.c are shared with the tests; main.c is not.
LIB_OBJ := $(call obj,$(filter-out src/main.c,$(MAIN_SRC))) $(ROOM_OBJ)
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_TESTS))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_TESTS))

# ---- building ------------------------------------------------------------------------------------

.PHONY: all
all: $(B)/hansard $(B)/demo-llm ## build hansard and demo-llm

$(B)/hansard: $(call obj,$(MAIN_SRC)) $(ROOM_OBJ)
	@echo "  LINK $@"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

$(B)/demo-llm: $(call obj,$(DEMO_SRC))
	@echo "  LINK $@"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lmicrohttpd -lpthread $(LDLIBS)

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$Q$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(EMBEDDED_OBJ): $(EMBEDDED) $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$Q$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(EMBEDDED): $(SQL) $(B)/sql-files scripts/embed-sql.sh
	@mkdir -p $(@D)
	@echo "  SQL  $@"
	$Qscripts/embed-sql.sh sql >$@

# Two notes that change only when their content does: what is compiled with, and which SQL exists.
NOTE = $(filter-out -Werror,$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS))
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(NOTE)' | cmp -s - $@ || echo '$(NOTE)' >$@
$(B)/sql-files: FORCE
	@mkdir -p $(@D)
	@echo '$(SQL)' | cmp -s - $@ || echo '$(SQL)' >$@
.PHONY: FORCE
FORCE:

# An archive, so that a test takes only what it needs and may put a stand-in before the rest.
$(B)/libhansard.a: $(LIB_OBJ)
	@rm -f $@
	$Q$(AR) rcs $@ $^

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(call obj,$(UNIT_SUPPORT)) $(B)/libhansard.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$Q$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(ALL_LIBS)

.SECONDARY:
-include $(wildcard $(B)/obj/*.d $(B)/obj/*/*.d $(B)/obj/*/*/*.d)

.PHONY: deps deps-bench
deps: ## install what building, running and testing need (apt; only what is missing)
	@scripts/deps.sh
deps-bench: deps ## ... and what `make bench` needs besides
	@scripts/deps.sh bench

.PHONY: install
install: all ## install binaries and docs under DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/hansard/docs
	install -m 755 $(B)/hansard $(B)/demo-llm $(DESTDIR)$(PREFIX)/bin
	install -m 644 README.md LICENSE CHANGELOG.md $(DESTDIR)$(PREFIX)/share/doc/hansard
	install -m 644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/hansard/docs

.PHONY: clean
clean: ## remove build/
	rm -rf build

# ---- running -------------------------------------------------------------------------------------

.PHONY: run up down migrate bench bench-audit bench-jobs bench-limits bench-retention bench-verify
run: ## install, build, start the stack, say where to look; Ctrl-C stops it
	@scripts/deps.sh
	@$(BUILD) all
	@deploy/local/stack.sh run
up: all ## start the stack in the background
	@deploy/local/stack.sh up
down: ## stop it
	@deploy/local/stack.sh down

migrate: $(B)/hansard ## apply migrations to HANSARD_MIGRATE_URL (default: the local stack's)
	@if [ -z "$$HANSARD_MIGRATE_URL" ]; then \
		HANSARD_MIGRATE_URL=$$(deploy/local/stack.sh get HANSARD_MIGRATE_URL) || exit 1; \
		export HANSARD_MIGRATE_URL; \
	fi; $(B)/hansard migrate

bench-limits: all ## measure what limits cost: a hot key, and a flood of refused requests
	@scripts/deps.sh && scripts/deps.sh bench
	@$(PYTHON) bench/limits.py
bench-audit: all ## run docs/audit.md's queries on AUDIT_MESSAGES (1000000) messages
	@scripts/deps.sh
	@$(PYTHON) bench/audit.py
bench-verify: all ## measure `hansard audit verify` over MESSAGES (1000000)
	@$(PYTHON) bench/verify.py $(or $(MESSAGES),1000000)
bench-retention: all ## measure how a month of RETENTION_MESSAGES (5000000) is dropped while turns go on
	@scripts/deps.sh
	@$(PYTHON) bench/retention.py
bench-jobs: all ## measure background jobs, with an empty queue and with 100,000 in it
	@scripts/deps.sh && scripts/deps.sh bench
	@$(PYTHON) bench/jobs.py
bench: ## measure against pgbench and a FastAPI + Redis peer
	@scripts/deps.sh && scripts/deps.sh bench
	@$(BUILD) all
	@$(PYTHON) bench/run.py

# ---- testing -------------------------------------------------------------------------------------

.PHONY: test test-unit test-sql test-e2e test-fault test-kills chaos test-tampering test-asan test-tsan fuzz
test: ## install, build and run every test; the last line is the sum
	@scripts/deps.sh
	@$(BUILD) all unit-programs
	@scripts/test-all.sh layers unit sql e2e fault

.PHONY: unit-programs
unit-programs: $(UNIT_BIN)

test-unit: $(UNIT_BIN) ## cmocka: the pure C parts
	@status=0; for test in $(UNIT_BIN); do \
		echo "== $${test##*/}"; "$$test" || status=1; \
	done; exit $$status

test-sql: $(B)/hansard ## pgTAP and written interleavings
	@HANSARD_BIN=$(CURDIR)/$(B)/hansard tests/sql/run.sh

test-e2e: all ## pytest: the whole service on the local stack
	@HANSARD_BIN=$(CURDIR)/$(B)/hansard DEMO_LLM_BIN=$(CURDIR)/$(B)/demo-llm $(PYTEST) tests/e2e

# Faults need a worker that can be told to die at a named step.
test-fault: ## pytest: kill -9, pauses, restarts
	@$(BUILD) FAILPOINTS=1 all
	@HANSARD_BIN=$(CURDIR)/build/failpoints/hansard \
		DEMO_LLM_BIN=$(CURDIR)/build/failpoints/demo-llm $(PYTEST) tests/fault

KILLS ?= 200
test-kills: ## KILLS (200) kills of worker, pooler and database at random moments under load
	@$(BUILD) FAILPOINTS=1 all
	@FAULT_KILLS=$(KILLS) HANSARD_BIN=$(CURDIR)/build/failpoints/hansard \
		DEMO_LLM_BIN=$(CURDIR)/build/failpoints/demo-llm \
		$(PYTEST) tests/fault/test_kill_at_random.py

N ?= 1000
test-tampering: all ## N (1000) changes to the record at random places: each is found
	@TAMPERINGS=$(N) HANSARD_BIN=$(CURDIR)/$(B)/hansard DEMO_LLM_BIN=$(CURDIR)/$(B)/demo-llm \
		$(PYTEST) tests/fault/test_tampering.py

CHAOS_SECONDS ?= 300
chaos: ## CHAOS_SECONDS (300) of kills, pauses, restarts and a moody model; CHAOS_SEED repeats a plan
	@$(BUILD) FAILPOINTS=1 all
	@CHAOS_SECONDS=$(CHAOS_SECONDS) $(if $(CHAOS_SEED),CHAOS_SEED=$(CHAOS_SEED)) \
		HANSARD_BIN=$(CURDIR)/build/failpoints/hansard \
		DEMO_LLM_BIN=$(CURDIR)/build/failpoints/demo-llm \
		$(PYTEST) tests/fault/test_chaos.py

test-asan: ## unit and end-to-end tests under AddressSanitizer and UBSan
	@$(BUILD) SAN=address,undefined all unit-programs
	@MAKE='$(MAKE)' PYTEST='$(PYTEST)' scripts/test-san.sh asan address,undefined
test-tsan: ## unit and end-to-end tests under ThreadSanitizer
	@$(BUILD) SAN=thread all unit-programs
	@MAKE='$(MAKE)' PYTEST='$(PYTEST)' scripts/test-san.sh tsan thread

# libFuzzer is clang's; all of src but main is instrumented, in its own folder.
FUZZ_CC ?= clang
FUZZ_FLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer -pthread -DHANSARD_FAILPOINTS
build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$Q$(FUZZ_CC) $(ALL_CPPFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined \
		-MMD -MP -c -o $@ $<
FUZZ_LIB_OBJ := $(patsubst %.c,build/fuzz/obj/%.o,$(filter-out src/main.c,$(MAIN_SRC)) $(ROOM_SRC))
build/fuzz/libhansard.a: $(FUZZ_LIB_OBJ) $(EMBEDDED_OBJ)
	@rm -f $@
	$Q$(AR) rcs $@ $^
build/fuzz/%: build/fuzz/obj/tests/fuzz/%.o build/fuzz/libhansard.a
	@echo "  LINK $@"
	$Q$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ $(ALL_LIBS)
-include $(wildcard build/fuzz/obj/*/*/*.d)

fuzz: $(FUZZ_BIN) ## libFuzzer over tests/fuzz, FUZZ_SECONDS each
	@for fuzzer in $(FUZZ_BIN); do \
		name=$${fuzzer##*/}; mkdir -p build/fuzz/corpus/$$name; echo "== $$name"; \
		$$fuzzer -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=build/fuzz/$$name- build/fuzz/corpus/$$name \
			$$(ls -d tests/fuzz/corpus/$$name 2>/dev/null) || exit 1; \
	done

# ---- reading -------------------------------------------------------------------------------------

.PHONY: lint layers format
lint: $(EMBEDDED) ## clang-format, clang-tidy, cppcheck, shellcheck
	@scripts/lint.sh $(ALL_CPPFLAGS)
layers: ## includes between rooms only point down
	@scripts/layers.sh
format: ## rewrite C files as .clang-format says
	clang-format -i $(C_FILES)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
