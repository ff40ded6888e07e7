<?php

namespace App\Providers;

use App\Console\ClearCache;
use App\Console\ConfigCache;
use App\Console\MigrateAllTenants;
use Illuminate\Foundation\Support\Providers\RouteServiceProvider as ServiceProvider;
use Illuminate\Support\Facades\Route;

class RouteServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        $this->commands([MigrateAllTenants::class, ConfigCache::class, ClearCache::class]);
        $this->routes(fn () => Route::middleware('web')->group(base_path('routes/web.php')));
    }
}
