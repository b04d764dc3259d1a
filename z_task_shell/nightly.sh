#!/usr/bin/env bash
# The tests that take long: every variant of every model, 8-bit files, scripts from end to end. Stops after BUDGET (2h), and says what failed till then.
# Arguments go to pytest: BUDGET=30m nightly.sh tests/models
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

status=0
# A process holds the largest network with its gradients twice.
processes=$(python -c 'import os; memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"); print(max(1, min(8, os.cpu_count() or 1, memory // (12 << 30))))')
# An interrupt makes pytest print what it found.
OMP_NUM_THREADS=1 timeout --signal=INT "${BUDGET:-2h}" python -m pytest -m slow -n "$processes" "$@" || status=$?
[ "$status" -ne 124 ] || echo "not finished within ${BUDGET:-2h}; give more with BUDGET=4h, or name a folder of tests"
exit "$status"
