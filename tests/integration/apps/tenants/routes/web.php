<?php

use Illuminate\Support\Facades\Route;
use Illuminate\Support\Facades\Schema;
use Stancl\Tenancy\TenancyServiceProvider;

Route::get('/up', fn () => 'ok');
Route::get('/{tenant}', function (string $tenant) {
    TenancyServiceProvider::connect($tenant);

    return "$tenant: " . implode(' ', Schema::connection('tenant')->getColumnListing('invoices'));
});
