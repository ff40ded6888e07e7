<?php

namespace Stancl\Tenancy;

use Illuminate\Support\ServiceProvider;

class TenancyServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        $this->commands([ListTenants::class, MigrateTenants::class]);
    }

    /** A tenant is a database in the shared folder. */
    public static function tenants(): array
    {
        return array_map(fn ($file) => basename($file, '.sqlite'), glob(storage_path('tenants/*.sqlite')));
    }

    public static function connect(string $tenant): void
    {
        $file = storage_path("tenants/$tenant.sqlite");
        config(['database.connections.tenant' => ['driver' => 'sqlite', 'database' => $file, 'prefix' => '']]);
        app('db')->purge('tenant');
    }
}
