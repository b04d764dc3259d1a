"""From a split to batches: order, workers, shared memory."""
