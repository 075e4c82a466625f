#!/bin/sh
# install.sh ROOT: a small Debian 13 with Swift in the folder ROOT. Runs in a mount namespace of its own, so that nothing
# stays mounted whatever happens.
root=$1
debootstrap --variant=minbase trixie "$root"
# Without proc, Swift does not find its own library.
mount -t proc proc "$root/proc"
printf '%s\n' 'path-exclude /usr/share/doc/*' 'path-exclude /usr/share/man/*' 'path-exclude /usr/share/locale/*' \
  >"$root/etc/dpkg/dpkg.cfg.d/slim"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
export DEBIAN_FRONTEND=noninteractive
chroot "$root" apt-get update -q
# sqlite for the comparison in the bench; the library itself brings its own.
chroot "$root" apt-get install -q -y --no-install-recommends swiftlang libc6-dev libstdc++-14-dev libsqlite3-dev
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/*
