"""Hours of mixed work while parts of the service fail: `make soak`."""
