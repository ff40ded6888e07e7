"""An HTTP health check from the server itself, so that it needs no panel and no open port."""

from __future__ import annotations

from collections.abc import Sequence

from devflow.core.shell import quote


def host_of(domains: Sequence[str]) -> str:
    """A host name to ask for among the domains that are served; `www` of one with a star. '' without any."""
    return next((name for name in domains if "*" not in name), "".join(domains[:1]).replace("*", "www"))


def check(*, url: str, status: int, text: str, timeout_seconds: int, retries: int, host: str = "") -> str:
    """Shell text that ends well when `url` (whole, or a path on this machine) answers `status` and holds `text`. A path is
    asked of `host`, where one is given, on this machine."""
    address = f"http://{host or '127.0.0.1'}{url}" if url.startswith("/") else url
    resolve = f"--resolve {quote(f'{host}:80:127.0.0.1')} " if host and url.startswith("/") else ""
    return f"""\
url={quote(address)}; wanted={status}; text={quote(text)}; tries={retries + 1}
command -v curl >/dev/null || explain "curl is not installed on $server; the health check needs it. Install it there: apt-get install curl"
while :; do
  got=$(curl -sS {resolve}-g -L --max-redirs 5 -m {timeout_seconds} -o "$run/health" -w '%{{http_code}} in %{{time_total}} s' -H 'Cache-Control: no-cache' -A devflow-health -- "$url" 2>"$run/health.error") || got="no answer: $(tail -n 1 "$run/health.error")"
  tries=$((tries - 1))
  case $got in
    "$wanted in "*)
      if [ -z "$text" ] || grep -qaF -e "$text" "$run/health"; then echo "$url answered $got"; break; fi
      got="$got, without the text '$text'" ;;
  esac
  echo "$url answered $got (wanted $wanted; tries left: $tries)"
  [ "$tries" -gt 0 ] || explain "The health check failed: $url answered $got; wanted $wanted. Look at the application's log on $server, or correct the check in the settings of the environment."
  sleep 1
done
"""
