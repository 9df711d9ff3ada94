"""Running the service: is it healthy, and what does it offer."""
