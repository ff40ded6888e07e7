<?php

namespace App\Console;

use Stancl\Tenancy\MigrateTenants;

class MigrateAllTenants extends MigrateTenants
{
    protected $signature = 'migrate:tenants {--force} {--tenants=*}';
}
