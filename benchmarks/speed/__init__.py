"""Speed: paired runs in one process beside the yardstick of each subject."""
