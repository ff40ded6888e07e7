<?php

namespace Shopware\Core;

use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Output\OutputInterface;

/** The index says which release serves while it is made. */
#[AsCommand('dal:refresh:index')]
class RefreshIndexCommand extends Command
{
    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        $serving = basename(readlink(dirname(getcwd(), 2) . '/current'));
        file_put_contents('files/index', $serving === basename(getcwd()) ? 'made by what serves' : 'made too early');
        $output->writeln('The index is made');

        return Command::SUCCESS;
    }
}
