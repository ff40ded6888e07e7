#!/bin/sh
# install.sh - installs, upgrades and removes DevFlow Pro on Debian (12, 13) or Ubuntu (22.04, 24.04). See --help.
#
# What it makes: the account `devflow`; /opt/devflow/VERSION-HASH (each version whole, `current` is a link);
# /etc/devflow/devflow.toml; /var/lib/devflow (database, master key); devflow.service and devflow.socket; a site of nginx;
# with --domain a certificate. Every step looks first whether it is done: interrupted anywhere, it is run again.
set -eu
PATH=$PATH:/usr/sbin:/sbin

OPT=/opt/devflow
CONFIG=/etc/devflow
DATA=/var/lib/devflow
WEBROOT=/var/lib/devflow-acme
SITE=/etc/nginx/sites-available/devflow
SITE_LINK=/etc/nginx/sites-enabled/devflow
UNITS=/etc/systemd/system
COMMAND=/usr/local/bin/devflow
ACCOUNT=devflow
# A large database takes its time to be migrated; what cannot start ends early, again and again.
READY_SECONDS=900
EARLY_ENDS=3
# What the wheel is built with, hatchling and all that it needs; the versions are those of requirements/base.txt.
BUILDERS="editables hatchling packaging pathspec pluggy tomlkit trove-classifiers"

usage() {
    cat <<'END_OF_HELP'
install.sh [OPTION]...   installs DevFlow Pro; run again (with a newer checkout or wheel) it upgrades

  --wheel FILE               install this wheel; without it the checkout that install.sh lies in
  --domain NAME              serve https://NAME; the name has to lead to this machine
  --email ADDRESS            who is told when a certificate is about to end
  --tls-certificate FILE     with --tls-key: a certificate of your own instead of one from Let's Encrypt
  --tls-key FILE
  --acme-server URL          another certificate authority than Let's Encrypt
  --database-url-file FILE   the file holds postgresql://…: use that database instead of the embedded PostgreSQL
  --port NUMBER              where the panel listens on 127.0.0.1, behind nginx (8080)
  --no-start                 do not start the panel: for `devflow admin restore`
  --upgrade                  as without, but refuse where nothing is installed
  --uninstall [--purge]      remove it; data and settings stay, unless --purge is given
  --yes                      do not ask before --purge
  --help

What was given is remembered: an upgrade needs no option but --wheel, or none in a newer checkout. When the new version does
not become ready, the one before is started again. Guide: docs/guide/install.md
END_OF_HELP
}

main() {
    read_options "$@"
    [ "$(id -u)" = 0 ] || die "Run it as root: sudo sh install.sh …"
    [ -d /run/systemd/system ] || die "This machine does not run systemd, which starts the panel. Use \`devflow up\` instead."
    exec 9>/run/devflow-install.lock
    flock -n 9 || die "Another install.sh is running. Wait for it."
    work=$(mktemp -d /tmp/devflow-install.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'echo "Interrupted. Run install.sh again: it goes on." >&2; exit 130' INT TERM HUP
    if [ "$uninstall" = yes ]; then uninstall; else install_or_upgrade; fi
}

# --- options ----------------------------------------------------------------------------------------------------------

read_options() {
    wheel='' domain='' email='' certificate='' key='' acme_server='' database_url_file='' port=''
    start=yes upgrade=no uninstall=no purge=no yes=no
    while [ $# -gt 0 ]; do
        case $1 in
        --wheel | --domain | --email | --tls-certificate | --tls-key | --acme-server | --database-url-file | --port)
            [ $# -gt 1 ] && [ -n "$2" ] || wrong "$1 needs a value."
            take_option "$1" "$2"
            shift
            ;;
        --no-start) start=no ;;
        --upgrade) upgrade=yes ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        --yes) yes=yes ;;
        --help | -h) usage; exit 0 ;;
        *) wrong "There is no option '$1'." ;;
        esac
        shift
    done
    [ "$purge" = no ] || [ "$uninstall" = yes ] || wrong "--purge goes with --uninstall."
}

