<?php

namespace App\Command;

use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Input\InputOption;
use Symfony\Component\Console\Output\OutputInterface;

/** Stands in for Doctrine's command: remembers in the shared folder which files of migrations/ were carried out. */
#[AsCommand('doctrine:migrations:migrate')]
class MigrateCommand extends Command
{
    protected function configure(): void
    {
        $this->addOption('allow-no-migration', null, InputOption::VALUE_NONE);
    }

    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        $folder = dirname(__DIR__, 2);
        foreach (glob("$folder/migrations/*.sql") as $file) {
            if (trim(file_get_contents($file)) === 'bad') {
                throw new \RuntimeException('no such table');
            }
            file_put_contents("$folder/var/log/migrations", basename($file) . "\n", FILE_APPEND);
            $output->writeln('migrated ' . basename($file));
        }

        return Command::SUCCESS;
    }
}
