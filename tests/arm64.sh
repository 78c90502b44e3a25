#!/usr/bin/env bash
# The suite on ARM without ARM hardware: tests/arm64.sh FOLDER [pytest arguments]. Needs an x86-64 Debian with these packages:
#     apt install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross unzip
# FOLDER gets, once, Debian's arm64 Python unpacked (no container, nothing installed) and arm64 wheels of what the tests need;
# then the library is cross-compiled and tested on an emulated CPU without dot products and on one with them. CPUS names others.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
root=$folder/root

if [ ! -e "$folder/ready" ]; then
    mkdir -p "$folder"/{state/lists/partial,cache/archives/partial,debs,whl,site} "$root"
    : > "$folder/status"
    printf 'APT::Architecture "arm64"; APT::Architectures { "arm64"; };\nDir::State "%s/state"; Dir::State::status "%s/status"; Dir::Cache "%s/cache";\n' \
        "$folder" "$folder" "$folder" > "$folder/apt.conf"
    (
        export APT_CONFIG=$folder/apt.conf
        cd "$folder/debs"
        apt-get update -qq
        apt-get download -qq python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11 libpython3.11-dev libc6 \
            libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 \
            libreadline8 libcrypt1 libgomp1
        for package in *.deb; do dpkg-deb -x "$package" "$root"; done
    )
    platforms=$(printf -- '--platform manylinux%s_aarch64 ' 2014 _2_17 _2_27 _2_28)
    # shellcheck disable=SC2086
    "$python" -m pip download -q --no-deps -d "$folder/whl" $platforms --python-version 311 --implementation cp --abi cp311 \
        --abi abi3 --abi none --only-binary=:all: numpy cffi pycparser pytest pluggy iniconfig packaging pygments hypothesis \
        sortedcontainers
    for wheel in "$folder"/whl/*.whl; do unzip -qo "$wheel" -d "$folder/site"; done
    touch "$folder/ready"
fi

copy=$folder/source
rm -rf "$copy" && mkdir "$copy"
(cd "$here" && git ls-files -z | xargs -0 cp --parents -t "$copy")
cd "$copy"
"$python" - << 'EMIT'
import sys
sys.path.insert(0, "csrc")
import build_hook
from cffi import FFI
ffi = FFI()
ffi.cdef(build_hook.declarations())
ffi.set_source("nanoquant._native", '#include "nanoquant.h"', py_limited_api=True)
ffi.emit_c_code("_native.c")
print(*build_hook.FLAGS, file=open("flags", "w"))
EMIT
# shellcheck disable=SC2046
aarch64-linux-gnu-gcc $(cat flags) -shared -fPIC -DPy_LIMITED_API -Icsrc -I"$root/usr/include/python3.11" -I"$root/usr/include" \
    _native.c $(find csrc -name '*.c') -o nanoquant/_native.abi3.so

for cpu in ${CPUS:-cortex-a53 neoverse-n1}; do
    printf -- '-- %s\n' "$cpu"
    printf '#!/bin/sh\nexec qemu-aarch64-static -cpu %s -L %s -E PYTHONPATH=%s -E OPENBLAS_NUM_THREADS=1 %s "$@"\n' \
        "$cpu" "$root" "$folder/site:$copy" "$root/usr/bin/python3.11" > "$folder/python"
    chmod +x "$folder/python"
    export NANOQUANT_TEST_PYTHON=$folder/python
    "$folder/python" -c 'from nanoquant.kernels import native; print(native.available_isas())'
    "$folder/python" -m pytest -q -p no:cacheprovider --hypothesis-profile=quick "$@"
done
