#!/bin/sh
# test_places.sh - ./run and Meson where something is not as usual: line ends, characters in a path,
# another locale, a machine that is too old.
#
# Usage: test_places.sh BUILD_ROOT SOURCE_ROOT
#
# With FORKJOIN_SHORT set nothing is compiled but one file.
set -u
source_root=$(readlink -f -- "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
unset FORKJOIN_BUILD CC
export CFLAGS=-O0

# expect STATUS COMMAND...: standard output and error go to $scratch/out and $scratch/err.
expect() {
    wanted=$1
    shift
    "$@" </dev/null >"$scratch/out" 2>"$scratch/err"
    status=$?
    [ "$status" -eq "$wanted" ] || fail "status $status, not $wanted: $*"
}

fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$1"
    sed 's/^/  out: /' "$scratch/out" | tail -20
    sed 's/^/  err: /' "$scratch/err" | tail -20
}

lines() { wc -l <"$scratch/$1" | tr -d ' '; }

# fake NAME TEXT: a program of this name, first in PATH if $scratch/bin is.
mkdir "$scratch/bin"
fake() {
    printf '#!/bin/sh\n%s\n' "$2" >"$scratch/bin/$1"
    chmod +x "$scratch/bin/$1"
}

echo 'a clone whose owner wants the line ends of another system'
if ! command -v git >/dev/null || ! git -C "$source_root" rev-parse --verify -q HEAD >/dev/null 2>&1; then
    echo 'skipped: line ends in a clone, for there is no git or this is no clone'
else
    expect 0 git clone -q -c core.autocrlf=true -c core.eol=crlf "$source_root" "$scratch/clone"
    expect 0 "$scratch/clone/run" list
    [ "$(lines out)" -gt 1 ] || fail 'the chapters are not listed'
    expect 0 git -C "$scratch/clone" ls-files --eol
    if grep 'w/crlf\|w/mixed' "$scratch/out"; then fail 'there are lines that end with a carriage return'; fi
fi

echo 'a machine that is too old: refused before anything is installed'
fake apt-get "touch '$scratch/installed'"
fake sudo "touch '$scratch/installed'"
fake getconf 'echo glibc 2.31'
fake meson 'echo 0.56.2'
fake cc 'echo GCC 10'
too_old() {
    expect 1 env PATH="$scratch/bin:$PATH" FORKJOIN_BUILD="$scratch/old" "$source_root/run" 1
    [ "$(lines err)" -eq 1 ] || fail "too old: not one line on standard error: $1"
    grep -q "needs glibc 2.36, Meson 1.0, and GCC 12 or clang 14.*here is $1\$" "$scratch/err" ||
        fail "too old: it does not say '$1'"
    [ ! -e "$scratch/installed" ] || fail 'too old: something was to be installed'
}
too_old 'glibc 2.31, Meson 0.56.2, GCC 10'
fake getconf 'echo glibc 2.36'
too_old 'Meson 0.56.2, GCC 10'
fake meson 'echo 1.0'
fake cc 'echo clang 13'
too_old 'clang 13'
fake cc 'echo clang 14'
fake getconf 'echo "getconf: GNU_LIBC_VERSION: unknown variable" >&2; exit 1' # as musl's
too_old 'another C library'
rm "$scratch/bin/meson" "$scratch/bin/cc"
# What is not there yet counts as what would be installed.
fake getconf 'echo glibc 2.36'
# shellcheck disable=SC2016 # its own $2
fake apt-cache 'case $2 in
    meson) printf "meson:\n  Installed: (none)\n  Candidate: 0.56.2-1\n" ;;
    gcc) printf "gcc:\n  Installed: (none)\n  Candidate: 4:10.2.1-1\n" ;;
    esac'
for program in sh env sed sort head tr dirname readlink mkdir flock getconf cat python3 id grep; do
    [ -e "$scratch/bin/$program" ] || ln -s "$(command -v $program)" "$scratch/bin/$program"
done
expect 1 env PATH="$scratch/bin" FORKJOIN_BUILD="$scratch/old" "$source_root/run" 1
grep -q 'here is Meson 0.56.2, GCC 10.2.1$' "$scratch/err" || fail 'too old: what would be installed is not looked at'
[ ! -e "$scratch/installed" ] || fail 'too old: something was to be installed'

echo 'the same, said by Meson'
mkdir "$scratch/headers"
printf '#include_next <features.h>\n#undef __GLIBC_MINOR__\n#define __GLIBC_MINOR__ 31\n' >"$scratch/headers/features.h"
expect 1 env CFLAGS="-I$scratch/headers" meson setup "$scratch/old_library" "$source_root"
grep -q 'ERROR: .*this needs glibc 2.36' "$scratch/out" || fail 'Meson does not refuse an old C library'
if real=$(command -v gcc); then
    fake cc "case \$* in *-dM*) '$real' \"\$@\" | sed 's/__GNUC__ .*/__GNUC__ 10/' ;; *) exec '$real' \"\$@\" ;; esac"
    expect 1 env CC="$scratch/bin/cc" meson setup "$scratch/old_compiler" "$source_root"
    grep -q 'ERROR: .*this needs GCC 12 or clang 14; here is gcc 10[.]' "$scratch/out" || fail 'Meson does not refuse an old compiler'
else
    echo 'skipped: an old GCC, for there is none'
fi
rm -r "${scratch:?}/bin"/*

echo 'a path with every kind of character, and another locale'
place="$scratch/q\"u\\o\$t e's ü"
mkdir -p "$place"
for name in run meson.build meson_options.txt common chapters tests docs; do
    cp -R "$source_root/$name" "$place"
done
rm -rf "$place/build"
sed -i "s/value: 'auto'/value: 'disabled'/" "$place/meson_options.txt" # most would go into compiling tests
ninja=$(command -v ninja || command -v ninja-build)
fake ninja "case \" \$* \" in *' -n '*) echo 'ninja: no work to do.' ;; *) exec '$ninja' \"\$@\" ;; esac"
configured_in() { # LOCALE: what ./run says, with nothing to compile
    env PATH="$scratch/bin:$PATH" LC_ALL="$1" PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 \
        "$place/run" 1 --version </dev/null >"$scratch/out" 2>"$scratch/err"
    grep -q 'run: configuring' "$scratch/err"
}
configured_in C.UTF-8 || fail 'it is not configured'
[ -f "$place/build/build.ninja" ] || fail 'configuring failed'
if configured_in C; then fail 'in another locale all is made anew'; fi
object=common/lesson/liblesson.a.p/host_places.c.o
expect 0 "$ninja" -C "$place/build" "$object"
grep -qaF "$place" "$place/build/$object" || fail 'the program does not know where its sources are'
if [ -n "${FORKJOIN_SHORT:-}" ]; then
    echo 'skipped: not here: a whole compilation in such a path, only with --all'
else
    expect 0 "$place/run" 1 --version
    [ "$(lines out)" -eq 1 ] || fail 'the set-up wrote to standard output'
    cd "$place" || exit 1
    expect 0 ./run 1 --quiet --repeats 1 --report "p\"a\\g\$e' ü"
    [ -s "p\"a\\g\$e' ü/index.html" ] || fail 'no page was written'
    grep -q '"function":"run_sequential","line"' "p\"a\\g\$e' ü/index.html" || fail 'the page lacks sources'
fi

[ $failures -eq 0 ] && echo 'all passed'
exit $((failures > 0))
