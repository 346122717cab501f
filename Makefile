# nsbox: `make help` lists what there is to make

LUA    ?= lua5.4
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
LUADIR ?= $(PREFIX)/share/lua/5.4
LIBDIR ?= $(PREFIX)/lib/lua/5.4
BUILD  ?= build
comma  := ,

# the directory of lua.h; `make deps` installs what is asked for here
LUA_INCDIR ?=
PKG := $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell pkg-config --cflags lua5.4 2>/dev/null))
# libcap goes into nsbox.so where it can: to find and map a library at each
# start takes 45 us, and the code in question is 10 kB
CAP_A := $(filter /%,$(shell $(CC) -print-file-name=libcap.a))
LIBS := $(if $(CAP_A),-Wl$(comma)--exclude-libs$(comma)libcap.a -l:libcap.a,-lcap)
NL_CFLAGS := $(shell pkg-config --cflags libnl-3.0 2>/dev/null)
NL_LIBS   := $(shell pkg-config --libs libnl-3.0 2>/dev/null || echo -lnl-3)
NFT_LIBS  := $(shell pkg-config --libs libnftables 2>/dev/null || echo -lnftables)
SECCOMP_LIBS := $(shell pkg-config --libs libseccomp 2>/dev/null || echo -lseccomp)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
ifeq ($(CI),true)
WARN += -Werror
endif

# set by the variants below: sanitizers, and -DNSBOX_DEBUG for fault injection
SAN  :=
DEFS :=
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE= $(PKG) $(WARN) $(DEFS) $(CFLAGS) \
	-fPIC -fvisibility=hidden -MMD -MP
# symbols are bound at load: the shared-memory child must not enter the dynamic
# linker, and it costs nothing (1.2 ms for lua5.4 and nsbox.sys, either way)
LINK := -shared -Wl,-O1,-z,relro,-z,now,-z,noexecstack,--as-needed

