"""The process: argv, configuration files, signals and terminals in; exit codes out."""
