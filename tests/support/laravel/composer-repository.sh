#!/bin/sh
# composer-repository FOLDER - packs Debian's Laravel, Symfony and the libraries they need as a Composer `artifact`
# repository, so that `composer install` works for real without Packagist. Runs inside the test server.
set -eu

folder=$1
version=10.48.29
symfony_version=6.4.41
# What only an application of the Symfony framework needs: left out of the libraries that Laravel stands on.
symfony_parts="Cache Clock Config DependencyInjection Dotenv Messenger VarExporter Yaml"
share=/usr/share/php
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

framework() {
    mkdir -p "$work/framework/src"
    cp -rL "$share/Illuminate" "$work/framework/src/"
    find "$work/framework" -name autoload.php -delete
    cat >"$work/framework/composer.json" <<END
{
    "name": "laravel/framework", "version": "$version", "type": "library", "license": "MIT",
    "require": {"php": "^8.1", "debian/php-libraries": "^13"},
    "autoload": {
        "files": ["src/Illuminate/Collections/helpers.php", "src/Illuminate/Events/functions.php",
                  "src/Illuminate/Filesystem/functions.php", "src/Illuminate/Foundation/helpers.php",
                  "src/Illuminate/Support/helpers.php"],
        "psr-4": {
            "Illuminate\\\\": "src/Illuminate/",
            "Illuminate\\\\Support\\\\": ["src/Illuminate/Macroable/", "src/Illuminate/Collections/", "src/Illuminate/Conditionable/"]
        }
    }
}
END
    zip_package framework "laravel-framework-$version"
}

# Everything that Laravel stands on, as one package with a class map: no need to know each library's own layout.
libraries() {
    mkdir -p "$work/libraries/src"
    for name in Brick Carbon Cron Dflydev Doctrine Dotenv Egulias Fruitcake GrahamCampbell GuzzleHttp Laravel League Monolog \
        Nette PhpOption Predis Psr Psy PhpParser Ramsey Symfony Termwind TijsVerkoyen voku; do
        [ ! -d "$share/$name" ] || cp -rL "$share/$name" "$work/libraries/src/"
    done
    rm -rf "$work/libraries/src/Symfony/Bundle" "$work/libraries/src/Symfony/Bridge"
    for part in $symfony_parts; do rm -rf "$work/libraries/src/Symfony/Component/$part"; done
    find "$work/libraries" -name autoload.php -delete
    cat >"$work/libraries/composer.json" <<END
{
    "name": "debian/php-libraries", "version": "13.0.0", "type": "library",
    "autoload": {
        "classmap": ["src/"],
        "exclude-from-classmap": ["src/Carbon/MessageFormatter/*WeakType.php", "src/Carbon/TranslatorWeakType.php",
                                  "src/Carbon/PHPStan/", "src/Symfony/Component/*/Tests/"],
        "files": [$(function_files)]
    },
    "replace": {"guzzlehttp/guzzle": "7.9.0", "laravel/prompts": "0.1.25", "monolog/monolog": "3.8.0", "predis/predis": "2.0.0"}
}
END
    zip_package libraries debian-php-libraries-13.0.0
}

# Files of functions are not found by class: Composer loads them on every request.
function_files() {
    (cd "$work/libraries" && find src \( -iname functions.php -o -name helpers.php -o -name function.php \) \
        ! -path '*/VarDumper/Resources/*' ! -path '*/DependencyInjection/Loader/*' | sort | sed 's/.*/"&"/' | paste -s -d ,)
}

symfony() {
    mkdir -p "$work/symfony/src"
    cp -rL "$share/Symfony/Bundle/FrameworkBundle" "$work/symfony/src/"
    for part in $symfony_parts; do cp -rL "$share/Symfony/Component/$part" "$work/symfony/src/"; done
    find "$work/symfony" -name autoload.php -delete
    cat >"$work/symfony/composer.json" <<END
{
    "name": "symfony/framework-bundle", "version": "$symfony_version", "type": "symfony-bundle", "license": "MIT",
    "require": {"php": ">=8.1", "debian/php-libraries": "^13"},
    "autoload": {"classmap": ["src/"]}
}
END
    zip_package symfony "symfony-framework-bundle-$symfony_version"
}

zip_package() {
    (cd "$work/$1" && zip -qr "$folder/$2.zip" .)
}

rm -rf "$folder"
mkdir -p "$folder"
framework
libraries
symfony
