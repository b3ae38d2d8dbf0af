# Everything a developer or CI does, by one word each. What is missing on a fresh machine, scripts/setup.sh installs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
TOOL     := $(GO) tool -modfile=tools/go.mod
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PACKAGES := ./...
FUZZTIME ?= 30s

# What measures CPU time is tested with the machine to itself.
ALONE    := /internal/(dispatch|hostile|limits|terminate)$$

.PHONY: help setup build demo test check bench fuzz clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: ## install what the machine lacks (Go's version, npm); the other targets call it
	@scripts/setup.sh

build: setup bin/workerd ## bin/atoll and, beside it, bin/workerd
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/atoll ./cmd/atoll

# npm writes node_modules/.package-lock.json last, so its age tells whether the tree is that of the lock file.
engine/node_modules/.package-lock.json: engine/package-lock.json engine/package.json
	cd engine && npm ci
	@touch $@

bin/workerd: engine/node_modules/.package-lock.json
	@mkdir -p bin
	@src=$$(ls engine/node_modules/@cloudflare/workerd-linux-*/bin/workerd | head -1); \
	  rm -f $@; ln "$$src" $@ 2>/dev/null || cp "$$src" $@; touch $@

test/clients/node_modules/.package-lock.json: test/clients/package-lock.json test/clients/package.json
	cd test/clients && npm ci
	@touch $@

demo: build ## a running platform with example customers, until Ctrl-C
	@scripts/demo.sh

test: build test/clients/node_modules/.package-lock.json ## everything, unattended: vet, unit, end-to-end and client tests
	@scripts/setup.sh test
	$(GO) vet $(PACKAGES)
	ATOLL_E2E=all $(TOOL) gotestsum --format pkgname-and-test-fails -- -timeout 25m $$($(GO) list $(PACKAGES) | grep -vE '$(ALONE)')
	ATOLL_E2E=all $(TOOL) gotestsum --format pkgname-and-test-fails -- -timeout 15m -p 1 $$($(GO) list $(PACKAGES) | grep -E '$(ALONE)')

check: build ## what a reviewer expects: format, vet, staticcheck, vulnerabilities, layers, docs, the race detector
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt these:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) -C test/clients/gosdk vet ./...
	$(TOOL) staticcheck $(PACKAGES)
	@scripts/vulncheck.sh
	$(GO) test -count=1 .
	$(GO) test -race -timeout 20m ./internal/...

bench: build test/clients/node_modules/.package-lock.json ## Atoll beside its baselines, into docs/performance.md; half an hour, with ARGS=-quick 5 minutes
	$(GO) run ./bench -report $(ARGS)

fuzz: ## each fuzz target for FUZZTIME (30s)
	@scripts/fuzz.sh $(FUZZTIME)

clean: ## remove what was built or installed here; the data directory stays
	rm -rf bin engine/node_modules test/clients/node_modules
