"""Judging a new release by the proxy's access log while it gets a growing share of the requests.

Runs on the server, over the functions of commands/nginx.py and commands/colours.py, so that it goes on without a panel.
A person's word comes as the file `$run/canary`: hold, resume, promote or abort. A hold ends after `$hold_minutes`: the site
stays locked meanwhile, so the release is taken back then.
"""

from __future__ import annotations

LOOK_SECONDS = 2
"""How often the log is read, and judged."""
LEAST_SECONDS = "0.020"
"""A p95 below this is never slow: at a few milliseconds a factor says nothing."""

CHECK = r"""
log=/var/log/nginx/devflow-$environment.access.log
if [ "$(id -u)" != 0 ] && ! id -nG | grep -qw "$(stat -c %G /var/log/nginx)" && ! sudo -n true 2>/dev/null; then
  explain "$me may not read nginx's access log on $server, by which the release is judged. Add $me to the group of /var/log/nginx: sudo usermod -aG $(stat -c %G /var/log/nginx) $me"
fi
"""
"""Whether the log may be read, also when it has been rotated. Uses nginx.FUNCTIONS."""

FUNCTIONS = (
    rf"""
look_seconds={LOOK_SECONDS}
least_seconds={LEAST_SECONDS}
log=/var/log/nginx/devflow-$environment.access.log
as_reader() {{ if [ -r "$log" ] || [ ! -e "$log" ]; then "$@"; else as_root "$@"; fi; }}
seconds() {{ read -r up _ </proc/uptime; echo "${{up%.*}}"; }}
"""
    + r"""
# new_lines: to $run/canary.lines what was written to the log since the last time, whole lines only; over a rotation the
# rest of the old file comes first.
new_lines() {
  : >"$run/canary.lines"
  file=$(stat -c %i "$log" 2>/dev/null) || file=''
  size=$(stat -c %s "$log" 2>/dev/null) || size=0
  if [ "$file" != "$log_file" ]; then
    before=$(find "${log%/*}" -maxdepth 1 -inum "${log_file:-0}" 2>/dev/null | head -n 1)
    if [ -n "$before" ]; then as_reader tail -c "+$((log_offset + 1))" "$before" >"$run/canary.lines" || :; fi
    log_file=$file log_offset=0
  elif [ "$size" -lt "$log_offset" ]; then log_offset=0
  fi
  [ -n "$file" ] || return 0
  as_reader tail -c "+$((log_offset + 1))" "$log" >"$run/canary.chunk" || :
  if [ -s "$run/canary.chunk" ] && [ "$(tail -c 1 "$run/canary.chunk" | wc -l)" = 0 ]; then  # the last line is not written to its end yet
    sed '$d' "$run/canary.chunk" >"$run/canary.whole"
    mv "$run/canary.whole" "$run/canary.chunk"
  fi
  log_offset=$((log_offset + $(wc -c <"$run/canary.chunk")))
  cat "$run/canary.chunk" >>"$run/canary.lines"
}
# Each request that a release got, to a file for each: 1 where it failed (no answer, or 500 and above), and its time.
# nginx tries the other release where one does not answer: its user sees nothing, but it counts.
sort_lines() {
  awk -F '"' -v new="127.0.0.1:$new_port" -v old="127.0.0.1:$old_port" -v to="$run/canary" '
    NF > 5 {
      n = split($(NF - 3), addresses, /, /); split($(NF - 1), statuses, /, /); split($NF, last, " ")
      for (i = 1; i <= n; i++) {
        side = addresses[i] == new ? "new" : addresses[i] == old ? "old" : ""
        if (side == "") continue
        if (statuses[i] == "-" || statuses[i] + 0 == 499) continue
        failed = statuses[i] + 0 >= 500
        print failed, (n > 1 ? "-" : last[1]) >> (to "." side)
      }
    }' "$run/canary.lines"
}
# figures_of new|old: sets count, failed, percent (two decimals, without the point), p95 (seconds).
figures_of() {
  set -- "$run/canary.$1"
  [ -e "$1" ] || : >"$1"
  count=$(wc -l <"$1") failed=$(grep -c '^1' "$1") || failed=0
  percent=0
  if [ "$count" -gt 0 ]; then percent=$((failed * 10000 / count)); fi
  p95=$(sed -n 's/^0 \([0-9.]*\)$/\1/p' "$1" | sort -n | awk '{ all[NR] = $1 } END { if (NR) { at = int(NR * 0.95 + 0.999999); print all[at] } else print 0 }')
}
shown_percent() { printf '%d.%02d %%' $(($1 / 100)) $(($1 % 100)); }
milliseconds() { awk -v s="$1" 'BEGIN { printf "%d", s * 1000 + 0.5 }'; }
# judge: sets verdict (good, bad, few) and why, of the requests since the step began.
judge() {
  figures_of old; old_count=$count old_failed=$failed old_percent=$percent old_p95=$p95
  figures_of new; new_count=$count new_failed=$failed new_percent=$percent new_p95=$p95
  why="$new_count requests, $(shown_percent "$new_percent") failed, p95 $(milliseconds "$new_p95") ms; the release before: $old_count, $(shown_percent "$old_percent"), $(milliseconds "$old_p95") ms"
  verdict=good
  if [ "$new_count" -lt "$min_requests" ]; then verdict=few
  elif [ "$new_percent" -gt $((old_percent + max_errors * 100)) ]; then verdict=bad; fault="more requests failed than the $max_errors % above the release before that are allowed"
  elif [ "$old_count" -ge "$min_requests" ] && awk -v n="$new_p95" -v o="$old_p95" -v f="$latency_factor" -v l="$least_seconds" 'BEGIN { if (o < l) o = l; exit !(f > 0 && n > f * o) }'; then
    verdict=bad; fault="it is slower than $latency_factor times the release before"
  fi
}
tell() {
  now=$(($(seconds) - since))
  note canary "$1 $new_count $new_failed $(milliseconds "$new_p95") $old_count $old_failed $(milliseconds "$old_p95") $now $held_since $held_until $share"
}
send() { # SERVER…: nginx spreads the requests so
  lock_nginx
  keep_nginx
  write_upstream "$@"
  if ! said=$(test_nginx); then
    put_back_nginx >/dev/null
    explain "nginx on $server refuses to spread the requests: $said"
  fi
  reload_nginx || explain "nginx on $server was told to spread the requests anew and did not. See /var/log/nginx/error.log there."
  exec 8<&-
}
heard() { word=''; if [ -s "$run/canary" ]; then read -r word <"$run/canary" || :; fi; }
"""
)

