#!/bin/sh
# vps-start plain|systemd - PID 1 of a test server. AUTHORIZED_KEY is let in as root and as deploy.
set -eu

rm -f /run/*.pid  # a container keeps its /run over a power cut, which a machine does not: those numbers are others' by now

[ -f /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
for user in root deploy; do
    home=$(getent passwd $user | cut -d: -f6)
    install -d -m 700 -o $user -g $user "$home/.ssh"
    printf '%s\n' "$AUTHORIZED_KEY" >"$home/.ssh/authorized_keys"
    chown $user:$user "$home/.ssh/authorized_keys"
    chmod 600 "$home/.ssh/authorized_keys"
done
unset AUTHORIZED_KEY

case $1 in
plain)
    mkdir -p /run/sshd
    # A shell stays PID 1, so that sshd can be restarted and orphans of killed sessions are reaped.
    trap 'exit 0' TERM INT
    while :; do
        /usr/sbin/sshd -D -e &
        wait $! || true
        sleep 0.1
    done
    ;;
systemd) exec /sbin/init ;;
*) echo "vps-start: plain or systemd, not '$1'" >&2; exit 2 ;;
esac