# Each is looked at before anything is changed: they end up in files of nginx, systemd and the panel.
take_option() {
    case $1 in
    --wheel) wheel=$(readable "$2") ;;
    --domain)
        is_like "$2" '[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+' || wrong "--domain is a name like panel.example.com, not '$2'."
        domain=$2
        ;;
    --email)
        is_like "$2" '[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+' || wrong "--email is an address like you@example.com, not '$2'."
        email=$2
        ;;
    --tls-certificate) certificate=$(readable "$2") ;;
    --tls-key) key=$(readable "$2") ;;
    --acme-server)
        is_like "$2" 'https://[A-Za-z0-9._:/-]+' || wrong "--acme-server is an address like https://acme.example.com/directory, not '$2'."
        acme_server=$2
        ;;
    --database-url-file) database_url_file=$(readable "$2") ;;
    --port)
        { is_like "$2" '[1-9][0-9]{0,4}' && [ "$2" -le 65535 ]; } || wrong "--port is a number up to 65535, not '$2'."
        port=$2
        ;;
    esac
}

# is_like TEXT REGEX - the whole text, which is one line
is_like() {
    [ "$(printf '%s\n' "$1" | wc -l)" = 1 ] && printf '%s\n' "$1" | grep -qxE "$2"
}

# The file's full path. It is named in configurations, so it has no characters that mean something there.
readable() {
    [ -f "$1" ] && [ -r "$1" ] || wrong "There is no file $1 that can be read."
    is_like "$(realpath -s "$1")" '[A-Za-z0-9._/+@%=-]+' || wrong "Move $1 to a path of letters, digits and . _ - / + alone."
    realpath -s "$1"
}

# What an earlier run was given goes on to hold; a certificate of one's own and one from an authority exclude each other.
recall_options() {
    memory=$CONFIG/install.conf
    if [ -n "$acme_server$email" ] && [ -z "$certificate$key" ]; then is_forgotten=yes; else is_forgotten=no; fi
    [ -n "$domain" ] || domain=$(recalled domain)
    [ -n "$email" ] || email=$(recalled email)
    [ -n "$acme_server" ] || acme_server=$(recalled acme_server)
    [ -n "$port" ] || port=$(recalled port)
    [ -n "$port" ] || port=8080
    if [ "$is_forgotten" = no ] && [ -z "$certificate$key" ]; then
        certificate=$(recalled certificate)
        key=$(recalled key)
    fi
    [ -n "$certificate" ] && [ -n "$key" ] || [ -z "$certificate$key" ] || wrong "--tls-certificate and --tls-key go together."
    [ -z "$certificate" ] || [ -n "$domain" ] || wrong "--tls-certificate needs --domain: the name that it is for."
}

recalled() {
    [ ! -f "$memory" ] || sed -n "s/^$1=//p" "$memory"
}

remember_options() {
    for name in domain email acme_server port certificate key; do
        eval "value=\$$name"
        [ -z "$value" ] || echo "$name=$value"
    done | put_file "$memory" 644
}

check_certificate() {
    openssl x509 -in "$certificate" -noout -checkhost "$domain" 2>/dev/null | grep -q 'does match' ||
        die "$certificate is no certificate for $domain. Nothing was changed."
    [ "$(openssl x509 -in "$certificate" -noout -pubkey)" = "$(openssl pkey -in "$key" -pubout 2>/dev/null)" ] ||
        die "$key is not the key of $certificate. Nothing was changed."
}

# Of a port that was not ours before. Later, the running panel would have been stopped for it already.
check_port() {
    [ "$port" != "$(recalled port)" ] || return 0
    case "$(systemctl is-active devflow.socket || true) $(systemctl show -p Listen --value devflow.socket)" in
    "active 127.0.0.1:$port "*) return 0 ;;
    esac
    "$(find_python)" -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$port" 2>/dev/null ||
        die "Port $port of 127.0.0.1 is in use by another program: choose one with --port. Nothing was changed."
}

# --- install and upgrade ----------------------------------------------------------------------------------------------

