"""`bin/chaos`: what the panel promises of faults, tried at moments that nobody chose; see CONTRIBUTING.md."""
