# Sallyport. `make` alone lists what there is; logic lives in test/setup and test/tools.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

include test/setup/versions

ifndef HOME
export HOME := $(shell echo ~)
endif

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
GO_BUILD  := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"
FUZZTIME  ?= 30s
CONTAINER ?= docker
IMAGE     ?= sallyport

# CI never accepts a cached result, and runs tests in a new order each time.
TESTFLAGS ?= $(if $(CI),-count=1 -shuffle=on)

# The demo's ports and its Redis; empty means the demo's own default.
PORT     ?=
OPS_PORT ?=
REDIS    ?=

# Built once and kept outside the checkout, one folder for each version of tool and Go.
CACHE         := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sallyport
GO_VERSION    := $(shell go env GOVERSION 2>/dev/null)
GOLANGCI_LINT := $(CACHE)/golangci-lint-$(GOLANGCI_LINT_VERSION)-$(GO_VERSION)/golangci-lint
GOVULNCHECK   := $(CACHE)/govulncheck-$(GOVULNCHECK_VERSION)-$(GO_VERSION)/govulncheck

##@ Use

.PHONY: help
help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: ## Start app, sidecar and Redis on this machine (PORT=, OPS_PORT=, REDIS=redis://…)
	@$(GO_BUILD) -o bin/demo ./cmd/demo
	@exec bin/demo $(if $(PORT),--port "$(PORT)") $(if $(OPS_PORT),--ops-port "$(OPS_PORT)") $(if $(REDIS),--redis "$(REDIS)")

.PHONY: build
build: ## Build bin/sidecar, bin/workspace and bin/demo
	$(GO_BUILD) -o bin/ ./cmd/sidecar ./cmd/workspace ./cmd/demo

.PHONY: image
image: ## Build the sidecar's container image (CONTAINER=docker, IMAGE=sallyport)
	$(CONTAINER) build --build-arg VERSION="$(VERSION)" \
	  --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg CREATED="$$(git log -1 --format=%cI)" \
	  -t "$(IMAGE):$(VERSION)" .

##@ Check

.PHONY: test
test: setup ## All there is: set-up, lint, vet, every test with the race detector
	@failed=; for step in lint vet unit browser; do \
	  echo "==> $$step"; $(MAKE) --no-print-directory $$step || failed="$$failed $$step"; \
	done; \
	if [ -n "$$failed" ]; then echo "==> FAILED:$$failed"; exit 1; fi

.PHONY: setup
setup: ## Install what the tests need and this machine lacks
	@test/setup/install

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Lint, format and layer rules (golangci-lint)
	@$(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Rewrite the code in the house format
	@$(GOLANGCI_LINT) fmt ./...

.PHONY: vet
vet: ## go vet
	@go vet ./...

.PHONY: unit
unit: ## Every test but those in a browser
	@eval "$$(test/setup/install --env)" && all="$$(go list ./...)" && \
	  go test -race -timeout 6m $(TESTFLAGS) $$(grep -v /test/browser <<<"$$all")

# After the others: a browser that shares two cores with them would be slow, and then flaky.
.PHONY: browser
browser: ## The tests in a real browser
	@eval "$$(test/setup/install --env)" && \
	  go test -race -timeout 6m $(TESTFLAGS) ./test/browser/...

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (30s)
	@test/tools/fuzz $(FUZZTIME)

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Known vulnerabilities that our code reaches (govulncheck)
	@test/tools/vuln $(GOVULNCHECK)

.PHONY: verify
verify: $(GOLANGCI_LINT) ## Fail where go.mod, format or generated files are out of date
	@test/tools/verify $(GOLANGCI_LINT)

.PHONY: screenshots
screenshots: ## Draw docs/screenshots anew, in a real browser
	@eval "$$(test/setup/install --env)" && \
	  go test -count=1 -run '^TestEveryPage$$' ./test/browser -screenshots "$(CURDIR)/docs/screenshots"

.PHONY: clean
clean: ## Remove what was built (the demo's .demo stays)
	@rm -rf bin

$(GOLANGCI_LINT):
	@echo "==> golangci-lint $(GOLANGCI_LINT_VERSION): building, once; this takes some minutes"
	@GOBIN=$(@D) nice go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(GOVULNCHECK):
	@echo "==> govulncheck $(GOVULNCHECK_VERSION): building, once"
	@GOBIN=$(@D) nice go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
