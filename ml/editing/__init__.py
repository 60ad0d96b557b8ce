"""What tools share between parameters and engines: choosing, finding, filling, repainting, brushing."""
