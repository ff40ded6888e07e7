"""Restarting what keeps an application running: units of systemd, the system's or the user's own, and of Supervisor.

Reads `$option_unit` (names), `$option_unit_manager` (auto, systemd, supervisor) and `$option_unit_action` (restart, reload).
"""

from __future__ import annotations

STEADY_SECONDS = 3
"""How long a unit must run without a break after it was started; what starts and dies does so by then."""
START_LIMIT_SECONDS = 12
"""How long a unit is tried that systemd does not start just now, since it was started too often (10 s by default)."""

_FIND = """\
set -f  # a name like shop:* is for supervisorctl, not for the shell
manager=${option_unit_manager:-auto}
me=$(id -un)
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
has() { command -v "$1" >/dev/null 2>&1; }
may_as_root() { [ "$(id -u)" = 0 ] || { has sudo && sudo -n -l "$@" >/dev/null 2>&1; }; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
show() { systemctl "$1" show --property="$3" --value "$2" 2>/dev/null; }
supervisor() { $way_in supervisorctl "$@"; }
states() { supervisor status "$1" 2>&1 | sed 's/, uptime.*//' | tr -s ' '; }
in_systemd() {
  has systemctl || return 1
  for scope in --user --system; do
    case $(show "$scope" "$1" LoadState) in ''|not-found) ;; *) return 0 ;; esac
  done
  return 1
}
in_supervisor() {
  has supervisorctl || return 1
  way_in=''
  supervisor pid >/dev/null 2>&1 || way_in=as_root
  case $(states "$1") in *' RUNNING '*|*' START'*|*' STOP'*|*' EXITED '*|*' FATAL '*|*' BACKOFF '*) return 0 ;; *) return 1 ;; esac
}
# What runs the unit $unit: found_by systemd (then $scope too) or supervisor.
find_unit() {
  if [ "$manager" != supervisor ] && in_systemd "$unit"; then
    found_by=systemd
    state=$(show "$scope" "$unit" LoadState)
    [ "$state" = loaded ] || fail "systemd cannot use the unit $unit: it is $state. See: systemctl $scope status $unit"
  elif [ "$manager" != systemd ] && in_supervisor "$unit"; then found_by=supervisor
  elif [ "$manager" != systemd ] && in_supervisor "$unit:*"; then found_by=supervisor; unit="$unit:*"
  elif [ "$manager" != systemd ] && has supervisorctl && ! supervisor pid >/dev/null 2>&1; then
    fail "$me cannot ask Supervisor for the unit $unit: $(supervisor pid 2>&1 | tail -n 1). If it runs, allow it with a line in /etc/sudoers.d: $me ALL=(root) NOPASSWD: /usr/bin/supervisorctl"
  else
    case $manager in auto) asked='neither systemd nor Supervisor knows it' ;; *) asked="$manager does not know it" ;; esac
    fail "There is no unit $unit on this server: $asked. Set it up first, or correct its name in the settings of the environment."
  fi
}
"""

_ACT = f"""\
action=${{option_unit_action:-restart}}
fail() {{ echo "$*" >&2; exit 1; }}
systemd_call() {{
  if [ "$scope" = --user ]; then systemctl --user "$@"
  elif may_as_root systemctl "$@"; then as_root systemctl "$@"
  else systemctl --no-ask-password "$@"
  fi
}}
systemd_failed() {{
  journalctl "$scope" --unit "$unit" --lines 20 --no-pager --output cat 2>/dev/null || :
  if [ "$scope" = --system ] && ! may_as_root systemctl "$verb" "$unit"; then
    fail "$me may not $verb $unit. Allow it with a line in /etc/sudoers.d: $me ALL=(root) NOPASSWD: /usr/bin/systemctl $verb $unit"
  fi
  fail "$unit ${{1:-did not come up}}: it is $(show "$scope" "$unit" ActiveState) ($(show "$scope" "$unit" SubState), exit status $(show "$scope" "$unit" ExecMainStatus)). Its log: journalctl $scope -u $unit"
}}
systemd_act() {{
  verb=$action
  if [ "$verb" = reload ] && ! systemctl "$scope" --quiet is-active "$unit"; then verb=restart; fi
  if [ "$verb" = reload ] && [ "$(show "$scope" "$unit" CanReload)" = no ]; then
    fail "$unit cannot be reloaded: it has no ExecReload. Choose restart in the settings of the environment."
  fi
  if [ "$(show "$scope" "$unit" ActiveState)" = failed ]; then systemd_call reset-failed "$unit" >/dev/null 2>&1 || :; fi
  echo "$verb $unit (systemd, ${{scope#--}})"
  tries={START_LIMIT_SECONDS}
  until said=$(systemd_call "$verb" "$unit" 2>&1); do
    tries=$((tries - 1))
    if [ "$tries" = 0 ] || [ "$(show "$scope" "$unit" Result)" != start-limit-hit ]; then echo "$said"; systemd_failed; fi
    sleep 1
  done
}}
systemd_look() {{
  case $(show "$scope" "$unit" ActiveState) in
    active|reloading) ;;
    inactive) [ "$(show "$scope" "$unit" Type) $(show "$scope" "$unit" Result)" = 'oneshot success' ] || systemd_failed ;;
    *) systemd_failed ;;
  esac
  pids=$(show "$scope" "$unit" MainPID)
}}
supervisor_failed() {{
  case $unit in *:\\*) ;; *) supervisor tail "$unit" stderr 2>/dev/null || : ;; esac
  fail "$unit ${{1:-did not come up}}: $(states "$unit" | tr '\\n' ' ')"
}}
supervisor_act() {{
  echo "$action $unit (supervisor)"
  case $action in
    reload) supervisor signal HUP "$unit" || supervisor_failed ;;
    *) supervisor restart "$unit" || supervisor_failed ;;
  esac
}}
supervisor_look() {{
  now=$(states "$unit")
  if printf '%s\\n' "$now" | grep -qv ' RUNNING'; then supervisor_failed; fi
  pids=$(printf '%s\\n' "$now" | sed -n 's/.* pid \\([0-9]*\\).*/\\1/p')
}}
# A process that works in another release of this site was not started anew from the link `current`.
check_folder() {{
  folder=$(readlink "/proc/$1/cwd" 2>/dev/null) || return 0
  here=$(pwd -P)
  case $folder in
    "$here"|"$here"/*) ;;
    "${{here%/*}}"/*) fail "$unit still works in $folder, not in this release: its working directory must be ${{here%/*/*}}/current, and it must be restarted, not reloaded." ;;
  esac
}}
for unit in ${{option_unit:-}}; do
  find_unit
  "${{found_by}}_act"
  "${{found_by}}_look"
  began=$pids
  end=$(($(date +%s) + {STEADY_SECONDS}))
  while [ "$(date +%s)" -le "$end" ]; do
    sleep 0.5
    "${{found_by}}_look"
    [ "$pids" = "$began" ] || "${{found_by}}_failed" 'ended at once and was started again'
  done
  for pid in $pids; do check_folder "$pid"; done
done
"""

CHECK = (
    _FIND
    + """\
fail() { explain "$server: $*"; }
for unit in $option_unit; do find_unit; done
"""
)
"""Whether the server has the units, before anything is done."""

RESTART = _FIND + _ACT
"""Restarts or reloads each unit in turn and fails, with the end of its log, where one does not stay up."""
