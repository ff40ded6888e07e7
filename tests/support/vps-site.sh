#!/bin/sh
# vps-site static|php ROOT [MARK] - nginx serves ROOT (for example /srv/www/shop/current/public) on port 80, PHP through PHP-FPM.
# ROOT may be a link that changes with each deployment: PHP is given its real path, so no old code stays in the opcache.
# MARK is sent as the header X-Site with every answer: a reload of nginx is asynchronous, the mark tells that it has happened.
set -eu

kind=$1 site_root=$2 mark=${3:-}

main() {
    case $kind in
    static) fallback='=404' php='' ;;
    php)
        fallback="/index.php?\$query_string" php=$(php_location)
        start_php
        ;;
    *) echo "vps-site: static or php, not '$kind'" >&2; exit 2 ;;
    esac
    cat >/etc/nginx/sites-enabled/site <<END
server {
    listen 80 default_server;
    root $site_root;
    index index.php index.html;
    add_header X-Site "$mark" always;
    location / { try_files \$uri \$uri/ $fallback; }
    $php
}
END
    nginx -q -t
    reload_nginx
}

php_location() {
    cat <<'END'
location ~ \.php$ {
        include fastcgi_params;
        fastcgi_pass unix:/run/php/php8.4-fpm.sock;
        fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
        fastcgi_param DOCUMENT_ROOT $realpath_root;
    }
END
}

start_php() {
    if [ -d /run/systemd/system ]; then
        systemctl start php8.4-fpm
    elif ! pgrep -x php-fpm8.4 >/dev/null; then
        mkdir -p /run/php
        php-fpm8.4 -D
    fi
}

# For a moment old workers take requests beside the new ones: done when none of them does any more.
reload_nginx() {
    old=$(pgrep -f '^nginx: worker process$' || true)
    if [ -d /run/systemd/system ]; then
        systemctl reload-or-restart nginx
    else
        nginx -s reload 2>/dev/null || nginx
    fi
    tries=0
    for worker in $old; do
        while [ "$(tr -d '\0' <"/proc/$worker/cmdline" 2>/dev/null)" = 'nginx: worker process' ] && [ $tries -lt 200 ]; do
            tries=$((tries + 1))
            sleep 0.05
        done
    done
}

main
