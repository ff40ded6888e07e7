"""The command line: a client of the API (one module per subject) and the commands that run the panel (`admin`)."""