install_or_upgrade() {
    [ "$upgrade" = no ] || [ -L $OPT/current ] || die "Nothing is installed here: run it without --upgrade."
    before=$(readlink $OPT/current || true)
    recall_options
    packages
    [ -z "$certificate" ] || check_certificate
    check_port
    account
    [ -n "$wheel" ] || build_wheel
    version
    settings
    units
    command_line
    # As long as the port is not remembered: broken off here, the next run stops the old one.
    [ "$is_port_new" = no ] || quietly systemctl stop devflow.socket devflow.service
    remember_options
    switch_to "$id"
    quietly systemctl enable devflow.socket devflow.service
    if [ "$start" = no ]; then
        nginx_site
        say "DevFlow $id is installed and not started. To restore a panel: devflow admin restore FILE; then: systemctl start devflow.socket devflow"
        return
    fi
    start_version
    nginx_site
    remove_old_versions
    say "DevFlow $id runs: $(public_url)"
    told=$($COMMAND admin setup-address) || die "The panel runs, but tells no set-up address. Ask again: devflow admin setup-address"
    say "$told"
}

packages() {
    needed=ca-certificates
    command -v curl >/dev/null || needed="$needed curl"
    command -v nginx >/dev/null || needed="$needed nginx"
    command -v openssl >/dev/null || needed="$needed openssl"
    [ -z "$domain" ] || [ -n "$certificate" ] || command -v certbot >/dev/null || needed="$needed certbot"
    find_python >/dev/null || needed="$needed $(python_packages)"
    [ "$needed" != ca-certificates ] || [ ! -e /etc/ssl/certs/ca-certificates.crt ] || return 0
    say "Installing Debian packages: $needed"
    # shellcheck disable=SC2086 # a list of words
    quietly apt_install $needed
    python=$(find_python) || die "DevFlow needs Python 3.11 or later with its venv module, and this system has no package of it."
}

# What is known of packages may be old, or nothing: then it is fetched. An earlier apt may have been broken off.
apt_install() {
    apt="env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300"
    $apt install --no-install-recommends "$@" || { dpkg --configure -a && $apt update && $apt install --no-install-recommends "$@"; }
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# Ubuntu 22.04 has 3.10, and 3.11 beside it.
python_packages() {
    case $(. /etc/os-release && echo "$ID $VERSION_ID") in
    "ubuntu 22.04") echo "python3.11 python3.11-venv" ;;
    *) echo "python3 python3-venv" ;;
    esac
}

account() {
    ! getent passwd $ACCOUNT >/dev/null || is_account_ours ||
        die "There is an account $ACCOUNT already that is not the panel's. Rename it, and run this again."
    is_data_ours ||
        die "$DATA belongs to another panel: back that one up, move the folder away, and run this again (UPGRADE.md)."
    getent passwd $ACCOUNT >/dev/null ||
        quietly useradd --system --user-group --no-create-home --home-dir $DATA --shell /usr/sbin/nologin $ACCOUNT
    install -d -m 700 -o $ACCOUNT -g $ACCOUNT $DATA
    install -d -m 755 $OPT $CONFIG
}

is_account_ours() {
    [ "$(getent passwd $ACCOUNT | cut -d : -f 6)" = $DATA ] && [ "$(id -u $ACCOUNT)" -ne 0 ] && [ "$(id -gn $ACCOUNT)" = $ACCOUNT ]
}

# An empty one may be a disk that was mounted for the panel.
is_data_ours() {
    [ ! -e $DATA ] || [ "$(stat -L -c %U $DATA)" = $ACCOUNT ] || [ -z "$(find $DATA/ -mindepth 1 -maxdepth 1 ! -name lost+found)" ]
}

