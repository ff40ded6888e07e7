<?php

// Answers its version: at once, or after five seconds (/slow). What it says comes from a second file, as in a real application.
require dirname(__DIR__) . '/src/Version.php';

$version = Example\Version::text();
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/slow') {
    // Not one long sleep: a signal would end it.
    for ($end = microtime(true) + 5; microtime(true) < $end; usleep(20000)) {
    }
}
echo $version, "\n", str_repeat('.', 1000), "\n";
