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
REGISTRY  ?= registry.example.com

# What an image and a chart say of the commit that they are built from.
REVISION = $(shell git rev-parse HEAD 2>/dev/null)
CREATED  = $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)

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
CONTROLLER_GEN := $(CACHE)/controller-gen-$(CONTROLLER_GEN_VERSION)-$(GO_VERSION)/controller-gen
APPLY_GEN      := $(CACHE)/code-generator-$(CODE_GENERATOR_VERSION)-$(GO_VERSION)/applyconfiguration-gen
TEMPL          := $(CACHE)/templ-$(TEMPL_VERSION)-$(GO_VERSION)/templ

# Where the markup of pages is: *.templ, and *_templ.go generated from it.
PAGES := sidecar/web/pages

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
build: ## Build bin/controller, bin/sidecar, bin/workspace and bin/demo
	$(GO_BUILD) -o bin/ ./cmd/controller ./cmd/sidecar ./cmd/workspace ./cmd/demo

##@ Release

RELEASE  := bin/release

.PHONY: images
images: ## Build both images for amd64 and arm64, with SBOMs, into bin/release (REGISTRY=, VERSION=)
	@mkdir -p $(RELEASE) && set -o pipefail && VERSION="$(VERSION)" REPOSITORY="$(REGISTRY)" PREFIX=sallyport- PLATFORMS="amd64 arm64" \
	  REVISION="$(REVISION)" CREATED="$(CREATED)" IMAGES=$(RELEASE) test/cluster/images controller sidecar | tee $(RELEASE)/digests

.PHONY: chart
chart: ## Check and package the chart into bin/release, as the version that its Chart.yaml says
	@test/setup/install --helm
	@eval "$$(test/setup/install --env)" && CREATED="$(CREATED)" test/tools/chart $(RELEASE)

.PHONY: image
image: ## Build both images by a container tool, for this machine (CONTAINER=docker, REGISTRY=)
	@for name in controller sidecar; do \
	  $(CONTAINER) build --target $$name --build-arg VERSION="$(VERSION)" --build-arg REVISION="$(REVISION)" --build-arg CREATED="$(CREATED)" \
	    -t "$(REGISTRY)/sallyport-$$name:$(VERSION)" . || exit; \
	done

##@ In a cluster

KUBECTL ?= kubectl
SYSTEM  := sallyport-system
RULES   := mutatingwebhookconfigurations,validatingadmissionpolicybindings,validatingadmissionpolicies

.PHONY: install
install: ## Install the CRD (KUBECTL=kubectl)
	@$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: no-policies ## Remove the CRD, where no MFAPolicy is left
	@$(KUBECTL) delete --ignore-not-found -k config/crd

# The images are named here and not in config/, so that no tracked file changes.
.PHONY: deploy
deploy: ## Install the operator (CONTROLLER_IMAGE=, SIDECAR_IMAGE=)
	@[ -n "$(CONTROLLER_IMAGE)" ] && [ -n "$(SIDECAR_IMAGE)" ] || \
	  { echo "deploy: name the images: make deploy CONTROLLER_IMAGE=… SIDECAR_IMAGE=…" >&2; exit 2; }
	@$(KUBECTL) apply --server-side -k config/namespace
	@$(KUBECTL) -n $(SYSTEM) get secret sallyport-redis -o name >/dev/null || \
	  { echo "deploy: create Secret sallyport-redis first: see docs/install.md" >&2; exit 1; }
	@mkdir -p bin/deploy && config/images "$(CONTROLLER_IMAGE)" "$(SIDECAR_IMAGE)" >bin/deploy/kustomization.yaml
	@$(KUBECTL) apply --server-side -k bin/deploy

# The operator goes first: it would make its rules anew. The rules go before the rest:
# one that outlives the operator refuses the pods of its policy. The namespace stays,
# and in it the master keys and the Secret of Redis: without the keys every enrolment is lost.
.PHONY: undeploy
undeploy: no-policies ## Remove the operator but not its keys, where no MFAPolicy is left
	@$(KUBECTL) -n $(SYSTEM) delete deployment sallyport-controller --ignore-not-found
	@$(KUBECTL) -n $(SYSTEM) wait --for=delete pod --timeout=2m -l app.kubernetes.io/name=sallyport,app.kubernetes.io/component=controller
	@$(KUBECTL) delete $(RULES) -l app.kubernetes.io/managed-by=sallyport
	@for part in network-policy webhook manager rbac; do $(KUBECTL) delete --ignore-not-found -k "config/$$part" || exit 1; done

