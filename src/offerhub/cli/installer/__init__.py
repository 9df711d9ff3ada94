"""What `offerhub init` asks, and the env file that it writes."""