RUN = r"""
read_traffic
if [ -z "$old_colour" ]; then echo 'Nothing served before: there is nothing to compare with'; exit 0; fi
if [ "$mode" = standby ]; then echo 'This release has served already'; exit 0; fi
as_colour "$old_colour" "$old_release"; old_port=$port
as_colour "$next_colour" "$release"; new_port=$port
echo "$old_release" >"$root/.devflow/canary.$deployment"
log_file=$(stat -c %i "$log" 2>/dev/null) || log_file=''
log_offset=$(stat -c %s "$log" 2>/dev/null) || log_offset=0
rm -f "$run/canary.new" "$run/canary.old"
for share in $strategy_steps; do
  if [ "$share" -ge 100 ]; then break; fi
  send "127.0.0.1:$new_port weight=$share max_fails=0" "127.0.0.1:$old_port weight=$((100 - share)) max_fails=0"
  new_lines
  rm -f "$run/canary.new" "$run/canary.old"
  since=$(seconds) last_state='' held_since=0 held_until=0 held_at=''
  echo "$share % of the requests go to the new release"
  while :; do
    sleep "$look_seconds"
    with_colour "$next_colour" "$release" runtime_look
    new_lines
    sort_lines
    judge
    heard
    age=$(($(seconds) - since))
    case $word in
      promote) tell promoted; echo "Promoted by hand at $share %: $why"; break 2 ;;
      abort) tell aborted; explain "Aborted by hand at $share %; the release before serves. $why." ;;
    esac
    if [ "$verdict" = bad ]; then tell bad; explain "The new release is taken back at $share %: $fault. $why."; fi
    state=$verdict
    if [ "$word" = hold ]; then
      state=held
      if [ -z "$held_at" ]; then held_at=$(seconds) held_since=$(date +%s) held_until=$(($(date +%s) + hold_minutes * 60)); fi
      if [ $(($(seconds) - held_at)) -ge $((hold_minutes * 60)) ]; then
        tell overdue
        explain "The new release is taken back at $share %: it was held by hand for $hold_minutes minutes, and nobody said how to go on. $why."
      fi
    else held_since=0 held_until=0 held_at=''
    fi
    if [ "$state" = held ]; then
      [ "$last_state" = held ] || echo "Held by hand at $share %, for $hold_minutes minutes at most: then the release is taken back. $why"
    elif [ "$age" -ge "$step_seconds" ]; then
      if [ "$verdict" = good ]; then tell passed; echo "$share %: good. $why"; break; fi
      if [ "$age" -ge $((2 * step_seconds)) ]; then tell few; echo "$share %: too few requests to judge, going on. $why"; break; fi
    fi
    if [ "$state" != "$last_state" ] || [ $((age % 10)) -lt "$look_seconds" ]; then
      tell "$state"
      if [ "$state" != held ]; then echo "$share %, $age s: $state. $why"; fi
    fi
    last_state=$state
  done
done
"""
"""One long step: the shares of `$strategy_steps` one after the other; ends well where all traffic may go to the release."""

BACK = r"""
if [ -f "$root/.devflow/canary.$deployment" ]; then
  note took_back "$(cat "$root/.devflow/canary.$deployment")"
  rm -f "$root/.devflow/canary.$deployment"
fi
"""
FORGET = 'rm -f "$root/.devflow/canary.$deployment"\n'
