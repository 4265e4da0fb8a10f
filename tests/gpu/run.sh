#!/usr/bin/env bash
# Everything that needs a GPU, in one call of under ten minutes, on a machine that may have no more than
# nvcc, CMake, a C compiler and (for the benchmark's peer) a Python with torch: builds the engine without
# the program, runs the kernels against their double references, under compute-sanitizer where the machine
# allows it, and benches with the program that pack.sh has carried there, if it has.
#
#   tests/gpu/run.sh [RESULTS]     RESULTS: where the report goes (default: $OUT, else build/gpu-results)
set -uo pipefail
cd "$(dirname "$0")/../.."
results=${1:-${OUT:-build/gpu-results}}
mkdir -p "$results"
exec > >(tee "$results/report.txt") 2>&1
failures=0

part() { # NAME COMMAND...: told with its time, its failure counted
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  "$@"
  local status=$?
  [ $status -eq 0 ] || failures=$((failures + 1))
  echo "== $name: status $status, $((SECONDS - start)) s"
  return $status
}

nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv 2>/dev/null
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
part configure cmake -S . -B build/gpu -DHOPLAB_APP=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_CUDA_ARCHITECTURES="${arch:-90}" || exit 1
part build cmake --build build/gpu --target device_test_cuda -j "$(nproc)" || exit 1
test=build/gpu/tests/cuda/device_test_cuda
part "kernels against their references" "$test" cuda
if command -v compute-sanitizer >/dev/null; then
  part "memory" timeout 240 compute-sanitizer --tool memcheck --error-exitcode 9 "$test" cuda
  part "races" timeout 120 compute-sanitizer --tool racecheck --error-exitcode 9 "$test" cuda
else
  echo "skipped: no compute-sanitizer"
fi

carried=build/carried
if [ -x $carried/hoplab ]; then
  export LD_LIBRARY_PATH=$PWD/$carried/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  part doctor $carried/hoplab doctor
  base=(-s model.layers=12 -s model.width=768 -s model.heads=12 --pairs 9 --device cuda --profile)
  for precision in fp32 tf32 bf16 fp16; do
    part "BERT-base, 256 x 128, $precision" timeout 120 $carried/hoplab bench scripts_lua/exp/bert_small.lua \
      "${base[@]}" -s model.vocab=30522 -s data.batch_size=256 --precision $precision
    part "OPT-125m, 48 x 512, $precision" timeout 120 $carried/hoplab bench scripts_lua/exp/opt_small.lua \
      "${base[@]}" -s model.vocab=50272 -s model.max_len=512 -s data.seq_len=512 -s data.batch_size=48 \
      --precision $precision
  done
else
  echo "skipped: no benchmark, tests/gpu/pack.sh was not run before"
fi
echo "$failures parts failed"
[ $failures -eq 0 ]
