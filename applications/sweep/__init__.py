"""--sweep: settings are tried, and the best are trained longer."""