# While there is a policy, only the operator can end it as it should end.
.PHONY: no-policies
no-policies:
	@left=$$($(KUBECTL) get crd mfapolicies.mfa.sallyport.dev --ignore-not-found -o name) && \
	  { [ -z "$$left" ] || left=$$($(KUBECTL) get mfapolicies.mfa.sallyport.dev -A -o name); } && \
	  { [ -z "$$left" ] || [ "$(FORCE)" = yes ] || { printf '%s\n' "$$left" >&2; \
	    echo "These MFAPolicies are left. Delete them while the operator runs; FORCE=yes leaves their apps without a second factor" >&2; exit 1; }; }

##@ On a real node

.PHONY: cluster-up
cluster-up: ## Start Kubernetes on this machine, with this checkout's images (CLUSTER=dev, STORAGE=default)
	@test/setup/install --helm
	@test/cluster/up && test/cluster/images && test/cluster/load
	@echo && echo 'To talk to it:  eval "$$(test/cluster/env)"   Then: docs/quickstart.md'

.PHONY: cluster-down
cluster-down: ## Remove that, wholly (CLUSTER=dev)
	@test/cluster/down

.PHONY: e2e
e2e: ## The chart on a node of its own, through a browser; 15 minutes (CLUSTER=existing: on that of KUBECONFIG)
	@test/e2e/run

.PHONY: smoke
smoke: ## The shorter half of e2e: install, inject, enrol, challenge, flip, uninstall; 4 minutes
	@test/e2e/run -smoke

##@ Generate

.PHONY: manifests
manifests: $(CONTROLLER_GEN) ## Write the CRDs and the operator's RBAC from the code's markers, and the chart's from them
	@$(CONTROLLER_GEN) crd paths=./api/v1alpha1/... output:crd:dir=config/crd/bases
	@$(CONTROLLER_GEN) rbac:roleName=sallyport-controller \
	  paths=./controllers/... paths=./cmd/controller/... output:rbac:dir=config/rbac
	@go run ./test/chart/generate

.PHONY: generate
generate: $(CONTROLLER_GEN) $(APPLY_GEN) $(TEMPL) ## Write the API types' deep copies and apply configurations, and the pages' code
	@$(CONTROLLER_GEN) object paths=./api/v1alpha1/... paths=./api/policy/...
	@out=$$($(APPLY_GEN) --output-dir api/applyconfiguration \
	  --output-pkg github.com/sallyport/sallyport/api/applyconfiguration ./api/policy ./api/v1alpha1 2>&1) || { echo "$$out" >&2; exit 1; }
	@rm api/applyconfiguration/utils.go # it is for generated clients, and takes the rules for a group of their own
	@$(TEMPL) generate -log-level error -path $(PAGES)

##@ Check

# Goes through the steps, whichever of them fail, and then says which did.
STEPS = @failed=; for step in $(1); do \
	  echo "==> $$step"; $(MAKE) --no-print-directory $$step || failed="$$failed $$step"; \
	done; \
	if [ -n "$$failed" ]; then echo "==> FAILED:$$failed"; exit 1; fi

.PHONY: test
test: setup ## Set-up, lint, vet, verify, every test but the long ones below; 8 minutes
	$(call STEPS,lint vet verify unit browser)

.PHONY: check
check: ## What CI runs: test, operator, delivery, smoke; 20 minutes
	$(call STEPS,test operator delivery smoke)

