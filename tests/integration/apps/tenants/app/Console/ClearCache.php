<?php

namespace App\Console;

use Illuminate\Cache\Console\ClearCommand;
use Symfony\Component\Console\Input\InputOption;

class ClearCache extends ClearCommand
{
    protected function configure(): void
    {
        parent::configure();
        $this->addOption('tenants', null, InputOption::VALUE_NONE, 'Clear the cache of every tenant');
    }
}
