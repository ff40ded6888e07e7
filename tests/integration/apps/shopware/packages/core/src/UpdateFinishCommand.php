<?php

namespace Shopware\Core;

use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Output\OutputInterface;

/** Carries out the updates of the commit that are not carried out yet; what is done is kept in files/. */
#[AsCommand('system:update:finish')]
class UpdateFinishCommand extends Command
{
    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        $done = is_file('files/updates') ? file('files/updates', FILE_IGNORE_NEW_LINES) : [];
        foreach (array_diff(array_map('basename', glob('updates/*')), $done) as $update) {
            if (trim(file_get_contents("updates/$update")) === 'bad') {
                throw new \RuntimeException("The update $update cannot be carried out");
            }
            file_put_contents('files/updates', "$update\n", FILE_APPEND);
            $output->writeln("Update $update is done");
        }

        return Command::SUCCESS;
    }
}