# From the checkout, in a copy: nothing of root's is left in it.
build_wheel() {
    checkout=$(cd "$(dirname "$0")" && pwd)
    [ -f "$checkout/pyproject.toml" ] && [ -f "$checkout/bin/lib/setup.sh" ] || die "install.sh does not lie in a checkout of DevFlow: give it --wheel FILE."
    say "Building DevFlow from $checkout"
    mkdir -p "$work/source/.tools" "$work/wheel"
    (cd "$checkout" && cp -R install.sh bin src requirements pyproject.toml README.md LICENSE CHANGELOG.md package.json package-lock.json "$work/source")
    cp "$checkout/.gitignore" "$checkout/.npmrc" "$work/source" 2>/dev/null || true
    cp "$checkout/.tools/assets" "$work/source/.tools/" 2>/dev/null || true
    (cd "$work/source" && sh -c '. bin/lib/setup.sh && setup_assets' bin/up) || die "The pages' styles and scripts cannot be built: see above."
    awk -v wanted=" $BUILDERS " '/^[a-z0-9]/ { split($1, word, "=="); keep = index(wanted, " " word[1] " ") } keep' \
        "$work/source/requirements/base.txt" >"$work/builders.txt"
    quietly "$(find_python)" -m venv "$work/builder"
    quietly "$work/builder/bin/pip" install --no-compile --require-hashes -r "$work/builders.txt"
    (cd "$work/source" && quietly "$work/builder/bin/python" -m hatchling build --target wheel --directory "$work/wheel")
    wheel=$(echo "$work"/wheel/devflow-*.whl)
}

# The wheel in a folder of its own under /opt/devflow, with the packages that its lock file names. `id` is the folder's name.
version() {
    id=$(basename "$wheel" | sed -nE 's/^devflow-([0-9][A-Za-z0-9.+]*)-.*\.whl$/\1/p')
    [ -n "$id" ] || die "$wheel is no wheel of DevFlow: its name is like devflow-1.2.3-py3-none-any.whl."
    id=$id-$(sha256sum "$wheel" | cut -c 1-8)
    folder=$OPT/$id
    if [ -f "$folder/complete" ] && has_its_python "$folder"; then return; fi
    say "Installing DevFlow $id"
    : >$OPT/changed
    rm -rf "$folder"
    mkdir "$folder"
    python=$(find_python)
    "$python" - "$wheel" >"$work/requirements.txt" <<'END_OF_PYTHON' || die "$wheel is no whole wheel of DevFlow: it holds no list of packages."
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/extra_metadata/requirements.txt")]
    sys.stdout.write(wheel.read(name).decode())
END_OF_PYTHON
    if are_packages_there; then
        link_packages
    else
        quietly "$python" -m venv "$folder/venv"
        quietly "$folder/venv/bin/python" -m pip --disable-pip-version-check install --require-hashes -r "$work/requirements.txt"
    fi
    quietly "$folder/venv/bin/python" -m pip --disable-pip-version-check install --no-deps --no-index --force-reinstall "$wheel"
    quietly "$folder/venv/bin/devflow" version
    chmod -R go=u-w "$folder"
    cp "$work/requirements.txt" "$folder/complete"
}

# has_its_python FOLDER - not any more when the system has another one now: the packages lie in a folder of the old one's.
has_its_python() {
    "$1/venv/bin/python" -I -c 'import devflow' 2>/dev/null
}

# Whether the version that is installed has the same packages, of the same Python.
are_packages_there() {
    cmp -s "$work/requirements.txt" "$OPT/current/complete" && has_its_python $OPT/current &&
        [ "$("$OPT/current/venv/bin/python" -V 2>&1)" = "$("$python" -V)" ]
}

# As links to the same files: pip replaces files, it never writes into them. Only the paths of the folder itself differ.
link_packages() {
    cp -al "$OPT/$before/venv" "$folder/venv"
    grep -rlIF "$OPT/$before/" "$folder/venv/bin" "$folder/venv/pyvenv.cfg" | xargs -r sed -i "s#$OPT/$before/#$folder/#g"
}

# `previous` is what is gone back to, also by a later run when this one is broken off: the version that was ready last.
switch_to() {
    last_ready=$(cat $OPT/ready 2>/dev/null || true)
    [ -z "$last_ready" ] || [ "$last_ready" = "$1" ] || point previous "$last_ready"
    point current "$1"
}

# point LINK VERSION - by a rename: the link is never away
point() {
    ln -sfn "$2" "$OPT/$1.new"
    mv -T "$OPT/$1.new" "$OPT/$1"
}

