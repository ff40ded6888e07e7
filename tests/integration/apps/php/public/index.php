<?php

require dirname(__DIR__) . '/vendor/autoload.php';

echo Example\Page::text($_SERVER['REQUEST_URI']);
