"""What a network does to its images, call by call, and where it can be cut into stages."""
