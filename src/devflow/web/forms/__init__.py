"""Forms, one module per subject: they read what was typed and pass it to a service."""
