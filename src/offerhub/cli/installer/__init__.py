"""The installer behind `offerhub init`: questions, the env file, and the first steps of an installation."""
