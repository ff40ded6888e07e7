#!/bin/sh
# devflow-run: journaled runs on this server, detached from whoever started them.
#
#   start ID OFFSET   script on stdin, last line "#end"; starts it once, then follows its journal from byte OFFSET
#   start ID OFFSET BYTES   the same; after the BYTES of the script, lines on stdin tell the run what it waits for:
#                     "open NUMBER" opens a gate, "commit ID" is the commit that the first server found,
#                     "image ID" the image that was brought here, "canary WORD" what a person wants of a canary
#   status ID         "running PID" | "ended CODE" | "interrupted" | "interrupted by ID" | "absent"
#   kill ID [BY]      ends all its processes: TERM, after 10 s KILL; then it counts as interrupted, by the deployment BY
#   list              the runs, newest first        log ID   the whole journal of a run
#   rollback SITE     back to the release before (SITE: a folder like /srv/shop); needs no panel
#   unlock SITE       removes the lock of a panel that is gone for good
#   tidy              removes runs of long ago, packs the copies of repositories; comes by itself after a run
#
# A run is ~/.devflow/runs/<ID>/{script,log,birth,pgid,boot_id,rc,ended_by}. After `start` the last line on stderr is
# "devflow-run: " and its status. Exit codes: 97 unknown command, 98 home cannot be written, 99 the script came incomplete,
# 96 the run was taken back before it began, 95 following broke off while the run goes on.
set -u
umask 077
devflow=$HOME/.devflow
runs=$devflow/runs
runs_kept=200
loose_kept=8  # of the 256 folders of a repository's single objects in one; so 2,000 in all
packs_kept=50

die() { code=$1; shift; printf 'devflow-run: %s\n' "$*" >&2; exit "$code"; }

valid() { case $1 in ''|*[!a-zA-Z0-9-]*) die 97 "not a run id: $1" ;; esac; }

boot() { read -r boot_id </proc/sys/kernel/random/boot_id && printf '%s\n' "$boot_id"; }

uptime() { read -r now _ </proc/uptime && printf '%s\n' "${now%.*}"; }