# A version that does not become ready is thrown away, and the one before is started again.
start_version() {
    systemctl start devflow.socket 2>/dev/null || die "Port $port of 127.0.0.1 is in use by another program: choose one with --port."
    if is_current_running; then
        say "DevFlow $id runs already."
        return
    fi
    say "Starting DevFlow $id"
    # The version that was ready last is not gone back from: then it is something else.
    if is_last_ready; then is_settled=yes; else is_settled=no; fi
    if restart_and_wait; then
        echo "$id" >$OPT/ready
        rm -f $OPT/changed
        return
    fi
    journalctl -q -u devflow.service -o cat -n 30 --no-pager | grep -v 'Set up:' >&2 || true
    previous=$(readlink $OPT/previous || true)
    if [ "$is_settled" = yes ] || [ -z "$previous" ] || [ ! -f "$OPT/$previous/complete" ]; then
        die "The panel does not become ready; above is what it said. Mend that ($CONFIG/devflow.toml, or the options), and run install.sh again."
    fi
    say "DevFlow $id does not become ready; above is what it said. Going back to $previous."
    point current "$previous"
    rm $OPT/previous
    if restart_and_wait; then
        rm -rf "${OPT:?}/$id"
        say "Not upgraded: $previous runs again. What $id has migrated in the database stays so."
        # It runs with the new options, and the port may be one of them.
        nginx_site
        exit 1
    fi
    die "Not upgraded, and $previous does not become ready either. Look at: journalctl -u devflow"
}

# An older systemd goes on counting restarts when one by hand ends a row of them.
restart_and_wait() {
    systemctl restart devflow.service 2>/dev/null || return 1
    restarts_before=$(restarts)
    is_ready
}

restarts() {
    systemctl show -p NRestarts --value devflow.service
}

is_last_ready() {
    [ "$(cat $OPT/ready 2>/dev/null)" = "$id" ]
}

# Neither the version that runs nor what it was told has changed since it was started, by this run or by an earlier one that
# was broken off: the link alone does not tell, and `changed` lies there until a version was ready.
is_current_running() {
    is_last_ready && [ "$before" = "$id" ] && [ ! -e $OPT/changed ] && [ "$(systemctl is-active devflow.service)" = active ] &&
        curl -fs -m 5 -o /dev/null "http://127.0.0.1:$port/readyz"
}

is_ready() {
    deadline=$(($(date +%s) + READY_SECONDS))
    while [ "$(date +%s)" -lt $deadline ]; do
        ! curl -fs -m 5 -o /dev/null "http://127.0.0.1:$port/readyz" || return 0
        [ $(($(restarts) - restarts_before)) -lt $EARLY_ENDS ] || return 1
        sleep 0.5
    done
    return 1
}

# The version that runs, and the one before it.
remove_old_versions() {
    previous=$(readlink $OPT/previous || true)
    for folder in $(versions); do
        case $folder in "$OPT/$id" | "$OPT/$previous") ;; *) rm -rf "$folder" ;; esac
    done
}

# Their folders. All else in /opt/devflow is somebody else's.
versions() {
    find $OPT -mindepth 1 -maxdepth 1 -type d -regextype posix-extended -regex "$OPT/[0-9][A-Za-z0-9.+]*-[0-9a-f]{8}"
}

# --- files ------------------------------------------------------------------------------------------------------------

# Lines that install.sh sets are replaced where they were asked for; all others are the administrator's.
settings() {
    file=$CONFIG/devflow.toml
    [ -f $file ] || echo "# Settings of the panel (docs/guide/install.md). After a change: systemctl restart devflow" | put_file $file 640
    is_domain_new=no
    [ "$domain" = "$(recalled domain)" ] || is_domain_new=yes
    is_port_new=no
    [ "$port" = "$(recalled port)" ] || is_port_new=yes
    setting url "\"$(wanted_url)\"" $is_domain_new
    setting host '"127.0.0.1"' no
    setting port "$port" $is_port_new
    setting trusted_proxies '["127.0.0.1"]' no
    if [ -n "$database_url_file" ]; then
        database_url=$(cat "$database_url_file")
        is_like "$database_url" "postgres(ql)?://[^'[:space:][:cntrl:]]+" || die "$database_url_file holds no line like postgresql://user:password@host/name (a ' is written %27)."
        setting database_url "'$database_url'" yes
    fi
    # Where `devflow` looks for it.
    [ -L $DATA/devflow.toml ] || ln -sfn $file $DATA/devflow.toml
}

