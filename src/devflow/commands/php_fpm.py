"""PHP-FPM and a new release: reloaded only where it must be, for a reload breaks off requests.

php-fpm ends the requests that it has at once when it is reloaded (process_control_timeout is 0 unless somebody set it),
and with a time to finish them it answers nobody until the slowest is done. Nothing of that is needed where nginx passes
the real path: each release is files of its own then. What remains is that compiled files of old releases are never
thrown out; when little room is left for them, php-fpm is reloaded all the same.
"""

from __future__ import annotations

from devflow.core.shell import quote

NGINX = "/etc/nginx"

# Says how full the compiled files' memory is. Runs in php-fpm, from a file beside the release's own.
_LOOK = """\
<?php
$status = function_exists("opcache_get_status") ? @opcache_get_status(false) : false;
if (!$status) {
    echo "off";
} else {
    $memory = $status["memory_usage"];
    $used = $memory["used_memory"] + $memory["wasted_memory"];
    $files = $status["opcache_statistics"];
    $is_full = $used > 4 * $memory["free_memory"] || $files["num_cached_keys"] > 0.8 * $files["max_cached_keys"];
    echo $is_full ? "full" : "room";
}
"""
# One request over FastCGI to the address $argv[1], for the file $argv[2]; prints the last line of the answer.
_ASK = """\
[, $address, $file] = $argv;
$where = strncmp($address, "unix:", 5) ? "tcp://" . $address : "unix://" . substr($address, 5);
$socket = @stream_socket_client($where, $code, $said, 3);
if (!$socket) exit(1);
stream_set_timeout($socket, 10);
$record = function ($type, $content) { return pack("C2n2x2", 1, $type, 1, strlen($content)) . $content; };
$size = function ($text) { return strlen($text) < 128 ? chr(strlen($text)) : pack("N", strlen($text) | 1 << 31); };
$values = "";
foreach (["SCRIPT_FILENAME" => $file, "REQUEST_METHOD" => "GET"] as $name => $value) {
    $values .= $size($name) . $size($value) . $name . $value;
}
fwrite($socket, $record(1, pack("nx6", 1)) . $record(4, $values) . $record(4, "") . $record(5, ""));
$answer = "";
while (strlen($head = (string) stream_get_contents($socket, 8)) == 8) {
    $is = unpack("Cversion/Ctype/nid/nlength/Cpadding", $head);
    $length = $is["length"] + $is["padding"];
    $content = $length ? (string) stream_get_contents($socket, $length) : "";
    if ($is["type"] == 3) break;
    if ($is["type"] == 6) $answer .= substr($content, 0, $is["length"]);
}
$lines = explode("\\n", trim($answer));
echo end($lines);
"""

RELOAD = f"""\
site=${{PWD%/current}}
site=${{site%/releases/*}}
files=$(grep -RlsF -- "$site/current" {NGINX}/sites-enabled {NGINX}/conf.d {NGINX}/devflow.d | while read -r file; do
  if grep -q '^[^#]*fastcgi_pass' "$file"; then echo "$file"; fi
done) || :
is_real=${{files:+1}}
for file in $files; do
  grep -Eq '^[^#]*SCRIPT_FILENAME[[:space:]]+"?[$]realpath_root' "$file" || is_real=''
done
room() {{
  look=$(mktemp "$PWD/devflow-XXXXXXXXXX.php") || return 0
  trap 'rm -f "$look"' EXIT
  printf %s {quote(_LOOK)} >"$look" && chmod 644 "$look"
  for address in $(sed -n 's/^[^#]*fastcgi_pass[[:space:]]*\\([^;[:space:]]*\\).*/\\1/p' $files | sort -u); do
    said=$(php -r {quote(_ASK)} -- "$address" "$look" 2>/dev/null) || said=''
    case $said in
    off|room) ;;
    full) is_full=1 ;;
    *) echo "It cannot be seen how full the memory of compiled files is: $(id -un) gets no answer at $address. It may need to be in the group $(stat -c %G "${{address#unix:}}" 2>/dev/null || echo of php-fpm)." ;;
    esac
  done
}}
if [ -n "$is_real" ]; then
  is_full=''
  if command -v php >/dev/null; then room; fi
  if [ -z "$is_full" ]; then
    echo "php-fpm is not reloaded, and no request is broken off: nginx passes the real path of the release"
    exit 0
  fi
  echo "php-fpm's memory of compiled files is nearly full of old releases"
fi
units=$(systemctl list-units --plain --no-legend --state=active "php${{option_php_version:-*}}-fpm.service" 2>/dev/null | cut -d ' ' -f 1)
if [ -z "$units" ] && [ -n "$option_php_version" ]; then echo "php$option_php_version-fpm does not run here: nothing to reload"; fi
for unit in $units; do
  if [ "$(id -u)" = 0 ]; then systemctl reload "$unit"
  else sudo -n systemctl reload "$unit" || echo "$unit is not reloaded: allow it in sudoers, or let nginx pass \\$realpath_root"
  fi
done"""
"""Shell text that runs in a release, or in the link `current`."""
