"""What a run measured: its record, figures, targets and page."""
