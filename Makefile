# make demo    creates the environment, installs, runs the main job
# make test    installs what tests need, runs all of them
# make fuzz    COUNT generated inputs for each decoder, from SEED on; ONLY=name for some
# make noise   RUNS meters, from SEED on, each read over a line that damages 1 % of the bytes (FAULT=corrupt=1%,lose=0.1%
#              for others) and compared with what it stored; PORT=mep or optical, SECURITY=digest, rc4 or tls
# make chaos   FAULTS faults in DAYS days of four meters' lives, SCALE times as fast as they are, drawn from SEED; then
#              the database is compared with what the meters know (docs/testing.md); REPORT=FILE for JSON
# make many    METERS virtual meters over TCP, read by one gateway for MINUTES; tells processor time, memory and lateness
# make roles   a board and a Linux gateway as adapters of one concentrator, and all else about roles
# make backlog  the broker is away for DAYS at the default schedule: memory meanwhile, and how all arrives afterwards
# make firmware  the image of a board's file system, build/board.img, and how large all is; BOARD, and if you like
#              CONFIG=gateway.toml and FIRMWARE=FILE (docs/board.md)
# make test-firmware  flashes the whole application into a mock of the boot loader, reads it back and starts from it:
#              first reading, set-up by a phone, updates, losses of power, and HOURS of a day with HEAP bytes of heap
# make power-cuts  a board that loses power CUTS times in each of four lives, while it writes outbox, cursor,
#              configuration and updates
# make board-day  the board's whole application at the default schedule for HOURS hours, SPEED times as fast as they are,
#              with HEAP bytes of heap, over TLS to a real broker: heap by the hour, then every row against the truth
# make check   style, types, arrows, and mpy-cross over every portable file
PYTHON ?= python3
VENV ?= .venv
SECONDS ?= 20
SEED ?= 1
COUNT ?= 1000000
CUTS ?= 100
ONLY ?=
RUNS ?= 200
DAYS ?= 7
PORT ?= mep
SECURITY ?= digest
FAULT ?= corrupt=1%
FAULTS ?= 1000
DAYS ?= 30
SCALE ?= 720
BOARD ?= generic-esp32
CONFIG ?=
FIRMWARE ?=
REPORT ?= build/chaos-$(SEED).json
METERS ?= 200
MINUTES ?= 5
HOURS ?= 24
SPEED ?= 60
HEAP ?= 224K
BIN := $(VENV)/bin

.PHONY: backlog board-day demo firmware test-firmware test fuzz noise chaos many roles power-cuts check format clean

demo: $(VENV)/.demo
	$(BIN)/osgp-gateway demo --seconds $(SECONDS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.test
	PYTHONPATH=micropython $(BIN)/python -m tests.fuzz.run --seed $(SEED) --count $(COUNT) --only '$(ONLY)'

noise: $(VENV)/.test
	$(BIN)/python -m tests.noise.run --seed $(SEED) --runs $(RUNS) --port $(PORT) --security $(SECURITY) --fault '$(FAULT)'

chaos: $(VENV)/.test
	@mkdir -p $(dir $(REPORT))
	$(BIN)/python -m tests.chaos.run --seed $(SEED) --faults $(FAULTS) --days $(DAYS) --scale $(SCALE) \
		--report $(REPORT)

many: $(VENV)/.test
	$(BIN)/python -m tests.many.run --meters $(METERS) --minutes $(MINUTES)

roles: $(VENV)/.test
	$(BIN)/python -m pytest -p tests.firmware.conftest tests/roles/whole_way.py tests/host/test_roles.py tests/host/test_roles_rights.py \
	  tests/host/test_config_roles.py tests/portable/test_core_concentrator.py

backlog: $(VENV)/.test
	$(BIN)/python -m tests.backlog.run --days $(DAYS)

firmware: $(VENV)/.test
	@mkdir -p build
	$(BIN)/python tools/flash.py --board '$(BOARD)' $(if $(CONFIG),--config '$(CONFIG)') \
		$(if $(FIRMWARE),--firmware '$(FIRMWARE)') --image-only build/board.img

test-firmware: $(VENV)/.test
	OSGP_TEST_HOURS=$(HOURS) OSGP_TEST_HEAP=$(HEAP) $(BIN)/python -m pytest --timeout 600 tests/flashing \
		$(foreach part,whole_way updates power_losses flashed_day,tests/image/$(part).py)

power-cuts: $(VENV)/.test
	PYTHONPATH=tools:micropython $(BIN)/python -m tests.firmware.power_cuts --seed $(SEED) --cuts $(CUTS)

board-day: $(VENV)/.test
	$(BIN)/python -m tests.board_day.run --seed $(SEED) --hours $(HOURS) --scale $(SPEED) --heap $(HEAP)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_arrows.py
	$(BIN)/python tools/check_portable.py

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cloud]'
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
