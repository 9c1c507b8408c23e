# `make report` and `make test` are all a newcomer needs: each sets itself up. `make help` lists the rest.
# On Windows, or in a notebook in the cloud, `python -m flowerlib` does the same work without make.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

ifdef PROFILE
STATUS_PROFILE := --profile $(PROFILE)
endif
PROFILE ?= smoke

# Conda users may say VENV="$CONDA_PREFIX" to work in the environment they have.
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.set-up
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
NOTEBOOKS = $(wildcard notebooks/*.ipynb)

# Looked for in this order unless PYTHON is given; a test holds them to pyproject.toml's requires-python.
PYTHONS := 3.13 3.12 3.11
WANTED := needs Python $(lastword $(PYTHONS)) to $(firstword $(PYTHONS))

LATEX_PACKAGES := latexmk texlive-latex-recommended texlive-latex-extra texlive-science \
    texlive-fonts-recommended lmodern cm-super-minimal poppler-utils
TEST_PACKAGES := chromium chromium-driver slurm-wlm munge
LATEX_TOOLS := latexmk pdflatex bibtex pdftoppm
LATEX_FILES := accsupp.sty array.sty booktabs.sty caption.sty cleveref.sty etoolbox.sty fancyhdr.sty fontenc.sty \
    geometry.sty graphicx.sty hyperref.sty lmodern.sty longtable.sty microtype.sty natbib.sty placeins.sty xcolor.sty

.PHONY: help report test data lab status verify diff exercises gallery publish setup latex lint format lock gpu clean check-python

report: setup  ## Run a profile's notebooks and end in build/PROFILE/report.pdf (PROFILE=smoke, laptop or full)
	@$(latex_check) || true
	@$(BIN)/python -m flowerlib report --profile $(PROFILE) \
	    $(if $(FROM),--from-$(FROM)) $(if $(STALE),--$(STALE)-stale)

test: setup  ## Lint, then every test
	@$(latex_check) || true
	@$(install_test_tools)
	@lint=passed; tests=passed; \
	$(MAKE) lint || lint=FAILED; \
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope || tests=FAILED; \
	echo; echo "make test: lint $$lint, tests $$tests"; \
	[ "$$lint $$tests" = "passed passed" ]

data: setup  ## Fetch the photographs and verify them (from FLOWERLIB_MIRROR when it is set)
	@$(BIN)/python -m flowerlib fetch

lab: setup  ## Open the notebooks in JupyterLab
	@root=; [ "$$(id -u)" != 0 ] || root=--allow-root; \
	$(BIN)/python -m jupyterlab $$root notebooks

status: setup  ## Say what would run, why, and the minutes to expect
	@$(BIN)/python -m flowerlib status $(STATUS_PROFILE)

verify: setup  ## Check the committed figures against today's recipes, code and data
	@$(BIN)/python -m flowerlib verify

diff: setup  ## Two runs' numbers side by side: make diff A=shen-fine B=ours-fine
	@$(BIN)/python -m flowerlib diff '$(A)' '$(B)'

exercises: setup  ## Copies of the notebooks without the exercises' answers, in build/exercises
	@$(BIN)/python -m flowerlib exercises

gallery: setup  ## All executed notebooks as HTML with an index, in build/PROFILE/gallery
	@$(BIN)/python -m flowerlib gallery --profile $(PROFILE)

publish: setup  ## Put the laptop profile's figures and PDF in place (PARTIAL=1: only the runs that are done)
	@$(latex_check) || true
	@$(BIN)/python -m flowerlib publish --profile laptop $(if $(PARTIAL),--partial)

setup: check-python $(STAMP)  ## Make .venv from pyproject.toml and requirements.lock

latex:  ## Install LaTeX (as root on Debian or Ubuntu), or say what to install
	@$(latex_check) && echo "LaTeX is here."

lint: setup  ## Check style, types, and that the notebooks carry no outputs
	@status=0; \
	$(BIN)/python -m ruff check . || status=1; \
	$(BIN)/python -m ruff format --check . || status=1; \
	$(BIN)/python -m mypy flowerlib || status=1; \
	$(if $(NOTEBOOKS),$(BIN)/python -m nbstripout --verify --keep-id $(NOTEBOOKS) || status=1;) \
	exit $$status

format: setup  ## Mend what lint can mend
	@$(BIN)/python -m ruff check --fix . ; $(BIN)/python -m ruff format .
	@$(if $(NOTEBOOKS),$(BIN)/python -m nbstripout --keep-id $(NOTEBOOKS),true)

lock: setup  ## Bring requirements.lock up to pyproject.toml (UPGRADE=1: to the newest versions)
	@$(BIN)/python -m uv pip compile pyproject.toml --extra dev --universal $(if $(UPGRADE),--upgrade) \
	    --python-version $(lastword $(PYTHONS)) --annotation-style line \
	    --custom-compile-command "make lock" --quiet --output-file requirements.lock

gpu: setup  ## Swap in TensorFlow's CUDA build (NVIDIA, Linux or WSL2); once more after every set-up
	@$(PIP) --constraint requirements.lock --no-build-isolation --editable ".[gpu]"
	@$(BIN)/python -m pip uninstall --quiet --yes tensorflow-cpu
	@$(PIP) --constraint requirements.lock --no-deps --force-reinstall \
	    "$$(grep -o '^tensorflow-cpu==[0-9.]*' requirements.lock | sed 's/-cpu//')"

clean:  ## Delete the smoke profile's build and the tools' caches, never a long result
	@rm -rf build/smoke .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find benchmarks flowerlib notebooks tests \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	    -prune -exec rm -rf {} +
	@echo "Kept: $(VENV), runs/, data/, figures/, every other profile in build/ and all trained weights."

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# A PYTHON that was asked for is looked at even when the set-up is done.
check-python:
	@$(if $(PYTHON),$(choose_python); $(note_other_python),:)

# The stamp comes last: a set-up that was interrupted is taken up again.
$(STAMP): pyproject.toml requirements.lock
	@$(if $(PYTHON),$(choose_python);) $(make_venv)
	@rm -f $@
	@echo "Setting up $(VENV): up to 0.7 GB to fetch, 2.5 GB on disk, 2 minutes on a fast line."
	@# first what builds the one package that comes as source, as older pips want it
	@$(PIP) --constraint requirements.lock setuptools wheel
	@$(PIP) --requirement requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

# Shell, in pieces. `python_version PROGRAM` prints 3.12, or nothing when it does not run.
define python_version
python_version() { "$$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }; \
supported() { case " $(PYTHONS) " in *" $$1 "*) true;; *) false;; esac; }
endef

# Leaves the interpreter in $$python and its version in $$version, or stops with one line.
define choose_python
$(python_version); python='$(PYTHON)'; \
if [ -z "$$python" ]; then \
    for python in $(PYTHONS:%=python%) python3; do supported "$$(python_version $$python)" && break; done; \
fi; \
version=$$(python_version "$$python"); \
supported "$$version" || { \
    echo "$(WANTED), found $${version:-none}: install it or call make PYTHON=/path/to/python" >&2; exit 1; }
endef

define note_other_python
have=$$(python_version $(BIN)/python); \
if supported "$$have" && [ "$$have" != "$$version" ]; then \
    echo "$(VENV) stays with Python $$have; to change it, delete it first" >&2; \
fi
endef

# An environment that works is kept; one that an interrupted set-up left broken is made anew. What was not made
# here (no pyvenv.cfg: a conda environment, some other folder) is never cleared.
define make_venv
$(python_version); \
if ! supported "$$(python_version $(BIN)/python)" || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
    if [ -e "$(VENV)" ] && [ ! -e "$(VENV)/pyvenv.cfg" ]; then \
        echo "$(VENV) is no environment with Python $(lastword $(PYTHONS)) to $(firstword $(PYTHONS)) and pip:" \
            "move it away, or name another folder with make VENV=..." >&2; exit 1; \
    fi; \
    $(choose_python); $(venv_module); \
    "$$python" -m venv --clear "$(VENV)"; \
fi
endef

# Debian and Ubuntu ship Python without the module that fills a new environment with pip.
define venv_module
has_venv() { "$$python" -c 'import ensurepip, venv' 2>/dev/null; }; \
case "$$(command -v "$$python")" in /usr/bin/*|/bin/*) \
    if ! has_venv && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install --yes --no-install-recommends python$$version-venv >/dev/null; \
    fi;; \
esac; \
has_venv || { \
    echo "$$python cannot make environments: sudo apt-get install python$$version-venv, then call make again" >&2; \
    exit 1; }
endef

# For the tests that need a browser or a cluster of one machine; they are skipped with their reason where there is none.
define install_test_tools
if ! { command -v chromedriver && command -v slurmctld; } >/dev/null && [ "$$(id -u)" = 0 ] \
    && command -v apt-get >/dev/null; then \
    echo "Installing a browser and SLURM for the tests: 0.15 GB to fetch, 0.5 GB on disk, a minute."; \
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends $(TEST_PACKAGES) >/dev/null || true; \
fi
endef

# True when LaTeX can build the report; tectonic fetches what it needs by itself.
define latex_check
find_missing() { \
    missing=; \
    if command -v tectonic >/dev/null && ! command -v latexmk >/dev/null; then return; fi; \
    for tool in $(LATEX_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
    command -v kpsewhich >/dev/null || return; \
    kpsewhich $(LATEX_FILES) >/dev/null 2>&1 && return; \
    for file in $(LATEX_FILES); do kpsewhich $$file >/dev/null 2>&1 || missing="$$missing $$file"; done; \
}; \
find_missing; \
if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "Installing LaTeX: 0.2 GB to fetch, 0.5 GB on disk, 2 minutes."; \
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends $(LATEX_PACKAGES) >/dev/null; \
    find_missing; \
fi; \
how="TeX Live (on macOS MacTeX) and poppler"; \
command -v apt-get >/dev/null && how="sudo apt-get install $(LATEX_PACKAGES)"; \
[ -z "$$missing" ] || { \
    echo "No PDF without LaTeX, the notebooks run all the same. Missing:$$missing. Install: $$how" >&2; false; }
endef
