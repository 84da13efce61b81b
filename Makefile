# pg_steadytext: build, install, test. `make help` lists the targets.
#
# The extension is built by PGXS; steadytextd by CMake (daemon/CMakeLists.txt). All output goes to build/.

# The PGXS half of this file is read by a make of its own: PGXS has a `check` that only says no.
ifndef STEADYTEXT_PGXS
.PHONY: all install uninstall clean
all install uninstall clean:
	@$(MAKE) --no-print-directory STEADYTEXT_PGXS=1 $@
endif

MODULE_big = pg_steadytext
EXTENSION = pg_steadytext
EXTENSION_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_steadytext.control)
BUILD = build

# What uses libpq is a library of its own, which only the hub worker loads: in the postmaster the walreceiver would get the libpq found here.
HUB = pg_steadytext_hub.so
HUB_SOURCES = bgworker/hub_connection.cpp
HUB_OBJS = $(HUB_SOURCES:%.cpp=$(BUILD)/obj/%.o)
SOURCES := $(filter-out $(HUB_SOURCES),$(wildcard src/*.cpp src/core/*.cpp src/core/constraint/*.cpp src/core/jinja/*.cpp src/pg/*.cpp src/session/*.cpp src/queue/*.cpp src/functions/*.cpp src/planner/*.cpp bgworker/*.cpp shmem/*.cpp))
OBJS = $(SOURCES:%.cpp=$(BUILD)/obj/%.o)
SCRIPT = $(BUILD)/sql/pg_steadytext--$(EXTENSION_VERSION).sql
UPGRADE = $(BUILD)/sql/pg_steadytext--2025.11.25--$(EXTENSION_VERSION).sql
DATA_built = $(SCRIPT) $(UPGRADE)
DATA = $(wildcard sql/pg_steadytext--*--*.sql)

# The newest server that came with its headers, unless PG_CONFIG says otherwise.
PG_CONFIG ?= $(or $(firstword $(shell ls -r /usr/lib/postgresql/*/bin/pg_config 2>/dev/null)),pg_config)

SHLIB_LINK = -lzmq -lcurl -lcrypto -lutf8proc -lsimdjson -lstdc++
EXTRA_CLEAN = $(BUILD)/obj $(BUILD)/sql $(HUB)

# JIT inlining of a C++ module is of no use, and Debian's bitcode rule does not know C++20.
override with_llvm = no
ifdef STEADYTEXT_PGXS
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
endif

CCACHE := $(shell command -v ccache 2>/dev/null)
COMPILE_CXX = $(CCACHE) $(CXX) -std=c++20 -O2 -g -fPIC -MMD -MP $(CXX_WARNINGS) $(CXX_VISIBILITY) \
	-fno-strict-aliasing -fwrapv -D_GLIBCXX_ASSERTIONS '-DSTEADYTEXT_VERSION="$(EXTENSION_VERSION)"' \
	-I. -isystem $(shell $(PG_CONFIG) --includedir-server) $(EXTRA_CXXFLAGS)
CXX_WARNINGS = -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-unused-parameter -Wno-register $(if $(CI),-Werror)
# Symbols are hidden but for what PostgreSQL looks up. PostgreSQL 16 and later mark those themselves.
CXX_VISIBILITY = -fvisibility=hidden -fvisibility-inlines-hidden \
	$(if $(filter 14 15,$(MAJORVERSION)),'-DPGDLLEXPORT=__attribute__((visibility("default")))')
# What links: by itself it would be given the flags of whichever compiler the server was built with.
override COMPILER = $(CXX)

# The header of libpq lies apart from the server's.

$(BUILD)/obj/%.o: %.cpp Makefile pg_steadytext.control
	@mkdir -p $(@D)
	$(COMPILE_CXX) $(if $(filter $(HUB_SOURCES),$<),-isystem $(shell $(PG_CONFIG) --includedir)) -c $< -o $@

-include $(OBJS:.o=.d) $(HUB_OBJS:.o=.d)

ifdef STEADYTEXT_PGXS
$(HUB): $(HUB_OBJS)
	$(CXX) -shared -o $@ $^ $(LDFLAGS) $(LDFLAGS_SL) -lpq -lstdc++

