<?php

namespace Shopware\Storefront;

use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Output\OutputInterface;

#[AsCommand('theme:compile')]
class ThemeCompileCommand extends Command
{
    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        mkdir('public/theme');
        copy('theme/base.css', 'public/theme/all.css');
        $output->writeln('The theme is compiled');

        return Command::SUCCESS;
    }
}