# setting NAME VALUE IS-REPLACED
setting() {
    if grep -q "^$1 *=" $file; then
        [ "$3" = yes ] || return 0
    fi
    { grep -v "^$1 *=" $file || true; printf '%s = %s\n' "$1" "$2"; } >"$work/toml"
    put_file $file 640 <"$work/toml"
}

wanted_url() {
    if [ -n "$domain" ]; then echo "https://$domain"; else echo "http://$(own_address)"; fi
}

public_url() {
    sed -nE "s/^url *= *[\"'](.*)[\"'].*/\1/p" $CONFIG/devflow.toml
}

own_address() {
    hostname -I 2>/dev/null | tr ' ' '\n' | grep -m 1 -E '^[0-9.]+$' || echo 127.0.0.1
}

# put_file PATH MODE - what comes on standard input, whole or not at all; root's. With 640 the panel's group reads it.
put_file() {
    (umask 077 && cat >"$1.new")
    [ "$2" != 640 ] || chgrp $ACCOUNT "$1.new"
    chmod "$2" "$1.new"
    cmp -s "$1" "$1.new" || [ "$1" = $SITE ] || : >$OPT/changed
    mv "$1.new" "$1"
}

units() {
    put_file $UNITS/devflow.socket 644 <<END_OF_SOCKET
# Written by install.sh. Requests wait here while the panel is restarted.
[Unit]
Description=DevFlow Pro: the panel's port

[Socket]
ListenStream=127.0.0.1:$port
Backlog=2048

[Install]
WantedBy=sockets.target
END_OF_SOCKET
    put_file $UNITS/devflow.service 644 <<END_OF_SERVICE
# Written by install.sh; your own lines: systemctl edit devflow.
[Unit]
Description=DevFlow Pro: pages, API, worker and, without a database of yours, PostgreSQL
Wants=network-online.target
After=network-online.target postgresql.service
Requires=devflow.socket
StartLimitIntervalSec=0

[Service]
Type=exec
User=$ACCOUNT
Group=$ACCOUNT
Environment=DEVFLOW_DATA_DIR=$DATA HOME=$DATA
WorkingDirectory=$DATA
ExecStart=$OPT/current/venv/bin/devflow up
Restart=always
RestartSec=2
# The panel ends its processes by itself. What it runs on this machine for a deployment goes on, as on other servers.
KillMode=process
KillSignal=SIGTERM
TimeoutStopSec=90
OOMPolicy=continue
LimitNOFILE=65536
TasksMax=1024
UMask=0077

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths=$DATA
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
END_OF_SERVICE
    quietly systemctl daemon-reload
}

# `devflow admin` and `devflow doctor` are the panel's own: they run as its account, with its settings.
command_line() {
    [ ! -e $COMMAND ] || grep -q '^# Written by install.sh' $COMMAND || die "$COMMAND belongs to something else. Move it away, and run this again."
    put_file $COMMAND 755 <<END_OF_COMMAND
#!/bin/sh
# Written by install.sh.
case "\${1:-}" in
admin | doctor)
    [ "\$(id -u)" = 0 ] || { echo "devflow \$1 is for root here: sudo devflow \$*" >&2; exit 6; }
    unset DEVFLOW_URL # the client commands read it too, and it may name another panel
    export DEVFLOW_DATA_DIR=$DATA HOME=$DATA
    exec setpriv --reuid $ACCOUNT --regid $ACCOUNT --init-groups -- $OPT/current/venv/bin/devflow "\$@"
    ;;
esac
exec $OPT/current/venv/bin/devflow "\$@"
END_OF_COMMAND
}

# --- nginx ------------------------------------------------------------------------------------------------------------

nginx_site() {
    if [ -z "$domain" ]; then
        plain_site | put_site
    elif [ -n "$certificate" ]; then
        secure_site "$certificate" "$key" | put_site
    else
        acme_certificate
    fi
}