all: $(HUB)
.PHONY: install-hub uninstall-hub
install: install-hub
install-hub: $(HUB)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) $(HUB) '$(DESTDIR)$(pkglibdir)/$(HUB)'
uninstall: uninstall-hub
uninstall-hub:
	rm -f '$(DESTDIR)$(pkglibdir)/$(HUB)'
endif

# The installation script, by topic. The order is theirs: a file names only what stands before it, and privileges come last.
SQL_TOPICS = ownership arguments configuration generation structured_output embedding operators reranking batches summaries cache eviction legacy_keys \
	daemons limits budgets monitoring queue prompts prompt_functions audit hub hub_link restores administrators self_check
$(SCRIPT): $(SQL_TOPICS:%=sql/%.sql) sql/privileges.sql sql/short_names scripts/short-names pg_steadytext.control Makefile
	@mkdir -p $(@D)
	cat $(SQL_TOPICS:%=sql/%.sql) > $@.long
	scripts/short-names sql/short_names < $@.long > $@.short
	cat $@.long $@.short sql/privileges.sql > $@
	@rm $@.long $@.short

.PHONY: installation-script
installation-script: $(SCRIPT)
	@echo $(SCRIPT)

# The PL/Python original's tables stay what they are, its functions are replaced: see sql/from_original.sql. Everything else must be new: a plain
# CREATE fails where there is something already, and the names it takes are looked for before anything is done.
ORIGINAL_TABLES = cache|queue|config|daemon_health|rate_limits|audit_log|prompts|prompt_versions
$(UPGRADE): $(SCRIPT) sql/from_original.sql sql/from_original_check.sql sql/from_original_tables.sql pg_steadytext.control Makefile
	@mkdir -p $(@D)
	sed -E -e '1,/^\\echo/d' -e 's/^CREATE ((FUNCTION|AGGREGATE) public\.)/CREATE OR REPLACE \1/' \
		-e 's/^CREATE TABLE (public\.steadytext_($(ORIGINAL_TABLES)) )/CREATE TABLE IF NOT EXISTS \1/' $< > $@.all
	sed -nE -e "s/^CREATE (FUNCTION|TABLE|VIEW) public\.(\w+).*/        ('\1', '\2'),/p" \
		-e "s/^CREATE AGGREGATE public\.(\w+).*/        ('FUNCTION', '\1'),/p" \
		-e "s/^CREATE (UNIQUE )?(INDEX) (\w+).*/        ('\2', '\3'),/p" $< > $@.names
	sed -e '/^-- <=== names/r $@.names' -e '/^-- <===/d' sql/from_original_check.sql > $@.check
	sed -e '/^-- <=== from_original_check/r $@.check' -e '/^-- <=== from_original_tables/r sql/from_original_tables.sql' -e '/^-- <=== pg_steadytext/r $@.all' -e '/^-- <===/d' sql/from_original.sql > $@
	@rm $@.all $@.names $@.check

