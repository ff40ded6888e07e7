<?php

namespace App\Http\Controllers;

use Illuminate\Http\Response;
use Illuminate\Support\Facades\DB;
use Illuminate\View\View;

class PageController
{
    /** Counts the visit: the database is read and written by every request. */
    public function home(): View
    {
        DB::table('visits')->insert(['visited_at' => now()]);

        return view('home', ['visits' => DB::table('visits')->count(), 'greeting' => config('app.greeting')]);
    }

    public function up(): Response
    {
        DB::table('visits')->exists();

        return response('ok');
    }
}
