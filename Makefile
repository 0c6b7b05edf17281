.PHONY: help test tools fmt lint unit doc mutants bench images e2e versions

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: tools fmt lint unit doc ## Run every check and test; what they need is installed first

tools: ## Get what the checks need: proxies, monitoring, a foreign gRPC client, cargo-deny, a Kubernetes cluster
	scripts/setup-test-tools
	scripts/setup-control-plane
	scripts/setup-foreign-kinds
	scripts/setup-node

fmt: ## Check the formatting
	cargo fmt --check

lint: tools ## Run clippy, and check dependencies (deny.toml) and the list of mutants; warnings fail
	cargo clippy --all-targets --locked -- -D warnings
	$$(scripts/setup-test-tools --print | sed -n 's/^cargo-deny=//p') --locked check --hide-inclusion-graph -D warnings \
		licenses bans sources
	scripts/mutants --check

# All of them: a later failure that an earlier one hides costs another run.
unit: tools ## Run the tests
	cargo test --locked --no-fail-fast

doc: ## Build the documentation; warnings fail
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

images: ## Build the images in target/images, and check their size (takes twenty minutes, the first time)
	scripts/images

e2e: tools images ## Run the images of `make images` on a real cluster, the long tests too
	if scripts/setup-node --able; then scripts/setup-node --docker; fi
	RESCIND_IMAGES=target/images cargo test --locked --test e2e -- --include-ignored --nocapture

# What is left out holds texts of the API server, or its version, to the letter; and an object that an earlier definition
# took, with a null in its target, whose status 1.33 refuses: there is no earlier definition.
versions: tools ## Run what talks to an API server with the oldest and the newest that is supported (takes half an hour)
	set -e; for version in $$(scripts/setup-control-plane --others); do \
		export RESCIND_KUBERNETES=$$version; scripts/setup-control-plane; \
		cargo test --locked --lib store::kubernetes; \
		cargo test --locked --no-fail-fast --test chart --test kubernetes -- --skip refusals:: \
			--skip a_token_is_taken_back_looked_for --skip kubectl_talks_to_the_shared_server \
			--skip an_object_from_before_a_rule; \
	done

mutants: ## Remove safety checks one at a time and show that their tests turn red (takes minutes)
	scripts/mutants

bench: ## Measure; see docs/benchmarks.md. Never part of the tests
	scripts/setup-test-tools
	cargo bench --locked --bench core
	cargo bench --locked --bench processes
