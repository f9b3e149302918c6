#!/bin/sh
# chroot.sh - another release of Debian in a directory, and a command in it.
#
# Usage: tests/matrix/chroot.sh DIR RELEASE COMMAND [ARGUMENT...]
#
# What is not there yet is installed by debootstrap, from the mirror that this machine's apt uses. The
# source tree is copied to DIR/home/forkjoin each time, where the command begins. Status 77: this machine
# cannot do it; the last line on standard error says why.
#
# The command lives in namespaces of its own, of mounts and of processes: whatever it mounts or starts
# is gone when it ends, however it ends. So DIR never shows this machine's /dev or /proc to somebody who
# deletes it.
set -eu

root=$(dirname "$(dirname "$(dirname "$(readlink -f -- "$0")")")")

cannot() { echo "$1" >&2; exit 77; }

# Debian's own archive, not its security updates nor anybody else's.
mirror() {
    # shellcheck disable=SC2016 # apt's variable
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -1
}

install_release() {
    site=$(mirror)
    [ -n "$site" ] || cannot "apt has no mirror of Debian"
    /usr/lib/apt/apt-helper download-file "$site/dists/$release/InRelease" "$directory.InRelease" >/dev/null 2>&1 ||
        cannot "the mirror has no $release"
    rm -f "$directory.InRelease"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    export http_proxy https_proxy
    rm -rf --one-file-system "$directory"
    debootstrap --variant=minbase --include=ca-certificates "$release" "$directory" "$site" \
        >"$directory.log" 2>&1 || { cat "$directory.log" >&2; exit 1; }
    rm "$directory.log"
    printf '%s\n' "$release" >"$directory/etc/installed-by-chroot.sh"
}

mount_system() {
    mount -t proc proc "$directory/proc"
    mount -t sysfs -o ro sysfs "$directory/sys"
    mount -t tmpfs -o mode=755 tmpfs "$directory/dev"
    for device in null zero full random urandom tty; do
        : >"$directory/dev/$device"
        mount --bind "/dev/$device" "$directory/dev/$device"
    done
    mkdir "$directory/dev/shm" "$directory/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$directory/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$directory/dev/pts"
    ln -s pts/ptmx "$directory/dev/ptmx"
    ln -s /proc/self/fd "$directory/dev/fd"
}

# As a fresh clone has them: the files that git knows, as they are now.
copy_sources() {
    mkdir -p "$directory/home/forkjoin"
    find "$directory/home/forkjoin" -mindepth 1 -maxdepth 1 ! -name 'build*' -exec rm -rf {} +
    git -c safe.directory='*' -C "$root" ls-files -z |
        tar -C "$root" --null --files-from=- -c | tar -C "$directory/home/forkjoin" -x
}

if [ "${1-}" = --inside ]; then # process 1 of the new namespaces
    directory=$2 release=$3
    shift 3
    [ "$(cat "$directory/etc/installed-by-chroot.sh" 2>/dev/null)" = "$release" ] || install_release
    mount_system
    copy_sources
    cp /etc/resolv.conf "$directory/etc/resolv.conf"
    # Not by exec: process 1 ignores most signals, and programs shall be like any others.
    # shellcheck disable=SC2016 # for the shell inside
    chroot "$directory" env -u LD_LIBRARY_PATH -u LD_PRELOAD -u PYENV_ROOT HOME=/root LC_ALL=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/tmp \
        sh -c 'cd /home/forkjoin && exec "$@"' sh "$@"
    exit
fi

[ $# -ge 3 ] || { sed -n '4s/^# //p' "$0" >&2; exit 2; }
directory=$(realpath -m -- "$1")
shift
[ "$(id -u)" -eq 0 ] || cannot 'only root can make a chroot'
command -v debootstrap >/dev/null || cannot 'debootstrap is not installed'
unshare --mount --pid --fork true 2>/dev/null || cannot 'this machine allows no namespaces'
exec unshare --mount --propagation private --pid --fork --kill-child -- "$0" --inside "$directory" "$@"
