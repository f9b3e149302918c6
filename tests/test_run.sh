#!/bin/sh
# test_run.sh - ./run itself: commands, refusals, other directories, a damaged build directory.
#
# Usage: test_run.sh BUILD_ROOT SOURCE_ROOT
set -u
source_root=$(readlink -f -- "$2")
FORKJOIN_BUILD=$(readlink -f -- "$1")
export FORKJOIN_BUILD
run=$source_root/run
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

# expect STATUS COMMAND...: standard output and error go to $scratch/out and $scratch/err.
expect() {
    wanted=$1
    shift
    "$@" </dev/null >"$scratch/out" 2>"$scratch/err"
    status=$?
    sed -i '/waiting for another .\/run to finish its set-up/d' "$scratch/err" # another test uses ./run, too
    if [ "$status" -ne "$wanted" ]; then fail "status $status, not $wanted: $*"; fi
}

fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$1"
    sed 's/^/  out: /' "$scratch/out" | tail -20
    sed 's/^/  err: /' "$scratch/err" | tail -20
}

lines() { wc -l <"$scratch/$1" | tr -d ' '; }
silent() { [ ! -s "$scratch/err" ] || fail "something was said on standard error: $1"; }
first=$(basename "$(find "$source_root/chapters" -path '*/[0-9][0-9]_*.c' -o -path '*/[0-9][0-9]_*/*.c' |
    sort | head -1 | xargs dirname)")
