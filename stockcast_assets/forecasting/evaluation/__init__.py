"""Walk-forward scores, the gate and the report."""
