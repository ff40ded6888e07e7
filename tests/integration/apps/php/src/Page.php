<?php

namespace Example;

final class Page
{
    public static function text(string $path): string
    {
        return $path === '/up' ? 'ok' : 'PHP sample';
    }
}
