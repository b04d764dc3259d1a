"""What training asks of a batch beside the task: teachers, and self-paced weights."""