# The server runs steadytextd from its own bin directory; without it the extension works with other daemons. A portable one
# (make steadytextd PORTABLE=1) comes with libraries, which lie beside the extension's.
ifdef STEADYTEXT_PGXS
install: install-steadytextd
endif
.PHONY: install-steadytextd
install-steadytextd:
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	if [ -n '$(PORTABLE)' ]; then \
		$(INSTALL_PROGRAM) $(BUILD)/portable/bin/steadytextd '$(DESTDIR)$(bindir)/steadytextd' && rm -rf '$(DESTDIR)$(pkglibdir)/steadytextd' && \
		$(MKDIR_P) '$(DESTDIR)$(pkglibdir)/steadytextd' && cp -P $(BUILD)/portable/lib/steadytextd/* '$(DESTDIR)$(pkglibdir)/steadytextd'; \
	elif [ -e $(BUILD)/steadytextd ]; then $(INSTALL_PROGRAM) $(BUILD)/steadytextd '$(DESTDIR)$(bindir)/steadytextd'; fi

ifndef STEADYTEXT_PGXS

# ---- programs beside the extension -----------------------------------------------------------------------------------

TOOL_CXX = $(CCACHE) $(CXX) -std=c++20 -O2 -g $(CXX_WARNINGS) -D_GLIBCXX_ASSERTIONS -I.

$(BUILD)/echo-daemon: $(wildcard t/tools/echo_*.cpp t/tools/*.hpp)
	@mkdir -p $(@D)
	$(TOOL_CXX) $(filter %.cpp,$^) -o $@ -lzmq -lcrypto

$(BUILD)/wire-client: t/tools/wire_client.cpp
	@mkdir -p $(@D)
	$(TOOL_CXX) $< -o $@ -lzmq

$(BUILD)/canonical-json: t/tools/canonical_json.cpp src/core/canonical_json.cpp src/core/json_text.cpp $(wildcard src/core/*.hpp)
	@mkdir -p $(@D)
	$(TOOL_CXX) $(filter %.cpp,$^) -o $@ -lsimdjson

$(BUILD)/jinja: t/tools/jinja.cpp $(wildcard src/core/jinja/*) src/core/json_text.cpp $(wildcard src/core/*.hpp)
	@mkdir -p $(@D)
	$(TOOL_CXX) $(filter %.cpp,$^) -o $@ -lutf8proc

$(BUILD)/hosts-preload.so: t/tools/hosts_preload.cpp
	@mkdir -p $(@D)
	$(TOOL_CXX) -fPIC -shared $< -o $@ -ldl

# llama.cpp is built once per machine kind, in the cache (scripts/build-llama).
.PHONY: steadytextd
steadytextd: $(if $(PORTABLE),$(BUILD)/portable/bin/steadytextd,$(BUILD)/steadytextd)
STEADYTEXTD_SOURCES = $(wildcard daemon/*.cpp daemon/*.hpp src/core/constraint/* src/core/decimal.* src/core/json_shape.* src/core/work.hpp daemon/CMakeLists.txt t/tools/greedy_reference.cpp t/tools/rank_reference.cpp t/tools/special_tokens.cpp) scripts/build-llama
# For a GPU too: GPU=cuda or GPU=vulkan.
$(BUILD)/steadytextd: $(STEADYTEXTD_SOURCES)
	scripts/build-llama $(GPU:%=--%)
	cmake -S daemon -B $(BUILD)/daemon -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA_DIR="$$(scripts/build-llama $(GPU:%=--%) --print-dir)" > $(BUILD)/daemon-configure.log
	cmake --build $(BUILD)/daemon $$([ -t 1 ] || echo -- --quiet)
	@touch $@

# For any processor of this kind: the program, and libraries of kernels of which it loads the best.
$(BUILD)/portable/bin/steadytextd: $(STEADYTEXTD_SOURCES)
	scripts/build-llama --portable $(GPU:%=--%)
	@mkdir -p $(@D) $(BUILD)/portable/lib/steadytextd
	cmake -S daemon -B $(BUILD)/portable/daemon -G Ninja -DCMAKE_BUILD_TYPE=Release -DOUTPUT="$(CURDIR)/$(BUILD)/portable/bin" \
		-DLIBRARIES="$$(realpath -m --relative-to "$$($(PG_CONFIG) --bindir)" "$$($(PG_CONFIG) --pkglibdir)/steadytextd")" \
		-DLLAMA_DIR="$$(scripts/build-llama --portable $(GPU:%=--%) --print-dir)" > $(BUILD)/portable/configure.log
	cmake --build $(BUILD)/portable/daemon --target steadytextd $$([ -t 1 ] || echo -- --quiet)
	cp -P "$$(scripts/build-llama --portable $(GPU:%=--%) --print-dir)"/lib/*.so* $(BUILD)/portable/lib/steadytextd
	@touch $@

# Engines over HTTP for the tests of check-engines; nothing else needs them.
.PHONY: llama-server litellm
llama-server:
	scripts/build-llama --server
litellm:
	scripts/install-litellm

# ---- what people type ------------------------------------------------------------------------------------------------

.PHONY: help bootstrap everything models demo check check-all check-flags check-engines unit bench lint analyze sqlmap fuzz format dist
help:
	@sed -n 's/^# help: //p' Makefile

# help: make                 build the extension
# help: make install         install it, and steadytextd if built
# help: make demo            from nothing to an answer and a semantic search
# help: make check           the tests that take some ten minutes together (TESTS="t/020_generate.sql ..." picks some)
# help: make check-all       all tests, some fifty minutes: with kills, floods, sanitizers and engines of every kind
# help: make check-flags     the SQL tests with each feature switched off (FLAG=hot_cache picks one)
# help: make unit            the C++ unit tests: plain, ASan+UBSan, TSan
# help: make fuzz            every parser under libFuzzer (FUZZ_SECONDS=600 each, FUZZ_TARGETS=...)
# help: make bench           every figure, side by side (TOPIC=round_trip picks one; FLAG=hot_cache compares a feature on and off)
# help: make lint            layers, format, symbols, white space
# help: make analyze         pgspot, cppcheck and clang's analyzer: no finding that is not explained
# help: make sqlmap          sqlmap against ten functions, some ten minutes: nothing injectable (SQLMAP_SECONDS=1800 at most each)
# help: make models          fetch the demo models
# help: make steadytextd     build the daemon; with PORTABLE=1 for any processor (then make install PORTABLE=1), with GPU=cuda or GPU=vulkan for a GPU
# help: make check-engines   twenty calls to real engines over HTTP: llama.cpp's own server, and LiteLLM's proxy before it (built once, in twenty minutes)

bootstrap:
	@scripts/bootstrap

# Who may not write into the server's directories installs with sudo.
AS_INSTALLER = $(shell [ -w "$$($(PG_CONFIG) --pkglibdir)" ] || echo sudo)

# As many compilers as processors, unless make was told how many.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

everything: bootstrap
	+@scripts/build-progress $(PARALLEL) all $(BUILD)/echo-daemon $(BUILD)/wire-client $(BUILD)/canonical-json $(BUILD)/jinja $(BUILD)/hosts-preload.so
	@$(MAKE) --no-print-directory -s $(BUILD)/steadytextd
	@$(AS_INSTALLER) $(MAKE) --no-print-directory -s install PG_CONFIG='$(PG_CONFIG)' > $(BUILD)/install.log 2>&1 || { cat $(BUILD)/install.log; exit 1; }

models:
	scripts/models

demo: everything
	@scripts/demo

ALL_TESTS = $(sort $(wildcard t/[0-9]*.sql t/[0-9]*.pl))
# Half a minute and more each, or builds of their own: make check-all and CI run them, make check leaves them out.
LONG_TESTS = $(wildcard $(foreach number,006 030 041 100 130 134 137 139 150 151 152 171 172 173 175 176 177 179 180 182 184 185 190 191 192 193 194 \
	195 196 197 198 199 200 202 203 204 207 209 214 215 219 220 221 226 228 240 241 242 252 270 310 311 312 313 314 315 316 317 318 320 321 900,t/$(number)_*))
TESTS ?= $(filter-out $(LONG_TESTS),$(ALL_TESTS))
check: everything models
	@scripts/run-tests $(TESTS)
	@echo 'Next: make check-all (some fifty minutes), make lint, make analyze.'
# Ten minutes each: begun first, so that no processor waits for them at the end.
LONGEST_TESTS = $(wildcard $(foreach number,006 005 311,t/$(number)_*))
check-all: everything models
	@scripts/run-tests $(LONGEST_TESTS) $(filter-out $(LONGEST_TESTS),$(ALL_TESTS))

# Each feature that can be switched off, switched off: scripts/check-flags says what must pass then.
check-flags: everything
	@FLAG='$(FLAG)' TESTS='$(if $(filter command line,$(origin TESTS)),$(TESTS))' scripts/check-flags

ENGINE_TESTS = t/173_llama_server.pl t/227_litellm.pl
check-engines: everything models llama-server litellm
	@STEADYTEXT_REAL_ENGINES=1 scripts/run-tests $(ENGINE_TESTS)

bench: everything models
	@$(if $(FLAG),bench/flag $(FLAG),bench/run $(TOPIC))

lint:
	+@scripts/build-progress $(PARALLEL) all
	@scripts/lint

analyze:
	@scripts/bootstrap clang cppcheck
	@scripts/build-llama
	@PG_CONFIG='$(PG_CONFIG)' scripts/analyze

sqlmap: everything
	@scripts/bootstrap sqlmap
	@scripts/sqlmap

# ---- unit tests: no PostgreSQL in sight, three times over -------------------------------------------------------------

PURE = $(wildcard src/core/*.cpp src/core/constraint/*.cpp src/core/jinja/*.cpp) $(filter-out shmem/segment.cpp,$(wildcard shmem/*.cpp)) $(wildcard t/unit/*_test.cpp) t/fuzz/targets.cpp daemon/gguf_header.cpp
UNIT_VARIANTS = plain asan tsan
UNIT_FLAGS_plain =
UNIT_FLAGS_asan = -fsanitize=address,undefined -fno-sanitize-recover=undefined
UNIT_FLAGS_tsan = -fsanitize=thread

define unit_variant
$(BUILD)/unit/$(1)/%.o: %.cpp
	@mkdir -p $$(@D)
	$$(CCACHE) $$(CXX) -std=c++20 -O1 -g $$(CXX_WARNINGS) -D_GLIBCXX_ASSERTIONS -MMD -MP -I. $$(UNIT_FLAGS_$(1)) -c $$< -o $$@
$(BUILD)/unit/$(1)/unit-tests: $(PURE:%.cpp=$(BUILD)/unit/$(1)/%.o)
	$$(CXX) $$(UNIT_FLAGS_$(1)) $$^ -o $$@ -lgtest -lgtest_main -lcurl -lzmq -lcrypto -lutf8proc -lsimdjson -lre2 -pthread
-include $(PURE:%.cpp=$(BUILD)/unit/$(1)/%.d)
endef
$(foreach variant,$(UNIT_VARIANTS),$(eval $(call unit_variant,$(variant))))

.PHONY: unit-tests
unit-tests: $(UNIT_VARIANTS:%=$(BUILD)/unit/%/unit-tests)
unit: unit-tests
	@for variant in $(UNIT_VARIANTS); do echo "== $$variant"; $(BUILD)/unit/$$variant/unit-tests --gtest_brief=1 || exit 1; done

# ---- fuzzing: clang's libFuzzer with ASan and UBSan; the seeds and their mutations also run in the unit tests ---------------

FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= $(notdir $(wildcard t/fuzz/corpus/*))
FUZZ_SOURCES = $(wildcard src/core/*.cpp src/core/constraint/*.cpp src/core/jinja/*.cpp t/fuzz/*.cpp) daemon/gguf_header.cpp

$(BUILD)/fuzz/%.o: %.cpp
	@mkdir -p $(@D)
	$(CCACHE) clang++ -std=c++20 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -MMD -MP -I. -c $< -o $@
$(BUILD)/fuzz/fuzzer: $(FUZZ_SOURCES:%.cpp=$(BUILD)/fuzz/%.o)
	clang++ -fsanitize=fuzzer,address,undefined $^ -o $@ -lcurl -lcrypto -lutf8proc -lsimdjson
-include $(FUZZ_SOURCES:%.cpp=$(BUILD)/fuzz/%.d)

fuzz:
	@scripts/bootstrap clang clang-runtime
	@$(MAKE) --no-print-directory -s $(BUILD)/fuzz/fuzzer
	@for target in $(FUZZ_TARGETS); do \
		echo "== $$target"; mkdir -p $(BUILD)/fuzz/corpus/$$target; \
		FUZZ_TARGET=$$target $(BUILD)/fuzz/fuzzer -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=20 -verbosity=0 \
			-print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/$$target- $(BUILD)/fuzz/corpus/$$target t/fuzz/corpus/$$target || exit 1; \
	done

format:
	git ls-files '*.cpp' '*.hpp' | xargs -n 40 clang-format -i

dist:
	git archive --prefix=pg_steadytext-$(EXTENSION_VERSION)/ -o $(BUILD)/pg_steadytext-$(EXTENSION_VERSION).zip HEAD

endif