# begun_at PID - when a process began, in ticks of the kernel's clock; nothing where there is no such process
begun_at() {
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  set -- ${line##*) }
  echo "${20}"
}

# birth PID - what no other process has had or will have: a container that is restarted keeps the kernel's boot id, and
# gives the same numbers again, but its first process is another one
birth() { echo "$(boot) $(begun_at 1) $(begun_at "$1")"; }

# Whether the run began since this machine, or container, was started. A run of an earlier version has no birth.
is_of_this_boot() {
  [ -s "$runs/$1/boot_id" ] && [ "$(cat "$runs/$1/boot_id")" = "$(boot)" ] || return 1
  [ ! -s "$runs/$1/birth" ] || { read -r was <"$runs/$1/birth"; [ "${was% *}" = "$(boot) $(begun_at 1)" ]; }
}

# leader ID - the number of the process that leads the run, and of its group; nothing where another has it by now. As long
# as anybody is in the group nobody gets its number, also when the leader itself is gone.
leader() {
  { read -r pgid <"$runs/$1/pgid"; } 2>/dev/null && is_of_this_boot "$1" || return 0
  if [ -s "$runs/$1/birth" ] && [ -d "/proc/$pgid" ] && [ "$(cat "$runs/$1/birth")" != "$(birth "$pgid")" ]; then return 0; fi
  echo "$pgid"
}

is_alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# Every live process of a run: its group, and whatever left the group but still carries the run's name.
members() {
  is_of_this_boot "$1" || return 0
  pgid=$(leader "$1")
  grep -lszx "DEVFLOW_RUN=$1" /proc/[0-9]*/environ | tr -dc '0-9\n'
  for folder in /proc/[0-9]*; do
    { read -r line <"$folder/stat"; } 2>/dev/null || continue
    set -- ${line##*) }
    if [ "$1" != Z ] && [ "$3" = "$pgid" ]; then echo "${folder#/proc/}"; fi
  done
}

status() {
  if [ ! -d "$runs/$1" ]; then echo absent
  elif [ -s "$runs/$1/rc" ]; then read -r rc <"$runs/$1/rc"; echo "ended $rc"
  else
    pgid=$(leader "$1")
    if is_alive "$pgid"; then echo "running $pgid"
    elif [ -s "$runs/$1/rc" ]; then read -r rc <"$runs/$1/rc"; echo "ended $rc"
    elif [ -s "$runs/$1/ended_by" ]; then read -r by <"$runs/$1/ended_by"; echo "interrupted by $by"
    else echo interrupted
    fi
  fi
}

start() {
  run=$runs/$1
  pid=''
  if [ ! -d "$run" ]; then
    case $1 in *-undo|*-undo-again) ;; *) [ ! -d "$runs/${1%-*-*}-undo" ] || die 96 "this deployment was taken back" ;; esac
    sweep
    fresh=$runs/.new.$1.$$
    { [ -d "$runs" ] || mkdir -p "$runs"; } && mkdir "$fresh" && take_script "${3:-}" >"$fresh/script" || { rm -rf "$fresh" 2>/dev/null; die 98 "$devflow cannot be written by $(id -un)"; }
    [ "$(tail -n 1 "$fresh/script")" = "#end" ] || { rm -rf "$fresh"; die 99 "the script came incomplete"; }
    : >"$fresh/log"
    if mv -T "$fresh" "$run" 2>/dev/null; then
      setsid sh "$0" begin "$1" </dev/null >>"$run/log" 2>&1 &
      pid=$!
    else
      rm -rf "$fresh"
    fi
  elif [ -n "${3:-}" ]; then take_script "$3" >/dev/null
  fi
  porter=''
  if [ -n "${3:-}" ]; then
    exec 3<&0
    open_gates <&3 >/dev/null 2>&1 &
    porter=$!
  fi
  if [ -z "$pid" ] && [ ! -s "$run/rc" ]; then
    await_start "$1"
    pid=$(leader "$1")
    is_alive "$pid" || pid=''
  fi
  if [ -n "$pid" ]; then tail -c "+$(($2 + 1))" -f --pid="$pid" -s 0.01 "$run/log"
  else tail -c "+$(($2 + 1))" "$run/log"
  fi
  [ -z "$porter" ] || kill "$porter" 2>/dev/null
  [ -s "$run/rc" ] || await_start "$1"  # whoever read may be gone before the script has come to its first line
  state=$(status "$1")
  case $state in
    running*) exit 95 ;;  # whoever read went away: no reason to end the run
    interrupted*) stop "$1" ;;
  esac
  printf 'devflow-run: %s\n' "$state" >&2
  if is_untidy; then setsid sh "$0" tidy </dev/null >/dev/null 2>&1 & fi
}

