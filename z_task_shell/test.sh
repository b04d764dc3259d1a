#!/usr/bin/env bash
# Checks style, types and behavior, without the tests marked slow (nightly.sh). Arguments go to pytest: test.sh -k resume
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

echo "ruff"
ruff check .
echo "pyright"
# The checker's JavaScript is part of its package where there is a node; otherwise it says so.
pyright --outputjson >.venv/pyright.json || { python -c "
import json
for found in json.load(open('.venv/pyright.json'))['generalDiagnostics']:
    print('{}:{}: {}'.format(found['file'], found['range']['start']['line'] + 1, found['message']))
"; exit 1; }
echo "pytest"
# One thread a process: small models lose more to waiting than they gain.
OMP_NUM_THREADS=1 python -m pytest -n "$(python -c 'import os; print(min(8, os.cpu_count() or 1))')" "$@"
