<?php

namespace App;

use Shopware\Core\RefreshIndexCommand;
use Shopware\Core\UpdateFinishCommand;
use Shopware\Storefront\ThemeCompileCommand;
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

    /** Name, environment, updates that were carried out, and how the index was made. */
    public function home(): Response
    {
        $folder = dirname(__DIR__);
        $updates = implode(' ', file("$folder/files/updates", FILE_IGNORE_NEW_LINES));

        return new Response("{$_SERVER['SHOP_NAME']}, {$this->getEnvironment()}, $updates, " . @file_get_contents("$folder/files/index"));
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
        ]);
        foreach ([UpdateFinishCommand::class, ThemeCompileCommand::class, RefreshIndexCommand::class] as $command) {
            $container->services()->set($command)->tag('console.command');
        }
    }

    protected function configureRoutes(RoutingConfigurator $routes): void
    {
        $routes->add('home', '/')->controller([$this, 'home']);
        $routes->add('up', '/up')->controller([$this, 'up']);
    }
}