# Costs no process.
is_untidy() {
  ! has_many_runs || return 0
  for mirror in "$devflow"/repos/*.git; do
    ! is_scattered "$mirror" && ! has_leftovers "$mirror" || return 0
  done
  return 1
}

has_many_runs() { set -- "$runs"/*; [ "$#" -gt "$runs_kept" ]; }

is_scattered() {
  objects=$1/objects
  set -- "$objects"/17/*
  [ "$#" -le "$loose_kept" ] || return 0
  set -- "$objects"/pack/*.pack
  [ "$#" -gt "$packs_kept" ]
}

has_leftovers() { set -- "$1"/objects/pack/tmp_*; [ -e "$1" ]; }

# What is left of runs that ended more than a day ago, but for the newest: the panel has read their journals. One that
# still has its script goes on, or is ended by whoever takes the site's lock next.
tidy_runs() {
  cd "$runs" || return
  # shellcheck disable=SC2012 # the names are run ids
  beyond=$(ls -1t | tail -n "+$((runs_kept + 1))")
  [ -n "$beyond" ] || return
  # shellcheck disable=SC2044 # so are these
  for old in $(find $beyond -prune -mtime +0); do
    [ -e "$old/script" ] || rm -rf "$old"
  done
}

# What a git that was killed has left goes after a day. Many objects and packs become one pack, where there is room for it
# beside them; also what no branch has any more: it may be deployed again.
tidy_mirror() {
  find "$1/objects" -name 'tmp_*' -mtime +0 -exec rm -f {} +
  is_scattered "$1" || return
  size=$(du -sk "$1") && free=$(df -Pk "$1" | tail -n 1) || return
  # shellcheck disable=SC2086 # df's columns
  set -- "$1" $free
  [ "$5" -ge $((${size%%[!0-9]*} * 2)) ] || return
  nice -n 19 git -c 'safe.directory=*' -c pack.threads=1 --git-dir="$1" repack -a -d -q --keep-unreachable
}

# What a start that was killed has left, with the secrets of its script. One that is on its way has a live writer; after an
# hour its number is another's.
sweep() {
  for left in "$runs"/.new.*; do
    [ -d "$left" ] || continue
    if [ ! -d "/proc/${left##*.}" ] || [ -n "$(find "$left" -maxdepth 0 -mmin +60 2>/dev/null)" ]; then rm -rf "$left"; fi
  done
}

# take_script [BYTES] - so many bytes of stdin, or all of it
take_script() { if [ -n "$1" ]; then head -c "$1"; else cat; fi; }

# tell FILE [WORD] - where the disk is full, once there is room: the run would wait for ever
tell() { until if [ -n "${2:-}" ]; then echo "$2" >"$run/$1"; else true >"$run/$1"; fi; do sleep 0.5; done; }

# Each gate has a file that says it is open; whoever waits is woken through the pipe, and looks again when it was woken in
# vain. Waits itself while nobody reads there; who has just left is no reason to end.
open_gates() {
  trap '' PIPE
  while read -r word value; do
    case "$word $value" in
      'canary hold'|'canary resume'|'canary promote'|'canary abort') tell canary "$value"; continue ;;
    esac
    case $value in ''|*[!0-9a-f]*) continue ;; esac
    case $word in
      open) tell open-"$value" ;;
      commit) tell told "$value" ;;
      image) tell told_image "$value" ;;
      *) continue ;;
    esac
    [ ! -p "$run/gate" ] || echo >"$run/gate"
  done
}

# A run that has just been started writes its process group and then its boot as the first things it does.
await_start() {
  tries=0
  until [ -s "$runs/$1/boot_id" ] || [ "$tries" -ge 50 ]; do tries=$((tries + 1)); sleep 0.1; done
}

# A run that never was is marked as ended, so that a start that is still on its way only finds the mark.
forbid() {
  fresh=$runs/.new.$1.$$
  mkdir -p "$fresh" && : >"$fresh/log" && echo 143 >"$fresh/rc" && mv -T "$fresh" "$runs/$1" 2>/dev/null || rm -rf "$fresh"
  [ -d "$runs/$1" ] || die 98 "$devflow cannot be written by $(id -un)"
}

stop() {
  [ -d "$runs/$1" ] || forbid "$1"
  [ ! -s "$runs/$1/rc" ] || return 0  # what it left behind on purpose (a service) may stay
  await_start "$1"
  signal=TERM; since=$(uptime); pgid=$(leader "$1")
  while alive=$(members "$1"); [ -n "$alive" ]; do
    waited=$(($(uptime) - since))
    [ "$waited" -lt 15 ] || die 1 "these processes of $1 cannot be ended: $(echo $alive)"
    [ "$waited" -lt 10 ] || signal=KILL
    # the group at one stroke, so that the script does not go on with its next line when only a command of it was ended
    if [ -n "$signal" ]; then kill -s "$signal" -- ${pgid:+"-$pgid"} $alive 2>/dev/null; signal=''; fi
    sleep 0.1
  done
  rm -rf "$runs/$1/script" "$runs/$1/deploy_key" "$runs/$1/docker"
  if [ -n "${2:-}" ] && [ ! -s "$runs/$1/rc" ] && [ ! -s "$runs/$1/ended_by" ]; then
    [ -z "$(tail -c 1 "$runs/$1/log")" ] || echo >>"$runs/$1/log"
    echo "Interrupted: the deployment $2 came after it, and ended what was left of it." >>"$runs/$1/log"
    echo "$2" >"$runs/$1/ended_by"
  fi
}

site() {
  case $1 in /*) ;; *) die 2 "give the site's folder, like /srv/shop" ;; esac
  [ -d "$1/.devflow" ] || die 1 "$1 is not a folder that a panel deploys to"
  cd "$1" || exit 1
}

# By one rename: point LINK TARGET
point() { ln -sfn "$2" "$1.next.$$" && mv -T "$1.next.$$" "$1" || exit 1; }

# shared/.env as release $1 wants it: the panel's file, or the one that was there by hand before.
point_variables() {
  link=$(readlink shared/.env) || link=''
  if [ -f "shared/.env.d/$1" ]; then point shared/.env ".env.d/$1"
  elif [ "${link#.env.d/}" != "$link" ]; then
    if [ -f shared/.env.before-devflow ]; then mv -T shared/.env.before-devflow shared/.env; else rm -f shared/.env; fi
  fi
}

# A release that a deployment was still making when its server went away, or its panel.
is_unfinished() { cat .devflow/making.* 2>/dev/null | grep -qxF "$1"; }

rollback() {
  site "$1"
  [ -L current ] || die 1 "$1/current is not there: nothing has been deployed to $1"
  exec 9>>.devflow/lock.mutex
  flock 9
  [ ! -s .devflow/lock ] || die 1 "$1 is locked by: $(cat .devflow/lock). When that panel is gone for good: devflow-run unlock $1"
  if [ -s .devflow/live ]; then
    die 1 "$1 has two colours, which only the panel switches. What serves: $(cat .devflow/live). On standby: $(cat .devflow/standby 2>/dev/null || echo nothing). To go back, where the panel's command line is: devflow rollback PROJECT ENVIRONMENT"
  fi
  now=$(readlink current); now=${now##*/}
  to=${2:-}
  if [ -z "$to" ]; then
    for folder in releases/*/; do
      name=${folder%/}; name=${name##*/}
      [ "$name" = "$now" ] && break
      is_unfinished "$name" || to=$name
    done
  fi
  case $to in .*|*/*) die 2 "not a release: $to" ;; esac
  [ -n "$to" ] && [ -d "releases/$to" ] || die 1 "there is no release before $now in $1/releases"
  point_variables "$to"
  point current "releases/$to"
  exec 9>&-
  printf 'Release %s serves now (before: %s).\n' "$to" "$now"
  if [ -s .devflow/reload ]; then (cd "releases/$to" && sh -e "$1/.devflow/reload") || die 1 "reloading failed; see $1/.devflow/reload"; fi
}

case ${1:-} in
  start) valid "${2:-}"; start "$2" "${3:-0}" "${4:-}" ;;
  status) valid "${2:-}"; status "$2" ;;
  begin) valid "${2:-}"; birth "$$" >"$runs/$2/birth"; exec sh "$runs/$2/script" ;;  # for `start` alone
  kill) valid "${2:-}"; [ -z "${3:-}" ] || valid "$3"; stop "$2" "${3:-}" ;;
  list)
    # shellcheck disable=SC2045 # the names are run ids
    for folder in $(ls -1t "$runs" 2>/dev/null); do printf '%s  %s\n' "$folder" "$(status "$folder")"; done ;;
  log) valid "${2:-}"; cat "$runs/$2/log" ;;
  rollback) rollback "${2:-}" "${3:-}" ;;
  unlock) site "${2:-}"; rm -f .devflow/lock ;;
  tidy)
    exec 8<"$devflow" && flock -n 8 || exit 0  # another is at it
    ! has_many_runs || (tidy_runs)
    for mirror in "$devflow"/repos/*.git; do [ ! -d "$mirror" ] || tidy_mirror "$mirror"; done ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 97 ;;
esac
