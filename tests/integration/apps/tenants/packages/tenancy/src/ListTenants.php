<?php

namespace Stancl\Tenancy;

use Illuminate\Console\Command;

class ListTenants extends Command
{
    protected $signature = 'tenants:list';

    public function handle(): void
    {
        $this->info('Listing all tenants.');
        foreach (TenancyServiceProvider::tenants() as $tenant) {
            $this->line("[Tenant] id: $tenant @ $tenant.example.com");
        }
    }
}