# First only the challenge is answered; then the certificate is there. One that is there certbot's timer renews: an upgrade
# needs no authority. One that has ended, or is of another authority than the one that was given, is asked for anew.
acme_certificate() {
    live=/etc/letsencrypt/live/$domain
    install -d -m 755 $WEBROOT
    if [ -f "$live/fullchain.pem" ]; then secure_site "$live/fullchain.pem" "$live/privkey.pem"; else redirect_site; fi | put_site
    when=--force-renewal
    if is_of_authority; then
        ! openssl x509 -in "$live/fullchain.pem" -noout -checkend 1209600 >/dev/null 2>&1 || return 0
        when=--keep-until-expiring
    fi
    set -- --cert-name "$domain" -d "$domain" --webroot -w $WEBROOT --non-interactive --agree-tos $when
    if [ -n "$email" ]; then set -- "$@" --email "$email"; else set -- "$@" --register-unsafely-without-email; fi
    [ -z "$acme_server" ] || set -- "$@" --server "$acme_server"
    say "Asking for a certificate for $domain"
    # No hook is kept open by certbot; the lock is ours alone.
    output=$(certbot certonly "$@" --deploy-hook "systemctl reload nginx" 2>&1 9>&-) || {
        say "$output"
        die "There is no certificate for $domain: its name has to lead to this machine, and port 80 be open from everywhere. The panel runs; mend that, and run install.sh again."
    }
    secure_site "$live/fullchain.pem" "$live/privkey.pem" | put_site
}

is_of_authority() {
    [ -z "$acme_server" ] || grep -qxF "server = $acme_server" "/etc/letsencrypt/renewal/$domain.conf" 2>/dev/null
}

# put_site - of standard input; a site that nginx does not take is not put in place.
put_site() {
    cat >"$work/site"
    cp -p $SITE "$work/site.before" 2>/dev/null || true
    put_file $SITE 644 <"$work/site"
    ln -sfn $SITE $SITE_LINK
    if ! output=$(nginx -t 2>&1); then
        if [ -f "$work/site.before" ]; then cp -p "$work/site.before" $SITE; else rm -f $SITE $SITE_LINK; fi
        say "$output"
        die "nginx does not take the panel's site; it was put back as it was. Mend what nginx says, and run install.sh again."
    fi
    quietly systemctl enable nginx
    quietly systemctl reload-or-restart nginx
}

listen() {
    echo "    listen $1;"
    [ ! -f /proc/net/if_inet6 ] || echo "    listen [::]:$1;"
}

# http2 listen|switch - event streams want it: of HTTP/1.1 a browser keeps six connections at most. Since 1.25.1 a switch.
http2() {
    seen=$(nginx -v 2>&1 | sed 's#.*/\([0-9.]*\).*#\1#')
    case $1-$(printf '%s\n1.25.1\n' "$seen" | sort -V | head -n 1) in
    switch-1.25.1) echo "    http2 on;" ;;
    listen-1.25.1 | switch-*) ;;
    *) printf ' http2' ;;
    esac
}

plain_site() {
    echo "# Written by install.sh: changes are lost with the next run."
    echo "server {"
    listen 80
    echo "    server_name $(own_address) localhost;"
    proxied
    echo "}"
}

redirect_site() {
    cat <<END_OF_SITE
# Written by install.sh: changes are lost with the next run.
server {
$(listen 80)
    server_name $domain;
    location ^~ /.well-known/acme-challenge/ {
        root $WEBROOT;
        default_type text/plain;
    }
    location / {
        return 308 https://$domain\$request_uri;
    }
}
END_OF_SITE
}

secure_site() {
    redirect_site
    cat <<END_OF_SITE
server {
$(listen "443 ssl$(http2 listen)")
$(http2 switch)
    server_name $domain;
    ssl_certificate $1;
    ssl_certificate_key $2;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:devflow:2m;
    ssl_session_timeout 1d;
    ssl_session_tickets off;
$(proxied)
}
END_OF_SITE
}

