#!/bin/sh
# vps-bare-image.sh - run inside a container of the test server's image: makes it a machine that has nothing of a panel
# yet, and can install one without a network.
#
# apt finds nginx, certbot, PostgreSQL and Python's venv among the packages that it has downloaded; pip finds what
# /srv/requirements.txt names in /srv/wheels. Pebble, an ACME server for tests, is installed. Needs root; about a minute.
set -eu

main() {
    export DEBIAN_FRONTEND=noninteractive
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get update -q
    apt-get install -y -q pebble
    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip download -q --require-hashes -r /srv/requirements.txt -d /srv/wheels
    printf '[global]\nno-index = true\nfind-links = /srv/wheels\n' >/etc/pip.conf
    apt-get purge -y -q --auto-remove nginx-light nginx-common 'python3*-venv'
    rm -rf /etc/nginx /tmp/venv
    apt-get install -y -q --download-only nginx certbot postgresql python3-venv
    rm -f /usr/sbin/policy-rc.d
}

main