# plan*.c and setattr.c are compiled twice.  In nsbox.so they run in a child that shares the
# parent's memory: no sanitizer, no stack protector, nothing that needs libc.
# With init.c and serve.c they are nsbox-init, a static program, embedded by init_image.S.
NL_SRC := csrc/netlink.c $(wildcard csrc/nl_*.c)
NL_OBJ := $(NL_SRC:csrc/%.c=$(BUILD)/%.o)
NFT_OBJ := $(BUILD)/nft.o
SECCOMP_OBJ := $(BUILD)/seccomp.o
SRC  := $(filter-out csrc/init.c csrc/serve.c csrc/nft.c csrc/seccomp.c $(NL_SRC),$(wildcard csrc/*.c))
OBJ  := $(SRC:csrc/%.c=$(BUILD)/%.o) $(BUILD)/init_image.o
TWICE := plan plan_limits plan_mount plan_inside plan_path setattr
INIT := $(addprefix $(BUILD)/init/,$(TWICE:=.o) init.o serve.o)
PLAN_CFLAGS := -fno-stack-protector -fno-builtin -fno-tree-loop-distribute-patterns
INIT_CFLAGS := -std=gnu11 -DNB_INIT $(DEFS) $(WARN) -Os -ffreestanding \
	-fno-pie -fno-asynchronous-unwind-tables $(PLAN_CFLAGS) \
	-ffunction-sections -fdata-sections -MMD -MP
INIT_LDFLAGS := -static -nostdlib -no-pie \
	-Wl,--gc-sections,-z,noseparate-code,--build-id=none,-s

# What is installed are compiled chunks: loading the sources of nsbox.run takes
# three times as long.  They fit this Lua only, as nsbox.so does.
LUA_SRC := $(shell find lua -name '*.lua')
LUA_OUT := $(LUA_SRC:lua/%=$(BUILD)/lua/%)

RUN := LUA_PATH='lua/?.lua;;' LUA_CPATH='$(BUILD)/?.so;;' $(LUA)

COMPANIONS := $(patsubst %,$(BUILD)/nsbox/sys/%.so,netlink nft seccomp)

.PHONY: all
all: $(BUILD)/nsbox.so $(COMPANIONS) $(LUA_OUT) ## build nsbox.so, its companions and the compiled Lua half

$(BUILD)/nsbox.so: $(OBJ) $(BUILD)/filter_image.o
	$(CC) $(SAN) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS)

# A companion: what only some scripts need, with the library that it needs.  It
# shares metatables with nsbox.so, not symbols (Lua loads with RTLD_LOCAL), so
# the objects that both use are in both; from an archive only those come.
$(BUILD)/nsbox/sys/netlink.so: $(NL_OBJ) $(BUILD)/common.a
	@mkdir -p $(@D)
	$(CC) $(SAN) $(LINK) -Wl,--exclude-libs,ALL $(LDFLAGS) -o $@ $^ $(NL_LIBS)

$(BUILD)/nsbox/sys/nft.so: $(NFT_OBJ) $(BUILD)/nl_within.o $(BUILD)/common.a
	@mkdir -p $(@D)
	$(CC) $(SAN) $(LINK) -Wl,--exclude-libs,ALL $(LDFLAGS) -o $@ $^ $(NFT_LIBS)

$(BUILD)/nsbox/sys/seccomp.so: $(SECCOMP_OBJ) $(BUILD)/common.a
	@mkdir -p $(@D)
	$(CC) $(SAN) $(LINK) -Wl,--exclude-libs,ALL $(LDFLAGS) -o $@ $^ $(SECCOMP_LIBS)

# The built-in seccomp filter: lua/nsbox/policy.lua, made into what the kernel
# runs with the names that libseccomp knows, and embedded by filter_image.S.
$(BUILD)/filter.bin: lua/nsbox/policy.lua lua/nsbox/filter.lua $(BUILD)/nsbox/sys/seccomp.so
	@$(if $(SAN),ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so)) \
		$(RUN) -e 'assert(assert(io.open("$@", "wb")):write(require("nsbox.filter").builtin()))'

$(BUILD)/filter_image.o: csrc/filter_image.S $(BUILD)/filter.bin
	$(CC) -c -Wa,-I$(BUILD) -o $@ $<

$(NL_OBJ) $(NFT_OBJ): ALL_CFLAGS += $(NL_CFLAGS)

$(BUILD)/common.a: $(OBJ)
	rm -f $@
	$(AR) rcs $@ $(OBJ)

# for a host that links nsbox statically, see examples/embed.c
$(BUILD)/libnsbox.a: $(OBJ) $(BUILD)/filter_image.o $(NL_OBJ) $(NFT_OBJ) $(SECCOMP_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: csrc/%.c | $(BUILD)/init
	$(CC) $(ALL_CFLAGS) $(SAN) -c -o $@ $<

$(TWICE:%=$(BUILD)/%.o): $(BUILD)/%.o: csrc/%.c | $(BUILD)/init
	$(CC) $(ALL_CFLAGS) $(PLAN_CFLAGS) -c -o $@ $<

$(BUILD)/init_image.o: csrc/init_image.S $(BUILD)/nsbox-init
	$(CC) -c -Wa,-I$(BUILD) -o $@ $<

$(BUILD)/nsbox-init: $(INIT)
	$(CC) $(INIT_LDFLAGS) -o $@ $(INIT)

$(BUILD)/init/%.o: csrc/%.c | $(BUILD)/init
	$(CC) $(INIT_CFLAGS) -c -o $@ $<

$(BUILD)/init:
	mkdir -p $@

$(BUILD)/lua/%.lua: lua/%.lua
	@mkdir -p $(@D)
	@$(LUA) -e 'assert(assert(io.open("$@", "wb")):write(string.dump(assert(loadfile "$<"))))'

# The modules by which scripts begin bring along what each use of them needs: to
# find and open a file for each takes longer than to load what is in it.  These
# chunks have no line numbers of their own; a mistake is blamed on a line of the
# script.
LAUNCH := kinds opts program wait stream process result
NEEDS_run   := $(LAUNCH) plan mounts idmap subid defaults
NEEDS_ns    := $(LAUNCH) place enter
NEEDS_scope := $(LAUNCH) plan mounts idmap defaults box part undo undo/process
NEEDS_root  := binds basics hosts early idmapped ranges
BUNDLES := run ns scope root
define BUNDLE
local function source(name)
  local f <close> = assert(io.open("lua/nsbox/" .. name .. ".lua"))
  return f:read "a"
end
local parts = { "local preload, loaded = package.preload, package.loaded" }
for name in ("$(NEEDS_$*)"):gmatch "%S+" do
  local key = ("%q"):format("nsbox." .. name:gsub("/", "."))
  parts[#parts + 1] = ("if not (loaded[%s] or preload[%s]) then preload[%s] = function(...)")
    :format(key, key, key)
  parts[#parts + 1] = source(name)
  parts[#parts + 1] = "end end"
end
parts[#parts + 1] = source "$*"
local chunk = assert(load(table.concat(parts, "\n"), "=$*"))
assert(assert(io.open("$@", "wb")):write(string.dump(chunk, true)))
endef

.SECONDEXPANSION:
$(BUNDLES:%=$(BUILD)/lua/nsbox/%.lua): $(BUILD)/lua/nsbox/%.lua: lua/nsbox/%.lua \
		$$(addsuffix .lua,$$(addprefix lua/nsbox/,$$(NEEDS_$$*)))
	@mkdir -p $(@D)
	$(file >$@.bundle,$(BUNDLE))
	@$(LUA) $@.bundle && rm $@.bundle

-include $(wildcard $(BUILD)/*.d $(BUILD)/init/*.d)

.PHONY: demo
demo: ## install what building needs, build, run two boxes in a network of their own
	@.ci/deps build
	@$(MAKE) --no-print-directory all
	$(if $(filter 0,$(shell id -u)),$(RUN:$(LUA)=unshare -nm $(LUA)),$(RUN)) examples/pair.lua

.PHONY: check
check: ## install what is missing, build, lint, fuzz a little, run all specs
	@.ci/deps all
	@$(MAKE) --no-print-directory -j$(JOBS) variants
	@failed=; for goal in lint fuzz test; do \
		$(MAKE) --no-print-directory $$goal SECONDS=2 || failed="$$failed $$goal"; \
		done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

.PHONY: deps
deps: ## install the packages that building and testing need
	@.ci/deps all

.PHONY: install
install: all ## install into PREFIX (/usr/local), below DESTDIR
	install -d '$(DESTDIR)$(LIBDIR)'
	install -m 755 $(BUILD)/nsbox.so '$(DESTDIR)$(LIBDIR)/nsbox.so'
	install -D -m 755 -t '$(DESTDIR)$(LIBDIR)/nsbox/sys' \
		$(COMPANIONS)
	cd $(BUILD)/lua && for file in $(LUA_SRC:lua/%=%); do \
		install -D -m 644 "$$file" '$(DESTDIR)$(LUADIR)'/"$$file" || exit 1; done

.PHONY: uninstall
uninstall: ## remove what install put there
	cd '$(DESTDIR)$(LIBDIR)' && rm -f nsbox.so $(COMPANIONS:$(BUILD)/%=%) && \
		rmdir --ignore-fail-on-non-empty nsbox/sys nsbox
	cd lua && find . -name '*.lua' -exec rm -f '$(DESTDIR)$(LUADIR)/{}' \;
	cd lua && find . -mindepth 1 -depth -type d \
		-exec rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(LUADIR)/{}' \;

# --- tests: see CONTRIBUTING.md ---

CELLS ?=
ARGS  ?=

.PHONY: test
test: variants ## run the specs in every cell; CELLS="user root" ARGS="--filter=…"
	NSBOX_BUILD=$(BUILD) $(LUA) spec/cells.lua $(CELLS) -- $(ARGS)

# programs that specs run
TOOLS := $(addprefix $(BUILD)/,deny attack escape meanwhile)

.PHONY: tools
tools: $(TOOLS)

.PHONY: variants
variants: all $(BUILD)/libnsbox.a tools
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/debug DEFS=-DNSBOX_DEBUG \
		CFLAGS='-Og -g' all
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan DEFS=-DNSBOX_DEBUG \
		CFLAGS='-O1 -g -fno-omit-frame-pointer' \
		SAN='-fsanitize=address,undefined -fno-sanitize-recover=undefined' all

$(BUILD)/deny: spec/deny.c
	$(CC) -std=gnu11 $(WARN) -O2 -o $@ $< -lseccomp

$(BUILD)/attack $(BUILD)/escape $(BUILD)/meanwhile: $(BUILD)/%: spec/%.c
	$(CC) -std=gnu11 -D_GNU_SOURCE= $(WARN) -O2 -static -o $@ $<

.PHONY: test-uml
test-uml: all ## run the specs tagged uml on the second kernel, Linux 6.1
	NSBOX_BUILD=$(BUILD) $(LUA) spec/cells.lua uml -- $(ARGS)

.PHONY: asan
asan: variants ## run the specs under AddressSanitizer and UBSan
	NSBOX_BUILD=$(BUILD) $(LUA) spec/cells.lua asan -- $(ARGS)

.PHONY: valgrind
valgrind: variants ## run the specs tagged valgrind under valgrind
	NSBOX_BUILD=$(BUILD) $(LUA) spec/cells.lua valgrind -- $(ARGS)

LAUNCHES ?= 10000

.PHONY: stress
stress: all ## LAUNCHES=10000 launches in one process: what they leave, and how it grows
	@dir=$$(mktemp -d) && LUA_PATH='lua/?.lua;spec/?.lua;;' LUA_CPATH='$(BUILD)/?.so;;' \
		NSBOX_STRESS=$(LAUNCHES) NSBOX_STRESS_DIR=$$dir $(LUA) spec/stress.lua; \
		status=$$?; rmdir $$dir; exit $$status

RACES ?= 10000

.PHONY: race
race: all ## start RACES=10000 boxes in a root file system whose directories are swapped for links
	@NSBOX_BUILD=$(BUILD) NSBOX_RACE=$(RACES) busted --lua=$(LUA) \
		--filter='swapped.for.links' spec/rootfs_spec.lua

.PHONY: mutate
mutate: all tools ## take each defence away and see its spec fail; WHAT="part of a name"
	@$(LUA) spec/mutate.lua $(if $(filter command%,$(origin WHAT)),'$(WHAT)')

KILLS ?= 1000

.PHONY: crash
crash: all ## kill recipes KILLS=1000 times, recover, and compare the machine with before
	@LUA_PATH='lua/?.lua;;' LUA_CPATH='$(BUILD)/?.so;;' LUA=$(LUA) $(LUA) \
		spec/crash/harness.lua $(KILLS)

# Fuzz targets: spec/fuzz/NAME.lua, with NAME.c where something stands in for the
# kernel.  clang makes the C half once more, for the sanitizers and for what
# libFuzzer is to see; the two images are those of the ordinary build.
FUZZ_CC  ?= clang
FUZZ     := $(BUILD)/fuzz
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
TARGETS  := $(patsubst spec/fuzz/%.lua,%,$(wildcard spec/fuzz/*.lua))
TARGET   ?= $(TARGETS)
SECONDS  ?= 60
JOBS     ?= $(shell nproc)
FUZZ_OBJ := $(filter-out %/init_image.o,$(OBJ)) $(NL_OBJ) $(SECCOMP_OBJ)

.PHONY: fuzz
fuzz: fuzz-build ## look for inputs that break a parser; SECONDS=60 each, TARGET="netlink wire"
	@spec/fuzz/run $(FUZZ) $(SECONDS) $(TARGET)

.PHONY: fuzz-build
fuzz-build: all
	@echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		$(FUZZ_CC) -fsanitize=fuzzer,address -o /dev/null -x c - 2>/dev/null || { \
		echo 'fuzz: needs clang and its runtime (Debian: clang, libclang-rt-14-dev)' >&2; exit 1; }
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=$(FUZZ) CC='$(FUZZ_CC)' PLAN_CFLAGS=-fno-builtin \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -Wno-missing-field-initializers' \
		SAN='$(FUZZ_SAN) -fsanitize=fuzzer-no-link' \
		IMAGES='$(BUILD)/init_image.o $(BUILD)/filter_image.o' $(TARGET:%=$(FUZZ)/%)

$(BUILD)/fuzz.a: $(FUZZ_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

# what a target defines comes before what the archive has of that name
$(TARGETS:%=$(BUILD)/%): $(BUILD)/%: spec/fuzz/host.c $$(wildcard spec/fuzz/$$*.c) \
		$(BUILD)/fuzz.a $(wildcard spec/fuzz/*.h) csrc/serve.c csrc/setattr.c \
		csrc/nsscan.c csrc/nl_iptables.c
	$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) $(NL_CFLAGS) $(SAN) -fsanitize=fuzzer -DFUZZ_TARGET='"$*"' -o $@ \
		$(filter spec/fuzz/%.c,$^) $(BUILD)/fuzz.a $(IMAGES) -Wl,-z,muldefs \
		$(if $(filter netlink,$*),-Wl$(comma)--wrap=send$(comma)--wrap=recvmsg) \
		$(shell pkg-config --libs lua5.4) $(NL_LIBS) $(SECCOMP_LIBS) -lcap

.PHONY: lint
lint: ## luacheck, clang-format, cppcheck, and what .ci/lint looks for
	@.ci/lint

.PHONY: format
format: ## lay out the C sources with clang-format
	clang-format -i csrc/*.[ch] $(wildcard spec/*.c spec/bench/*.c spec/fuzz/*.[ch] examples/*.c)

ROUNDS ?= 11
BENCH  := $(BUILD)/bench/pump $(BUILD)/bench/limit $(BUILD)/bench/netlimit $(BUILD)/bench/enter.so $(BUILD)/bench/true \
	$(BUILD)/bench/quick $(BUILD)/bench/idle $(BUILD)/bench/onward
# what to measure: files of spec/bench
WHAT   ?= launch root lifetimes network island nat

.PHONY: bench
bench: all $(BENCH) ## measure; WHAT=lifetimes for one part, ROUNDS=25 for steadier figures
	@for what in $(WHAT); do LUA=$(LUA) NSBOX_BUILD=$(BUILD) ROUNDS=$(ROUNDS) \
		LUA_PATH='$(BUILD)/lua/?.lua;;' LUA_CPATH='$(BUILD)/?.so;;' \
		$(LUA) spec/bench/$$what.lua || exit 1; done

$(BUILD)/bench/enter.so: spec/bench/enter.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE= $(PKG) $(WARN) -O2 -fPIC -shared -o $@ $<

$(BUILD)/bench/pump: spec/bench/pump.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE= $(WARN) -O2 -static -o $@ $<

$(BUILD)/bench/limit: spec/bench/limit.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE= $(WARN) -O2 -static -o $@ $<

$(BUILD)/bench/netlimit: spec/bench/netlimit.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE= $(WARN) -O2 -static -o $@ $<

$(BUILD)/bench/true:
	@mkdir -p $(@D)
	echo 'int main(void) { return 0; }' | $(CC) -O2 -static -x c -o $@ -

# the shortest program there is: no libc to set up
$(BUILD)/bench/quick:
	@mkdir -p $(@D)
	echo 'void _exit(int); void _start(void) { _exit(0); }' | \
		$(CC) -O2 -static -nostartfiles -x c -o $@ -

$(BUILD)/bench/onward: spec/bench/onward.c csrc/sys.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) -Os -static -nostdlib -o $@ $<

# waits for ever, in as little memory as nsbox-init
$(BUILD)/bench/idle:
	@mkdir -p $(@D)
	printf '%s\n' '#include <sys/syscall.h>' '#include <unistd.h>' \
		'void _start(void) { for (;;) syscall(SYS_ppoll, 0, 0, 0, 0, 0); }' | \
		$(CC) -std=gnu11 -O2 -static -nostartfiles -x c -o $@ -

# LDoc cannot read the `---@class` and `---@field` that editors know: it gets a
# copy in which they are its own @table and @tfield, and in which a module comes
# before its submodules
.PHONY: doc
doc: all ## write the reference to build/doc
	rm -rf $(BUILD)/doc $(BUILD)/ldoc
	mkdir -p $(BUILD)/ldoc
	cp -R lua csrc .config.ld $(BUILD)/ldoc
	cd $(BUILD)/ldoc/csrc && grep -l '@module' *.c | sed 's/.*/mv & 0&/' | sh
	find $(BUILD)/ldoc/lua -name '*.lua' -exec sed -i \
		-e 's/^---@class  *\([^ ]*\) *\(.*\)/\n--- \2\n-- @table \1/' \
		-e 's/^---@field  *\([^ ]*\)  *\([^ ]*\) *\(.*\)/-- @tfield \2 \1 \3/' {} +
	$(RUN) .ci/options >$(BUILD)/ldoc/options.md
	cd $(BUILD)/ldoc && ldoc -q -c .config.ld -d ../doc .

.PHONY: clean
clean: ## remove build/
	rm -rf $(BUILD)

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
