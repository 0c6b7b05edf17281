.PHONY: help test fmt lint unit doc tools

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: fmt lint unit doc ## Run every check and test

fmt: ## Check the formatting
	cargo fmt --check

lint: ## Run clippy; warnings fail
	cargo clippy --all-targets --locked -- -D warnings

unit: ## Run the tests
	cargo test --locked

doc: ## Build the documentation; warnings fail
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
