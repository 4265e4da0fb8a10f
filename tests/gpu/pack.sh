#!/usr/bin/env bash
# Puts the program and the libraries that a bare machine lacks into build/carried (under 64 MiB), for
# tests/gpu/run.sh there. ARCH: compute capability without the dot (default 90).
set -euo pipefail
cd "$(dirname "$0")/../.."
to=build/carried
cmake -S . -B build/pack -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHOPLAB_TESTS=OFF \
  -DCMAKE_CUDA_ARCHITECTURES="${1:-90}" >/dev/null
cmake --build build/pack --target hoplab -- --quiet
rm -rf $to
mkdir -p $to/lib
strip -o $to/hoplab build/pack/hoplab
# the C library and the compiler's runtime are there, of whatever version
ldd build/pack/hoplab | awk '$3 ~ /^\// { print $3 }' |
  grep -Ev '/(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+)\.so' | xargs -I{} cp -L {} $to/lib/
# opened at run time
for library in $(ldconfig -p | awk '/libopenblas\.so\.0/ { print $NF; exit }'); do
  cp -L "$library" $to/lib/
done
du -sm $to | awk '{ print $1 " MiB in '$to'"; exit $1 >= 64 }'
