<?php

namespace Stancl\Tenancy;

use Illuminate\Console\Command;

class MigrateTenants extends Command
{
    protected $signature = 'tenants:migrate {--force} {--tenants=*}';

    public function handle(): int
    {
        foreach ($this->option('tenants') ?: TenancyServiceProvider::tenants() as $tenant) {
            $this->line("Tenant: $tenant");
            TenancyServiceProvider::connect($tenant);
            $code = $this->call('migrate', [
                '--database' => 'tenant', '--path' => 'database/migrations/tenant', '--force' => true,
            ]);
            if ($code !== 0) {
                return $code;
            }
        }

        return 0;
    }
}
