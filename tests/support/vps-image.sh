#!/bin/sh
# vps-image.sh TARBALL - makes the root of the test server (Debian trixie) and packs it as TARBALL (.tar.zst).
#
# Needs root, debootstrap and zstd; takes two to three minutes. What it holds: sshd, systemd, nginx, PHP 8.4 with Composer,
# Node.js, Python, Supervisor, git; root and an unprivileged user `deploy`; a Composer repository with Laravel and Symfony.
# A container of it starts with `vps-start plain` (sshd as PID 1, under a second) or `vps-start systemd`.
set -eu

tarball=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/devflow-vps.XXXXXX")
root=$work/root

SYSTEM="systemd systemd-sysv dbus libpam-systemd openssh-server sudo cron logrotate procps iproute2 ca-certificates"
TOOLS="git rsync curl jq zip unzip zstd less iptables libfaketime supervisor nginx-light nodejs npm python3 python3-venv"
PHP="php8.4-fpm php8.4-cli php8.4-mysql php8.4-pgsql php8.4-sqlite3 php8.4-mbstring php8.4-xml php8.4-curl php8.4-zip
     php8.4-gd php8.4-intl php8.4-bcmath php8.4-redis composer
     php-laravel-framework php-guzzlehttp-guzzle php-predis
     php-symfony-framework-bundle php-symfony-yaml php-symfony-dotenv php-symfony-messenger"
# They fight over the host's kernel, or wait for hardware that a container has not.
MASKED="systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-timesyncd.service
        systemd-logind.service systemd-modules-load.service getty@.service console-getty.service
        apt-daily.timer apt-daily-upgrade.timer man-db.timer"

main() {
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    base_system
    packages
    users
    ssh_server
    web_server
    certificates
    start_script
    install -m 755 "$here/laravel/composer-repository.sh" "$root/usr/local/sbin/composer-repository"
    in_root /usr/local/sbin/composer-repository /srv/composer-repo
    pack
}

clean_up() {
    umount "$root/proc" 2>/dev/null || true
    rm -rf "$work"
}

in_root() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# The machine's own mirror; none named (not a Debian): debootstrap's default.
mirror() {
    grep -hoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 | sed 's# *$##; s#/$##'
}

base_system() {
    mirror=$(mirror)
    debootstrap --variant=minbase trixie "$root" ${mirror:+"$mirror"}
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    echo 'APT::Install-Recommends "false";' >"$root/etc/apt/apt.conf.d/90lean"
    cat >"$root/etc/dpkg/dpkg.cfg.d/90lean" <<'END'
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
END
    cp /etc/resolv.conf "$root/etc/resolv.conf"
}

packages() {
    mount -t proc proc "$root/proc" 2>/dev/null || mount --bind /proc "$root/proc"
    in_root apt-get update -q
    # shellcheck disable=SC2086 # lists of words
    in_root apt-get install -y -q $SYSTEM $TOOLS $PHP
    in_root apt-get clean
    rm -rf "$root"/var/lib/apt/lists/* "$root/usr/sbin/policy-rc.d"
    umount "$root/proc"
    for unit in $MASKED; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
}

users() {
    in_root useradd --create-home --shell /bin/bash deploy
    in_root usermod --append --groups deploy www-data
    chmod 750 "$root/home/deploy"
    install -d -m 700 "$root/root/.ssh"
    install -d -m 755 -o "$(stat -c %u "$root/home/deploy")" -g "$(stat -c %g "$root/home/deploy")" "$root/srv/www"
    # What a deploy user may do as root on a well-kept server: reload what serves, nothing else.
    cat >"$root/etc/sudoers.d/deploy" <<'END'
deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reload *, /usr/bin/systemctl restart *, /usr/bin/supervisorctl
END
    chmod 440 "$root/etc/sudoers.d/deploy"
}

ssh_server() {
    rm -f "$root"/etc/ssh/ssh_host_*  # made at the first start of each container
    cat >"$root/etc/ssh/sshd_config.d/10-test.conf" <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
PerSourcePenalties no
MaxStartups 100:30:200
PrintMotd no
PrintLastLog no
END
}

# One site, rooted where the tests say (SITE_ROOT of `vps-site`); PHP runs as the deploy user, as on a managed host.
web_server() {
    rm -f "$root/etc/nginx/sites-enabled/default"
    sed -i -e 's/^user = .*/user = deploy/' -e 's/^group = .*/group = deploy/' \
        -e 's/^pm = .*/pm = static/' -e 's/^pm.max_children = .*/pm.max_children = 2/' \
        "$root/etc/php/8.4/fpm/pool.d/www.conf"
    install -m 755 "$here/vps-site.sh" "$root/usr/local/sbin/vps-site"
}

# pip and npm in the container trust what this machine trusts.
certificates() {
    bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    [ -f "$bundle" ] || return 0
    cp "$bundle" "$root/usr/local/share/host-certificates.crt"
    printf '[global]\ncert = /usr/local/share/host-certificates.crt\n' >"$root/etc/pip.conf"
    echo 'cafile=/usr/local/share/host-certificates.crt' >"$root/etc/npmrc"
}

start_script() {
    install -m 755 "$here/vps-start.sh" "$root/usr/local/sbin/vps-start"
}

pack() {
    tar -C "$root" --one-file-system -c . | zstd -q -3 -T0 -f -o "$tarball"
}

main
