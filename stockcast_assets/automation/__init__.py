"""What makes assets materialise: jobs, schedules, sensors, and the runs the command line asks for."""