# The panel limits bodies by itself, and says of event streams that they are not to be held back. It sets the headers for
# browsers, Strict-Transport-Security too.
proxied() {
    cat <<END_OF_LOCATION
    server_tokens off;
    client_max_body_size 32m;
    location / {
        proxy_pass http://127.0.0.1:$port;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host \$host;
        proxy_set_header X-Forwarded-Host \$http_host;
        proxy_set_header X-Forwarded-Proto \$scheme;
        proxy_set_header X-Forwarded-For \$remote_addr;
        proxy_set_header X-Request-Id \$request_id;
        proxy_request_buffering off;
        proxy_connect_timeout 60s;
        proxy_read_timeout 300s;
        proxy_send_timeout 300s;
    }
END_OF_LOCATION
}

# --- uninstall --------------------------------------------------------------------------------------------------------

uninstall() {
    if [ ! -e $OPT ] && [ ! -e $CONFIG ] && [ ! -e $DATA ] && [ ! -e $COMMAND ] && [ ! -e $UNITS/devflow.service ] && ! is_account_ours; then
        say "DevFlow is not installed here."
        return
    fi
    if [ "$purge" = yes ] && [ "$yes" = no ]; then
        printf 'This removes the panel with its database and master key for good. Type devflow: ' >&2
        read -r answer || true
        [ "${answer:-}" = devflow ] || die "Nothing was removed. (--yes does not ask.)"
    fi
    memory=$CONFIG/install.conf
    domain=$(recalled domain)
    for unit in devflow.socket devflow.service; do
        [ ! -e $UNITS/$unit ] || quietly systemctl disable --now $unit
        rm -f $UNITS/$unit
    done
    systemctl daemon-reload
    systemctl reset-failed devflow.service 2>/dev/null || true
    if [ -e $SITE ] || [ -L $SITE_LINK ]; then
        rm -f $SITE $SITE_LINK
        if systemctl -q is-active nginx; then systemctl reload nginx || true; fi
    fi
    [ ! -e $COMMAND ] || ! grep -q '^# Written by install.sh' $COMMAND || rm -f $COMMAND
    if [ -d $OPT ]; then
        versions | xargs -r rm -rf
        rm -f $OPT/current $OPT/previous $OPT/ready $OPT/changed $OPT/current.new $OPT/previous.new
        rmdir $OPT 2>/dev/null || say "$OPT holds more than the panel: that is left."
    fi
    rm -rf $WEBROOT
    if [ "$purge" = yes ]; then purge; else say "DevFlow is removed. Its data is still in $DATA and $CONFIG (--uninstall --purge removes that too)."; fi
}

# The packages (nginx, certbot, Python) stay: others may use them by now.
purge() {
    if [ -n "$domain" ] && [ -z "$(recalled certificate)" ] && [ -d "/etc/letsencrypt/live/$domain" ]; then
        quietly certbot delete --non-interactive --cert-name "$domain"
    fi
    ! grep -q '^database_url' $CONFIG/devflow.toml 2>/dev/null || say "The database that you gave is left as it is: drop it yourself."
    if is_account_ours; then
        end_processes
        ! is_data_ours || rm -rf $DATA
        rm -rf $CONFIG $UNITS/devflow.service.d $UNITS/devflow.socket.d
        systemctl daemon-reload
        quietly userdel $ACCOUNT
        ! getent group $ACCOUNT >/dev/null || quietly groupdel $ACCOUNT
    fi
    for folder in $DATA $CONFIG; do
        [ ! -e $folder ] || say "$folder is not of this panel, and left as it is."
    done
    say "DevFlow is removed, with all its data."
}

# What it still runs on this machine for a deployment; `pkill` fails when there is nothing more.
end_processes() {
    for _ in $(seq 100); do
        pkill -KILL -u $ACCOUNT 2>/dev/null || return 0
        sleep 0.1
    done
}

# --- small things -----------------------------------------------------------------------------------------------------

# quietly COMMAND [ARGUMENT]... - its output is shown only when it fails
quietly() {
    output=$("$@" 2>&1) || die "$output
This failed: $*. Mend what it says, and run install.sh again: it goes on where it was."
}

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

wrong() {
    say "$* See install.sh --help."
    exit 2
}

main "$@"
