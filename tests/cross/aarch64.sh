#!/bin/sh
# aarch64.sh - builds everything for 64-bit ARM, on another machine, and runs tests under QEMU.
#
# Usage: tests/cross/aarch64.sh BUILD [TEST...]      tests of Meson's, by name
#
# Without a name, those that make sense there: the kernels, random numbers to the last bit, the GIL, and
# three chapters in all modes; the others take minutes. (QEMU does not know all system calls that the
# tests of the pool make.)
#
# It needs Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, and a mirror that has
# arm64. The ARM libraries are downloaded and unpacked below BUILD: they are not installed, and nothing
# changes for the packages of this machine.
#
# QEMU does what the instructions say, not how fast they are: no time that is measured here means
# anything.
set -eu

root=$(dirname "$(dirname "$(dirname "$(readlink -f -- "$0")")")")
mkdir -p "$1"
build=$(readlink -f -- "$1")
shift
sysroot=$build/sysroot
blas=/usr/lib/aarch64-linux-gnu/openblas-pthread
emulate="qemu-aarch64 -L $sysroot -E LD_LIBRARY_PATH=$blas -E FORKJOIN_ENVIRONMENT=1"

# An apt with a state of its own, in which nothing is installed yet.
make_sysroot() {
    apt=$build/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/state"
    : >"$apt/status"
    cat >"$apt/apt.conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$apt/state";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Debug::NoLocking "true";
EOF
    APT_CONFIG=$apt/apt.conf apt-get -qq update
    APT_CONFIG=$apt/apt.conf apt-get -qq -y --no-install-recommends --download-only install \
        libc6-dev libgomp1 check libopenblas-dev libhwloc-dev libjansson-dev libpng-dev libjpeg-dev
    rm -rf "$sysroot.new"
    mkdir "$sysroot.new"
    for package in "$apt"/cache/archives/*.deb; do
        dpkg -x "$package" "$sysroot.new"
    done
    # Since Debian 13 packages have nothing in /lib, which is a link to usr/lib there.
    [ -e "$sysroot.new/lib" ] || ln -s usr/lib "$sysroot.new/lib"
    # A link to /lib/... means the sysroot's; followed from outside it would leave it.
    find "$sysroot.new" -lname '/*' | while read -r link; do
        ln -sfn "$sysroot$(readlink "$link")" "$link"
    done
    rm -rf "$apt" "$sysroot"
    mv "$sysroot.new" "$sysroot"
}

[ -d "$sysroot" ] || make_sysroot
printf "[constants]\nsysroot = '%s'\nblas = '%s'\n" "$sysroot" "$blas" >"$build/sysroot.txt"
[ -f "$build/build.ninja" ] || meson setup "$build" "$root" --cross-file "$build/sysroot.txt" \
    --cross-file "$root/tests/cross/aarch64.txt" -Dwerror=true
ninja -C "$build" --quiet

if [ $# -gt 0 ]; then exec meson test -C "$build" --print-errorlogs --timeout-multiplier 10 "$@"; fi
export CK_TIMEOUT_MULTIPLIER=4 # Check has timeouts of its own
meson test -C "$build" --print-errorlogs --timeout-multiplier 10 kernels kernels_random cnn data gil advice

printf '#!/bin/sh\nexec %s %s/tests/data_numbers "$@"\n' "$emulate" "$build" >"$build/data_numbers.sh"
chmod +x "$build/data_numbers.sh"
status=0
python3 "$root/tests/data_oracle.py" "$build/data_numbers.sh" || status=$?
[ $status -eq 0 ] || [ $status -eq 77 ] # 77: without NumPy

for chapter in 01_pool_map 04_image_filters 07_shared_memory; do
    echo "$chapter in all modes"
    $emulate "$build/chapters/$chapter/${chapter#*_}" --workers 2 --repeats 1 --seconds 0.02 --quiet
done
