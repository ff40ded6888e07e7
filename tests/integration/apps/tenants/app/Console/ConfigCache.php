<?php

namespace App\Console;

use Illuminate\Foundation\Console\ConfigCacheCommand;
use Symfony\Component\Console\Input\InputOption;

class ConfigCache extends ConfigCacheCommand
{
    public function handle(): void
    {
        parent::handle();
        $this->components->info($this->option('tenants') ? 'Cached for all tenants.' : 'Cached for no tenant.');
    }

    protected function configure(): void
    {
        parent::configure();
        $this->addOption('tenants', null, InputOption::VALUE_NONE, 'Cache the configuration of every tenant');
    }
}
