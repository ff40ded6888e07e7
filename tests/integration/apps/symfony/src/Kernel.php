<?php

namespace App;

use App\Command\MigrateCommand;
use Symfony\Bundle\FrameworkBundle\FrameworkBundle;
use Symfony\Bundle\FrameworkBundle\Kernel\MicroKernelTrait;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Kernel as BaseKernel;
use Symfony\Component\Routing\Loader\Configurator\RoutingConfigurator;

class Kernel extends BaseKernel
{
    use MicroKernelTrait;

    public function registerBundles(): iterable
    {
        yield new FrameworkBundle();
    }

    /** Counts the visit in a file of the shared folder, as a database would. */
    public function home(): Response
    {
        file_put_contents($file = dirname(__DIR__) . '/var/log/visits', 'x', FILE_APPEND);

        return new Response($_SERVER['APP_GREETING'] . ' ' . $this->getEnvironment() . ': ' . filesize($file));
    }

    public function up(): Response
    {
        return new Response('ok');
    }

    protected function configureContainer(ContainerConfigurator $container): void
    {
        $container->extension('framework', [
            'secret' => '%env(APP_SECRET)%',
            'http_method_override' => false,
            'handle_all_throwables' => true,
            'php_errors' => ['log' => true],
            'router' => ['utf8' => true],
            'cache' => ['prefix_seed' => 'sample'],
            'messenger' => ['transports' => ['async' => 'in-memory://']],
        ]);
        $container->services()->set(MigrateCommand::class)->tag('console.command');
    }

    protected function configureRoutes(RoutingConfigurator $routes): void
    {
        $routes->add('home', '/')->controller([$this, 'home']);
        $routes->add('up', '/up')->controller([$this, 'up']);
    }
}
