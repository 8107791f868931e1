# What a person types. `make run` and `make test` work on a fresh clone.

# On macOS gevent has no wheel for 3.11.
PYTHON ?= $(firstword $(foreach name,python3.14 python3.13 python3.12 python3.11 python3,\
	$(if $(shell $(name) -c 'import sys; print((3, 11 + (sys.platform == "darwin")) <= sys.version_info < (3, 15) or "")' 2>/dev/null),$(name))))
PY := .venv/bin/python
INSTALLED := .venv/installed
TOOLS := .venv/tools
TYPES := .venv/types/signalbox
# Of Debian, beside those of the window.
TEST_PACKAGES := xvfb xdotool chromium-headless-shell imagemagick procps
# The last two are what Qt's Wayland parts are linked with: the .deb depends on their packages.
BUILD_PACKAGES := binutils xz-utils xvfb xdotool imagemagick libwayland-cursor0 libwayland-egl1

.PHONY: run install test bench campaign lint build lock clean --quick

run: $(INSTALLED)
	@$(PY) packaging/install_system_packages.py
	@.venv/bin/signalbox

install: $(INSTALLED)

$(INSTALLED): pyproject.toml requirements.lock hatch_build.py
	@test -n "$(PYTHON)" || { echo "Signalbox needs Python 3.11 to 3.14, on macOS 3.12 or newer; none was found." >&2; exit 1; }
	@echo "Installing Signalbox into .venv (about 280 MB on Linux, once) ..."
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@$(PY) packaging/install_python_packages.py requirements.lock
	@$(PY) -m pip uninstall --quiet --yes signalbox 2>/dev/null  # as the package was called before
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# What developing takes as well: tests, linters, the bundle.
$(TOOLS): $(INSTALLED) requirements-dev.lock
	@echo "Installing what developing takes ..."
	@$(PY) packaging/install_python_packages.py requirements-dev.lock
	@touch $@

# First the tests that may run beside others: five processes on two cores, since they wait most of the
# time; then those that measure, one by one.
test: $(TOOLS)
	@$(PY) packaging/install_system_packages.py --required $(TEST_PACKAGES)
	$(PY) -m pytest -n 5 --dist loadfile --no-loadscope-reorder -m "not serial" --durations=10; beside=$$?; \
	$(PY) -m pytest -m serial --durations=10 $(shell grep -l "mark.serial" tests/test_*.py) && exit $$beside

# `make bench QUICK=1` or `make bench -- --quick`: all of it, smaller, within two minutes.
# `make bench NAMES="http lag"`: only these.
bench: $(TOOLS)
	PYTHONDONTWRITEBYTECODE= $(PY) tests/benchmarks/run.py $(NAMES) $(if $(or $(QUICK),$(filter --quick,$(MAKECMDGOALS))),--quick)

--quick:
	@:

# A store under attack, again and again, and a model that tells what must be left: `make campaign
# ROUNDS=150 MINUTES=10 FAILOVERS=20`; `make campaign NAMES=kill SEED=7`: only this, as it was then.
campaign: $(TOOLS)
	$(PY) tests/campaigns/campaign.py $(NAMES) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(FAILOVERS),--failovers $(FAILOVERS)) \
		$(if $(SEED),--seed $(SEED))

lint: $(TOOLS)
	@mkdir -p $(TYPES)
	@ln -sfn $(addprefix $(CURDIR)/,signalbox/__init__.py signalbox/__main__.py signalbox/client.py signalbox/py.typed server desktop ui) $(TYPES)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The program for people without Python, in dist/; tried before it is done.
build: $(TOOLS)
	@$(PY) packaging/install_system_packages.py --required $(BUILD_PACKAGES)
	$(PY) packaging/build.py

# Newest versions that pyproject.toml allows, for every platform and Python, without any address:
# requirements.lock is what running takes, requirements-dev.lock all of it.
LOCK := .venv-lock/bin/uv pip compile --quiet --upgrade --universal --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock" pyproject.toml

lock:
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	$(LOCK) --group dev --all-extras -o requirements-dev.lock
	$(LOCK) --group checkout --extra window --constraint requirements-dev.lock -o requirements.lock

clean:
	rm -rf .venv .venv-lock build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f ui/static/datastar.js ui/static/datastar.LICENSE
