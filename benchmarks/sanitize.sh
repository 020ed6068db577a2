#!/usr/bin/env bash
# The tests of the compiled engine under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   benchmarks/sanitize.sh [PYTHON]     (default: python3; with nanobind, cmake and the tests' needs)
#
# Builds a second module in build/sanitize and runs the tests on a copy of the package that holds it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${1:-python3}")
copy="$root/build/sanitize/copy"
mkdir -p "$copy"
cp -r "$root"/{CMakeLists.txt,pyproject.toml,lightpfp_ray,tests} "$copy"
find "$copy" -name '_native*.so' -delete
cmake -S "$copy" -B "$root/build/sanitize/cmake" -DPython_EXECUTABLE="$python" -DLIGHTPFP_SANITIZE=ON
cmake --build "$root/build/sanitize/cmake" --target install
cd "$copy"
# Python and torch keep memory to the end: leaks are not looked for.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  "$python" -m pytest -q -p no:cacheprovider tests/test_engine.py tests/test_engine_normal.py
