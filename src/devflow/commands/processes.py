"""A release run as a process beside another one: a unit of systemd for each environment and colour.

The system's units where the login user is root or may do all by sudo, else the user's own. The command is that of the
recipe's option `start_command`; it finds the environment's variables as they were deployed, and its port in PORT, which no
variable can change. Of the two units only that of the live colour is enabled: after a reboot that one comes up.
"""

from __future__ import annotations

_UNIT = r"""
unit=devflow-$environment-$colour.service
me=$(id -un)
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi; }
if [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then
  scope=--system unit_folder=/etc/systemd/system
else
  scope=--user unit_folder=$HOME/.config/systemd/user
  export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
fi
systemd() { if [ "$scope" = --user ]; then systemctl --user "$@"; else as_root systemctl --no-ask-password "$@"; fi; }
unit_is() { systemctl "$scope" show --property="$1" --value "$unit" 2>/dev/null; }
unit_log() {
  if [ "$scope" = --user ]; then journalctl --user --unit "$unit" --lines 20 --no-pager --output cat 2>/dev/null
  else as_root journalctl --unit "$unit" --lines 20 --no-pager --output cat 2>/dev/null
  fi || :
}
"""

CHECK = (
    _UNIT
    + r"""
[ -d /run/systemd/system ] || explain "systemd does not run on $server. Two releases side by side are kept by its units: choose the strategy atomic there."
[ -n "${option_start_command:-}" ] || explain "It is not known how this application is started. Set the option start_command of the recipe in the settings of the environment, like: node server.js"
if [ "$scope" = --user ]; then
  [ -e "/var/lib/systemd/linger/$me" ] || explain "Units of $me on $server would end with its last login, and not come up after a reboot. Allow them once: sudo loginctl enable-linger $me"
  systemctl --user show-environment >/dev/null 2>&1 || explain "systemd on $server keeps no units for $me: systemctl --user fails. Start it once: sudo systemctl start user@$(id -u).service"
fi
"""
)

# The port is given by env: systemd would let a variable PORT of the file have the last word.
# The control group: the shell that starts the application does not pass the signal on, so all processes get it.
START = (
    _UNIT
    + r"""
[ -d "$path" ] || explain "The release $release is not on $server any more."
if [ "$(unit_is ActiveState)" != inactive ]; then systemd stop "$unit" >/dev/null 2>&1 || :; fi
systemd reset-failed "$unit" >/dev/null 2>&1 || :
folder=$(printf %s "$path" | sed 's/%/%%/g')
variables=$(printf %s "$root/shared/.env.d/$release" | sed 's/%/%%/g')
command=$(printf %s "$option_start_command" | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g' -e 's/\$/$$/g')
account=''
if [ "$scope" = --system ]; then account="User=$me"; fi
wanted_by=multi-user.target
if [ "$scope" = --user ]; then wanted_by=default.target; mkdir -p "$unit_folder"; fi
{
  cat <<END
# Kept by DevFlow; what is changed here is lost with the next deployment.
[Unit]
Description=$(printf %s "$site ($colour)" | sed 's/%/%%/g')
After=network.target
[Service]
Type=exec
$account
WorkingDirectory=$folder
EnvironmentFile=-$variables
ExecStart=/usr/bin/env PORT=$port /bin/sh -c "$command"
Restart=on-failure
RestartSec=1
KillMode=control-group
TimeoutStopSec=${drain_seconds:-30}
[Install]
WantedBy=$wanted_by
END
} >"$run/unit"
if [ "$scope" = --user ]; then cp "$run/unit" "$unit_folder/$unit"; else as_root tee "$unit_folder/$unit" <"$run/unit" >/dev/null; fi
systemd daemon-reload
systemd start "$unit" || { unit_log; explain "$unit does not start on $server: it is $(unit_is ActiveState) ($(unit_is Result)). Its log: journalctl $scope -u $unit"; }
! grep -qs '^PORT=' "$root/shared/.env.d/$release" || echo "The variable PORT is not used: this colour's port is $port"
echo "$unit is started on port $port ($scope)"
"""
)

LOOK = (
    _UNIT
    + r"""
state=$(unit_is ActiveState) restarts=$(unit_is NRestarts)
if [ "$state" != active ] || [ "${restarts:-0}" != 0 ]; then
  unit_log
  explain "$unit on $server does not stay up: it is $state, has been started again ${restarts:-0} times, and ended with status $(unit_is ExecMainStatus). Its log: journalctl $scope -u $unit"
fi
"""
)

WORDS = _UNIT + "unit_log\n"
ENABLE = _UNIT + 'systemd enable --quiet "$unit"\n'
DISABLE = _UNIT + 'if [ -n "$(unit_is FragmentPath)" ]; then systemd disable --quiet "$unit"; fi\n'

STOP = (
    _UNIT
    + r"""
if [ -n "$(unit_is FragmentPath)" ]; then
  systemd disable --quiet "$unit"
  systemd stop "$unit"
  systemd reset-failed "$unit" >/dev/null 2>&1 || :
fi
"""
)

REMOVE = (
    _UNIT
    + r"""
if [ -n "$(unit_is FragmentPath)" ]; then
  systemd disable --quiet "$unit" || :
  systemd stop "$unit" || :
  systemd reset-failed "$unit" >/dev/null 2>&1 || :
  if [ "$scope" = --user ]; then rm -f "$unit_folder/$unit"; else as_root rm -f "$unit_folder/$unit"; fi
  systemd daemon-reload
fi
"""
)

KEEPS = '[ -d "$path" ]\n'