.PHONY: setup
setup: ## Install what the tests need and this machine lacks
	@test/setup/install

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Lint, format and layer rules (golangci-lint)
	@$(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: $(GOLANGCI_LINT) $(TEMPL) ## Rewrite the code in the house format
	@$(GOLANGCI_LINT) fmt ./...
	@$(TEMPL) fmt -log-level error $(PAGES)

.PHONY: vet
vet: ## go vet
	@go vet ./...

.PHONY: unit
unit: ## Every test but those that have the machine for themselves, below
	@eval "$$(test/setup/install --env)" && all="$$(go list ./...)" && \
	  go test -race -timeout 8m $(TESTFLAGS) $$(grep -vE '/test/(apps|browser|chart|cluster|e2e|operator)(/|$$)' <<<"$$all")

# One package at a time: each runs programs of its own, and shares two cores with nobody.
.PHONY: operator
operator: ## The tests of the operator as a process, against a real API server; 9 minutes
	@eval "$$(test/setup/install --env)" && \
	  go test -race -p 1 -timeout 12m $(TESTFLAGS) ./test/operator/...

.PHONY: delivery
delivery: ## The tests of the chart and the images, with the real Helm, API servers and builds; 2 minutes
	@eval "$$(test/setup/install --env)" && \
	  go test -race -p 1 -timeout 12m $(TESTFLAGS) ./test/chart/... ./test/cluster/...

# After the others: a browser that shares two cores with them would be slow, and then flaky.
.PHONY: browser
browser: ## The tests in a real browser
	@eval "$$(test/setup/install --env)" && \
	  go test -race -timeout 6m $(TESTFLAGS) ./test/browser/...

# No part of test: it needs apps whose building takes minutes.
.PHONY: apps
apps: setup ## Real apps of other people behind the sidecar, in a real browser; builds them once: docs/apps
	@test/setup/install --apps
	@eval "$$(test/setup/install --env)" && go test -race -count=1 -timeout 10m $(TESTFLAGS) ./test/apps

PODS ?= 100,1000,10000

# Nothing else may run on the machine: it measures.
.PHONY: scale
scale: setup ## Measure the operator with PODS (100,1000,10000) pods; takes 20 minutes: docs/scale.md
	@eval "$$(test/setup/install --env)" && \
	  go test -count=1 -timeout 90m -v -run '^TestScale$$' ./test/scale -pods $(PODS)

# DURATION is of a round of the benchmark (10s), or of the soak (20m).
DURATION ?=
ROUNDS   ?= 5
PEOPLE   ?= 200
PROFILE  ?=
RIVAL    ?=

# Nothing else may run on the machine: it measures. It goes on without nginx where that cannot be had.
.PHONY: bench
bench: ## Measure what the sidecar costs a request (ROUNDS=5, DURATION=10s, PEOPLE=200, RIVAL=1, PROFILE=folder): docs/performance.md
	@[ -e /proc/self/smaps_rollup ] || { echo "bench: it looks at processes in /proc: run it on Linux 4.14 or later" >&2; exit 1; }
	@test/setup/install --bench || { command -v redis-server >/dev/null || exit 1; echo "==> bench: going on with what there is"; }
	@[ -z "$(RIVAL)" ] || test/setup/install --rival >/dev/null
	@$(GO_BUILD) -o bin/bench/ ./cmd/sidecar ./test/bench/app ./test/bench/bare
	@go test -trimpath -count=1 -timeout 12h -run '^TestBench$$' ./test/bench -v -programs "$(CURDIR)/bin/bench" -version "$(VERSION)" \
	    -rounds $(ROUNDS) -duration $(or $(DURATION),10s) -people $(PEOPLE) $(if $(PROFILE),-profile "$(abspath $(PROFILE))") \
	    $(if $(RIVAL),-oauth2-proxy "$$(test/setup/install --rival)")

# The sidecar is compiled for what it does most. Worth an update when that has changed much: an old profile does no harm.
.PHONY: profile
profile: ## Take anew the profile that the sidecar is compiled with (DURATION=10s): docs/performance.md
	@$(MAKE) --no-print-directory bench PROFILE=bin/profile
	@cp bin/profile/cpu.pprof cmd/sidecar/default.pgo
	@echo "==> cmd/sidecar/default.pgo is of now; see with make bench that it is worth it, and commit it"

BODY ?= 5120

.PHONY: transfer
transfer: ## Send BODY (5120) MiB up and down through the sidecar, in flat memory
	@go test -count=1 -timeout 10m -v -run '^TestBodiesOfAnySizeTakeNoMemory$$' ./sidecar/server -body $(BODY)

# Nothing else should run on the machine: it loads it.
.PHONY: soak
soak: setup ## Sidecars under load for DURATION (20m) while Redis is killed, paused and failed over: docs/soak.md
	@eval "$$(test/setup/install --env)" && \
	  go test -count=1 -timeout 24h -v -run '^TestSoak$$' ./test/soak -duration $(or $(DURATION),20m)

PROVE ?=

# No part of test: it builds and runs a test once for each guard.
.PHONY: prove
prove: setup ## Remove each security guard in turn and see a test fail; a quarter of an hour (PROVE="-run T29"): docs/security-status.md
	@eval "$$(test/setup/install --env)" && go run ./test/prove $(PROVE)

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (30s)
	@test/tools/fuzz $(FUZZTIME)

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Known vulnerabilities that our code reaches (govulncheck)
	@test/tools/vuln $(GOVULNCHECK)

.PHONY: verify
verify: $(GOLANGCI_LINT) $(CONTROLLER_GEN) $(APPLY_GEN) $(TEMPL) ## Fail where go.mod, format or generated files are out of date
	@test/tools/verify $(GOLANGCI_LINT) $(TEMPL) $(PAGES)

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

$(APPLY_GEN):
	@echo "==> applyconfiguration-gen $(CODE_GENERATOR_VERSION): building, once"
	@GOBIN=$(@D) nice go install k8s.io/code-generator/cmd/applyconfiguration-gen@$(CODE_GENERATOR_VERSION)

$(CONTROLLER_GEN):
	@echo "==> controller-gen $(CONTROLLER_GEN_VERSION): building, once"
	@GOBIN=$(@D) nice go install sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION)

$(TEMPL):
	@echo "==> templ $(TEMPL_VERSION): building, once"
	@GOBIN=$(@D) nice go install github.com/a-h/templ/cmd/templ@$(TEMPL_VERSION)