number=${first%%_*}
short=${first#*_}

echo 'list and help'
expect 0 "$run" list
grep -q "^$first  *[^ ]" "$scratch/out" || fail "list does not name $first with its title"
[ "$(lines out)" -eq "$(find "$source_root/chapters" -name '[0-9][0-9]_*' -type d | wc -l)" ] ||
    fail 'list does not have one line for each chapter'
for word in help --help -h; do
    expect 0 "$run" "$word"
    grep -q '/run test' "$scratch/out" || fail "$word does not tell of ./run test"
done

echo 'unknown commands and chapters'
for word in 0 00 99 nonsense --nonsense "$short." "../$first" '*' ''; do
    expect 2 "$run" "$word"
    [ ! -s "$scratch/out" ] || fail "'$word': standard output is not empty"
    [ "$(lines err)" -eq 1 ] || fail "'$word': not one line on standard error"
    grep -qF -- "'$word'" "$scratch/err" || fail "'$word' is not named"
done
expect 2 "$run" tour --fast
expect 2 "$run" docs --fast

echo 'a chapter by each of its names; quiet when there is nothing to do'
expect 0 "$run" "$number" --version
for name in "$number" "${number#0}" "$first" "$short"; do
    expect 0 "$run" "$name" --version
    silent "$name"
    [ "$(lines out)" -eq 1 ] || fail "$name --version: not one line"
done
expect 2 "$run" "$number" --mode sideways
[ "$(lines err)" -eq 1 ] || fail 'a wrong option: not one line on standard error'

echo 'the report page: refusals; the rest is test_report.py'
echo mine >"$scratch/file"
mkdir -p "$scratch/taken/index.html"
for directory in "$scratch/file" "$scratch/file/below" "$scratch/taken"; do
    expect 1 "$run" report "$directory"
    [ "$(lines err)" -eq 1 ] || fail "report $directory: not one line on standard error"
    grep -qF -- "$directory" "$scratch/err" || fail "report: $directory is not named"
done
[ "$(cat "$scratch/file")" = mine ] || fail 'report changed a file in the way'
mkdir "$scratch/site"
echo 'my own' >"$scratch/site/index.html"
expect 1 "$run" report "$scratch/site"
grep -q 'no page of report' "$scratch/err" || fail 'report: the reason is not told'
[ "$(cat "$scratch/site/index.html")" = 'my own' ] || fail 'report replaced a page that is not its own'
for option in --json=x --csv --save --trace --plot=x.svg --report; do
    expect 2 "$run" report "$scratch/page" "$option"
    expect 2 "$run" demo --answers /dev/null "$option"
done
expect 2 "$run" report "$scratch/page" --repeats none
grep -q -- '--repeats' "$scratch/err" || fail 'report: a wrong option is not named'
[ -z "$(ls "$scratch/page")" ] || fail 'report: a wrong option left something'
"$run" report "$scratch/page" --repeats 1 >"$scratch/out" 2>"$scratch/err" </dev/null &
other=$!
sleep 1
kill $other
wait $other
[ -z "$(ls "$scratch/page")" ] || fail 'report: interrupted, it left something'

echo 'through a symbolic link, from another directory with a blank in its name'
mkdir "$scratch/a b"
ln -s "$run" "$scratch/a b/book"
cd "$scratch/a b" || exit 1
expect 0 ./book "$number" --seconds 0.01 --repeats 1 --mode threads --json result.json
silent 'through a link'
[ -s result.json ] || fail 'result.json is not in the current directory'
expect 0 ./book "$number" --seconds 0.01 --repeats 1 --mode threads --json -
python3 -c 'import json, sys; json.load(sys.stdin)' <"$scratch/out" ||
    fail 'standard output is not JSON alone'

echo 'a build directory that is new, has a blank in its name, is damaged, was interrupted'
# Of a tree with the first chapter alone, and no tests: most of the time would go into the compiler.
whole=$FORKJOIN_BUILD
tree="$scratch/a b/tree"
mkdir -p "$tree/chapters"
cp -R "$source_root/run" "$source_root/meson.build" "$source_root/meson_options.txt" "$source_root/common" "$tree/"
cp -R "$source_root/chapters/$first" "$tree/chapters/"
sed -i "/^  '[0-9][0-9]_/{/'$first'/!d}" "$tree/meson.build"
sed -i "s/value: 'auto'/value: 'disabled'/" "$tree/meson_options.txt"
run=$tree/run
ln -sf "$run" "$scratch/a b/book"
FORKJOIN_BUILD="$scratch/a b/new"
export CFLAGS=-O0 # from here on, or each new configuration would compile all anew
expect 0 "$run" "$number" --version
[ "$(lines out)" -eq 1 ] || fail 'the set-up wrote to standard output'
grep -q 'compiling' "$scratch/err" || fail 'it does not say that it compiles'
rm "$FORKJOIN_BUILD/build.ninja"
expect 0 "$run" "$number" --version
echo damaged >"$FORKJOIN_BUILD/meson-private/coredata.dat"
touch "$FORKJOIN_BUILD/meson-private/coredata.dat"
rm "$FORKJOIN_BUILD/meson-info/meson-info.json" # as a killed configuration leaves it
expect 0 "$run" "$number" --version
FORKJOIN_BUILD=new
expect 0 ./book "$number" --version
silent 'FORKJOIN_BUILD relative to the current directory'
mv new moved
FORKJOIN_BUILD=moved
expect 0 ./book "$number" --version
FORKJOIN_BUILD=$run
expect 1 ./book "$number" --version
grep -qF "$run" "$scratch/err" || fail 'an impossible build directory is not named'

echo 'two at once'
FORKJOIN_BUILD="$scratch/a b/moved"
rm "$FORKJOIN_BUILD/build.ninja"
"$run" "$number" --version >"$scratch/one" 2>&1 </dev/null &
other=$!
expect 0 "$run" "$number" --version
wait $other || fail "the other of two failed: $(cat "$scratch/one")"

echo 'the demo, unattended from start to end, and what it refuses'
if [ -z "${FORKJOIN_SHORT:-}" ]; then # of all chapters; else of this tree's one
    run=$source_root/run
    FORKJOIN_BUILD=$whole
fi
expect 0 "$run" demo --answers "$source_root/tests/demo_answers.txt" --seconds 0.01 --repeats 1 --workers 2
silent 'the demo'
[ "$(grep -c '^======== [0-9][0-9]_' "$scratch/out")" -eq "$("$run" list | wc -l)" ] ||
    fail 'the demo does not play all chapters'
grep -q '^Watch for:$' "$scratch/out" || fail 'the demo does not say what to watch for'
grep -Eq '^[0-9]+ of [0-9]+ predictions were close' "$scratch/out" || fail 'the demo has no summary'
if grep -q 'no line fits' "$scratch/out"; then fail 'tests/demo_answers.txt lacks an answer'; fi
mkdir answers
printf '* * * *: 2\n' >"answers/$first.txt"
if [ -z "${FORKJOIN_SHORT:-}" ]; then # all chapters again
    expect 0 "$run" demo --answers=answers --mode threads --seconds 0.01 --repeats 1 --workers 2
    grep -q "^$first .* 2.00x" "$scratch/out" || fail 'the answers in a directory are not found'
fi
printf '* * * *: nonsense\n' >wrong.txt
expect 2 "$run" demo --answers wrong.txt
grep -q 'wrong.txt, line 1' "$scratch/err" || fail 'the wrong line is not named'
[ "$(lines err)" -eq 1 ] || fail 'a wrong line: not one line on standard error'
for options in '' '--answers' '--answers missing.txt' '--answers wrong.txt --json out.json' \
    '--answers wrong.txt --trace out.json' '--answers wrong.txt --plot=out.svg' '--answers wrong.txt --report out'; do
    # shellcheck disable=SC2086 # words
    expect 2 "$run" demo $options
    [ "$(lines err)" -eq 1 ] || fail "demo $options: not one line on standard error"
    [ ! -s "$scratch/out" ] || fail "demo $options: standard output is not empty"
done
TMPDIR=$scratch/tmp
export TMPDIR
mkdir "$TMPDIR"
{ "$run" demo --answers answers --mode threads --seconds 0.01 2>"$scratch/err" || echo $? >status; } </dev/null |
    head -3 >"$scratch/out"
if [ ! -s status ] || [ "$(cat status)" -eq 0 ]; then fail 'closed early: status 0'; fi
rmdir "$TMPDIR" || fail 'closed early: something was left in TMPDIR'
mkdir "$TMPDIR"
mkfifo questions
for signal in HUP INT QUIT TERM; do # shells start what is in the background with two of them ignored
    env --default-signal=INT,QUIT "$run" demo --answers questions --mode threads --seconds 0.01 --repeats 1 \
        >"$scratch/out" 2>"$scratch/err" &
    exec 9>questions # as soon as the first chapter reads it
    kill -s "$signal" $!
    exec 9>&-
    status=0
    wait $! || status=$?
    [ "$status" -gt 128 ] || fail "demo, SIG$signal: status $status"
    [ -z "$(ls "$TMPDIR")" ] || fail "demo, SIG$signal: something was left in TMPDIR"
done
rmdir "$TMPDIR" || fail 'interrupted: something was left in TMPDIR'
unset TMPDIR

[ $failures -eq 0 ] && echo 'all passed'
exit $((failures > 0))
