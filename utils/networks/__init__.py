"""What is asked of any network: its size and cost, its graph, where it begins."""
