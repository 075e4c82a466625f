#!/bin/sh
# install.sh ROOT: installs a minimal Debian 13 with Swift into the folder ROOT. Runs in a separate mount namespace, so that all
# mounts end with it.
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
