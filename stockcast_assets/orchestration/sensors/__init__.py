"""The sensors: what begins runs, and what tells people."""
