.PHONY: test install-test-programs lint fmt fuzz bench benchmarks compatibility screenshots dist deb

test: install-test-programs
	@echo 'testing: 5 to 20 minutes the first time, when Go compiles all of it; go test -v names what is skipped' >&2
	go test -race -timeout 30m ./...

# Installs the Debian packages of the programs that the tests run (as root). A test
# whose program is missing is skipped, but fails where CI=true.
install-test-programs:
	@bash .ci/install-test-programs

lint:
	@bash .ci/lint

fmt:
	@bash .ci/gofumpt -w .

# FUZZTIME=1m make fuzz
fuzz:
	@bash .ci/fuzz

# hosier beside other servers: writes docs/performance.md and docs/growth.svg. It needs a
# quiet machine for some minutes.
bench:
	go run ./bench

benchmarks:
	go test -run '^$$' -bench . ./...

# Regenerates docs/compatibility.md from the programs themselves.
compatibility: install-test-programs
	go test -run '^TestCompatibility$$' -count=1 -timeout 10m ./probe -update-compatibility

# Retakes docs/screenshots: the page that browsers get on the port, and the console
# of a hosier that has run for a while. It uses the ports 1080, 1081, 9180 and, if allowed,
# 443 of 127.0.0.1.
SCREENSHOTS_AFTER ?= 30m
screenshots: install-test-programs
	go test -run '^Test(Page|Console)Looks$$' -count=1 -parallel 1 -timeout 2h ./cmd/hosier -update-screenshots -screenshots-after $(SCREENSHOTS_AFTER)

# dist/: the static program, its manual pages and completions; deb: and a Debian package.
dist:
	@bash packaging/build dist

deb:
	@bash packaging/build dist deb
