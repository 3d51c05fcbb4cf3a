"""From what is due to the runs that do it: one planner for sensors, schedules and the command line."""
